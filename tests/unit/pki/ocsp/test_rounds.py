"""OCSP answers signed ahead of time: none outlives what the register says, and none is missed when it is not there."""

import asyncio
import subprocess
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from sqlalchemy import event

import pki.ocsp.rounds as rounds_module
from authz.domain.identifiers import Identifier
from pki.app import OpenAuthority, open_authority
from pki.audit.records import operator
from pki.certificate_files import read_certificate
from pki.issuing import Holder
from pki.ocsp.responder import Responder
from pki.ocsp.rounds import Rounds
from pki.revocation.crl import RevocationReason
from pki.settings import PkiSettings
from pki.store.database import StoreUnavailable
from pki.store.status import StatusRegister
from pki.validation.ocsp_store import OcspStore
from tests.fakes.certificate_racer import new_request
from tests.fakes.clock import FixedClock
from tests.support import require

CA = "issuing-tst"
SHA1 = hashes.SHA1()  # noqa: S303  what RFC 5019 section 2.1.1 makes clients ask with
GOOD, REVOKED = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED
TRY_LATER = ocsp.OCSPResponseStatus.TRY_LATER
BY = operator("test")


@pytest.fixture
def responder(pki: OpenAuthority) -> Responder:
    return Responder(pki.database, pki.cas, pki.clock)


@pytest.fixture
def rounds(pki: OpenAuthority, responder: Responder) -> Rounds:
    return Rounds(pki.database, responder, pki.clock)


def who(number: int = 0) -> Identifier:
    return Identifier.parse_subject(f"uzovi:{5000 + number}")


async def issued(pki: OpenAuthority, number: int = 0) -> x509.Certificate:
    found = await pki.issue(Holder(who(number), "Zorgkantoor Test", "12345678"), new_request(), BY)
    return x509.load_der_x509_certificate(found.certificate)


def question(pki: OpenAuthority, certificate: x509.Certificate, digest: hashes.HashAlgorithm = SHA1) -> bytes:
    built = ocsp.OCSPRequestBuilder().add_certificate(certificate, pki.cas[0].certificate, digest).build()
    return built.public_bytes(Encoding.DER)


async def ask(
    responder: Responder, pki: OpenAuthority, certificate: x509.Certificate, digest: hashes.HashAlgorithm = SHA1
) -> ocsp.OCSPResponse:
    answer = await responder.answer(CA, question(pki, certificate, digest))
    return ocsp.load_der_ocsp_response(answer.content)


def verified(pki: OpenAuthority, answer: ocsp.OCSPResponse, certificate: x509.Certificate) -> None:
    """Our own relying side takes it."""
    store = OcspStore([pki.cas[0].der])
    assert store.put(answer.public_bytes(Encoding.DER))
    assert store.about(pki.cas[0].key, certificate.serial_number) is not None


async def test_after_a_round_nothing_is_signed_for_who_asks(
    pki: OpenAuthority, responder: Responder, rounds: Rounds, clock: FixedClock
) -> None:
    certificates = [await issued(pki, number) for number in range(3)]
    await rounds.round()
    clock.advance(minutes=3)
    for certificate in certificates:
        for digest in (SHA1, hashes.SHA256()):
            answer = await ask(responder, pki, certificate, digest)
            assert (answer.certificate_status, answer.this_update_utc) == (GOOD, clock.now() - timedelta(minutes=3))
            verified(pki, answer, certificate)
    assert responder.given == {"ahead": 6, "asked": 0}
    # A spelling that nobody uses is answered too, and is of this moment.
    odd = await ask(responder, pki, certificates[0], hashes.SHA384())
    assert (odd.certificate_status, odd.this_update_utc) == (GOOD, clock.now())
    assert responder.given == {"ahead": 6, "asked": 1}


async def test_a_stale_good_after_a_revocation_by_another_process(
    pki: OpenAuthority, responder: Responder, rounds: Rounds, settings: PkiSettings, clock: FixedClock
) -> None:
    revoked, other = await issued(pki), await issued(pki, 1)
    await rounds.round()
    async with open_authority(settings, clock) as elsewhere:
        await elsewhere.revoke(RevocationReason.KEY_COMPROMISE, BY, identifier=who())
    # Nothing here has looked since; the signed "good" is still in memory.
    assert (await ask(responder, pki, revoked)).certificate_status is REVOKED
    assert (await ask(responder, pki, other)).certificate_status is GOOD
    assert responder.given == {"ahead": 1, "asked": 1}


async def test_what_changed_is_signed_at_once(
    pki: OpenAuthority, responder: Responder, rounds: Rounds, clock: FixedClock
) -> None:
    certificate, other = await issued(pki), await issued(pki, 1)
    await rounds.round()
    await rounds.notice()
    expected = GOOD
    for reason, expected in (
        (RevocationReason.CERTIFICATE_HOLD, REVOKED),
        (RevocationReason.REMOVE_FROM_CRL, GOOD),  # leaves no moment in the register
        (RevocationReason.CERTIFICATE_HOLD, REVOKED),
        (RevocationReason.SUPERSEDED, REVOKED),
    ):
        clock.advance(seconds=7)
        await pki.revoke(reason, BY, identifier=who())
        await rounds.notice()
        answer = await ask(responder, pki, certificate)
        assert (answer.certificate_status, answer.this_update_utc) == (expected, clock.now())
    assert answer.revocation_reason is x509.ReasonFlags.superseded
    # Nothing of it was signed for who asked, and the neighbour's answer is the one of before.
    untouched = await ask(responder, pki, other)
    assert untouched.this_update_utc == clock.now() - timedelta(seconds=28)
    assert responder.given == {"ahead": 5, "asked": 0}


async def test_unknown_then_issued(pki: OpenAuthority, responder: Responder, rounds: Rounds) -> None:
    certificate = await issued(pki)
    await rounds.round()
    later = await issued(pki, 1)  # after the round; the change counter tells nothing of it
    unknown = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        *_names(pki, certificate), certificate.serial_number ^ 1, SHA1
    )
    answer = await responder.answer(CA, unknown.build().public_bytes(Encoding.DER))
    assert ocsp.load_der_ocsp_response(answer.content).certificate_status is ocsp.OCSPCertStatus.UNKNOWN
    assert (await ask(responder, pki, later)).certificate_status is GOOD
    assert (await ask(responder, pki, later)).certificate_status is GOOD
    assert responder.given == {"ahead": 1, "asked": 2}
    assert len(responder.ahead[CA]) == 2  # what is unknown is kept by nobody


def _names(pki: OpenAuthority, certificate: x509.Certificate) -> tuple[bytes, bytes]:
    asked = ocsp.load_der_ocsp_request(question(pki, certificate))
    return asked.issuer_name_hash, asked.issuer_key_hash


async def test_a_restart_goes_in_small_steps_and_answers_meanwhile(
    pki: OpenAuthority, responder: Responder, rounds: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificates = [await issued(pki, number) for number in range(7)]
    await rounds.round()
    before = await ask(responder, pki, certificates[0])

    again = Responder(pki.database, pki.cas, pki.clock)
    steps: list[tuple[int, float]] = []

    async def rest(seconds: float, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        steps.append((len(again.ahead[CA]), seconds))
        if len(steps) == 1:
            asked = [(await ask(again, pki, item)).certificate_status for item in certificates]
            assert asked == [GOOD] * 7
            assert again.given["asked"] == 5
        await sleep(0)

    monkeypatch.setattr(rounds_module, "PAGE", 2)
    monkeypatch.setattr("pki.ocsp.rounds.asyncio.sleep", rest)
    await Rounds(pki.database, again, pki.clock).round()
    monkeypatch.undo()
    assert [number for number, _ in steps] == [2, 7, 7, 7]
    assert all(0 < seconds <= 1 for _, seconds in steps)
    # Another key of the same CA; the answers of before count on.
    after = await ask(again, pki, certificates[0])
    assert after.certificates != before.certificates
    for answer in (before, after):
        verified(pki, answer, certificates[0])


async def test_another_key_does_not_stampede(
    pki: OpenAuthority, responder: Responder, rounds: Rounds, clock: FixedClock
) -> None:
    certificate = await issued(pki)
    await responder.refresh()
    clock.advance(hours=23, minutes=54)
    await rounds.round()
    old = await ask(responder, pki, certificate)
    clock.advance(minutes=9)  # the least age at which any answer is renewed is ten
    await responder.refresh()
    assert (await responder.key(CA)).certificate != old.certificates[0].public_bytes(Encoding.DER)
    await rounds.round()
    same = await ask(responder, pki, certificate)
    assert same.public_bytes(Encoding.DER) == old.public_bytes(Encoding.DER)
    clock.advance(minutes=12)
    await rounds.round()
    new = await ask(responder, pki, certificate)
    assert new.certificates != old.certificates
    verified(pki, new, certificate)
    assert responder.given["asked"] == 0


@pytest.mark.parametrize("jump", [timedelta(hours=3), timedelta(hours=-3), timedelta(minutes=31)])
async def test_a_jump_of_the_clock(
    jump: timedelta, pki: OpenAuthority, responder: Responder, rounds: Rounds, clock: FixedClock
) -> None:
    certificate = await issued(pki)
    await rounds.round()
    assert not rounds._is_due(clock.now())
    clock.moment += jump
    answer = await ask(responder, pki, certificate)
    assert answer.this_update_utc == clock.now()
    assert rounds._is_due(clock.now())
    clock.advance(minutes=1)
    await rounds.round()
    assert (await ask(responder, pki, certificate)).this_update_utc == clock.now() - timedelta(minutes=1)


async def test_no_answer_gets_past_half_its_life_while_rounds_go_on(
    pki: OpenAuthority, responder: Responder, rounds: Rounds, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    # When an answer is renewed depends on the serial number of its certificate: here they are renewed at all rounds.
    numbers = iter((1 << 158) + 4 * number for number in range(16))
    with monkeypatch.context() as patched:
        patched.setattr(x509, "random_serial_number", lambda: next(numbers))
        certificates = [await issued(pki, number) for number in range(16)]
    assert {certificate.serial_number % 64 for certificate in certificates} == set(range(0, 64, 4))
    made: set[datetime] = set()
    for _ in range(20):
        await rounds.round()
        for _ in range(5):
            for certificate in certificates:
                answer = await ask(responder, pki, certificate)
                assert clock.now() - answer.this_update_utc < timedelta(minutes=30)
                made.add(answer.this_update_utc)
            clock.advance(minutes=1)
    assert responder.given["asked"] == 0
    # What was signed together at the start is not renewed together; and nothing is renewed at each round.
    assert len(made) > 7


async def test_a_revocation_while_a_batch_is_being_signed(
    pki: OpenAuthority, responder: Responder, rounds: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = await issued(pki)
    await responder.refresh()

    async def meanwhile(act: Callable[..., Any], *given: Any) -> Any:
        made = act(*given)  # "good" is signed and not yet in use
        await pki.revoke(RevocationReason.CESSATION_OF_OPERATION, BY, identifier=who())
        assert (await ask(responder, pki, certificate)).certificate_status is REVOKED
        monkeypatch.undo()
        return made

    monkeypatch.setattr("pki.ocsp.rounds.asyncio.to_thread", meanwhile)
    await rounds.round()
    assert (await ask(responder, pki, certificate)).certificate_status is REVOKED
    assert responder.given["asked"] == 1


async def test_expired_certificates_are_answered_and_not_kept(
    pki: OpenAuthority, responder: Responder, rounds: Rounds, clock: FixedClock
) -> None:
    certificate = await issued(pki)
    await rounds.round()
    assert len(responder.ahead[CA]) == 1
    clock.advance(days=398)
    await rounds.round()
    assert len(responder.ahead[CA]) == 0
    assert (await ask(responder, pki, certificate)).certificate_status is GOOD
    await pki.withdrawal.sweep()
    await pki.revoke(RevocationReason.KEY_COMPROMISE, BY, serial_number=f"{certificate.serial_number:x}")
    assert (await ask(responder, pki, certificate)).certificate_status is REVOKED
    await rounds.round()
    assert len(responder.ahead[CA]) == 0


async def test_more_certificates_than_are_kept(pki: OpenAuthority, clock: FixedClock) -> None:
    responder = Responder(pki.database, pki.cas, clock, limit=2)
    rounds = Rounds(pki.database, responder, clock)
    certificates = [await issued(pki, number) for number in range(3)]
    await rounds.round()
    assert len(responder.ahead[CA]) == 2
    assert [(await ask(responder, pki, item)).certificate_status for item in certificates] == [GOOD] * 3
    assert responder.given == {"ahead": 2, "asked": 1}
    assert ("sluis_pki_ocsp_left_out", {"issuer": CA}, 1) in rounds.samples()
    assert len(responder.ahead[CA]) == 2


async def test_a_mass_revocation_starts_a_round(
    pki: OpenAuthority, responder: Responder, rounds: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificates = [await issued(pki, number) for number in range(4)]
    await rounds.round()
    await pki.revoke(RevocationReason.SUPERSEDED, BY, identifier=who())
    monkeypatch.setattr(rounds_module, "MAX_CHANGED", 2)
    await rounds.notice()
    assert not rounds._is_due(pki.clock.now())
    for number in range(1, 4):
        await pki.revoke(RevocationReason.SUPERSEDED, BY, identifier=who(number))
    await rounds.notice()
    assert rounds._is_due(pki.clock.now())
    assert [(await ask(responder, pki, item)).certificate_status for item in certificates] == [REVOKED] * 4
    await rounds.round()
    assert not rounds._is_due(pki.clock.now())


async def test_it_runs_wakes_up_and_survives_a_register_that_is_away(
    pki: OpenAuthority, responder: Responder, settings: PkiSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = await issued(pki)
    stop, changed = asyncio.Event(), asyncio.Event()
    rounds = Rounds(pki.database, responder, pki.clock, lambda: changed)
    read = pki.database.read

    def away() -> None:
        raise StoreUnavailable("away")

    async def until(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():  # noqa: ASYNC110  what is waited for has no event
                await asyncio.sleep(0.005)

    running = asyncio.create_task(rounds.run(stop))
    try:
        await until(lambda: len(responder.ahead[CA]) == 1)
        async with open_authority(settings, pki.clock) as elsewhere:
            await elsewhere.revoke(RevocationReason.SUPERSEDED, BY, identifier=who())
        changed.set()
        await until(lambda: next(iter(responder.ahead[CA]._signed.values())).status.revoked_at is not None)
        assert (await ask(responder, pki, certificate)).certificate_status is REVOKED
        assert responder.given == {"ahead": 1, "asked": 0}
        monkeypatch.setattr(pki.database, "read", away)
        await until(lambda: rounds.failures > 0)
        assert (await ask(responder, pki, certificate)).response_status is TRY_LATER
        monkeypatch.setattr(pki.database, "read", read)
        assert (await ask(responder, pki, certificate)).certificate_status is REVOKED
    finally:
        stop.set()
        changed.set()
        async with asyncio.timeout(30):
            await running
    assert ("sluis_pki_ocsp_failures_total", {}, rounds.failures) in rounds.samples()


async def test_an_operator_sees_how_many_and_how_old(
    pki: OpenAuthority, rounds: Rounds, responder: Responder, clock: FixedClock
) -> None:
    issuer = {"issuer": CA}
    assert ("sluis_pki_ocsp_signed_ahead", issuer, 0) in rounds.samples()
    assert ("sluis_pki_ocsp_oldest_seconds", issuer, 0) in rounds.samples()
    certificate = await issued(pki)
    await rounds.round()
    clock.advance(minutes=4)
    await ask(responder, pki, certificate)
    await ask(responder, pki, await issued(pki, 1))
    found = rounds.samples()
    assert ("sluis_pki_ocsp_signed_ahead", issuer, 2) in found
    assert ("sluis_pki_ocsp_oldest_seconds", issuer, 240) in found
    assert ("sluis_pki_ocsp_answers_total", {"signed": "ahead"}, 1) in found
    assert ("sluis_pki_ocsp_answers_total", {"signed": "asked"}, 1) in found
    clock.advance(hours=1)
    assert ("sluis_pki_ocsp_signed_ahead", issuer, 0) in rounds.samples()


async def test_openssl_is_content_with_what_was_signed_ahead(
    pki: OpenAuthority, responder: Responder, rounds: Rounds, clock: FixedClock, tmp_path: Path
) -> None:
    openssl = require("openssl")
    clock.moment = datetime.now(UTC) - timedelta(minutes=2)  # OpenSSL has no clock but the machine's
    certificate = await issued(pki)
    await rounds.round()
    clock.moment = datetime.now(UTC)
    (tmp_path / "leaf.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (tmp_path / "issuer.pem").write_bytes(pki.cas[0].certificate.public_bytes(Encoding.PEM))
    root = x509.load_der_x509_certificate(read_certificate(pki.settings.root.certificate))
    (tmp_path / "root.pem").write_bytes(root.public_bytes(Encoding.PEM))

    def run(*arguments: str) -> str:
        command = [openssl, "ocsp", *arguments]
        done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    for digest in ("-sha1", "-sha256"):
        about = ("-issuer", "issuer.pem", digest, "-cert", "leaf.pem", "-no_nonce")
        run(*about, "-reqout", "request.der")
        answer = await responder.answer(CA, (tmp_path / "request.der").read_bytes())
        (tmp_path / "answer.der").write_bytes(answer.content)
        told = run(
            *about, "-respin", "answer.der", "-CAfile", "root.pem", "-validity_period", "5", "-status_age", "3600"
        )
        assert "Response verify OK" in told
        assert "leaf.pem: good" in told
    assert responder.given == {"ahead": 2, "asked": 0}


async def test_what_changed_is_found_by_its_moment_and_not_by_reading_a_whole_ca(
    pki: OpenAuthority, settings: PkiSettings
) -> None:
    if not settings.database.address.startswith("sqlite"):
        return  # PostgreSQL plans by what is in the table
    asked: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, given: Any, *_: object) -> None:
        asked.append((statement, given))

    engine, at = pki.database._engine.sync_engine, pki.clock.now()
    async with pki.database.read() as connection:
        register = StatusRegister(connection)
        event.listen(engine, "before_cursor_execute", note)
        await register.changed(CA, at, at, 10)
        await register.recently_revoked(CA, at, 10)
        await register.page(CA, "a", at, 10)
        event.remove(engine, "before_cursor_execute", note)
        planned = []
        for statement, given in asked:
            rows = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", given)
            planned.append(" ".join(str(row[-1]) for row in rows))
    assert [plan.split("INDEX ")[1].split(" (")[0] for plan in planned] == [
        *["by_hold", "by_revocation"] * 2,
        "serial_per_issuer",
    ]
    assert "issuer=? AND serial_number>?" in planned[-1]
    assert not any("TEMP B-TREE" in plan for plan in planned)
