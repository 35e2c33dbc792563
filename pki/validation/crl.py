"""One certificate revocation list: reading it, verifying who made it, and what it speaks about.

Specification: RFC 5280 sections 5 and 6.3.3; shared `spec/pki.md`, "Validating" rule 4. Taken are complete CRLs, delta
CRLs and CRLs of a part of the certificates (by distribution point, by end entity or CA). Refused, each with its own
sentence: indirect CRLs, CRLs by reason, attribute-certificate CRLs, and any critical extension, of the list or of an
entry, that is not understood (docs/decisions/0016). Freshness is not judged here: it depends on the moment.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from asn1crypto import crl as asn1
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtensionOID

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.algorithms import STANDARD, AlgorithmRules
from pki.keys import spki_sha256

MAX_CRL_BYTES: Final = 16 * 1024 * 1024
"""A CRL of 100,000 entries has about 5 MB."""
_UNDERSTOOD: Final = frozenset(
    {
        ExtensionOID.ISSUING_DISTRIBUTION_POINT,
        ExtensionOID.CRL_NUMBER,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        ExtensionOID.DELTA_CRL_INDICATOR,
    }
)
_UNDERSTOOD_IN_ENTRY: Final = frozenset({x509.CRLReason.oid, x509.InvalidityDate.oid})
_CRITICAL: Final = b"\x01\x01\xff"
"""DER of `critical TRUE`."""


@dataclass(frozen=True, slots=True)
class CrlScope:
    """Which certificates of its issuer a CRL speaks about (RFC 5280 section 5.2.5).

    Attributes:
        names: distribution points of the CRL, as `distribution_points` writes them; empty when it has none.
        users: it covers end-entity certificates.
        authorities: it covers CA certificates.
        delta: it holds only what changed since the list it names.
    """

    names: frozenset[str] = frozenset()
    users: bool = True
    authorities: bool = True
    delta: bool = False

    def covers(self, certificate: x509.Certificate, *, is_ca: bool) -> bool:
        """Whether the certificate is in this scope (RFC 5280 section 6.3.3 (b)(2))."""
        if not (self.authorities if is_ca else self.users):
            return False
        return not self.names or bool(self.names & distribution_points(certificate))


@dataclass(frozen=True, slots=True)
class CrlEntry:
    """What a CRL says of one certificate.

    Attributes:
        since: revocationDate, UTC.
        reason: as RFC 5280 section 5.3.1 writes it; empty when none is given.
    """

    since: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class VerifiedCrl:
    """A CRL whose signature was checked against the key of a known issuer.

    Attributes:
        issuer_key: hex SHA-256 of the subjectPublicKeyInfo of the key that signed it.
        number: CRL number.
        this_update: when it was made, UTC.
        next_update: when the next one is there at the latest, UTC.
        scope: what it speaks about.
        der: the exact bytes.
        signer: the certificate of the key that signed it.
        base_number: for a delta: the number of the list from which on it tells the changes; -1 otherwise.
    """

    issuer_key: str
    number: int
    this_update: datetime
    next_update: datetime
    scope: CrlScope
    der: bytes
    signer: x509.Certificate
    base_number: int
    _list: x509.CertificateRevocationList

    @property
    def file_name(self) -> str:
        """Of a file to keep it in: the same for every list of this key and scope, also in another process."""
        scope = self.scope
        about = (*sorted(scope.names), str(scope.users), str(scope.authorities), str(scope.delta))
        return f"{self.issuer_key[:16]}-{hashlib.sha256(chr(0).join(about).encode()).hexdigest()[:8]}.crl"

    def lists(self, serial_number: int) -> bool:
        """Whether the serial number is on it, for whatever reason (on hold counts as well)."""
        return self._list.get_revoked_certificate_by_serial_number(serial_number) is not None

    def entry(self, serial_number: int) -> CrlEntry | None:
        """What the list says of a serial number; None when it is not on it, or its reason cannot be read."""
        entry = self._list.get_revoked_certificate_by_serial_number(serial_number)
        if entry is None:
            return None
        try:
            reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason.value
        except x509.ExtensionNotFound:
            reason = ""
        except ValueError:
            return None
        return CrlEntry(entry.revocation_date_utc, str(reason))

    def releases(self, serial_number: int) -> bool:
        """Whether a delta takes the serial number off the list (reason removeFromCRL, RFC 5280 section 5.3.1)."""
        entry = self._list.get_revoked_certificate_by_serial_number(serial_number)
        if entry is None or not self.scope.delta:
            return False
        try:
            reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
        except x509.ExtensionNotFound:
            return False
        return reason is x509.ReasonFlags.remove_from_crl


@dataclass(frozen=True, slots=True)
class Listing:
    """What is known about the revoked certificates of one issuer: a complete CRL, and the changes since, if any."""

    complete: VerifiedCrl
    delta: VerifiedCrl | None = None

    def lists(self, serial_number: int) -> bool:
        """Whether the serial number is revoked or on hold."""
        if self.delta is not None and self.delta.lists(serial_number):
            return not self.delta.releases(serial_number)
        return self.complete.lists(serial_number)

    @property
    def newest(self) -> VerifiedCrl:
        """The part that says how fresh the whole is.

        A complete CRL with a delta is as good as the complete CRL of the delta's number (RFC 5280 section 5.2.4).
        """
        return self.delta or self.complete


def distribution_points(certificate: x509.Certificate) -> frozenset[str]:
    """The CRL distribution points of a certificate, except those delegated to another issuer or of some reasons.

    A URI stands as it is; a directory name as `directory:` and the hex of its DER, a relative one completed with the
    name of the issuer (RFC 5280 section 4.2.1.13).
    """
    try:
        points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset(
        name
        for point in points
        if point.crl_issuer is None and point.reasons is None
        for name in _names(point.full_name, point.relative_name, certificate.issuer)
    )


def verify_crl(der: bytes, issuers: Sequence[x509.Certificate], rules: AlgorithmRules = STANDARD) -> VerifiedCrl:
    """Check the form and signature of a CRL against known issuers.

    Args:
        der: the list.
        issuers: certificates of CAs, or of keys that sign lists for them under the same name.
        rules: allowed keys and algorithms.

    Raises:
        Refused: CRL_INVALID.
    """
    if len(der) > MAX_CRL_BYTES:
        raise _invalid("it is too large")
    try:
        # 1. Who is said to have made it, and how: nothing of this grows with the list.
        crl = x509.load_der_x509_crl(der)
        signers = _signers(crl, issuers, rules)
        # 2. The signature. Anybody can write a long list, and what is behind this step costs time for each entry.
        unverified = asn1.CertificateList.load(der, strict=True)
        signer = _verified_signer(crl, unverified, signers)
        # 3. What it says.
        _require_one_spelling(unverified)
        scope, number, base_number = _read_extensions(crl)
        _require_plain_entries(crl, der)
        made, until = crl.last_update_utc, crl.next_update_utc
    except Exception as error:  # whatever a parser says about hostile bytes means the same
        if isinstance(error, Refused):
            raise
        raise _invalid("it cannot be read") from error
    if until is None:
        raise _invalid("it does not say when the next one comes")
    return VerifiedCrl(spki_sha256(signer), number, made, until, scope, der, signer, base_number, crl)


def _signers(
    crl: x509.CertificateRevocationList, issuers: Sequence[x509.Certificate], rules: AlgorithmRules
) -> list[x509.Certificate]:
    """The known issuers of this name that may sign lists, with keys that are allowed."""
    if not rules.signature_allowed(crl.signature_hash_algorithm, crl.signature_algorithm_parameters):
        raise _invalid("its signature algorithm is too weak")
    found = [issuer for issuer in issuers if issuer.subject == crl.issuer and _may_sign_crls(issuer)]
    if not found:
        raise _invalid("its issuer is not known here")
    return [issuer for issuer in found if rules.key_allowed(issuer.public_key())]


def _verified_signer(
    crl: x509.CertificateRevocationList, unverified: asn1.CertificateList, signers: Sequence[x509.Certificate]
) -> x509.Certificate:
    # Over the bytes as they came: the library would write the list anew, which takes ten times as long.
    signed, signature = unverified["tbs_cert_list"].dump(), unverified["signature"].native
    digest, parameters = crl.signature_hash_algorithm, crl.signature_algorithm_parameters
    for issuer in signers:
        key = issuer.public_key()
        # The same name with another key is another CA; only the one whose key fits vouches for the list.
        try:
            if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(parameters, ec.ECDSA):
                key.verify(signature, signed, parameters)
                return issuer
            if isinstance(key, rsa.RSAPublicKey) and not isinstance(parameters, ec.ECDSA) and digest is not None:
                key.verify(signature, signed, parameters, digest)  # type: ignore[arg-type]
                return issuer
        except InvalidSignature:
            continue
    raise _invalid("its signature is not of the issuer it names")


def _require_one_spelling(unchecked: asn1.CertificateList) -> None:
    """The parts outside the signature must be as the CA wrote them, as `pki.validation.path` asks of certificates."""
    signed = unchecked["tbs_cert_list"]["signature"].dump()
    if unchecked["signature_algorithm"].dump() != signed or unchecked["signature"].contents[0]:
        raise _invalid("it is not in the one encoding that is allowed")


def _read_extensions(crl: x509.CertificateRevocationList) -> tuple[CrlScope, int, int]:
    scope = CrlScope()
    number = base_number = -1
    for extension in crl.extensions:
        if extension.critical and extension.oid not in _UNDERSTOOD:
            raise _invalid("it has a critical extension that is not understood")
        if isinstance(extension.value, x509.CRLNumber):
            number = extension.value.crl_number
        elif isinstance(extension.value, x509.DeltaCRLIndicator):
            if (
                not extension.critical
            ):  # RFC 5280 section 5.2.4: a reader that knows no deltas would take it for complete
                raise _invalid("it is a delta and does not say so critically")
            base_number = extension.value.crl_number
        elif isinstance(extension.value, x509.IssuingDistributionPoint):
            scope = _scope(extension.value, crl.issuer)
    if number < 0:
        raise _invalid("it has no CRL number")
    if base_number >= 0:
        scope = CrlScope(scope.names, users=scope.users, authorities=scope.authorities, delta=True)
    return scope, number, base_number


def _scope(point: x509.IssuingDistributionPoint, issuer: x509.Name) -> CrlScope:
    if point.indirect_crl:
        raise _invalid("it speaks for other issuers (an indirect CRL), which is not supported")
    if point.only_some_reasons:
        raise _invalid("it is about some reasons only, which is not supported")
    if point.only_contains_attribute_certs:
        raise _invalid("it is about attribute certificates")
    names = _names(point.full_name, point.relative_name, issuer)
    if (point.full_name or point.relative_name) and not names:
        raise _invalid("its distribution point is neither a URI nor a directory name")
    return CrlScope(names, users=not point.only_contains_ca_certs, authorities=not point.only_contains_user_certs)


def _names(
    full: Sequence[x509.GeneralName] | None, relative: x509.RelativeDistinguishedName | None, issuer: x509.Name
) -> frozenset[str]:
    directory = [name.value for name in full or () if isinstance(name, x509.DirectoryName)]
    if relative is not None:
        directory.append(x509.Name([*issuer.rdns, relative]))
    uris = (name.value for name in full or () if isinstance(name, x509.UniformResourceIdentifier))
    return frozenset((*uris, *(f"directory:{name.public_bytes().hex()}" for name in directory)))


def _require_plain_entries(crl: x509.CertificateRevocationList, der: bytes) -> None:
    """No entry has a critical extension that is not understood: otherwise no part of the list may be used.

    RFC 5280 section 5.3. Reading every entry of a long list takes a second, so that is done only when the bytes of a
    critical extension occur more often than the extensions of the list itself account for.
    """
    own = sum(extension.critical for extension in crl.extensions)
    if der.count(_CRITICAL) > own and any(
        extension.critical and extension.oid not in _UNDERSTOOD_IN_ENTRY
        for entry in crl
        for extension in entry.extensions
    ):
        raise _invalid("an entry has a critical extension that is not understood")


def _may_sign_crls(issuer: x509.Certificate) -> bool:
    try:
        return issuer.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign
    except x509.ExtensionNotFound:
        return True


def _invalid(what: str) -> Refused:
    return Refused(Reason.CRL_INVALID, f"The certificate revocation list is refused: {what}.")
