"""Validation of a presented certificate, at any network point: is this a party of the network, and which one?

Specification: shared `spec/pki.md`, "Validating", rules 1-4 in that order; RFC 5280 section 6; RFC 8705 section 3.1 for
the thumbprint. Nothing is fetched and no clock is read here, so it is a plain function over its inputs: CRLs are
fetched ahead of time by the owner of the `CrlStore`. Soft-fail does not exist: what cannot be established is refused.

Does not check whether the party takes part in the network, from which address it calls, or whether a token fits: that
is the work of whoever asks.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from authz.domain import base64url
from authz.domain.errors import Refused
from authz.domain.identifiers import Identifier
from authz.domain.reasons import Reason
from pki.algorithms import is_acceptable_key
from pki.keys import spki_sha256
from pki.names import ENVIRONMENTS, CertificateIdentity, dns_names_of, organization_of
from pki.validation.ages import MAX_AUTHORITY_CRL_AGE, MAX_CRL_AGE
from pki.validation.crl_store import CrlStore, VerifiedCrl
from pki.validation.ocsp_store import OcspStore
from pki.validation.path import MAX_CHAIN, CheckedPath, PathChecker, parse
from pki.validation.revocation_check import RevocationCheck, Span
from pki.validation.schemes import SCHEMES, PinnedIssuer
from pki.validation.schemes.table import IdentityTable
from pki.validation.twin import twin_of

__all__ = [
    "MAX_AUTHORITY_CRL_AGE",
    "MAX_CRL_AGE",
    "CertificateValidator",
    "CrlStore",
    "IdentityTable",
    "OcspStore",
    "PinnedIssuer",
    "ValidatedCertificate",
    "VerifiedCrl",
    "thumbprint_of",
]

_REFUSAL_HOLDS: Final = timedelta(seconds=1)
_MAX_REFUSED: Final = 1_000
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True)
class ValidatedCertificate:
    """A certificate that passed every check at the moment it was asked about.

    Attributes:
        thumbprint: base64url SHA-256 of the DER without padding (`x5t#S256`, RFC 8705 section 3.1). twin: the
        thumbprint of the other spelling of this very certificate, see `pki.validation.twin`; the same where there is
            none. Whoever blocks a certificate by thumbprint must look at both.
        identity: the party.
        environment: PRD, TST or ACC.
        issuer_key: hex SHA-256 of the issuing CA's subjectPublicKeyInfo.
        serial_number: of the certificate.
        not_before: first moment of validity, UTC.
        not_after: last moment of validity, UTC.
        subject: RFC 4514 text, for display.
        organization: organizationName, for display; empty for a certificate of the scheme `mapped` without a clear one.
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
    twin: str


def thumbprint_of(der: bytes) -> str:
    """`x5t#S256` of a certificate: base64url SHA-256 of its DER, without padding."""
    return base64url.encode(hashlib.sha256(der).digest())


@dataclass(frozen=True, slots=True)
class _Remembered:
    """An outcome, and the span of time in which nothing it rests on changes."""

    certificate: ValidatedCertificate
    span: Span


@dataclass(frozen=True, slots=True)
class _PastRefusal:
    """Why a leaf with this chain was refused, and when."""

    reason: Reason
    detail: str
    at: datetime


class CertificateValidator:
    """Validates presented certificates against configured CAs.

    Args:
        anchors: DER of trusted root certificates.
        issuers: the issuing CAs whose identities are believed.
        intermediates: DER of CA certificates between anchors and leaves.
        crls: verified CRLs, kept fresh by their owner.
        ocsp: verified OCSP answers, kept fresh by their owner; they count beside CRLs.
        environment: when given, certificates of any other environment are refused.
        max_crl_age: how old the CRL of an issuing CA may be.
        max_authority_crl_age: how old the CRL that speaks about CA certificates may be.
        max_remembered: outcomes that are kept, about 1 kB each.
        saw: told the CA's key (hex SHA-256) and the serial number of each certificate that a pinned CA issued, whether
            it is revoked or not, so that OCSP answers can be fetched ahead of time; must not take time.

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
        ocsp: OcspStore | None = None,
        environment: str | None = None,
        max_crl_age: timedelta = MAX_CRL_AGE,
        max_authority_crl_age: timedelta = MAX_AUTHORITY_CRL_AGE,
        max_remembered: int = 10_000,
        saw: Callable[[str, int], None] | None = None,
    ) -> None:
        if not issuers:
            raise ValueError("nobody to believe: at least one pinned issuer is needed")
        if environment is not None and environment not in ENVIRONMENTS:
            raise ValueError(f"unknown environment: expected one of {', '.join(sorted(ENVIRONMENTS))}")
        self._paths = PathChecker([parse(der) for der in anchors], [parse(der) for der in intermediates])
        self._issuers = {issuer.spki_sha256.lower(): issuer for issuer in issuers}
        if len(self._issuers) != len(issuers):
            raise ValueError("the same issuing CA is pinned twice")
        self._revocation = RevocationCheck(
            crls=crls,
            ocsp=ocsp,
            paths=self._paths,
            max_crl_age=max_crl_age,
            max_authority_crl_age=max_authority_crl_age,
        )
        self._environment = environment
        self._max_remembered = max_remembered
        self._saw = saw or _nobody_asks
        self._remembered: dict[bytes, _Remembered] = {}
        self._refused: dict[bytes, _PastRefusal] = {}
        self._remembered_version = (-1, -1)

    def validate(self, leaf_der: bytes, chain_der: Sequence[bytes], at: datetime) -> ValidatedCertificate:
        """Validate a certificate at one moment.

        A certificate that passed before is answered from memory as long as the same CRLs are held and `at` lies
        within every validity and freshness limit that the outcome rested on; a refusal is remembered for a second, so
        that who sends the same chain again and again does not keep us building paths.

        Args:
            leaf_der: the presented certificate; possession of its key was proved by the TLS handshake, elsewhere.
            chain_der: certificates presented beside it, untrusted, any order, at most `MAX_CHAIN`.
            at: the moment of the decision, UTC.

        Raises:
            Refused: CERTIFICATE_*, CRL_* or OCSP_*, a distinct reason for each check.
        """
        if len(chain_der) > MAX_CHAIN:
            raise Refused(Reason.CERTIFICATE_PATH, f"More than {MAX_CHAIN} certificates were sent along.")
        version = self._revocation.version
        if version != self._remembered_version:
            self._remembered, self._refused = {}, {}
            self._remembered_version = version
        digest = hashlib.sha256(leaf_der).digest()
        known = self._remembered.get(digest)
        if known is not None and at in known.span:
            self._saw(known.certificate.issuer_key, known.certificate.serial_number)
            return known.certificate
        presented = hashlib.sha256(b"".join(hashlib.sha256(der).digest() for der in (leaf_der, *chain_der))).digest()
        past = self._refused.get(presented)
        if past is not None and past.at <= at < past.at + _REFUSAL_HOLDS:
            raise Refused(past.reason, past.detail)
        try:
            outcome = self._validate(leaf_der, chain_der, at)
        except Refused as refused:
            if version == self._revocation.version:
                if len(self._refused) >= _MAX_REFUSED:
                    self._refused.pop(next(iter(self._refused)), None)
                self._refused[presented] = _PastRefusal(refused.reason, refused.detail, at)
            raise
        if version == self._revocation.version:
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
        self._saw(issuer.spki_sha256.lower(), leaf.certificate.serial_number)
        # 4. Revocation, for every certificate in the path.
        span = self._revocation.require(path, at, issuer.max_crl_age, needs_answer=issuer.ocsp_required)
        for item in path.certificates:
            span = span.within(Span(item.certificate.not_valid_before_utc, item.certificate.not_valid_after_utc))
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
                organization=_organization(certificate, issuer),
                dns_names=_dns_names(certificate, issuer),
                twin=thumbprint_of(twin_of(leaf, path.issuer)),
            ),
            span,
        )

    def _identify(self, path: CheckedPath) -> tuple[CertificateIdentity, PinnedIssuer]:
        issuer = self._issuers.get(spki_sha256(path.issuer.certificate))
        if issuer is None:
            raise Refused(
                Reason.CERTIFICATE_ISSUER_UNPINNED,
                "The certificate authority that issued the certificate may not name parties of this network.",
            )
        # The issuing CA is for one environment; the place that asks may be, too.
        if self._environment not in {None, issuer.environment}:
            raise Refused(Reason.CERTIFICATE_ENVIRONMENT, "The certificate is for another environment.")
        leaf = path.certificates[-1].certificate
        _require_policy(leaf, issuer.policies)
        return SCHEMES[issuer.scheme](leaf, issuer), issuer


def _nobody_asks(_issuer_key: str, _serial_number: int) -> None:
    """Where no OCSP is configured."""


def _organization(certificate: x509.Certificate, issuer: PinnedIssuer) -> str:
    try:
        return organization_of(certificate)
    except Refused:
        if issuer.table is None:
            raise
        # The names of a certificate in a table are not read, so odd ones refuse nothing, and are not shown either.
        return ""


def _dns_names(certificate: x509.Certificate, issuer: PinnedIssuer) -> tuple[str, ...]:
    # Whether a subjectAltName must be there is the scheme's business; an identity in a subject needs none.
    if _value(certificate.extensions, x509.SubjectAlternativeName) is None:
        return ()
    try:
        return dns_names_of(certificate)
    except Refused:
        if issuer.table is None:
            raise
        return ()


def _require_policy(certificate: x509.Certificate, policies: tuple[str, ...]) -> None:
    """Step 3, where a CA key issues several kinds: the certificate is of one of the kinds that count."""
    if not policies:
        return
    named = _value(certificate.extensions, x509.CertificatePolicies) or ()
    if not {policy.policy_identifier.dotted_string for policy in named} & set(policies):
        raise Refused(
            Reason.CERTIFICATE_USAGE, "The certificate is of a kind that does not count here (certificate policies)."
        )


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
