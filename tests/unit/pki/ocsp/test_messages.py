"""OCSP messages as bytes: what is written by hand is what an ASN.1 library writes, octet for octet."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

from asn1crypto import core
from asn1crypto import ocsp as asn1
from asn1crypto import x509 as asn1_x509
from hypothesis import given
from hypothesis import strategies as st

from pki.ocsp.messages import Question, Status, Window, certificate_id, encode_answers, join_response
from pki.revocation.crl import RevocationReason
from tests.fakes.certificates import FakeAuthority

KEY_HASH = b"k" * 20
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001  theirs
    lambda moment: moment.replace(microsecond=0)
)
SERIALS = st.integers(1, 2**159 - 1) | st.sampled_from([1, 0x7F, 0x80, 0xFF, 0x100, 1 << 158])
TOLD = [item for item in RevocationReason if item is not RevocationReason.REMOVE_FROM_CRL]
STATUSES = st.one_of(
    st.just(Status(known=False)),
    st.just(Status(known=True)),
    st.builds(Status, known=st.sampled_from([True]), revoked_at=MOMENTS, reason=st.none() | st.sampled_from(TOLD)),
)


def question(serial_number: int, kind: str) -> Question:
    issuer = (kind, hashlib.new(kind, b"name").digest(), hashlib.new(kind, b"key").digest())
    return Question(certificate_id(issuer, serial_number), issuer, serial_number)


def by_library(answers: list[tuple[Question, Status]], window: Window, nonce: bytes | None) -> bytes:
    def status(said: Status) -> asn1.CertStatus:
        if not said.known:
            return asn1.CertStatus(name="unknown", value=asn1.StatusUnknown())
        if said.revoked_at is None:
            return asn1.CertStatus(name="good", value=asn1.StatusGood())
        revoked: dict[str, Any] = {"revocation_time": said.revoked_at}
        if said.reason not in {None, RevocationReason.UNSPECIFIED}:
            assert said.reason is not None
            revoked["revocation_reason"] = said.reason.code
        return asn1.CertStatus(name="revoked", value=asn1.RevokedInfo(revoked))

    data: dict[str, Any] = {
        "responder_id": asn1.ResponderId(name="by_key", value=core.OctetString(KEY_HASH)),
        "produced_at": window.this_update,
        "responses": [
            {
                "cert_id": {
                    "hash_algorithm": {"algorithm": asked.issuer[0], "parameters": core.Null()},
                    "issuer_name_hash": asked.issuer[1],
                    "issuer_key_hash": asked.issuer[2],
                    "serial_number": asked.serial_number,
                },
                "cert_status": status(said),
                "this_update": window.this_update,
                "next_update": window.next_update,
            }
            for asked, said in answers
        ],
    }
    if nonce is not None:
        data["response_extensions"] = [{"extn_id": "nonce", "critical": False, "extn_value": core.OctetString(nonce)}]
    return bytes(asn1.ResponseData(data).dump())


@given(
    asked=st.lists(st.tuples(SERIALS, st.sampled_from(["sha1", "sha256"]), STATUSES), min_size=1, max_size=16),
    made=MOMENTS,
    nonce=st.none() | st.binary(min_size=1, max_size=128),
)
def test_what_is_signed_is_what_a_library_would_write(
    asked: list[tuple[int, str, Status]], made: datetime, nonce: bytes | None
) -> None:
    answers = [(question(serial_number, kind), said) for serial_number, kind, said in asked]
    window = Window(made, made + timedelta(hours=1))
    assert encode_answers(KEY_HASH, answers, window, nonce) == by_library(answers, window, nonce)


@given(signature=st.binary(min_size=1, max_size=512), algorithm=st.sampled_from(["sha256_ecdsa", "sha256_rsa"]))
def test_the_response_around_it_too(signature: bytes, algorithm: str) -> None:
    at = datetime(2026, 11, 22, 12, tzinfo=UTC)
    data = encode_answers(KEY_HASH, [(question(5, "sha1"), Status(known=True))], Window(at, at), None)
    basic = asn1.BasicOCSPResponse(
        {
            "tbs_response_data": asn1.ResponseData.load(data, strict=True),
            "signature_algorithm": {"algorithm": algorithm},
            "signature": signature,
            "certs": [asn1_x509.Certificate.load(LEAF)],
        }
    )
    response = {"response_type": "basic_ocsp_response", "response": core.ParsableOctetString(basic.dump())}
    expected = asn1.OCSPResponse({"response_status": "successful", "response_bytes": response}).dump()
    assert join_response(data, algorithm, signature, LEAF) == expected


def test_a_moment_of_another_zone_and_with_parts_of_a_second_is_written_in_utc() -> None:
    at = datetime(2026, 11, 22, 12, 0, 0, 999_999, tzinfo=UTC)
    there = at.astimezone(datetime.fromisoformat("2026-11-22T12:00:00+05:30").tzinfo)
    answers = [(question(5, "sha1"), Status(known=True, revoked_at=there))]
    assert encode_answers(KEY_HASH, answers, Window(there, there), None) == encode_answers(
        KEY_HASH, [(question(5, "sha1"), Status(known=True, revoked_at=at))], Window(at, at), None
    )


LEAF = FakeAuthority().issue().der
