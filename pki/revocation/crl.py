"""Revocation reasons, and the CRL of one issuing CA.

Specification: RFC 5280 section 5; shared `spec/pki.md`, "Revocation": a full CRL with issuing distribution point,
number and nextUpdate. When a CRL is made, and that its numbers grow, is the register's and the authority's work.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from cryptography import x509

from pki.keys import load_spki
from pki.lint.crl import lint_before_signing
from pki.profiles import Publication
from pki.revocation.crl_parts import parts_of
from pki.signing.encoding import CrlEntry, encode_crl_ends
from pki.signing.signer import Signer

CRL_LIFE: Final = timedelta(hours=2)
"""nextUpdate after thisUpdate; relying parties allow an age of one hour, so a missed refresh is noticed before."""
CRL_REFRESH: Final = timedelta(minutes=30)
"""spec/pki.md: regenerated at least this often, even when nothing changed."""
KEEP_AFTER_EXPIRY: Final = timedelta(days=1)
"""RFC 5280 section 3.3: an entry stays until it was on one CRL beyond the expiry of the certificate."""


class RevocationReason(StrEnum):
    """RFC 5280 section 5.3.1, in its words. `removeFromCRL` releases a certificate that was on hold."""

    UNSPECIFIED = "unspecified"
    KEY_COMPROMISE = "keyCompromise"
    CA_COMPROMISE = "cACompromise"
    AFFILIATION_CHANGED = "affiliationChanged"
    SUPERSEDED = "superseded"
    CESSATION_OF_OPERATION = "cessationOfOperation"
    CERTIFICATE_HOLD = "certificateHold"
    REMOVE_FROM_CRL = "removeFromCRL"
    PRIVILEGE_WITHDRAWN = "privilegeWithdrawn"
    AA_COMPROMISE = "aACompromise"

    @property
    def code(self) -> int:
        """The number on the wire."""
        return _CODES[self]


COMPROMISED: Final = frozenset({RevocationReason.KEY_COMPROMISE, RevocationReason.CA_COMPROMISE})
"""The gravest reasons: the key is somebody else's too, so it is never certified again. They replace every other one."""
_CODES: Final = {
    RevocationReason.UNSPECIFIED: 0,
    RevocationReason.KEY_COMPROMISE: 1,
    RevocationReason.CA_COMPROMISE: 2,
    RevocationReason.AFFILIATION_CHANGED: 3,
    RevocationReason.SUPERSEDED: 4,
    RevocationReason.CESSATION_OF_OPERATION: 5,
    RevocationReason.CERTIFICATE_HOLD: 6,
    RevocationReason.REMOVE_FROM_CRL: 8,
    RevocationReason.PRIVILEGE_WITHDRAWN: 9,
    RevocationReason.AA_COMPROMISE: 10,
}


@dataclass(frozen=True, slots=True)
class CrlPlan:
    """Everything a CRL says besides its entries."""

    number: int
    this_update: datetime
    next_update: datetime


@dataclass(frozen=True, slots=True)
class SignedCrl:
    """A CRL as what stands before its entries, the entries in parts, and what stands after them.

    The entries of 100,000 certificates are 5 MB that hardly change, so they are kept apart from what is new each time.
    """

    head: bytes
    listed: tuple[bytes, ...]
    tail: bytes

    @property
    def der(self) -> bytes:
        """The whole."""
        return b"".join((self.head, *self.listed, self.tail))


def make_crl(
    signer: Signer, issuer: x509.Name, published: Publication | None, plan: CrlPlan, entries: Iterable[CrlEntry]
) -> bytes:
    """Make and sign the full CRL of one CA from its entries; see `sign_crl`."""
    parts = parts_of(entries)
    return sign_crl(signer, issuer, published, plan, parts, changed=parts.keys()).der


def sign_crl(
    signer: Signer,
    issuer: x509.Name,
    published: Publication | None,
    plan: CrlPlan,
    parts: Mapping[int, bytes],
    *,
    changed: Collection[int],
) -> SignedCrl:
    """Sign the full CRL of one CA.

    Args:
        signer: with the key of the CA.
        issuer: subject of the CA.
        published: its distribution point, the same as in its certificates. None for a root: whoever checks the CRL of
            every CA in a path (OpenSSL, BoringSSL, hence Envoy) looks for one that fits the root as well, and a root
            certificate names no distribution point that could fit.
        plan: number and times.
        parts: everything revoked, on hold included (`pki.revocation.crl_parts`).
        changed: which of them were not on a CRL that was signed here before.

    Raises:
        Refused: LINT_FAILED; nothing was signed.
        SignerError: the key cannot be used.
    """
    key = load_spki(signer.public_key)
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(key), False),  # RFC 5280 5.2.1
        (x509.CRLNumber(plan.number), False),  # RFC 5280 5.2.3: not critical
    ]
    if published is not None:
        extensions.append((_distribution_point(published), True))  # RFC 5280 5.2.5: critical
    ends = encode_crl_ends(
        algorithm=signer.algorithm,
        issuer=issuer,
        this_update=plan.this_update,
        next_update=plan.next_update,
        extensions=extensions,
    )
    lint_before_signing(signer, issuer, published, ends, parts, changed=changed)
    listed = tuple(entries for _, entries in sorted(parts.items()))
    signature = signer.sign(*ends.to_be_signed(listed))
    head, tail = ends.sign(listed, signer.algorithm, signature)
    return SignedCrl(head, listed, tail)


def _distribution_point(published: Publication) -> x509.IssuingDistributionPoint:
    return x509.IssuingDistributionPoint(
        full_name=[x509.UniformResourceIdentifier(published.crl_url)],
        relative_name=None,
        only_contains_user_certs=False,
        only_contains_ca_certs=False,
        only_some_reasons=None,
        indirect_crl=False,
        only_contains_attribute_certs=False,
    )
