"""Enrolment over Secure Transport, as bytes: what a request must look like, and what an answer looks like.

Specification: RFC 7030 (EST) with the clarifications of RFC 8951; RFC 7617 (Basic); RFC 5652 (certs-only CMS). Pure
functions; who may enrol is `pki.enrolment.service`, HTTP is `pki.http.est`.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Final

from asn1crypto import core
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from authz.domain.errors import InvalidValue, Refused
from authz.domain.identifiers import Identifier
from authz.domain.reasons import Reason
from pki.enrolment.requests import MAX_REQUEST_BYTES

REQUEST_TYPE: Final = "application/pkcs10"
CERTIFICATES_TYPE: Final = "application/pkcs7-mime"
ENROLLED_TYPE: Final = "application/pkcs7-mime; smime-type=certs-only"
ATTRIBUTES_TYPE: Final = "application/csrattrs"
REALM: Final = "enrolment"
MAX_BODY_BYTES: Final = MAX_REQUEST_BYTES // 3 * 4 + 1024
"""base64 of the largest request, with line breaks."""
MAX_CREDENTIALS: Final = 512
"""Characters of an Authorization header."""
_BASIC = re.compile(r"[Bb][Aa][Ss][Ii][Cc] +([A-Za-z0-9+/]+={0,2})")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]+={0,2}")
_SPACE: Final = b" \t\r\n"
_LINE: Final = 64

_EC_PUBLIC_KEY: Final = "1.2.840.10045.2.1"
_CURVES: Final = ("1.2.840.10045.3.1.7", "1.3.132.0.34")  # P-256, P-384
_SIGNATURES: Final = ("1.2.840.10045.4.3.2", "1.2.840.10045.4.3.3")  # ecdsa-with-SHA256, ecdsa-with-SHA384


def user_name(identifier: Identifier) -> str:
    """The user name of a party: `uzovi-5000`. A hyphen, because in Basic a colon ends the name (RFC 7617 section 2)."""
    return f"{identifier.kind.value}-{identifier.value}"


def read_credentials(header: str) -> tuple[Identifier | None, str]:
    """Identity and code from an Authorization header.

    Args:
        header: the one Authorization header.

    Returns:
        The identity, None when the user name is not one; and the code, as it was sent.

    Raises:
        Refused: CREDENTIALS_MISSING, it is not Basic or cannot be read.
    """
    match = _BASIC.fullmatch(header) if len(header) <= MAX_CREDENTIALS else None
    if match is None:
        raise _no_credentials()
    try:
        decoded = base64.b64decode(match[1], validate=True)
        name, colon, code = decoded.decode("ascii").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise _no_credentials() from None
    if not colon or base64.b64encode(decoded).decode() != match[1]:
        raise _no_credentials()
    try:
        return Identifier.parse_subject(name.replace("-", ":", 1)), code
    except InvalidValue:
        return None, code


def read_body(body: bytes) -> bytes:
    """DER from a request body: base64 of a PKCS#10, lines of any length (RFC 8951 section 3.1).

    Raises:
        Refused: BODY_TOO_LARGE, BODY_MALFORMED.
    """
    if len(body) > MAX_BODY_BYTES:
        raise Refused(Reason.BODY_TOO_LARGE, f"body: expected at most {MAX_BODY_BYTES} bytes.")
    packed = body.translate(None, _SPACE)
    if packed.startswith(b"-----"):
        raise Refused(
            Reason.BODY_MALFORMED, "body: expected base64 of the DER, without the BEGIN and END lines of PEM."
        )
    if not packed or len(packed) % 4 or not _BASE64.fullmatch(packed):
        raise Refused(Reason.BODY_MALFORMED, "body: expected a PKCS#10 request as base64 of its DER.")
    der = base64.b64decode(packed)
    if base64.b64encode(der) != packed:  # bits that mean nothing must be zero: one request has one text
        raise Refused(Reason.BODY_MALFORMED, "body: expected a PKCS#10 request as base64 of its DER.")
    return der


def certificates(ders: Sequence[bytes]) -> bytes:
    """A certs-only CMS message (RFC 7030 sections 4.1.3 and 4.2.3) in base64."""
    loaded = [x509.load_der_x509_certificate(der) for der in ders]
    return _lines(pkcs7.serialize_certificates(loaded, Encoding.DER))


def csr_attributes() -> bytes:
    """What a request should look like (RFC 7030 section 4.5.2), in base64: ECDSA on P-256 or P-384, SHA-2.

    A client that cannot may use RSA of 3072 bits or more; names and extensions are not asked for, as they are not read.
    """
    curves = b"".join(sorted(core.ObjectIdentifier(oid).dump() for oid in _CURVES))  # X.690 section 11.6
    attribute = core.ObjectIdentifier(_EC_PUBLIC_KEY).dump() + _tagged(0x31, curves)
    signatures = b"".join(core.ObjectIdentifier(oid).dump() for oid in _SIGNATURES)
    return _lines(_tagged(0x30, _tagged(0x30, attribute) + signatures))


def _tagged(tag: int, content: bytes) -> bytes:
    return bytes((tag, len(content))) + content  # all far below 128 bytes


def _lines(der: bytes) -> bytes:
    """base64 in lines that `openssl base64 -d` takes."""
    text = base64.b64encode(der)
    return b"".join(text[start : start + _LINE] + b"\n" for start in range(0, len(text), _LINE))


def _no_credentials() -> Refused:
    return Refused(
        Reason.CREDENTIALS_MISSING,
        "Authorization: expected Basic with the identity as user name (uzovi-5000) and the code as password.",
    )
