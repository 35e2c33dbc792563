"""The second opinion before anything is signed: pkilint, with its validators for RFC 5280 certificates and CRLs.

Specification: shared `spec/pki.md`, "Issuing" ("own lints per requirement, plus pkilint"); RFC 5280 sections 4 and 5. A
finding of ERROR or worse refuses. What is allowed nevertheless is listed one by one, each with its clause: pkilint's
decoder stops at our object identifiers, and a lab's settings may name host names of one label. So that nothing hides
behind the first, every certificate is linted a second time with the arc of the nil UUID (2.25.0) in the place of ours,
and there it is not allowed.

pkilint is imported when the first document is linted (half a second), never with this module; without it nothing is
signed. Whether what stands in the document is right for its holder is not asked here; that is `pki.lint.system`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from asn1crypto import core

from authz.domain.errors import Refused, SluisError
from authz.domain.reasons import Reason
from pki.names import SLUIS_ARC

_OURS: Final = bytes(core.ObjectIdentifier(SLUIS_ARC).contents)
_NIL: Final = bytes(core.ObjectIdentifier("2.25.0").contents)
_OBJECT_IDENTIFIER: Final = 0x06
_OCTET_STRING: Final = 0x04
_SEQUENCE: Final = 0x30
_CONSTRUCTED: Final = 0x20
_LONG_FORM: Final = 0x80


class LinterMissing(SluisError):  # noqa: N818  it says what is the matter
    """pkilint is not installed, so nothing can be signed."""


@dataclass(frozen=True, slots=True)
class _Allowed:
    """One finding that does not refuse.

    Attributes:
        code: of the finding.
        says: what its text must contain, so that another finding of the same code still refuses.
        clause: why it may stand.
    """

    code: str
    says: tuple[str, ...]
    clause: str


_OUR_ARC: Final = tuple(
    _Allowed(
        "itu.invalid_asn1_syntax",
        (f"type OID {extension}:", "OID contains arc which is larger than 32-bits"),
        "ITU-T X.667 section 7: an arc under 2.25 is a UUID of 128 bits; X.690 section 8.19 sets no limit to an arc",
    )
    for extension in ("2.5.29.17", "2.5.29.32")
)


def _local(name: str) -> _Allowed:
    clause = "RFC 6761 section 6.3 and RFC 1034 section 3.1: one label is a name; settings say that it may be certified"
    return _Allowed("pkix.invalid_domain_name_syntax", (f'Invalid domain name syntax: "{name}"',), clause)


def lint_certificate(der: bytes, local_names: Iterable[str] = ()) -> None:
    """Refuse a certificate in which pkilint finds an error.

    Args:
        der: the whole certificate; its signature is not checked.
        local_names: DNS names of one label that this installation may certify, such as `localhost` in a lab.

    Raises:
        Refused: LINT_FAILED, with the findings by name.
        LinterMissing: pkilint is not installed.
    """
    local = tuple(_local(name) for name in local_names)
    _refuse(_findings(_certificates(), der), (*_OUR_ARC, *local))
    _refuse(_findings(_certificates(), _with_small_arc(der)), local)


def lint_crl(der: bytes) -> None:
    """Refuse a CRL in which pkilint finds an error.

    Takes about a third of a millisecond for each entry: the caller gives a CRL with few of them.

    Args:
        der: the whole CRL; its signature is not checked.

    Raises:
        Refused: LINT_FAILED, with the findings by name.
        LinterMissing: pkilint is not installed.
    """
    _refuse(_findings(_crls(), der), ())


def load() -> None:
    """Import pkilint now rather than with the first document, which may be linted while others wait.

    Raises:
        LinterMissing: pkilint is not installed.
    """
    _certificates()
    _crls()


def _refuse(findings: list[tuple[str, str]], allowed: tuple[_Allowed, ...]) -> None:
    broken = [
        code
        for code, text in findings
        if not any(item.code == code and all(words in text for words in item.says) for item in allowed)
    ]
    if broken:
        raise Refused(Reason.LINT_FAILED, f"What would be signed breaks a standard: {'; '.join(sorted(set(broken)))}.")


def _findings(validator: "_Linter", der: bytes) -> list[tuple[str, str]]:
    """(code at path, text) of each finding of ERROR or worse; what cannot be decoded at all is one."""
    from pkilint.validation import ValidationFindingSeverity  # noqa: PLC0415  slow to import

    try:
        root = validator.loader(der).root
    except ValueError as error:
        return [("undecodable", str(error))]
    return [
        (described.finding.code, f"{result.node.path} {described.message}")
        for result in validator.container.validate(root)
        for described in result.finding_descriptions
        if described.finding.severity <= ValidationFindingSeverity.ERROR
    ]


@dataclass(frozen=True, slots=True)
class _Linter:
    loader: Any
    container: Any


@cache
def _certificates() -> _Linter:
    try:
        from pkilint import loader  # noqa: PLC0415  slow to import, and not there in trust agent and authz
        from pkilint.pkix import certificate, extension, name  # noqa: PLC0415
    except ImportError as error:
        raise _missing() from error
    container = certificate.create_pkix_certificate_validator_container(
        certificate.create_decoding_validators(name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS),
        [
            certificate.create_issuer_validator_container([]),
            certificate.create_validity_validator_container(),
            certificate.create_subject_validator_container([]),
            certificate.create_extensions_validator_container([]),
            certificate.create_spki_validator_container([]),
        ],
    )
    return _Linter(loader.load_der_certificate, container)


@cache
def _crls() -> _Linter:
    try:
        from pkilint import loader, pkix  # noqa: PLC0415
        from pkilint.pkix import crl, extension, name  # noqa: PLC0415
    except ImportError as error:
        raise _missing() from error
    container = crl.create_pkix_crl_validator_container(
        [
            pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
            pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
        ],
        [
            crl.create_issuer_validator_container([]),
            crl.create_validity_validator_container([]),
            crl.create_extensions_validator_container([]),
        ],
    )
    return _Linter(loader.load_der_crl, container)


def _missing() -> LinterMissing:
    return LinterMissing("pkilint is not installed; nothing is signed without it: pip install 'sluis[ca]'")


def _with_small_arc(data: bytes) -> bytes:
    """The same DER with every object identifier under our arc moved to 2.25.0, lengths adapted."""
    out = bytearray()
    at = 0
    while at < len(data):
        tag, start, end = _element(data, at)
        body = data[start:end]
        if tag == _OBJECT_IDENTIFIER and body.startswith(_OURS):
            body = _NIL + body[len(_OURS) :]
        elif tag & _CONSTRUCTED or (tag == _OCTET_STRING and _is_one_sequence(body)):  # an extension's value
            body = _with_small_arc(body)
        out += bytes((tag,)) + _length(len(body)) + body
        at = end
    return bytes(out)


def _is_one_sequence(body: bytes) -> bool:
    if not body or body[0] != _SEQUENCE:
        return False
    try:
        return _element(body, 0)[2] == len(body)
    except IndexError:
        return False


def _element(data: bytes, at: int) -> tuple[int, int, int]:
    """(tag, where the value starts, where it ends). What we encode ourselves has one-byte tags."""
    size = data[at + 1]
    start = at + 2
    if size >= _LONG_FORM:
        start += size - _LONG_FORM
        size = int.from_bytes(data[at + 2 : start], "big")
    if start + size > len(data):
        raise IndexError("an element that ends beyond its container")
    return data[at], start, start + size


def _length(size: int) -> bytes:
    if size < _LONG_FORM:
        return bytes((size,))
    encoded = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((_LONG_FORM | len(encoded),)) + encoded
