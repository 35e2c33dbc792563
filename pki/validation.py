"""Validation of a presented certificate, at any network point: is this a party of the network, and which one?

Specification: shared `spec/pki.md`, "Validating", rules 1-4 in that order; RFC 5280 section 6; RFC 8705 section 3.1 for
the thumbprint. Nothing is fetched and no clock is read here, so it is a plain function over its inputs: CRLs are
fetched ahead of time by the owner of the `CrlStore`. Soft-fail does not exist: what cannot be established is refused.

Does not check whether the party takes part in the network, from which address it calls, or whether a token fits: that
is the work of whoever asks.
"""

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final, TypeVar

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from authz.domain.errors import Refused
from authz.domain.identifiers import Identifier
from authz.domain.reasons import Reason
from pki.algorithms import is_acceptable_key
from pki.crl_store import CrlStore, VerifiedCrl, spki_sha256
from pki.names import ENVIRONMENTS, CertificateIdentity, dns_names_of, identity_of, organization_of
from pki.path import MAX_CHAIN, CheckedPath, Parsed, PathChecker, parse

__all__ = [
    "CertificateValidator",
    "CrlStore",
    "PinnedIssuer",
    "ValidatedCertificate",
    "VerifiedCrl",
    "spki_sha256",
    "thumbprint_of",
]

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)

MAX_CRL_AGE: Final = timedelta(hours=1)
"""shared `spec/pki.md`, "Validating" rule 4: the field's rule."""
MAX_AUTHORITY_CRL_AGE: Final = timedelta(days=190)
"""A root is offline and signs its CRL twice a year, in a ceremony."""
_CLOCK_SKEW: Final = timedelta(seconds=60)
"""How far the clock of a CA may run ahead of ours before its CRL counts as not yet made."""


@dataclass(frozen=True, slots=True)
class PinnedIssuer:
    """An issuing CA, by its key, and what it is believed about.

    Pinning the key of the CA that issues, and not just a root, keeps every other CA under that root from asserting
    identities (shared `spec/pki.md`, "Validating" rule 3).

    Attributes:
        spki_sha256: hex SHA-256 of the issuing CA's subjectPublicKeyInfo.
        scheme: how the identity is written in its certificates.
        environment: PRD, TST or ACC: the only environment it may issue for.
    """

    spki_sha256: str
    scheme: str
    environment: str


@dataclass(frozen=True, slots=True)
class ValidatedCertificate:
    """A certificate that passed every check at the moment it was asked about.

    Attributes:
        thumbprint: base64url SHA-256 of the DER without padding (`x5t#S256`, RFC 8705 section 3.1).
        identity: the party.
        environment: PRD, TST or ACC.
        issuer_key: hex SHA-256 of the issuing CA's subjectPublicKeyInfo.
        serial_number: of the certificate.
        not_before: first moment of validity, UTC.
        not_after: last moment of validity, UTC.
        subject: RFC 4514 text, for display.
        organization: organizationName, for display.
        dns_names: the DNS names it may serve under.
    """

    thumbprint: str
    identity: Identifier
    environment: str
    issuer_key: str
    serial_number: int
    not_before: datetime
    not_after: datetime
    subject: str
    organization: str
    dns_names: tuple[str, ...]


def _sluis(certificate: x509.Certificate) -> CertificateIdentity:
    return identity_of(certificate)


_SCHEMES: Mapping[str, Callable[[x509.Certificate], CertificateIdentity]] = MappingProxyType({"sluis": _sluis})


def thumbprint_of(der: bytes) -> str:
    """`x5t#S256` of a certificate: base64url SHA-256 of its DER, without padding."""
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode("ascii")


@dataclass(frozen=True, slots=True)
class _Remembered:
    """An outcome, and the span of time in which nothing it rests on changes."""

    certificate: ValidatedCertificate
    fresh_from: datetime
    fresh_until: datetime


class CertificateValidator:
    """Validates presented certificates against configured CAs.

    Args:
        anchors: DER of trusted root certificates.
        issuers: the issuing CAs whose identities are believed.
        intermediates: DER of CA certificates between anchors and leaves.
        crls: verified CRLs, kept fresh by their owner.
        environment: when given, certificates of any other environment are refused.
        max_crl_age: how old the CRL of an issuing CA may be.
        max_authority_crl_age: how old the CRL that speaks about CA certificates may be.
        max_remembered: outcomes that are kept, about 1 kB each.

    Raises:
        ValueError: no anchors, no issuers, or an issuer with an unknown scheme, environment or malformed pin.
    """

    def __init__(
        self,
        *,
        anchors: Sequence[bytes],
        issuers: Sequence[PinnedIssuer],
        intermediates: Sequence[bytes],
        crls: CrlStore,
        environment: str | None = None,
        max_crl_age: timedelta = MAX_CRL_AGE,
        max_authority_crl_age: timedelta = MAX_AUTHORITY_CRL_AGE,
        max_remembered: int = 10_000,
    ) -> None:
        if not issuers:
            raise ValueError("nobody to believe: at least one pinned issuer is needed")
        for issuer in issuers:
            if issuer.scheme not in _SCHEMES:
                raise ValueError(f"unknown identity scheme; known are {sorted(_SCHEMES)}")
            if issuer.environment not in ENVIRONMENTS or (environment and environment not in ENVIRONMENTS):
                raise ValueError(f"unknown environment; known are {sorted(ENVIRONMENTS)}")
            if len(issuer.spki_sha256) != hashlib.sha256().digest_size * 2:
                raise ValueError("a pin is the hex SHA-256 of a subjectPublicKeyInfo")
        self._paths = PathChecker([parse(der) for der in anchors], [parse(der) for der in intermediates])
        self._issuers = {issuer.spki_sha256.lower(): issuer for issuer in issuers}
        self._crls = crls
        self._environment = environment
        self._max_crl_age = max_crl_age
        self._max_authority_crl_age = max_authority_crl_age
        self._max_remembered = max_remembered
        self._remembered: dict[bytes, _Remembered] = {}
        self._remembered_version = -1

    def validate(self, leaf_der: bytes, chain_der: Sequence[bytes], at: datetime) -> ValidatedCertificate:
        """Validate a certificate at one moment.

        A certificate that passed before is answered from memory as long as the same CRLs are held and `at` lies
        within every validity and freshness limit that the outcome rested on; refusals are never remembered.

        Args:
            leaf_der: the presented certificate; possession of its key was proved by the TLS handshake, elsewhere.
            chain_der: certificates presented beside it, untrusted, any order, at most `MAX_CHAIN`.
            at: the moment of the decision, UTC.

        Raises:
            Refused: CERTIFICATE_* or CRL_*, a distinct reason for each check.
        """
        if len(chain_der) > MAX_CHAIN:
            raise Refused(Reason.CERTIFICATE_PATH, f"More than {MAX_CHAIN} certificates were sent along.")
        version = self._crls.version
        if version != self._remembered_version:
            self._remembered = {}
            self._remembered_version = version
        digest = hashlib.sha256(leaf_der).digest()
        known = self._remembered.get(digest)
        if known is not None and known.fresh_from <= at <= known.fresh_until:
            return known.certificate
        outcome = self._validate(leaf_der, chain_der, at)
        if version == self._crls.version:
            if len(self._remembered) >= self._max_remembered:
                self._remembered.pop(next(iter(self._remembered)), None)
            self._remembered[digest] = outcome
        return outcome.certificate

    def _validate(self, leaf_der: bytes, chain_der: Sequence[bytes], at: datetime) -> _Remembered:
        leaf = parse(leaf_der)
        # 1. A path to a configured anchor, at this moment, with allowed keys and algorithms.
        path = self._paths.check(leaf, [parse(der) for der in chain_der], at)
        if not is_acceptable_key(leaf.certificate.public_key()):
            raise Refused(Reason.CERTIFICATE_ALGORITHM, "The key of the certificate is of a kind or size not allowed.")
        # 2. An end entity that may authenticate as a client.
        _require_client_certificate(leaf.certificate)
        # 3. The identity, as the pinned issuing CA writes it.
        identity, issuer = self._identify(path)
        # 4. Revocation, for every certificate in the path.
        crls = self._require_unrevoked(path, at)
        certificate = leaf.certificate
        return _Remembered(
            ValidatedCertificate(
                thumbprint=thumbprint_of(leaf_der),
                identity=identity.identifier,
                environment=identity.environment,
                issuer_key=issuer.spki_sha256.lower(),
                serial_number=certificate.serial_number,
                not_before=certificate.not_valid_before_utc,
                not_after=certificate.not_valid_after_utc,
                subject=certificate.subject.rfc4514_string(),
                organization=organization_of(certificate),
                dns_names=dns_names_of(certificate),
            ),
            fresh_from=max(
                *(item.certificate.not_valid_before_utc for item in path.certificates),
                *(crl.this_update - _CLOCK_SKEW for crl, _ in crls),
            ),
            fresh_until=min(
                *(item.certificate.not_valid_after_utc for item in path.certificates),
                *(min(crl.next_update, crl.this_update + max_age) for crl, max_age in crls),
            ),
        )

    def _identify(self, path: CheckedPath) -> tuple[CertificateIdentity, PinnedIssuer]:
        issuer = self._issuers.get(spki_sha256(path.issuer.certificate))
        if issuer is None:
            raise Refused(
                Reason.CERTIFICATE_ISSUER_UNPINNED,
                "The certificate authority that issued the certificate may not name parties of this network.",
            )
        identity = _SCHEMES[issuer.scheme](path.certificates[-1].certificate)
        # The issuing CA is for one environment; the place that asks may be, too.
        if {issuer.environment, self._environment or issuer.environment} != {identity.environment}:
            raise Refused(Reason.CERTIFICATE_ENVIRONMENT, "The certificate is for another environment.")
        return identity, issuer

    def _require_unrevoked(self, path: CheckedPath, at: datetime) -> list[tuple[VerifiedCrl, timedelta]]:
        used = []
        for issuer, subject in path.links:
            is_ca = subject is not path.certificates[-1]
            max_age = self._max_authority_crl_age if is_ca else self._max_crl_age
            crl = self._crls.covering(subject.certificate, spki_sha256(issuer.certificate), is_ca=is_ca)
            _require_not_listed(crl, subject, at, max_age)
            if crl is not None:
                used.append((crl, max_age))
        return used


def _require_not_listed(crl: VerifiedCrl | None, subject: Parsed, at: datetime, max_age: timedelta) -> None:
    if crl is None:
        raise Refused(Reason.CRL_MISSING, "Whether the certificate is revoked is not known here at this moment.")
    # A revocation outlives the freshness of the list that says so.
    if crl.lists(subject.certificate.serial_number):
        raise Refused(Reason.CERTIFICATE_REVOKED, "The certificate has been revoked.")
    if not crl.this_update - _CLOCK_SKEW <= at <= min(crl.next_update, crl.this_update + max_age):
        raise Refused(Reason.CRL_STALE, "What is known here about revoked certificates is not of this moment.")


def _require_client_certificate(certificate: x509.Certificate) -> None:
    """Step 2: not a CA, keyUsage digitalSignature, EKU clientAuth; each must be said, nothing is assumed.

    anyExtendedKeyUsage is not taken for clientAuth (RFC 5280 section 4.2.1.12 lets an application require its purpose).
    """
    extensions = certificate.extensions
    constraints = _value(extensions, x509.BasicConstraints)
    usage = _value(extensions, x509.KeyUsage)
    purposes = _value(extensions, x509.ExtendedKeyUsage)
    if (constraints is not None and constraints.ca) or (usage is not None and (usage.key_cert_sign or usage.crl_sign)):
        raise Refused(Reason.CERTIFICATE_IS_CA, "A certificate of a certificate authority is not a client certificate.")
    if usage is None or not usage.digital_signature:
        raise Refused(Reason.CERTIFICATE_USAGE, "The certificate is not meant for signing (keyUsage digitalSignature).")
    if purposes is None or ExtendedKeyUsageOID.CLIENT_AUTH not in purposes:
        raise Refused(
            Reason.CERTIFICATE_USAGE, "The certificate is not meant for clients (extended key usage clientAuth)."
        )


def _value(extensions: x509.Extensions, kind: type[_Extension]) -> _Extension | None:
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
