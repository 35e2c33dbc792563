"""Checks of a CRL that is about to be signed.

Specification: RFC 5280 section 5; shared `spec/pki.md`, "Revocation": a full CRL with issuing distribution point,
number and nextUpdate. Written against the encoded bytes, apart from what encodes them. The entries are many and made by
one function, so the form is judged on the list with a few of the newest, by ourselves and by pkilint; of every part
that changed it is checked that it holds entries and nothing else, each serial number once. A part that did not change
was checked when it did. Whether the right certificates are listed is the register's work.
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta
from typing import Final

from cryptography import x509

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.keys import load_spki
from pki.lint.second_opinion import lint_crl
from pki.profiles import Publication
from pki.revocation.crl_parts import read_part
from pki.signing.encoding import CrlEnds
from pki.signing.signer import Signer
from pki.signing.throwaway import stand_in

SAMPLE: Final = 8
"""Entries that are read in full, each of another part: every one is made by the same function."""
MAX_LIFE: Final = timedelta(days=20 * 366)
"""The last CRL of a CA lives as long as the CA; none lives longer."""
MAX_NUMBER_BITS: Final = 159
"""RFC 5280 section 5.2.3: at most 20 octets, and positive."""


def lint_before_signing(
    signer: Signer,
    issuer: x509.Name,
    published: Publication | None,
    ends: CrlEnds,
    parts: Mapping[int, bytes],
    *,
    changed: Collection[int],
) -> None:
    """Refuse a CRL that breaks a rule.

    Args:
        signer: that will sign it; its real key is not used here.
        issuer: subject of the CA.
        published: its distribution point; None for a root.
        ends: everything but the entries.
        parts: the entries.
        changed: which parts were not on a CRL that passed before.

    Raises:
        Refused: LINT_FAILED, with the clauses that are broken.
        LinterMissing: pkilint is not installed.
    """
    sample = _sample(parts, changed)
    head, tail = ends.sign(sample, signer.algorithm, stand_in(signer).sign(*ends.to_be_signed(sample)))
    der = b"".join((head, *sample, tail))
    try:
        crl = x509.load_der_x509_crl(der)
        broken = [clause for clause, holds in _checks(crl, signer, issuer, published) if not holds]
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        broken = ["a CRL of version 2 with its extensions, each once (RFC 5280 5.1, 5.2)"]
    if broken:
        raise Refused(Reason.LINT_FAILED, f"The CRL would break its profile: {'; '.join(broken)}.")
    lint_crl(der)


def _checks(
    crl: x509.CertificateRevocationList, signer: Signer, issuer: x509.Name, published: Publication | None
) -> Iterator[tuple[str, bool]]:
    start, end = crl.last_update_utc, crl.next_update_utc
    yield "issuer is the CA, byte for byte (RFC 5280 5.1.2.3)", crl.issuer.public_bytes() == issuer.public_bytes()
    yield (
        "thisUpdate before nextUpdate, which is there (RFC 5280 5.1.2.5)",
        end is not None and start < end <= start + MAX_LIFE,
    )
    number = crl.extensions.get_extension_for_class(x509.CRLNumber)
    yield (
        "CRL number, positive, at most 20 octets, not critical (RFC 5280 5.2.3)",
        not number.critical and 0 < number.value.crl_number.bit_length() <= MAX_NUMBER_BITS,
    )
    authority = crl.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    own = x509.SubjectKeyIdentifier.from_public_key(load_spki(signer.public_key))
    yield (
        "key identifier of the key that signs, not critical (RFC 5280 5.2.1)",
        not authority.critical and authority.value.key_identifier == own.digest,
    )
    expected = {x509.CRLNumber.oid, x509.AuthorityKeyIdentifier.oid}
    if published is not None:
        expected.add(x509.IssuingDistributionPoint.oid)
        yield "a full CRL of its distribution point, critical (RFC 5280 5.2.5)", _is_full(crl, published)
    yield "no other extension (spec/pki.md)", {item.oid for item in crl.extensions} == expected
    for entry in crl:
        reasons = [item.value for item in entry.extensions]
        yield (
            "an entry says a reason or nothing, and neither unspecified nor removeFromCRL (RFC 5280 5.3.1)",
            all(isinstance(item, x509.CRLReason) and item.reason not in _NOT_IN_A_FULL_LIST for item in reasons),
        )


_NOT_IN_A_FULL_LIST: Final = frozenset({x509.ReasonFlags.unspecified, x509.ReasonFlags.remove_from_crl})


def _is_full(crl: x509.CertificateRevocationList, published: Publication) -> bool:
    point = crl.extensions.get_extension_for_class(x509.IssuingDistributionPoint)
    value = point.value
    narrowed = (
        value.only_contains_user_certs, value.only_contains_ca_certs, value.only_some_reasons, value.indirect_crl,
        value.only_contains_attribute_certs, value.relative_name,
    )  # fmt: skip
    names = [name.value for name in value.full_name or ()]
    return point.critical and not any(narrowed) and names == [published.crl_url]


def _sample(parts: Mapping[int, bytes], changed: Collection[int]) -> list[bytes]:
    """The newest entry of some parts that changed, after all that changed were read; any entry when none did."""
    newest = [list(entries.values())[-1] for part in changed if (entries := read_part(part, parts[part]))]
    if newest:
        return newest[:SAMPLE]
    return [entries[: 2 + entries[1]] for entries in parts.values() if entries][:1]
