"""Codes and what they entitle to, on SQLite and PostgreSQL: each acceptance beside its near misses."""

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

import pki.enrolment.service as pki_enrolment
from authz.domain.errors import Refused
from authz.domain.identifiers import Identifier
from authz.domain.reasons import Reason
from pki.app import OpenAuthority
from pki.audit.records import new_trace, operator
from pki.authority import Issued
from pki.enrolment.codes import read_selector
from pki.enrolment.desk import CodeDesk
from pki.enrolment.key_names import KeyName
from pki.enrolment.requests import parse_request
from pki.enrolment.service import AT_ONCE_RETRY, Asker, Busy, Enrolment, Repeated
from pki.issuing import Holder, IssuingCa, Prepared
from pki.revocation.crl import RevocationReason
from pki.signing.signer import SignerError
from pki.store.codes import MAX_ATTEMPTS, Codes
from pki.store.keys import Keys
from pki.store.register import Register
from tests.fakes.clock import FixedClock
from tests.fakes.requests import request_der

ROOT = Path(__file__).parents[4]
WHO = Identifier.parse_subject("uzovi:5000")
OTHER = Identifier.parse_subject("uzovi:6000")
HOLDER = Holder(WHO, "Zorgkantoor Test", "12345678", ("a.example.nl",))
ANNA, BRAM = operator("anna"), operator("bram")


@pytest.fixture
def desk(pki: OpenAuthority) -> CodeDesk:
    return CodeDesk(pki)


@pytest.fixture
def enrolment(pki: OpenAuthority) -> Enrolment:
    return Enrolment(pki)


@pytest.fixture
def asker() -> Asker:
    return Asker(new_trace(), "192.0.2.1")


async def refused(reason: Reason, work: Awaitable[object]) -> str:
    with pytest.raises(Refused) as caught:
        await work
    assert caught.value.reason is reason
    return caught.value.detail


async def redeem(enrolment: Enrolment, code: str, asker: Asker, who: Identifier = WHO, data: bytes = b"") -> Issued:
    return await enrolment.enrol(await enrolment.authenticate(who, code, asker), data or request_der(), asker)


async def events(pki: OpenAuthority) -> list[tuple[str, str]]:
    import json  # noqa: PLC0415

    async with pki.database.read() as connection:
        records = [json.loads(record) for _, record in await Register(connection).unshipped(500)]
    return [(record["event"]["type"], record["event"]["reason"]) for record in records]


async def test_a_code_makes_one_certificate_for_the_vetted_identity(
    pki: OpenAuthority, desk: CodeDesk, enrolment: Enrolment, asker: Asker
) -> None:
    made, code = await desk.create("TST", HOLDER, ANNA)
    issued = await redeem(enrolment, code, asker)
    assert issued.registered.identifier == WHO
    assert issued.registered.dns_names == ("a.example.nl",)
    await refused(Reason.CODE_USED, redeem(enrolment, code, asker))
    found = (await desk.find(still_open=False))[0]
    assert (found.status, found.serial_number) == ("used", issued.registered.serial_number)
    assert await desk.find(still_open=True) == []
    assert await events(pki) == [
        ("enrolment.code_create", ""),
        ("enrolment.code_use", ""),
        ("certificate.intent", ""),
        ("certificate.issue", ""),
        ("enrolment.code_use", "code_used"),
    ]
    assert made.attempts == 0


async def test_the_last_moment_of_a_code_and_the_first_after_it(
    desk: CodeDesk, enrolment: Enrolment, asker: Asker, clock: FixedClock
) -> None:
    _, code = await desk.create("TST", HOLDER, ANNA, life=timedelta(hours=1))
    clock.advance(hours=1)
    await refused(Reason.CODE_EXPIRED, redeem(enrolment, code, asker))
    clock.advance(seconds=-1)
    assert await redeem(enrolment, code, asker)


async def test_a_code_that_expires_while_it_is_redeemed(
    pki: OpenAuthority, desk: CodeDesk, enrolment: Enrolment, asker: Asker, clock: FixedClock
) -> None:
    _, code = await desk.create("TST", HOLDER, ANNA, life=timedelta(hours=1))
    entitled = await enrolment.authenticate(WHO, code, asker)
    clock.advance(hours=1)
    await refused(Reason.CODE_USED, enrolment.enrol(entitled, request_der(), asker))
    assert await pki.find() == []


async def test_a_code_that_is_withdrawn_while_it_is_redeemed(
    pki: OpenAuthority, desk: CodeDesk, enrolment: Enrolment, asker: Asker
) -> None:
    made, code = await desk.create("TST", HOLDER, ANNA)
    entitled = await enrolment.authenticate(WHO, code, asker)
    await desk.withdraw(made.selector, ANNA)
    await refused(Reason.CODE_USED, enrolment.enrol(entitled, request_der(), asker))
    await refused(Reason.CODE_WITHDRAWN, redeem(enrolment, code, asker))
    assert await pki.find() == []
    await refused(Reason.CODE_UNKNOWN, desk.withdraw(made.selector, ANNA))


async def test_another_identity(desk: CodeDesk, enrolment: Enrolment, asker: Asker) -> None:
    _, code = await desk.create("TST", HOLDER, ANNA)
    await refused(Reason.CODE_OTHER_IDENTITY, redeem(enrolment, code, asker, OTHER))
    await refused(Reason.CODE_OTHER_IDENTITY, enrolment.authenticate(None, code, asker))
    assert await redeem(enrolment, code, asker)


async def test_a_code_that_leaked_without_its_identity_is_locked_before_the_identity_is_found(
    desk: CodeDesk, enrolment: Enrolment, asker: Asker
) -> None:
    made, code = await desk.create("TST", HOLDER, ANNA)
    for number in range(MAX_ATTEMPTS):
        other = Identifier.parse_subject(f"uzovi:{6000 + number}")
        await refused(Reason.CODE_OTHER_IDENTITY, enrolment.authenticate(other, code, asker))
    # The right one, now; and a thief who goes on hears no more than a stranger.
    await refused(Reason.CODE_LOCKED, enrolment.authenticate(WHO, code, asker))
    await refused(Reason.CODE_INVALID, enrolment.authenticate(OTHER, code, asker))
    assert [(item.selector, item.status) for item in await desk.find(still_open=True)] == [(made.selector, "locked")]


async def test_guesses_are_limited_whoever_makes_them(desk: CodeDesk, enrolment: Enrolment, asker: Asker) -> None:
    _, code = await desk.create("TST", HOLDER, ANNA)
    wrong = code[:-1] + ("0" if code[-1] != "0" else "1")
    outcomes: Counter[str] = Counter()

    async def guess() -> None:
        try:
            await enrolment.authenticate(WHO, wrong, asker)
        except Refused as refusal:
            outcomes[refusal.reason.value] += 1
        except Busy as busy:
            outcomes[f"busy {busy.seconds}"] += 1

    await asyncio.gather(*(guess() for _ in range(12)))
    assert outcomes["code_invalid"] == MAX_ATTEMPTS
    assert outcomes.total() == 12
    assert set(outcomes) <= {"code_invalid", "code_locked", f"busy {AT_ONCE_RETRY}"}
    await refused(Reason.CODE_LOCKED, enrolment.authenticate(WHO, code, asker))
    assert [item.status for item in await desk.find(still_open=True)] == ["locked"]


async def test_honest_uses_of_one_code_at_the_same_time_never_hear_that_it_is_locked(
    pki: OpenAuthority, desk: CodeDesk, enrolment: Enrolment, asker: Asker
) -> None:
    _, code = await desk.create("TST", HOLDER, ANNA)
    outcomes: Counter[str] = Counter()

    async def use() -> None:
        try:
            await redeem(enrolment, code, asker)
            outcomes["issued"] += 1
        except Refused as refusal:
            outcomes[refusal.reason.value] += 1
        except Busy:
            outcomes["busy"] += 1

    await asyncio.gather(*(use() for _ in range(24)))
    assert outcomes["issued"] == 1
    assert set(outcomes) <= {"issued", "busy", "code_used", "identity_has_certificate"}
    assert [item.status for item in await pki.find()] == ["active"]


async def test_attempts_of_a_process_that_died_count_as_wrong_ones_after_a_minute(
    pki: OpenAuthority, desk: CodeDesk, enrolment: Enrolment, asker: Asker, clock: FixedClock
) -> None:
    made, code = await desk.create("TST", HOLDER, ANNA)
    for _ in range(MAX_ATTEMPTS):
        async with pki.database.write() as connection:
            assert await Codes(connection).count_attempt(made.selector, clock.now())
    with pytest.raises(Busy):
        await enrolment.authenticate(WHO, code, asker)
    clock.advance(seconds=60)
    await refused(Reason.CODE_LOCKED, enrolment.authenticate(WHO, code, asker))
    assert [item.status for item in await desk.find(still_open=True)] == ["locked"]


async def test_a_code_that_is_over_costs_no_slow_hash_no_attempt_and_one_record(
    pki: OpenAuthority, desk: CodeDesk, enrolment: Enrolment, asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, code = await desk.create("TST", HOLDER, ANNA)
    await redeem(enrolment, code, asker)

    def hashed(*_: object) -> bool:
        raise AssertionError("a code that is over was hashed")

    monkeypatch.setattr(pki_enrolment, "fits", hashed)
    before = await events(pki)
    wrong = code[:-1] + ("0" if code[-1] != "0" else "1")
    for number in range(20):
        # Nothing is worth protecting any more: the secret is not even looked at.
        with pytest.raises(Refused, match="used up") as caught:
            await enrolment.authenticate(WHO, code if number % 2 else wrong, asker)
        assert isinstance(caught.value, Repeated) is (number > 0)
    for _ in range(20):
        await refused(Reason.CODE_INVALID, enrolment.authenticate(OTHER, code, asker))
    new = (await events(pki))[len(before) :]
    assert new == [("enrolment.code_use", "code_used"), ("enrolment.code_use", "code_invalid")]
    found = await desk.find(still_open=False)
    assert [(item.selector, item.attempts) for item in found] == [(made.selector, 0)]


async def test_guesses_at_a_selector_that_is_not_there_lock_nothing(
    desk: CodeDesk, enrolment: Enrolment, asker: Asker
) -> None:
    made, code = await desk.create("TST", HOLDER, ANNA)
    for first in "0123456789"[:6]:
        other = ("1" if first == code[0] else first) + "0" * 39
        if read_selector(other[:8]) != made.selector:
            await refused(Reason.CODE_INVALID, enrolment.authenticate(WHO, other, asker))
    assert await redeem(enrolment, code, asker)


async def test_right_attempts_do_not_count(desk: CodeDesk, enrolment: Enrolment, asker: Asker) -> None:
    _, code = await desk.create("TST", HOLDER, ANNA)
    wrong = code[:-1] + ("0" if code[-1] != "0" else "1")
    for _ in range(4):
        await refused(Reason.CODE_INVALID, enrolment.authenticate(WHO, wrong, asker))
    for _ in range(3):
        await enrolment.authenticate(WHO, code, asker)
    await refused(Reason.REQUEST_MALFORMED, redeem(enrolment, code, asker, data=b"\x30\x00"))
    assert await redeem(enrolment, code, asker)


async def test_one_open_code_for_an_identity(desk: CodeDesk, enrolment: Enrolment, asker: Asker) -> None:
    made, first = await desk.create("TST", HOLDER, ANNA)
    await refused(Reason.CODE_EXISTS, desk.create("TST", HOLDER, BRAM))
    await desk.withdraw(made.selector, BRAM)
    _, second = await desk.create("TST", HOLDER, BRAM)
    await refused(Reason.CODE_WITHDRAWN, enrolment.authenticate(WHO, first, asker))
    assert await redeem(enrolment, second, asker)


@pytest.mark.parametrize(
    ("holder", "reason"),
    [
        (Holder(WHO, "Zorgkantoor Test", "1234567"), Reason.REQUEST_MALFORMED),
        (Holder(WHO, "", "12345678"), Reason.REQUEST_MALFORMED),
        (Holder(WHO, "Zorgkantoor Test", "12345678", ("*.example.nl",)), Reason.REQUEST_MALFORMED),
        (Holder(WHO, "Zorgkantoor Test", "12345678", ("localhost",)), Reason.LINT_FAILED),
    ],
)
async def test_what_could_not_be_certified_gets_no_code(desk: CodeDesk, holder: Holder, reason: Reason) -> None:
    await refused(reason, desk.create("TST", holder, ANNA))
    assert await desk.find(still_open=False) == []


async def test_another_environment_gets_no_code(desk: CodeDesk) -> None:
    await refused(Reason.PARAMETER_MALFORMED, desk.create("PRD", HOLDER, ANNA))


async def test_a_signer_that_fails_leaves_the_code_usable(
    pki: OpenAuthority, desk: CodeDesk, enrolment: Enrolment, asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, code = await desk.create("TST", HOLDER, ANNA)
    redeem_prepared = IssuingCa.redeem
    failed = False

    def fails_once(self: IssuingCa, prepared: Prepared) -> bytes:
        nonlocal failed
        if not failed:
            failed = True
            raise SignerError("the HSM does not answer")
        return redeem_prepared(self, prepared)

    monkeypatch.setattr(IssuingCa, "redeem", fails_once)
    with pytest.raises(SignerError):
        await redeem(enrolment, code, asker)
    assert [item.status for item in await pki.find()] == ["revoked"]
    assert await redeem(enrolment, code, asker)
    await refused(Reason.CODE_USED, redeem(enrolment, code, asker))


async def test_an_identity_that_has_a_certificate_gets_no_code_for_a_first_one(
    pki: OpenAuthority, desk: CodeDesk, enrolment: Enrolment, asker: Asker
) -> None:
    await refused(Reason.CERTIFICATE_UNKNOWN, desk.create("TST", HOLDER, ANNA, renewal=True))
    issued = await pki.issue(HOLDER, parse_request(request_der()), ANNA)
    told = await refused(Reason.IDENTITY_HAS_CERTIFICATE, desk.create("TST", HOLDER, ANNA))
    assert "--renewal" in told
    assert "pki revoke" in told
    assert await desk.find(still_open=False) == []
    # Another party of the same organisation is another party; and after a revocation it is a first one again.
    assert await desk.create("TST", Holder(OTHER, "Zorgkantoor Test", "12345678"), ANNA)
    await pki.revoke(RevocationReason.CESSATION_OF_OPERATION, ANNA, identifier=WHO)
    _, code = await desk.create("TST", HOLDER, ANNA)
    assert (await redeem(enrolment, code, asker)).registered.serial_number != issued.registered.serial_number


async def test_an_identity_that_got_its_certificate_otherwise_keeps_its_code(
    pki: OpenAuthority, desk: CodeDesk, enrolment: Enrolment, asker: Asker
) -> None:
    _, code = await desk.create("TST", HOLDER, ANNA)
    await pki.issue(HOLDER, parse_request(request_der()), ANNA)
    await refused(Reason.IDENTITY_HAS_CERTIFICATE, redeem(enrolment, code, asker))
    assert [item.status for item in await desk.find(still_open=True)] == ["ready"]


async def test_a_code_that_renews_gives_other_names_beside_the_certificate_of_before(
    pki: OpenAuthority, desk: CodeDesk, enrolment: Enrolment, asker: Asker
) -> None:
    await pki.issue(HOLDER, parse_request(request_der()), ANNA)
    renamed = replace(HOLDER, organization="Zorgkantoor Nieuw", dns_names=("b.example.nl",))
    made, code = await desk.create("TST", renamed, ANNA, renewal=True)
    assert made.purpose == "renew"
    issued = await redeem(enrolment, code, asker)
    assert (issued.registered.organization, issued.registered.dns_names) == ("Zorgkantoor Nieuw", ("b.example.nl",))
    assert [item.status for item in await pki.find()] == ["superseding", "active"]
    await refused(Reason.CODE_USED, redeem(enrolment, code, asker))


async def test_a_code_that_renews_makes_no_first_certificate(
    pki: OpenAuthority, desk: CodeDesk, enrolment: Enrolment, asker: Asker
) -> None:
    await pki.issue(HOLDER, parse_request(request_der()), ANNA)
    made, code = await desk.create("TST", HOLDER, ANNA, renewal=True)
    entitled = await enrolment.authenticate(WHO, code, asker)
    found = await pki.find(status="active")
    await pki.withdrawal.revoke(found, RevocationReason.CESSATION_OF_OPERATION, ANNA)
    await refused(Reason.CERTIFICATE_UNKNOWN, enrolment.enrol(entitled, request_der(), asker))
    # Nor by another door: it is looked at where it is used.
    request = parse_request(request_der())
    await refused(Reason.CODE_USED, pki.authority.issue("TST", HOLDER, request, ANNA, code=entitled))
    await refused(
        Reason.CODE_USED, pki.authority.issue("TST", HOLDER, request, ANNA, code=replace(made, purpose="issue"))
    )
    assert [item.status for item in await pki.find()] == ["revoked"]


async def test_a_code_entitles_to_nothing_but_what_it_says(pki: OpenAuthority, desk: CodeDesk) -> None:
    made, _ = await desk.create("TST", HOLDER, ANNA)
    request = parse_request(request_der())
    for other in (
        replace(HOLDER, identifier=OTHER),
        replace(HOLDER, organization="Zorgkantoor Ander"),
        replace(HOLDER, kvk="87654321"),
        replace(HOLDER, dns_names=("a.example.nl", "b.example.nl")),
        replace(HOLDER, dns_names=()),
    ):
        await refused(Reason.TWO_PERSONS_REQUIRED, pki.authority.issue("TST", other, request, ANNA, code=made))
    assert await pki.find() == []
    assert await pki.authority.issue("TST", HOLDER, request, ANNA, code=made)


async def test_a_blocked_key(pki: OpenAuthority, desk: CodeDesk, enrolment: Enrolment, asker: Asker) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    data = request_der(key)
    _, code = await desk.create("TST", HOLDER, ANNA)
    assert await desk.block_keys([KeyName(parse_request(data).subject_key)], "published", ANNA) == (1, [])
    assert await desk.block_keys([KeyName(parse_request(data).subject_key)], "published", ANNA) == (0, [])
    await refused(Reason.KEY_BLOCKED, redeem(enrolment, code, asker, data=data))
    issued = await redeem(enrolment, code, asker)
    added, revoked = await desk.block_keys([issued.registered.key], "compromised", ANNA)
    assert (added, [item.serial_number for item in revoked]) == (1, [issued.registered.serial_number])
    assert [item.revocation_reason for item in await pki.find()] == ["keyCompromise"]


async def test_a_key_that_is_blocked_between_intent_and_outcome(
    pki: OpenAuthority, enrolment: Enrolment, asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The block is committed, its search for certificates has not begun: the outcome must see it."""
    _, code = await CodeDesk(pki).create("TST", HOLDER, ANNA)
    data = request_der()
    sign = pki.authority._sign

    async def blocked_meanwhile(*arguments: object) -> bytes:
        async with pki.database.write() as connection:
            key = parse_request(data).name
            await Keys(connection).block([key], "compromised", "operator:anna", pki.clock.now())
        return await sign(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(pki.authority, "_sign", blocked_meanwhile)
    await refused(Reason.CERTIFICATE_NOT_ACTIVE, redeem(enrolment, code, asker, data=data))
    assert all(item.status != "active" for item in await pki.find())


async def test_a_request_whose_signature_is_sha1(desk: CodeDesk, enrolment: Enrolment, asker: Asker) -> None:
    _, code = await desk.create("TST", HOLDER, ANNA)
    der = request_der()
    # ecdsa-with-SHA256 (…4.3.2) becomes ecdsa-with-SHA1 (…4.1).
    oid = x509.load_der_x509_csr(der).signature_algorithm_oid
    assert oid.dotted_string == "1.2.840.10045.4.3.2"
    broken = der.replace(bytes.fromhex("06082a8648ce3d040302"), bytes.fromhex("06082a8648ce3d040301"))
    with pytest.raises(Refused) as caught:
        await redeem(enrolment, code, asker, data=broken)
    assert caught.value.reason in {Reason.REQUEST_SIGNATURE, Reason.REQUEST_MALFORMED}
    key = ec.generate_private_key(ec.SECP256R1())
    good = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA384())
    assert await redeem(enrolment, code, asker, data=good.public_bytes(Encoding.DER))


def start(config: Path, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.fakes.code_racer", str(config), *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)


@pytest.mark.integration
async def test_of_several_processes_with_one_code_exactly_one_wins(
    config: Path, pki: OpenAuthority, desk: CodeDesk
) -> None:
    _, code = await desk.create("TST", HOLDER, ANNA)
    racers = [start(config, "race", "uzovi:5000", code) for _ in range(4)]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    outcomes = sorted(racer.communicate(timeout=240)[0].strip() for racer in racers)
    assert outcomes.count("issued") == 1
    assert set(outcomes) <= {"issued", "code_used", "identity_has_certificate"}
    assert [item.status for item in await pki.find()] == ["active"]


@pytest.mark.integration
async def test_a_process_killed_while_it_enrols_leaves_nothing_outside_the_register_and_a_code_that_works(
    config: Path, pki: OpenAuthority, enrolment: Enrolment, asker: Asker, clock: FixedClock
) -> None:
    _, code = await CodeDesk(pki).create("TST", HOLDER, ANNA)
    killed = start(config, "die", "uzovi:5000", code)
    killed.communicate(timeout=240)
    assert killed.returncode == -9
    assert [item.status for item in await pki.find()] == ["issuing"]
    # While nobody knows whether it was signed, the code is used.
    await refused(Reason.CODE_USED, redeem(enrolment, code, asker))
    clock.advance(seconds=61)
    await pki.withdrawal.sweep()
    issued = await redeem(enrolment, code, asker)
    assert [item.status for item in await pki.find()] == ["revoked", "active"]
    assert issued.registered.status == "active"
    await refused(Reason.CODE_USED, redeem(enrolment, code, asker))
