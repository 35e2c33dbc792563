"""OCSP messages as bytes: what was asked, and what is answered. No status is looked up here and nothing is signed.

Specification: RFC 6960 section 4; RFC 9654 (nonce); RFC 5019 (lightweight profile). Built with asn1crypto, because the
responder's key hides behind `Signer.sign(bytes)`. Signatures of requests are not looked at: everybody may ask.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any, Final

from asn1crypto import core, ocsp
from asn1crypto import x509 as asn1_x509

from pki.revocation import RevocationReason

MAX_REQUEST_BYTES: Final = 4096
MAX_QUESTIONS: Final = 16
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
    """DER of the ResponseData: what is to be signed.

    Args:
        responder_key_hash: SHA-1 of the responder's public key (RFC 6960 section 4.2.1, byKey).
        answers: in the order of the questions.
        window: of all of them.
        nonce: as asked.
    """
    data: dict[str, Any] = {
        "responder_id": ocsp.ResponderId(name="by_key", value=core.OctetString(responder_key_hash)),
        "produced_at": window.this_update,
        "responses": [
            {
                "cert_id": ocsp.CertId.load(question.certificate_id),
                "cert_status": _status(status),
                "this_update": window.this_update,
                "next_update": window.next_update,
            }
            for question, status in answers
        ],
    }
    if nonce is not None:
        data["response_extensions"] = [{"extn_id": "nonce", "critical": False, "extn_value": core.OctetString(nonce)}]
    return bytes(ocsp.ResponseData(data).dump())


def join_response(data: bytes, algorithm: str, signature: bytes, certificate: bytes) -> bytes:
    """DER of a successful OCSPResponse with the responder's certificate inside."""
    basic = ocsp.BasicOCSPResponse(
        {
            "tbs_response_data": ocsp.ResponseData.load(data),
            "signature_algorithm": {"algorithm": algorithm},
            "signature": signature,
            "certs": [asn1_x509.Certificate.load(certificate)],
        }
    )
    response = {"response_type": "basic_ocsp_response", "response": core.ParsableOctetString(basic.dump())}
    return bytes(ocsp.OCSPResponse({"response_status": "successful", "response_bytes": response}).dump())


def error_response(status: ErrorStatus) -> bytes:
    """DER of an OCSPResponse that only says why there is no answer."""
    return bytes((0x30, 0x03, 0x0A, 0x01, status))


def _question(found: ocsp.CertId) -> Question:
    algorithm = found["hash_algorithm"]["algorithm"]
    name_hash, key_hash = bytes(found["issuer_name_hash"].native), bytes(found["issuer_key_hash"].native)
    serial_number = int(found["serial_number"].native)
    encoded = bytes(found.dump())
    # It comes back in a signed answer, so it is exactly what we would have written, and nothing hides in it.
    rest = core.OctetString(name_hash).dump() + core.OctetString(key_hash).dump() + core.Integer(serial_number).dump()
    for parameters in (b"\x05\x00", b""):
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


def _status(status: Status) -> ocsp.CertStatus:
    if not status.known:
        return ocsp.CertStatus(name="unknown", value=ocsp.StatusUnknown())
    if status.revoked_at is None:
        return ocsp.CertStatus(name="good", value=ocsp.StatusGood())
    revoked: dict[str, Any] = {"revocation_time": status.revoked_at.replace(microsecond=0)}
    if status.reason is not None and status.reason is not RevocationReason.UNSPECIFIED:
        revoked["revocation_reason"] = status.reason.code
    return ocsp.CertStatus(name="revoked", value=ocsp.RevokedInfo(revoked))
