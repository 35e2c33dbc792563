"""Scheme `uzi`: server certificates of the UZI-register, generations up to and with PKIoverheid G4.

Specification: shared `spec/pki.md`, "Validating" rule 3. The subjectAltName holds one otherName of type `2.5.5.5`, an
IA5String

    <OID-CA>-<version>-<UZI 9>-<type>-<URA 8>-<role>-<AGB 8>

for example `2.16.528.1.1007.99.2110-1-900012345-S-90000123-00.000-01234567`. From G4 on a permanentIdentifier (RFC
4043) repeats the URA; where both stand, they must agree. An AGB-code of zeros means that the subscriber has none: then
the URA is the identity. Only type `S` (a system) counts: the same layout names people (`Z`, `N`, `M`), and a person's
card is not a system of the organisation that employs the person.

The environment is not in such a certificate; it comes from the pin. Does not read the common name or serialNumber.
"""

import re
from dataclasses import dataclass
from typing import Final

from asn1crypto import core
from cryptography import x509

from authz.domain.errors import InvalidValue, Refused
from authz.domain.identifiers import OID_OF_KIND, Identifier, IdentifierKind
from authz.domain.reasons import Reason
from pki.names import CertificateIdentity, alternative_names
from pki.validation.schemes.pin import PinnedIssuer

UZI_NAME: Final = x509.ObjectIdentifier("2.5.5.5")
PERMANENT_IDENTIFIER: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.8.3")
SYSTEM: Final = "S"
"""The card type of a server certificate."""
_URA_ASSIGNER: Final = OID_OF_KIND[IdentifierKind.URA]
_IA5_STRING: Final = 0x16
_MAX_NAME: Final = 127
"""Bytes: DER writes such a length in one byte; the longest real name has about 75."""
_LAYOUT: Final = re.compile(
    rb"(?P<ca>[0-2](?:\.(?:0|[1-9][0-9]{0,9})){2,15})"
    rb"-(?P<version>1)"
    rb"-(?P<uzi>[0-9]{9})"
    rb"-(?P<type>[A-Z])"
    rb"-(?P<ura>[0-9]{8})"
    rb"-(?P<role>[0-9]{2}\.[0-9]{3})"
    rb"-(?P<agb>[0-9]{8})"
)


@dataclass(frozen=True, slots=True)
class UziName:
    """The parts of the UZI otherName.

    Attributes:
        ca: OID of the CA under which it was made.
        uzi: UZI number, 9 digits.
        type: `S` for systems.
        ura: subscriber, 8 digits.
        role: two digits, a point, three digits; `00.000` for systems.
        agb: 8 digits, zeros for none.
    """

    ca: str
    uzi: str
    type: str
    ura: str
    role: str
    agb: str


class _PermanentIdentifier(core.Sequence):  # type: ignore[misc]  # asn1crypto has no types
    """RFC 4043 section 2."""

    _fields = [  # noqa: RUF012  the way asn1crypto declares a structure
        ("identifier_value", core.UTF8String, {"optional": True}),
        ("assigner", core.ObjectIdentifier, {"optional": True}),
    ]


def identify(certificate: x509.Certificate, pin: PinnedIssuer) -> CertificateIdentity:
    """The AGB-code of the subscriber, or its URA when it has none.

    Any other type of name beside DNS names is refused rather than ignored, as in the scheme `sluis`.

    Raises:
        Refused: CERTIFICATE_IDENTITY.
    """
    names: dict[x509.ObjectIdentifier, bytes] = {}
    for name in alternative_names(certificate):
        if isinstance(name, x509.DNSName):
            continue
        if not isinstance(name, x509.OtherName) or name.type_id not in {UZI_NAME, PERMANENT_IDENTIFIER}:
            raise _no_identity("its subjectAltName holds a type of name that has no place there")
        if name.type_id in names:
            raise _no_identity("its subjectAltName holds the same type of identity twice")
        names[name.type_id] = name.value
    if UZI_NAME not in names:
        raise _no_identity("its subjectAltName holds no UZI name")
    uzi = parse_uzi_name(names[UZI_NAME])
    if uzi.type != SYSTEM:
        raise _no_identity("it names a person and not a system")
    if PERMANENT_IDENTIFIER in names and permanent_identifier(names[PERMANENT_IDENTIFIER]) != uzi.ura:
        raise _no_identity("its two identity names are not of the same subscriber")
    try:
        has_agb = bool(uzi.agb.strip("0"))
        found = Identifier(IdentifierKind.AGB, uzi.agb) if has_agb else Identifier(IdentifierKind.URA, uzi.ura)
    except InvalidValue as error:
        raise _no_identity("it names no subscriber") from error
    return CertificateIdentity(pin.environment, found)


def parse_uzi_name(der: bytes) -> UziName:
    """Read the value of the otherName, strictly: one IA5String in DER, in exactly the one layout.

    Raises:
        Refused: CERTIFICATE_IDENTITY.
    """
    text = der[2:]
    if len(text) > _MAX_NAME or der[:2] != bytes((_IA5_STRING, len(text))):
        raise _no_identity("its UZI name is not an IA5String of the expected length")
    match = _LAYOUT.fullmatch(text)
    if match is None:
        raise _no_identity("its UZI name is not in the one layout that is known")
    part = {name: value.decode("ascii") for name, value in match.groupdict().items()}
    return UziName(part["ca"], part["uzi"], part["type"], part["ura"], part["role"], part["agb"])


def permanent_identifier(der: bytes) -> str:
    """The URA in a permanentIdentifier, in eight digits.

    The assigner says whose number it is: absent, or the URA register. Another one's number is not a URA, however alike.

    Raises:
        Refused: CERTIFICATE_IDENTITY.
    """
    try:
        read = _PermanentIdentifier.load(der, strict=True)
        value, assigner = read["identifier_value"].native, read["assigner"].native
        exact = bytes(_PermanentIdentifier(read.native).dump()) == der
    except Exception as error:  # whatever a parser says about hostile bytes means the same
        raise _no_identity("its permanentIdentifier is malformed") from error
    if not exact or value is None or not re.fullmatch(r"[0-9]{1,8}", value):
        raise _no_identity("its permanentIdentifier is malformed")
    if assigner not in {None, _URA_ASSIGNER}:
        raise _no_identity("its permanentIdentifier is of another register than that of subscribers (URA)")
    return str(value).zfill(8)


def _no_identity(what: str) -> Refused:
    return Refused(Reason.CERTIFICATE_IDENTITY, f"The certificate does not say whose it is: {what}.")
