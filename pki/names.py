"""Names in a system certificate: who its holder is, and how that is written so that nothing else can look like it.

Specification: shared `spec/pki.md`, "Issuing" and "Validating" rule 3; RFC 5280 section 4.2.1.6 (otherName). The
identity is one otherName under our own arc and nothing else: not the common name, not the subject serialNumber, not a
DNS name. This module reads and writes that name. It does not check who signed the certificate: an identity means
something only after `pki.validation.validator` has pinned it to the key of the issuing CA.

The arc is 2.25.<UUID as integer> (ITU-T X.667), which needs no registration authority: UUID
0fbdd57b-86a8-4553-9ea1-58d5373e1b3c was drawn for Sluis.

    SluisIdentity ::= SEQUENCE {
        environment PrintableString,   -- PRD, TST or ACC
        kind        PrintableString,   -- agbcode, uzovi, oin, kvk or ura
        value       NumericString }
"""

import ipaddress
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from asn1crypto import core
from cryptography import x509
from cryptography.x509.oid import NameOID

from authz.domain.errors import InvalidValue, Refused
from authz.domain.identifiers import Identifier, IdentifierKind
from authz.domain.reasons import Reason

SLUIS_ARC: Final = f"2.25.{uuid.UUID('0fbdd57b-86a8-4553-9ea1-58d5373e1b3c').int}"
IDENTITY_OID: Final = x509.ObjectIdentifier(f"{SLUIS_ARC}.1")
"""type-id of the otherName that holds a SluisIdentity."""
UZI_LAYOUT_OID: Final = x509.ObjectIdentifier("2.5.5.5")
"""type-id of the otherName in UZI layout, beside ours, for readers that know only that one (spec/pki.md, optional)."""
SYSTEM_POLICY_OID: Final = x509.ObjectIdentifier(f"{SLUIS_ARC}.2.1")
"""certificatePolicies of a system certificate."""

ENVIRONMENTS: Final = frozenset({"PRD", "TST", "ACC"})
"""shared `domain.md`, "Address book": an environment is part of an identity, so that test is never production."""
MAX_DNS_NAMES: Final = 25
"""DNS names in one certificate."""
MAX_DNS_NAME_LENGTH: Final = 253
"""Characters; RFC 1035 section 2.3.4."""

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_KVK = re.compile(r"[0-9]{8}")
_KVK_NAME = re.compile(r"NTRNL-(?P<kvk>[0-9]{8})")
_OIN_OF_KVK: Final = "00000003"
_OID = re.compile(r"[0-2](?:\.(?:0|[1-9][0-9]{0,9})){2,15}")
_UZI_REPEATS = re.compile(rf"{_OID.pattern}-1-000000000-S-00000000-00\.000-(?P<agb>[0-9]{{8}})".encode("ascii"))
_IA5_STRING: Final = 0x16
_MAX_UZI_NAME: Final = 127  # bytes; DER writes such a length in one byte
MAX_NAME: Final = 64
"""Characters of an organisation or a common name (RFC 5280 appendix A.1, upper bounds)."""


class _SluisIdentity(core.Sequence):  # type: ignore[misc]  # asn1crypto has no types
    _fields = [  # noqa: RUF012  the way asn1crypto declares a structure
        ("environment", core.PrintableString),
        ("kind", core.PrintableString),
        ("value", core.NumericString),
    ]


@dataclass(frozen=True, slots=True)
class CertificateIdentity:
    """Whom a certificate stands for, and in which environment.

    Raises:
        InvalidValue: the environment is not one of `ENVIRONMENTS`.
    """

    environment: str
    identifier: Identifier

    def __post_init__(self) -> None:
        if self.environment not in ENVIRONMENTS:
            raise InvalidValue("not an environment: expected PRD, TST or ACC")


def encode_identity(identity: CertificateIdentity) -> x509.OtherName:
    """The otherName that says `identity`, in DER."""
    said = identity.identifier
    return x509.OtherName(IDENTITY_OID, _encoded(identity.environment, said.kind, said.value))


def decode_identity(der: bytes) -> CertificateIdentity:
    """Read the value of our otherName.

    Strict: what is read must be, byte for byte, what `encode_identity` would write. That closes BER variants, other
    string types, extra members, trailing data and embedded NUL in one comparison.

    Raises:
        Refused: CERTIFICATE_IDENTITY.
    """
    try:
        native = _SluisIdentity.load(der, strict=True).native
        identity = CertificateIdentity(
            native["environment"], Identifier(IdentifierKind(native["kind"]), native["value"])
        )
        written = _encoded(identity.environment, identity.identifier.kind, native["value"])
    except Exception as error:  # whatever a parser says about hostile bytes means the same
        raise _no_identity("its identity name is malformed") from error
    # Of a URA the digits as they stand there: certificates of before it had one spelling may lack leading zeros.
    if written != der:
        raise _no_identity("its identity name is not in the one form that is allowed")
    return identity


def identity_of(certificate: x509.Certificate) -> CertificateIdentity:
    """The identity that a certificate claims under the scheme `sluis`.

    The subjectAltName may hold DNS names, which are not looked at here, and exactly one otherName of ours; beside it at
    most one in UZI layout, which must name the same AGB-code. Every other type of name is refused rather than ignored:
    a certificate that says something else in a place where another reader might look for an identity is not one that
    our CA makes.

    Does not check the signature, the issuer, the times or the revocation.

    Raises:
        Refused: CERTIFICATE_IDENTITY.
    """
    own, repeated = [], []
    for name in alternative_names(certificate):
        if isinstance(name, x509.OtherName) and name.type_id == IDENTITY_OID:
            own.append(name.value)
        elif isinstance(name, x509.OtherName) and name.type_id == UZI_LAYOUT_OID:
            repeated.append(name.value)
        elif not isinstance(name, x509.DNSName):
            raise _no_identity("its subjectAltName holds a type of name that has no place there")
    if len(own) != 1 or len(repeated) > 1:
        raise _no_identity("its subjectAltName must hold exactly one identity name")
    identity = decode_identity(own[0])
    if repeated and not _repeats(repeated[0], identity.identifier):
        raise _no_identity("its two identity names do not say the same")
    return identity


def alternative_names(certificate: x509.Certificate) -> tuple[x509.GeneralName, ...]:
    """All subjectAltNames, in order.

    Raises:
        Refused: CERTIFICATE_IDENTITY, there is no subjectAltName; CERTIFICATE_MALFORMED, it cannot be read.
    """
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound as error:
        raise _no_identity("it has no subjectAltName") from error
    except (ValueError, x509.DuplicateExtension) as error:
        raise Refused(Reason.CERTIFICATE_MALFORMED, "The extensions of the certificate cannot be read.") from error
    return tuple(extension.value)


def dns_names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """The DNS names of a certificate, each a well-formed lower-case host name without wildcard.

    Raises:
        Refused: CERTIFICATE_IDENTITY, a name is malformed (an embedded NUL is the classic).
    """
    names = tuple(name.value for name in alternative_names(certificate) if isinstance(name, x509.DNSName))
    if not all(is_host_name(name) for name in names):
        raise _no_identity("one of its DNS names is malformed")
    return names


def organization_of(certificate: x509.Certificate) -> str:
    """The one organizationName of the subject; display only, never an identity.

    Raises:
        Refused: CERTIFICATE_IDENTITY: none or several, a multi-valued RDN, or control characters in the subject.
    """
    subject = certificate.subject
    if any(len(rdn) != 1 for rdn in subject.rdns):
        raise _no_identity("its subject holds a multi-valued name part")
    if any(not is_display_text(str(attribute.value)) for attribute in subject):
        raise _no_identity("its subject holds control characters")
    organizations = subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    if len(organizations) != 1:
        raise _no_identity("its subject must name exactly one organisation")
    return str(organizations[0].value)


def kvk_of(certificate: x509.Certificate) -> str:
    """The KvK number in the organizationIdentifier of a system certificate.

    Raises:
        Refused: CERTIFICATE_IDENTITY, there is not exactly one.
    """
    said = _KVK_NAME.fullmatch(_only(certificate, NameOID.ORGANIZATION_IDENTIFIER))
    if said is None:
        raise _no_identity("its subject must name a KvK number")
    return said["kvk"]


def common_name_of(certificate: x509.Certificate) -> str:
    """The one commonName of the subject; display only.

    Raises:
        Refused: CERTIFICATE_IDENTITY, there is not exactly one.
    """
    return _only(certificate, NameOID.COMMON_NAME)


def _only(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> str:
    found = certificate.subject.get_attributes_for_oid(oid)
    if len(found) != 1:
        raise _no_identity("a part of its subject is missing, or is there twice")
    return str(found[0].value)


def subject_name(*, organization: str, common_name: str, kvk: str, identifier: Identifier) -> x509.Name:
    """Build the subject of a system certificate: C, O, organizationIdentifier, serialNumber, CN, each once.

    Args:
        organization: legal name, at most `MAX_NAME` characters.
        common_name: what people call the system, at most `MAX_NAME` bytes in UTF-8: readers such as pyca/cryptography
            count those.
        kvk: 8 digits; becomes `NTRNL-<KvK>` (ETSI EN 319 412-1 section 5.1.4).
        identifier: repeated in serialNumber for people who read certificates; no part of Sluis reads it there.

    Raises:
        InvalidValue: a text is empty, too long, holds control characters or has spaces around it, or the KvK number is
            malformed or another one than the identifier says.
    """
    require_kvk(kvk)
    if kvk_within(identifier) not in {None, kvk}:
        raise InvalidValue("the KvK number and the identifier are of different organisations")
    require_name(organization)
    require_name(common_name)
    if len(common_name.encode()) > MAX_NAME:
        raise InvalidValue(f"not a common name: expected at most {MAX_NAME} bytes in UTF-8")
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "NL"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.ORGANIZATION_IDENTIFIER, f"NTRNL-{kvk}"),
            x509.NameAttribute(NameOID.SERIAL_NUMBER, identifier.subject),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def require_kvk(text: str) -> None:
    """See that this is a KvK number.

    Raises:
        InvalidValue: it is not.
    """
    if not _KVK.fullmatch(text):
        raise InvalidValue("not a KvK number: expected eight digits")
    if not text.strip("0"):
        raise InvalidValue("not a KvK number: eight zeros are the number of nobody")


def require_name(text: str) -> None:
    """See that people can read this as the name of an organisation or a system, and that it fits.

    Raises:
        InvalidValue: it is not so.
    """
    if not text.strip() or not is_display_text(text) or len(text) > MAX_NAME:
        raise InvalidValue(f"not a name: expected 1 to {MAX_NAME} printable characters, and there are {len(text)}")
    if text != text.strip():
        raise InvalidValue("not a name: expected no spaces around it")


def require_dns_name(text: str) -> None:
    """See that this is a name of DNS, by which the holder's servers are reached.

    Raises:
        InvalidValue: it is not.
    """
    if _is_address(text):
        raise InvalidValue("not a DNS name: expected the name of a host and not its IP address")
    if not is_host_name(text):
        raise InvalidValue(
            "not a DNS name: expected lower-case letters, digits and hyphens between dots, without wildcard, at most"
            f" {MAX_DNS_NAME_LENGTH} characters"
        )


def _is_address(text: str) -> bool:
    """Whether programs would read this as an address and never look it up, such as 127.0.0.1 and 127.1."""
    try:
        ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        head, dot, last = text.rpartition(".")
        return bool(head and dot and last.isascii() and last.isdigit())
    return True


def kvk_within(identifier: Identifier) -> str | None:
    """The KvK number that an identifier is, or was derived from; None when it says nothing of one.

    An OIN of prefix 00000003 holds a KvK number in the next eight digits (Logius, "OIN-stelsel").
    """
    if identifier.kind is IdentifierKind.KVK:
        return identifier.value
    if identifier.kind is IdentifierKind.OIN and identifier.value.startswith(_OIN_OF_KVK):
        return identifier.value[8:16]
    return None


def uzi_layout(authority: str, identifier: Identifier) -> x509.OtherName:
    """An AGB-code once more, as `<OID-CA>-1-<UZI 9>-S-<URA 8>-00.000-<AGB 8>`, with zeros for what is not known.

    Args:
        authority: OID of the CA, dotted; the operator's own.
        identifier: an AGB-code.

    Raises:
        InvalidValue: not an AGB-code, or not an OID that fits.
    """
    text = f"{authority}-1-000000000-S-00000000-00.000-{identifier.value}".encode("ascii")
    if identifier.kind is not IdentifierKind.AGB or not _OID.fullmatch(authority) or len(text) > _MAX_UZI_NAME:
        raise InvalidValue("the UZI layout repeats an AGB-code under the OID of a CA")
    return x509.OtherName(UZI_LAYOUT_OID, bytes((_IA5_STRING, len(text))) + text)


def subject_alternative_name(
    identity: CertificateIdentity, dns_names: Sequence[str], uzi_authority: str | None = None
) -> x509.SubjectAlternativeName:
    """DNS names, and the identity.

    Args:
        identity: vetted.
        dns_names: vetted.
        uzi_authority: OID of the CA, to repeat an AGB-code in UZI layout; None leaves that out.

    Raises:
        InvalidValue: a DNS name is malformed, given twice, or there are more than `MAX_DNS_NAMES`.
    """
    if len(dns_names) > MAX_DNS_NAMES or len(set(dns_names)) != len(dns_names):
        raise InvalidValue(f"a certificate has at most {MAX_DNS_NAMES} different DNS names")
    for dns_name in dns_names:
        require_dns_name(dns_name)
    names: list[x509.GeneralName] = [*(x509.DNSName(name) for name in dns_names), encode_identity(identity)]
    if uzi_authority is not None and identity.identifier.kind is IdentifierKind.AGB:
        names.append(uzi_layout(uzi_authority, identity.identifier))
    return x509.SubjectAlternativeName(names)


def is_host_name(text: str) -> bool:
    """Whether `text` is a lower-case host name in the letters-digits-hyphen form, without wildcard or final dot."""
    return len(text) <= MAX_DNS_NAME_LENGTH and _HOST_NAME.fullmatch(text) is not None


def is_display_text(text: str) -> bool:
    """Whether people can read all of `text`: no control, format, surrogate or unassigned characters."""
    return text.isprintable()


def _repeats(value: bytes, identifier: Identifier) -> bool:
    text = value[2:]
    match = _UZI_REPEATS.fullmatch(text)
    exact = len(text) <= _MAX_UZI_NAME and value[:2] == bytes((_IA5_STRING, len(text)))
    said = match["agb"].decode("ascii") if match is not None and exact else None
    return identifier.kind is IdentifierKind.AGB and said == identifier.value


def _encoded(environment: str, kind: IdentifierKind, digits: str) -> bytes:
    value = _SluisIdentity({"environment": environment, "kind": kind.value, "value": digits})
    return bytes(value.dump())


def _no_identity(what: str) -> Refused:
    return Refused(Reason.CERTIFICATE_IDENTITY, f"The certificate does not say whose it is: {what}.")
