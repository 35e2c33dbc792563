"""OCSP: what is answered, who may keep it, and what is refused; judged by OpenSSL and pyca/cryptography."""

import base64
import subprocess
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from asn1crypto import core
from asn1crypto import ocsp as asn1_ocsp
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from authz.domain.identifiers import Identifier
from authz.edge.client_certificate import PEER_ADDRESS_HEADER
from pki.app import OpenAuthority, open_authority
from pki.audit.records import operator
from pki.certificate_files import read_certificate
from pki.http.application import create_application
from pki.http.ocsp import OcspApplication
from pki.http.published import Published
from pki.issuing import Holder
from pki.ocsp.budget import BURST_ALL, BURST_EACH, SECONDS_EACH, SigningBudget
from pki.ocsp.key import issuer_hashes
from pki.ocsp.responder import Responder
from pki.revocation.crl import RevocationReason
from pki.settings import PkiSettings
from pki.validation.ocsp_folder import OcspFolder
from pki.validation.ocsp_following import OcspFollower
from pki.validation.ocsp_source import OcspSource
from pki.validation.ocsp_store import OcspStore
from tests.fakes.certificate_racer import new_request
from tests.fakes.clock import FixedClock
from tests.support import require

URL = "/ocsp/issuing-tst"
WHO = Identifier.parse_subject("uzovi:5000")
SHA1 = hashes.SHA1()  # noqa: S303  what RFC 5019 section 2.1.1 makes clients ask with
REASONS = [item for item in RevocationReason if item not in {"certificateHold", "removeFromCRL"}]
ASK = {"content-type": "application/ocsp-request"}


class Seconds:
    """A clock that stands still unless a test moves it."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def responder(pki: OpenAuthority, seconds: Seconds) -> Responder:
    return Responder(pki.database, pki.cas, pki.clock, budget=SigningBudget(seconds))


@pytest.fixture
async def client(pki: OpenAuthority, responder: Responder) -> AsyncIterator[httpx.AsyncClient]:
    await pki.withdrawal.sweep()
    published = Published(pki)
    await published.load()
    application = create_application(published, ocsp=OcspApplication(responder, pki.clock))
    transport = httpx.ASGITransport(application)
    async with httpx.AsyncClient(transport=transport, base_url="http://pki.test") as found:
        yield found


async def issued(pki: OpenAuthority) -> x509.Certificate:
    found = await pki.issue(Holder(WHO, "Zorgkantoor Test", "12345678"), new_request(), operator("test"))
    return x509.load_der_x509_certificate(found.certificate)


def question(
    pki: OpenAuthority,
    certificate: x509.Certificate,
    nonce: bytes | None = None,
    algorithm: hashes.HashAlgorithm | None = None,
) -> bytes:
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, pki.cas[0].certificate, algorithm or SHA1)
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(Encoding.DER)


def in_path(der: bytes) -> str:
    return f"{URL}/{quote(base64.b64encode(der).decode(), safe='')}"


async def ask(client: httpx.AsyncClient, der: bytes) -> ocsp.OCSPResponse:
    answer = await client.post(URL, content=der, headers=ASK)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/ocsp-response")
    assert answer.headers["cache-control"] == "no-store"
    return ocsp.load_der_ocsp_response(answer.content)


async def test_good_then_on_hold_then_released_then_revoked(
    client: httpx.AsyncClient, pki: OpenAuthority, clock: FixedClock
) -> None:
    certificate = await issued(pki)
    der = question(pki, certificate)
    assert (await ask(client, der)).certificate_status is ocsp.OCSPCertStatus.GOOD
    await pki.revoke(RevocationReason.CERTIFICATE_HOLD, operator("test"), identifier=WHO)
    held = await ask(client, der)
    assert (held.certificate_status, held.revocation_reason) == (
        ocsp.OCSPCertStatus.REVOKED,
        x509.ReasonFlags.certificate_hold,
    )
    await pki.revoke(RevocationReason.REMOVE_FROM_CRL, operator("test"), identifier=WHO)
    assert (await ask(client, der)).certificate_status is ocsp.OCSPCertStatus.GOOD
    clock.advance(seconds=5)
    await pki.revoke(RevocationReason.KEY_COMPROMISE, operator("test"), identifier=WHO)
    revoked = await ask(client, der)
    assert (revoked.certificate_status, revoked.revocation_reason, revoked.revocation_time_utc) == (
        ocsp.OCSPCertStatus.REVOKED,
        x509.ReasonFlags.key_compromise,
        clock.now(),
    )
    assert revoked.this_update_utc == clock.now()
    assert revoked.next_update_utc == clock.now() + timedelta(hours=1)


@pytest.mark.parametrize(
    "reason", [item for item in RevocationReason if item not in {"certificateHold", "removeFromCRL"}]
)
async def test_every_reason_is_told_by_crl_and_ocsp_alike(
    reason: RevocationReason, client: httpx.AsyncClient, pki: OpenAuthority
) -> None:
    certificate = await issued(pki)
    await pki.revoke(reason, operator("test"), identifier=WHO)
    answer = await ask(client, question(pki, certificate))
    crl = x509.load_der_x509_crl((await client.get("/crl/issuing-tst.crl")).content)
    entry = crl.get_revoked_certificate_by_serial_number(certificate.serial_number)
    assert entry is not None
    if reason is RevocationReason.UNSPECIFIED:  # RFC 5280 section 5.3.1: absent rather than unspecified
        assert answer.revocation_reason is None
        assert not list(entry.extensions)
    else:
        told = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
        assert answer.revocation_reason is told
        assert told.value == reason.value


async def test_a_certificate_that_was_never_issued_is_unknown_and_nobody_keeps_that(
    client: httpx.AsyncClient, pki: OpenAuthority, responder: Responder
) -> None:
    certificate = await issued(pki)
    builder = ocsp.OCSPRequestBuilder()
    one = ocsp.load_der_ocsp_request(question(pki, certificate))
    asked = builder.add_certificate_by_hash(
        one.issuer_name_hash, one.issuer_key_hash, certificate.serial_number ^ 1, SHA1
    ).build()
    answer = await ask(client, asked.public_bytes(Encoding.DER))
    assert answer.certificate_status is ocsp.OCSPCertStatus.UNKNOWN
    assert not len(responder.ahead["issuing-tst"])
    assert (await ask(client, question(pki, certificate))).certificate_status is ocsp.OCSPCertStatus.GOOD
    assert len(responder.ahead["issuing-tst"]) == 1


async def test_the_responder_is_delegated_by_the_ca_and_recorded(client: httpx.AsyncClient, pki: OpenAuthority) -> None:
    answer = await ask(client, question(pki, await issued(pki)))
    (delegate,) = answer.certificates
    delegate.verify_directly_issued_by(pki.cas[0].certificate)
    usage = delegate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.OCSP_SIGNING]
    assert delegate.extensions.get_extension_for_class(x509.OCSPNoCheck)
    assert delegate.not_valid_after_utc - delegate.not_valid_before_utc == timedelta(days=2)
    key = delegate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    key.verify(answer.signature, answer.tbs_response_bytes, ec.ECDSA(hashes.SHA256()))
    # It is in the register like every certificate, so its own status is known too.
    assert (await ask(client, question(pki, delegate))).certificate_status is ocsp.OCSPCertStatus.GOOD


async def test_our_own_relying_side_takes_it(client: httpx.AsyncClient, pki: OpenAuthority) -> None:
    certificate = await issued(pki)
    store = OcspStore([pki.cas[0].der])
    answer = await client.get(in_path(question(pki, certificate, algorithm=hashes.SHA256())))
    assert store.put(answer.content)
    found = store.about(pki.cas[0].key, certificate.serial_number)
    assert found is not None
    assert not found.revoked


async def test_an_answer_without_a_nonce_is_signed_once_until_the_register_says_otherwise(
    client: httpx.AsyncClient, pki: OpenAuthority, settings: PkiSettings, clock: FixedClock
) -> None:
    certificate = await issued(pki)
    path = in_path(question(pki, certificate))
    first = await client.get(path)
    assert first.headers["cache-control"] == "public, max-age=60, no-transform, must-revalidate"
    assert {"etag", "last-modified", "expires"} <= first.headers.keys()
    clock.advance(minutes=29)
    again = await client.get(path)
    assert again.content == first.content
    known = await client.get(path, headers={"if-none-match": first.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")
    clock.advance(minutes=2)  # past half its life
    assert (await client.get(path)).content != first.content
    # Another process revokes; this one has signed answers in memory.
    async with open_authority(settings, clock) as other:
        await other.revoke(RevocationReason.UNSPECIFIED, operator("test"), identifier=WHO)
    revoked = ocsp.load_der_ocsp_response((await client.get(path)).content)
    assert revoked.certificate_status is ocsp.OCSPCertStatus.REVOKED


@pytest.mark.parametrize("length", [1, 32, 128])
async def test_a_nonce_is_echoed_and_nobody_keeps_the_answer(
    length: int, client: httpx.AsyncClient, pki: OpenAuthority
) -> None:
    der = question(pki, await issued(pki), nonce=b"n" * length)
    answer = await ask(client, der)
    assert answer.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == b"n" * length
    fetched = await client.get(in_path(der))
    assert fetched.headers["cache-control"] == "no-store"
    assert "etag" not in fetched.headers


@pytest.mark.parametrize("length", [0, 129])
async def test_a_nonce_of_another_length(length: int, client: httpx.AsyncClient, pki: OpenAuthority) -> None:
    answer = await ask(client, question(pki, await issued(pki), nonce=b"n" * length))
    assert answer.response_status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


@pytest.mark.parametrize("der", [b"", b"\x30\x00", b"0" * 4096, b"\x30\x03\x0a\x01\x00", bytes(range(256))])
async def test_what_is_no_request(der: bytes, client: httpx.AsyncClient) -> None:
    answer = await ask(client, der)
    assert answer.response_status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST
    fetched = await client.get(f"{URL}/{quote(base64.b64encode(der).decode(), safe='')}")
    assert fetched.content == b"\x30\x03\x0a\x01\x01"
    assert fetched.headers["cache-control"] == "no-store"


def numbered(pki: OpenAuthority, *serial_numbers: int, nonce: bytes | None = None) -> bytes:
    """A question about numbers that no library would ask about."""
    issuer = next(item for item in issuer_hashes(pki.cas[0]) if item[0] == "sha1")
    _, name_hash, key_hash = issuer
    asked = [
        {
            "req_cert": {
                "hash_algorithm": {"algorithm": "sha1", "parameters": core.Null()},
                "issuer_name_hash": name_hash,
                "issuer_key_hash": key_hash,
                "serial_number": number,
            }
        }
        for number in serial_numbers
    ]
    extension = {"extn_id": "nonce", "critical": False, "extn_value": core.OctetString(nonce or b"")}
    more = {"request_extensions": [extension]} if nonce else {}
    return bytes(asn1_ocsp.OCSPRequest({"tbs_request": {"request_list": asked, **more}}).dump())


@pytest.mark.parametrize("number", [-1, -5, -128, -(2**159)])
async def test_a_negative_serial_number_is_malformed(
    number: int, client: httpx.AsyncClient, pki: OpenAuthority
) -> None:
    malformed = ocsp.OCSPResponseStatus.MALFORMED_REQUEST
    for der in (numbered(pki, number), numbered(pki, number, nonce=b"n" * 16), numbered(pki, 5, number)):
        assert (await ask(client, der)).response_status is malformed
        assert (await client.get(in_path(der))).content == b"\x30\x03\x0a\x01\x01"
    for known in (0, 5, 2**159):
        answer = await ask(client, numbered(pki, known))
        assert answer.certificate_status is ocsp.OCSPCertStatus.UNKNOWN


async def test_whatever_goes_wrong_inside_is_an_answer_of_ocsp_and_no_text_of_ours(
    client: httpx.AsyncClient, pki: OpenAuthority, responder: Responder, monkeypatch: pytest.MonkeyPatch
) -> None:
    der = question(pki, await issued(pki))

    def broken(*_given: object) -> None:
        raise OverflowError("secret")

    with monkeypatch.context() as patch:
        patch.setattr(responder.ahead["issuing-tst"], "form_of", broken)
        answer = await ask(client, der)
        assert answer.response_status is ocsp.OCSPResponseStatus.INTERNAL_ERROR
        assert (await client.get(in_path(der))).content == b"\x30\x03\x0a\x01\x02"
    assert (await ask(client, der)).response_status is ocsp.OCSPResponseStatus.SUCCESSFUL


def has_nonce(answer: ocsp.OCSPResponse) -> bool:
    return any(item.oid == x509.OCSPNonce.oid for item in answer.extensions)


async def test_beyond_the_budget_an_answer_has_no_nonce_and_costs_no_signature(
    client: httpx.AsyncClient, pki: OpenAuthority, responder: Responder, seconds: Seconds
) -> None:
    certificate = await issued(pki)
    der = question(pki, certificate, nonce=b"n" * 16)
    await ask(client, question(pki, certificate))
    for _ in range(BURST_EACH):
        assert has_nonce(await ask(client, der))
    signed = responder.given["asked"]
    for _ in range(3):
        bare = await ask(client, der)
        assert (bare.certificate_status, has_nonce(bare)) == (ocsp.OCSPCertStatus.GOOD, False)
    # What cannot be answered from what was signed ahead waits: numbers that nobody issued, and several.
    for other in (
        numbered(pki, 5),
        numbered(pki, 5, nonce=b"n" * 16),
        numbered(pki, certificate.serial_number, 5),
    ):
        assert (await ask(client, other)).response_status is ocsp.OCSPResponseStatus.TRY_LATER
    assert responder.given["asked"] == signed
    # Who asks without a nonce notices nothing, and a revocation shows at once, in the answer without nonce too.
    assert (await ask(client, question(pki, certificate))).certificate_status is ocsp.OCSPCertStatus.GOOD
    # Another address has a bucket of its own.
    theirs = await client.post(URL, content=der, headers=ASK | {PEER_ADDRESS_HEADER: "192.0.2.9:4711"})
    assert has_nonce(ocsp.load_der_ocsp_response(theirs.content))
    await pki.revoke(RevocationReason.KEY_COMPROMISE, operator("test"), identifier=WHO)
    bare = await ask(client, der)
    assert (bare.certificate_status, has_nonce(bare)) == (ocsp.OCSPCertStatus.REVOKED, False)
    seconds.now += SECONDS_EACH / BURST_EACH
    assert has_nonce(await ask(client, der))


async def test_many_addresses_share_one_budget(client: httpx.AsyncClient, pki: OpenAuthority) -> None:
    certificate = await issued(pki)
    der = question(pki, certificate, nonce=b"n" * 16)
    echoed = 0
    for number in range(BURST_ALL + 10):
        headers = ASK | {PEER_ADDRESS_HEADER: f"192.0.2.{number}:4711"}
        answer = await client.post(URL, content=der, headers=headers)
        echoed += has_nonce(ocsp.load_der_ocsp_response(answer.content))
    assert echoed == BURST_ALL


@pytest.mark.parametrize(("count", "status"), [(4, "SUCCESSFUL"), (5, "MALFORMED_REQUEST")])
async def test_a_question_is_about_a_few_certificates(
    count: int, status: str, client: httpx.AsyncClient, pki: OpenAuthority
) -> None:
    answer = await ask(client, numbered(pki, *range(1, count + 1)))
    assert answer.response_status is ocsp.OCSPResponseStatus[status]


async def test_every_cut_and_every_flipped_octet_of_a_request_is_answered(
    client: httpx.AsyncClient, pki: OpenAuthority
) -> None:
    der = question(pki, await issued(pki), nonce=b"n" * 16)
    for position in range(len(der)):
        await ask(client, der[:position])
        await ask(client, der[:position] + bytes((der[position] ^ 0x41,)) + der[position + 1 :])


async def test_another_ca_is_not_spoken_for(client: httpx.AsyncClient, pki: OpenAuthority) -> None:
    root = x509.load_der_x509_certificate(read_certificate(pki.settings.root.certificate))
    asked = ocsp.OCSPRequestBuilder().add_certificate(pki.cas[0].certificate, root, SHA1).build()
    answer = await ask(client, asked.public_bytes(Encoding.DER))
    assert answer.response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED


async def test_a_register_that_is_away_is_not_a_verdict(
    client: httpx.AsyncClient, pki: OpenAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pki.store.database import StoreUnavailable  # noqa: PLC0415

    der = question(pki, await issued(pki))
    await ask(client, der)

    def away() -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr(pki.database, "read", away)
    answer = await ask(client, der)
    assert answer.response_status is ocsp.OCSPResponseStatus.TRY_LATER


async def test_other_methods_types_sizes_and_paths(client: httpx.AsyncClient, pki: OpenAuthority) -> None:
    der = question(pki, await issued(pki))
    assert (await client.post(URL, content=der)).status_code == 415
    assert (await client.post(URL, content=b"0" * 4097, headers=ASK)).status_code == 413
    assert (await client.put(URL, content=der, headers=ASK)).status_code == 405
    assert (await client.post("/ocsp/root", content=der, headers=ASK)).status_code == 404
    assert (await client.post("/ocsp", content=der, headers=ASK)).status_code == 404
    assert (await client.get(f"{URL}/{'A' * 20_000}")).status_code == 414
    assert (await client.head(in_path(der))).status_code == 200


async def test_openssl_is_content(
    client: httpx.AsyncClient, pki: OpenAuthority, clock: FixedClock, tmp_path: Path
) -> None:
    openssl = require("openssl")
    clock.advance(seconds=(datetime.now(UTC) - clock.now()).total_seconds())  # OpenSSL has no clock but the machine's
    certificate = await issued(pki)
    (tmp_path / "leaf.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (tmp_path / "issuer.pem").write_bytes(pki.cas[0].certificate.public_bytes(Encoding.PEM))
    root = x509.load_der_x509_certificate(read_certificate(pki.settings.root.certificate))
    (tmp_path / "root.pem").write_bytes(root.public_bytes(Encoding.PEM))

    def run(*arguments: str) -> str:
        command = [openssl, "ocsp", "-issuer", "issuer.pem", "-cert", "leaf.pem", *arguments]
        done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    async def judged() -> str:
        run("-no_nonce", "-reqout", "request.der")
        answer = await client.post(URL, content=(tmp_path / "request.der").read_bytes(), headers=ASK)
        (tmp_path / "answer.der").write_bytes(answer.content)
        return run("-no_nonce", "-respin", "answer.der", "-CAfile", "root.pem")

    told = await judged()
    assert "Response verify OK" in told
    assert "leaf.pem: good" in told
    await pki.revoke(RevocationReason.SUPERSEDED, operator("test"), identifier=WHO)
    told = await judged()
    assert "leaf.pem: revoked" in told
    assert "Reason: superseded" in told


async def test_a_validating_point_that_follows_this_responder_sees_a_hold_and_its_end(
    client: httpx.AsyncClient, pki: OpenAuthority, clock: FixedClock, tmp_path: Path
) -> None:
    certificate = await issued(pki)
    folder, begun = OcspFolder(tmp_path / "answers", [pki.cas[0].der]), clock.now()
    source = OcspSource(f"http://pki.test{URL}", pki.cas[0].der)
    follower = OcspFollower([source], folder, clock, client, lambda: (clock.now() - begun).total_seconds() + 1)

    async def told() -> bool:
        follower.saw(source.issuer_key, certificate.serial_number)
        await follower.look(source.issuer_key)
        found = folder.store.about(source.issuer_key, certificate.serial_number)
        assert found is not None
        return found.revoked

    assert not await told()
    await pki.revoke(RevocationReason.CERTIFICATE_HOLD, operator("test"), identifier=WHO)
    clock.advance(minutes=29)
    assert not await told()  # the answer of before still counts; the CRL has it long since
    clock.advance(minutes=2)
    assert await told()
    await pki.revoke(RevocationReason.REMOVE_FROM_CRL, operator("test"), identifier=WHO)
    clock.advance(seconds=75)
    assert not await told()
