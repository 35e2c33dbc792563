"""The certificate revocation lists that a relying party holds, verified when they come in.

Specification: RFC 5280 sections 5 and 6.3.3; shared `spec/pki.md`, "Validating" rule 4: fetched ahead of time, never in
the request path, signature checked, unknown is refused. Only complete CRLs signed with the key that signed the
certificates are taken; delta CRLs, indirect CRLs, CRLs by reason and attribute-certificate CRLs are refused, as is any
critical extension that is not understood. Fetching and keeping on disk is the owner's work; freshness is judged per
decision by `pki.validation`, because it depends on the moment.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtensionOID

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.algorithms import is_acceptable_key

MAX_CRL_BYTES: Final = 64 * 1024 * 1024
"""A CRL of 100,000 entries has about 4 MiB."""
MAX_CRLS: Final = 256
_DIGESTS: Final = frozenset({"sha256", "sha384", "sha512"})
_UNDERSTOOD: Final = frozenset(
    {
        ExtensionOID.ISSUING_DISTRIBUTION_POINT,
        ExtensionOID.CRL_NUMBER,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
    }
)


@dataclass(frozen=True, slots=True)
class CrlScope:
    """Which certificates of its issuer a CRL speaks about (RFC 5280 section 5.2.5).

    Attributes:
        names: distribution point names of the CRL; empty when it has none.
        users: it covers end-entity certificates.
        authorities: it covers CA certificates.
    """

    names: frozenset[str] = frozenset()
    users: bool = True
    authorities: bool = True

    def covers(self, certificate: x509.Certificate, *, is_ca: bool) -> bool:
        """Whether the certificate is in this scope (RFC 5280 section 6.3.3 (b)(2))."""
        if not (self.authorities if is_ca else self.users):
            return False
        return not self.names or bool(self.names & distribution_points(certificate))


@dataclass(frozen=True, slots=True)
class VerifiedCrl:
    """A CRL whose signature was checked against the key of a known issuer."""

    issuer_key: str
    number: int
    this_update: datetime
    next_update: datetime
    scope: CrlScope
    der: bytes
    _list: x509.CertificateRevocationList

    def lists(self, serial_number: int) -> bool:
        """Whether the serial number is on it, for whatever reason (on hold counts as well)."""
        return self._list.get_revoked_certificate_by_serial_number(serial_number) is not None


class CrlStore:
    """Holds the newest verified CRL of each issuer and scope.

    Args:
        issuers: DER certificates of the CAs whose CRLs are accepted (anchors and intermediates).
    """

    def __init__(self, issuers: Sequence[bytes]) -> None:
        self._issuers = tuple(x509.load_der_x509_certificate(der) for der in issuers)
        self._crls: dict[tuple[str, CrlScope], VerifiedCrl] = {}
        self.version = 0
        """Grows with each change; what was derived from an older version must be derived again."""

    def put(self, der: bytes) -> bool:
        """Verify a CRL and keep it when it is newer than what is held.

        Whether it is still fresh is not judged here, so that a restart can load what it kept.

        Returns:
            Whether it was taken; False when the same or a newer one is already held (a replayed old CRL).

        Raises:
            Refused: CRL_INVALID: unreadable, unknown issuer, wrong signature, weak algorithm, or a kind that is not
                supported.
        """
        crl = verify_crl(der, self._issuers)
        key = (crl.issuer_key, crl.scope)
        held = self._crls.get(key)
        if held is not None and (crl.number, crl.this_update) <= (held.number, held.this_update):
            return False
        if held is None and len(self._crls) >= MAX_CRLS:
            raise _invalid("there are too many")
        self._crls = self._crls | {key: crl}
        self.version += 1
        return True

    def covering(self, certificate: x509.Certificate, issuer_key: str, *, is_ca: bool) -> VerifiedCrl | None:
        """The newest CRL signed by `issuer_key` that speaks about `certificate`, or None."""
        found = [
            crl
            for (key, scope), crl in self._crls.items()
            if key == issuer_key and scope.covers(certificate, is_ca=is_ca)
        ]
        return max(found, key=lambda crl: crl.this_update, default=None)

    def held(self) -> tuple[VerifiedCrl, ...]:
        """Everything held, for persistence and for status pages."""
        return tuple(self._crls.values())


def spki_sha256(certificate: x509.Certificate) -> str:
    """Hex SHA-256 of the subjectPublicKeyInfo: the name of a CA that cannot be imitated."""
    info = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(info).hexdigest()


def distribution_points(certificate: x509.Certificate) -> frozenset[str]:
    """The CRL distribution point URIs of a certificate, except those delegated to another issuer."""
    try:
        points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset(
        name.value
        for point in points
        if point.crl_issuer is None and point.reasons is None
        for name in point.full_name or ()
        if isinstance(name, x509.UniformResourceIdentifier)
    )


def verify_crl(der: bytes, issuers: Sequence[x509.Certificate]) -> VerifiedCrl:
    """Check the form and signature of a CRL against known issuers.

    Raises:
        Refused: CRL_INVALID.
    """
    if len(der) > MAX_CRL_BYTES:
        raise _invalid("it is too large")
    try:
        crl = x509.load_der_x509_crl(der)
        scope, number = _scope_and_number(crl)
        digest = crl.signature_hash_algorithm
        candidates = [issuer for issuer in issuers if issuer.subject == crl.issuer and _may_sign_crls(issuer)]
    except Exception as error:  # whatever a parser says about hostile bytes means the same
        if isinstance(error, Refused):
            raise
        raise _invalid("it cannot be read") from error
    if digest is None or digest.name not in _DIGESTS:
        raise _invalid("its signature algorithm is too weak")
    if not candidates:
        raise _invalid("its issuer is not known here")
    for issuer in candidates:
        key = issuer.public_key()
        # The same name with another key is another CA; only the one whose key fits vouches for the list.
        if is_acceptable_key(key) and crl.is_signature_valid(key):  # type: ignore[arg-type]
            if crl.next_update_utc is None:
                raise _invalid("it does not say when the next one comes")
            return VerifiedCrl(spki_sha256(issuer), number, crl.last_update_utc, crl.next_update_utc, scope, der, crl)
    raise _invalid("its signature is not of the issuer it names")


def _scope_and_number(crl: x509.CertificateRevocationList) -> tuple[CrlScope, int]:
    scope = CrlScope()
    number = -1
    for extension in crl.extensions:
        if extension.oid == ExtensionOID.DELTA_CRL_INDICATOR:
            raise _invalid("delta CRLs are not supported")
        if extension.critical and extension.oid not in _UNDERSTOOD:
            raise _invalid("it has a critical extension that is not understood")
        if isinstance(extension.value, x509.CRLNumber):
            number = extension.value.crl_number
        if isinstance(extension.value, x509.IssuingDistributionPoint):
            scope = _scope(extension.value)
    if number < 0:
        raise _invalid("it has no CRL number")
    return scope, number


def _scope(point: x509.IssuingDistributionPoint) -> CrlScope:
    partial = point.indirect_crl or point.only_contains_attribute_certs or point.only_some_reasons
    if partial or point.relative_name is not None:
        raise _invalid("only complete CRLs of the issuer itself are supported")
    names = frozenset(name.value for name in point.full_name or () if isinstance(name, x509.UniformResourceIdentifier))
    if point.full_name and not names:
        raise _invalid("its distribution point is not a URI")
    return CrlScope(names, users=not point.only_contains_ca_certs, authorities=not point.only_contains_user_certs)


def _may_sign_crls(issuer: x509.Certificate) -> bool:
    try:
        return issuer.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign
    except x509.ExtensionNotFound:
        return True


def _invalid(what: str) -> Refused:
    return Refused(Reason.CRL_INVALID, f"The certificate revocation list is refused: {what}.")
