"""Several processes on one register, and processes that are killed (cases/oauth.md 76), on both databases."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from cryptography import x509

from authz.domain.errors import Refused
from authz.domain.identifiers import Identifier
from authz.domain.reasons import Reason
from pki.app import OpenAuthority
from pki.audit.records import operator
from pki.issuing import Holder
from pki.revocation.crl import RevocationReason
from pki.store.register import Register
from tests.fakes.certificate_racer import new_request
from tests.fakes.clock import FixedClock

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[3]
PROCESSES = 3
SUBJECTS = [f"uzovi:{number}" for number in range(5000, 5006)]


def start(config: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.fakes.certificate_racer", str(config), *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)


async def test_76_of_concurrent_enrolments_for_one_identifier_exactly_one_succeeds(
    config: Path, pki: OpenAuthority
) -> None:
    # Each process tries each identifier twice, all at once.
    racers = [start(config, "race", *SUBJECTS, *SUBJECTS) for _ in range(PROCESSES)]
    outcomes: Counter[str] = Counter()
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    for racer in racers:
        out, _ = racer.communicate(timeout=240)
        assert racer.returncode == 0
        outcomes.update(out.splitlines())
    assert {line: number for line, number in outcomes.items() if line.endswith("issued")} == {
        f"{subject} issued": 1 for subject in SUBJECTS
    }
    refusals = PROCESSES * 2 - 1
    assert all(outcomes[f"{subject} identity_has_certificate"] == refusals for subject in SUBJECTS)
    # Nothing was signed for those who lost: the register has the winners and nothing else.
    assert [item.status for item in await pki.find()] == ["active"] * len(SUBJECTS)


async def test_a_process_killed_between_signing_and_recording_leaves_nothing_outside_the_register(
    config: Path, pki: OpenAuthority, clock: FixedClock
) -> None:
    killed = start(config, "die", "issue", "uzovi:5000")
    killed.communicate(timeout=240)
    assert killed.returncode == -9
    left = await pki.find()
    assert [item.status for item in left] == ["issuing"]
    holder = Holder(Identifier.parse_subject("uzovi:5000"), "Zorgkantoor Test", "12345678", ("a.example.nl",))
    with pytest.raises(Refused) as caught:
        await pki.issue(holder, new_request(), operator("test"))
    assert caught.value.reason is Reason.IDENTITY_HAS_CERTIFICATE
    clock.advance(seconds=61)
    await pki.withdrawal.sweep()
    async with pki.database.read() as connection:
        crl = x509.load_der_x509_crl((await Register(connection).crls())[0].der)
    assert [f"{entry.serial_number:x}" for entry in crl] == [left[0].serial_number]
    await pki.issue(holder, new_request(), operator("test"))
    assert [item.status for item in await pki.find()] == ["revoked", "active"]


async def test_a_process_killed_while_renewing_leaves_the_old_certificate_working_and_renewable(
    config: Path, pki: OpenAuthority, clock: FixedClock
) -> None:
    who = Identifier.parse_subject("uzovi:5000")
    await pki.issue(Holder(who, "Zorgkantoor Test", "12345678"), new_request(), operator("test"))
    killed = start(config, "die", "renew", "uzovi:5000")
    killed.communicate(timeout=240)
    assert killed.returncode == -9
    assert [item.status for item in await pki.find()] == ["active", "renewing"]
    with pytest.raises(Refused) as caught:
        await pki.renew(who, new_request(), operator("test"))
    assert caught.value.reason is Reason.RENEWAL_UNDERWAY
    clock.advance(seconds=61)
    await pki.withdrawal.sweep()
    assert [item.status for item in await pki.find()] == ["active", "revoked"]
    await pki.renew(who, new_request(), operator("test"))
    assert [item.status for item in await pki.find()] == ["superseding", "revoked", "active"]


async def test_a_process_killed_between_signing_a_crl_and_keeping_it_leaves_the_one_before_and_no_revocation(
    config: Path, pki: OpenAuthority
) -> None:
    who = Identifier.parse_subject("uzovi:5000")
    await pki.issue(Holder(who, "Zorgkantoor Test", "12345678"), new_request(), operator("test"))
    await pki.withdrawal.sweep()
    async with pki.database.read() as connection:
        [before] = await Register(connection).crls()
    killed = start(config, "die", "revoke", "uzovi:5000")
    killed.communicate(timeout=240)
    assert killed.returncode == -9
    async with pki.database.read() as connection:
        assert await Register(connection).crls() == [before]
    assert [item.status for item in await pki.find()] == ["active"]
    # What was signed was never seen; its number is used by the one that is kept.
    [revoked] = await pki.revoke(RevocationReason.SUPERSEDED, operator("test"), identifier=who)
    async with pki.database.read() as connection:
        [after] = await Register(connection).crls()
    assert after.number == before.number + 1
    assert [f"{entry.serial_number:x}" for entry in x509.load_der_x509_crl(after.der)] == [revoked.serial_number]
