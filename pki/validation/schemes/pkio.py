"""Scheme `pkio`: organisation certificates of PKIoverheid, identified by their subject.

Specification: shared `spec/pki.md`, "Validating" rule 3; ETSI EN 319 412-1 section 5.1.4 for organizationIdentifier
(`NTRNL-<KvK>`). The KvK number is the identity where it stands; a certificate without one is of a government body,
whose OIN stands in serialNumber (20 digits). One certificate gives one identity, always the same one. When both stand
and the OIN was derived from a KvK number (prefix 00000003), they must be of one organisation.

serialNumber may also hold a number that the issuer chose; it is read only when no organizationIdentifier is there.
The environment comes from the pin. Names in subjectAltName are not looked at: no identity is read there.
"""

import re

from cryptography import x509
from cryptography.x509.oid import NameOID

from authz.domain.errors import InvalidValue, Refused
from authz.domain.identifiers import Identifier, IdentifierKind
from authz.domain.reasons import Reason
from pki.names import CertificateIdentity, kvk_within
from pki.validation.schemes.pin import PinnedIssuer

_ORGANIZATION = re.compile(r"NTRNL-([0-9]{8})")
_OIN = re.compile(r"[0-9]{20}")


def identify(certificate: x509.Certificate, pin: PinnedIssuer) -> CertificateIdentity:
    """The KvK number, else the OIN, of the organisation in the subject.

    Raises:
        Refused: CERTIFICATE_IDENTITY.
    """
    subject = certificate.subject
    if any(len(rdn) != 1 for rdn in subject.rdns):
        raise _no_identity("its subject holds a multi-valued name part")
    organization = _one(subject, NameOID.ORGANIZATION_IDENTIFIER)
    serial = _one(subject, NameOID.SERIAL_NUMBER)
    oin = serial if serial is not None and _OIN.fullmatch(serial) else None
    try:
        if organization is not None:
            return CertificateIdentity(pin.environment, _kvk(organization, oin))
        if oin is not None:
            return CertificateIdentity(pin.environment, Identifier(IdentifierKind.OIN, oin))
    except InvalidValue as error:
        raise _no_identity("its number means nobody") from error
    raise _no_identity("its subject holds neither an organizationIdentifier nor an OIN")


def _kvk(organization: str, oin: str | None) -> Identifier:
    match = _ORGANIZATION.fullmatch(organization)
    if match is None:
        raise _no_identity("its organizationIdentifier is not NTRNL- and a KvK number of eight digits")
    kvk = Identifier(IdentifierKind.KVK, match[1])
    if oin is not None and kvk_within(Identifier(IdentifierKind.OIN, oin)) not in {None, kvk.value}:
        raise _no_identity("its KvK number and its OIN are of different organisations")
    return kvk


def _one(subject: x509.Name, oid: x509.ObjectIdentifier) -> str | None:
    found = subject.get_attributes_for_oid(oid)
    if len(found) > 1:
        raise _no_identity("its subject holds the same identifier twice")
    # bytes only for a BIT STRING, which no identifier is.
    return None if not found else str(found[0].value)


def _no_identity(what: str) -> Refused:
    return Refused(Reason.CERTIFICATE_IDENTITY, f"The certificate does not say whose it is: {what}.")
