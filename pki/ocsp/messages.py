"""OCSP messages as bytes: what was asked, and what is answered. No status is looked up here and nothing is signed.

Specification: RFC 6960 section 4; RFC 9654 (nonce); RFC 5019 (lightweight profile); ITU-T X.690 (DER). What is signed
and its signature are put together apart, because the responder's key hides behind `Signer.sign(bytes)` and signatures
are kept. Signatures of requests are not looked at: everybody may ask.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from functools import cache
from typing import Final

from asn1crypto import algos, core, ocsp

from pki.revocation.crl import RevocationReason

MAX_REQUEST_BYTES: Final = 4096
MAX_QUESTIONS: Final = 4
"""Certificates in one request; RFC 5019 section 2.1.1 asks for one."""
MAX_NONCE: Final = 128
"""Octets. RFC 9654 section 2.1: 1 to 128; a request with another length is malformed."""


class ErrorStatus(IntEnum):
    """RFC 6960 section 4.2.1: answers that are not signed."""

    MALFORMED_REQUEST = 1
    INTERNAL_ERROR = 2
    TRY_LATER = 3
    UNAUTHORIZED = 6


class MalformedRequest(ValueError):  # noqa: N818  the protocol's own word
    """The bytes are not an OCSP request that can be answered."""


@dataclass(frozen=True, slots=True)
class Question:
    """One certificate that is asked about.

    Attributes:
        certificate_id: DER of the CertID, echoed in the answer as it came.
        issuer: hash algorithm, hash of the issuer's name and hash of its key.
        serial_number: of the certificate.
    """

    certificate_id: bytes
    issuer: tuple[str, bytes, bytes]
    serial_number: int


@dataclass(frozen=True, slots=True)
class OcspRequest:
    """What somebody asks."""

    questions: tuple[Question, ...]
    nonce: bytes | None


@dataclass(frozen=True, slots=True)
class Status:
    """What the CA says of one certificate.

    Attributes:
        known: it was issued here.
        revoked_at: when it was revoked or put on hold; None when it was not.
        reason: why, when it was.
    """

    known: bool
    revoked_at: datetime | None = None
    reason: RevocationReason | None = None


GOOD: Final = Status(known=True)
"""Of a certificate that was issued and not revoked."""


@dataclass(frozen=True, slots=True)
class Window:
    """From when and until when an answer counts, in whole seconds, UTC."""

    this_update: datetime
    next_update: datetime


def parse_request(der: bytes) -> OcspRequest:
    """Read a request.

    Raises:
        MalformedRequest: with nothing of the request in its text.
    """
    if not 0 < len(der) <= MAX_REQUEST_BYTES:
        raise MalformedRequest("expected a request of at most 4096 octets")
    try:
        return _read(ocsp.OCSPRequest.load(der, strict=True)["tbs_request"])
    except MalformedRequest:
        raise
    except Exception as error:  # whatever a parser says about hostile bytes means the same
        raise MalformedRequest("it cannot be read") from error


def _read(asked: ocsp.TBSRequest) -> OcspRequest:
    requests = asked["request_list"]
    if asked["version"].native != "v1" or not 1 <= len(requests) <= MAX_QUESTIONS:
        raise MalformedRequest(f"expected version 1 and 1 to {MAX_QUESTIONS} certificates")
    for extensions in (asked["request_extensions"], *(item["single_request_extensions"] for item in requests)):
        _refuse_unknown(extensions)
    questions = tuple(_question(item["req_cert"]) for item in requests)
    return OcspRequest(questions, _nonce(asked["request_extensions"]))


def encode_answers(
    responder_key_hash: bytes, answers: Sequence[tuple[Question, Status]], window: Window, nonce: bytes | None
) -> bytes:
    """DER of the ResponseData: what is to be signed. Written by hand: every certificate's is made ahead of time.

    Args:
        responder_key_hash: SHA-1 of the responder's public key (RFC 6960 section 4.2.1, byKey).
        answers: in the order of the questions.
        window: of all of them.
        nonce: as asked.
    """
    made = _time(window.this_update)
    times = made + _tlv(0xA0, _time(window.next_update))
    single = [
        _tlv(0x30, question.certificate_id + _status(status) + times)  # SingleResponse
        for question, status in answers
    ]
    extensions = b""
    if nonce is not None:
        extension = _tlv(0x30, _NONCE + _tlv(0x04, _tlv(0x04, nonce)))
        extensions = _tlv(0xA1, _tlv(0x30, extension))
    responder = _tlv(0xA2, _tlv(0x04, responder_key_hash))
    return _tlv(0x30, responder + made + _tlv(0x30, b"".join(single)) + extensions)


def join_response(data: bytes, algorithm: str, signature: bytes, certificate: bytes) -> bytes:
    """DER of a successful OCSPResponse with the responder's certificate inside."""
    signed = data + _algorithm(algorithm) + _tlv(0x03, b"\x00" + signature) + _tlv(0xA0, _tlv(0x30, certificate))
    basic = _tlv(0x30, _BASIC + _tlv(0x04, _tlv(0x30, signed)))
    return _tlv(0x30, _SUCCESSFUL + _tlv(0xA0, basic))


def certificate_id(issuer: tuple[str, bytes, bytes], serial_number: int) -> bytes:
    """DER of the CertID as clients write it: SHA-1 or SHA-256 with NULL parameters (RFC 6960 section 4.1.1).

    Args:
        issuer: hash algorithm, hash of the issuer's name and hash of its key.
        serial_number: of the certificate.
    """
    algorithm, name_hash, key_hash = issuer
    number = serial_number.to_bytes(serial_number.bit_length() // 8 + 1, "big")
    kind = _tlv(0x30, _HASH_OIDS[algorithm] + _NULL)
    return _tlv(0x30, kind + _tlv(0x04, name_hash) + _tlv(0x04, key_hash) + _tlv(0x02, number))


def error_response(status: ErrorStatus) -> bytes:
    """DER of an OCSPResponse that only says why there is no answer."""
    return bytes((0x30, 0x03, 0x0A, 0x01, status))


def _question(found: ocsp.CertId) -> Question:
    algorithm = found["hash_algorithm"]["algorithm"]
    name_hash, key_hash = bytes(found["issuer_name_hash"].native), bytes(found["issuer_key_hash"].native)
    serial_number = int(found["serial_number"].native)
    if serial_number < 0:
        # RFC 5280 section 4.1.2.2: positive. Zero is asked about as well, because such certificates are said to exist;
        # ours are none of them, so it is unknown.
        raise MalformedRequest("a serial number is negative")
    encoded = bytes(found.dump())
    # It comes back in a signed answer, so it is exactly what we would have written, and nothing hides in it.
    rest = core.OctetString(name_hash).dump() + core.OctetString(key_hash).dump() + core.Integer(serial_number).dump()
    for parameters in (_NULL, b""):
        kind = _sequence(core.ObjectIdentifier(algorithm.dotted).dump() + parameters)
        if encoded == _sequence(kind + rest):
            return Question(encoded, (str(algorithm.native), name_hash, key_hash), serial_number)
    raise MalformedRequest("a certificate is named in another way than DER has")


def _sequence(body: bytes) -> bytes:
    return bytes(core.Sequence(contents=body).dump())


def _refuse_unknown(extensions: ocsp.TBSRequestExtensions) -> None:
    for extension in extensions if extensions.native is not None else ():
        # RFC 6960 section 4.4: what is critical and not understood may not be passed over.
        if extension["critical"].native and extension["extn_id"].native != "nonce":
            raise MalformedRequest("a critical extension is not understood")


def _nonce(extensions: ocsp.TBSRequestExtensions) -> bytes | None:
    if extensions.native is None:
        return None
    found = [item["extn_value"].parsed.native for item in extensions if item["extn_id"].native == "nonce"]
    if not found:
        return None
    if len(found) > 1 or not isinstance(found[0], bytes) or not 1 <= len(found[0]) <= MAX_NONCE:
        raise MalformedRequest("expected one nonce of 1 to 128 octets (RFC 9654)")
    return found[0]


def _status(status: Status) -> bytes:
    """CertStatus, a choice with implicit tags (RFC 6960 section 4.2.1)."""
    if not status.known:
        return b"\x82\x00"
    if status.revoked_at is None:
        return b"\x80\x00"
    revoked = _time(status.revoked_at)
    if status.reason is not None and status.reason is not RevocationReason.UNSPECIFIED:
        revoked += _tlv(0xA0, bytes((0x0A, 0x01, status.reason.code)))
    return _tlv(0xA1, revoked)


def _time(moment: datetime) -> bytes:
    """GeneralizedTime in whole seconds of UTC (RFC 6960 section 4.2.2.1; RFC 5280 section 4.1.2.5.2)."""
    at = moment.astimezone(UTC)
    # Four digits of the year, which strftime does not promise.
    text = f"{at.year:04}{at.month:02}{at.day:02}{at.hour:02}{at.minute:02}{at.second:02}Z"
    return _tlv(0x18, text.encode("ascii"))


@cache
def _algorithm(name: str) -> bytes:
    return bytes(algos.SignedDigestAlgorithm({"algorithm": name}).dump())


def _tlv(tag: int, body: bytes) -> bytes:
    length = len(body)
    if length < _SHORT:
        return bytes((tag, length)) + body
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, _SHORT | len(octets))) + octets + body


_SHORT: Final = 0x80
"""Lengths below fit in one octet (X.690 section 8.1.3)."""
_NONCE: Final = bytes(core.ObjectIdentifier("1.3.6.1.5.5.7.48.1.2").dump())
_BASIC: Final = bytes(core.ObjectIdentifier("1.3.6.1.5.5.7.48.1.1").dump())
_SUCCESSFUL: Final = b"\x0a\x01\x00"
_NULL: Final = b"\x05\x00"
_HASH_OIDS: Final = {name: bytes(core.ObjectIdentifier(dotted).dump()) for name, dotted in (
    ("sha1", "1.3.14.3.2.26"), ("sha256", "2.16.840.1.101.3.4.2.1"),
)}  # fmt: skip
