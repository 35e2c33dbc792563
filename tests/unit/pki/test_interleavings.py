"""Random interleavings of enrolling, renewing, kills, revoking, blocking, holding, confirming and time.

From several processes, which all work one register.

What must hold is checked on one consistent look after another while they work, and on the whole once they are done:

1. at most one certificate of a party in an environment is active, at most one is being superseded;
2. what was revoked stays revoked, and a party whose certificates were all revoked has none that was renewed from them;
3. while a party is only renewed, there is no moment without a certificate that works;
4. every certificate that was ever signed is in the register, and one that was not handed over never works;
5. the CRL says what the register says, no more and no less;
6. a key belongs to one party;
7. nobody is stuck: once overlaps have ended and what was killed is given up, who has a certificate can renew it.

`SLUIS_TEST_INTERLEAVINGS` is the number of seconds for each database (10 when not set); `SLUIS_TEST_SEED` is the seed
of the schedule, the same each time when not set. How the processes meet is never the same.
"""

import asyncio
import json
import os
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import pytest
from cryptography import x509

from authz.domain.identifiers import Identifier
from pki.app import OpenAuthority
from pki.audit.records import operator
from pki.issuing import Holder
from pki.revocation.crl import KEEP_AFTER_EXPIRY, RevocationReason
from pki.store.register import Register, Registered
from tests.fakes.certificate_racer import new_request
from tests.fakes.clock import FixedClock
from tests.support import count

pytestmark = [pytest.mark.integration, pytest.mark.timeout(3600)]
ROOT = Path(__file__).parents[3]
SECONDS = float(os.environ.get("SLUIS_TEST_INTERLEAVINGS", "10"))
SEED = int(os.environ.get("SLUIS_TEST_SEED", "20261122"))
PROCESSES = 3
AT_ONCE = 5
SUBJECTS = ("agbcode:01234567", "uzovi:5000", "oin:00000001234567890000")
FOR_EVER = [item.value for item in RevocationReason if item not in {"certificateHold", "removeFromCRL"}]
EXPECTED = {
    "done", "killed", "identity_has_certificate", "renewal_underway", "certificate_not_active", "certificate_unknown",
}  # fmt: skip
STEPS = (*((timedelta(seconds=1),) * 8), *((timedelta(seconds=70),) * 3), timedelta(days=1), timedelta(days=8))


class Processes:
    """The workers, and who answers what."""

    def __init__(self, config: Path) -> None:
        self._config = config
        self._workers: list[asyncio.subprocess.Process] = []

    async def __aenter__(self) -> Self:
        command = (sys.executable, "-m", "tests.fakes.certificate_worker", str(self._config))
        pipe = asyncio.subprocess.PIPE
        for _ in range(PROCESSES):
            started = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=pipe, stdout=pipe)
            self._workers.append(started)
        for worker in self._workers:
            assert worker.stdout is not None
            assert await worker.stdout.readline() == b"ready\n"
        return self

    async def __aexit__(self, *_: object) -> None:
        for worker in self._workers:
            assert worker.stdin is not None
            worker.stdin.close()
            assert await worker.wait() == 0

    async def work(self, orders: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """All at once, one process after the other."""
        sent: Counter[int] = Counter()
        for number, order in enumerate(orders):
            stdin = self._workers[number % PROCESSES].stdin
            assert stdin is not None
            stdin.write(json.dumps(order).encode() + b"\n")
            sent[number % PROCESSES] += 1
        return [json.loads(line) for worker, many in sent.items() for line in await self._answers(worker, many)]

    async def _answers(self, worker: int, many: int) -> list[bytes]:
        stdout = self._workers[worker].stdout
        assert stdout is not None
        lines = [await asyncio.wait_for(stdout.readline(), 240) for _ in range(many)]
        assert all(lines), "a worker died"
        return lines


class Watcher:
    """Checks one look at the register after another."""

    def __init__(self, pki: OpenAuthority, clock: FixedClock) -> None:
        self._pki = pki
        self._clock = clock
        self.revoked: set[str] = set()
        self.only_renewed: set[str] = set()
        self.looks = 0

    async def look(self) -> list[Registered]:
        async with self._pki.database.read() as connection:
            register = Register(connection)
            rows = await register.find(limit=1_000_000)
            crls = await register.crls()
        self.looks += 1
        states = Counter((row.environment, row.identifier.subject, row.status) for row in rows)
        twice = [who for who, number in states.items() if who[2] in {"active", "superseding"} and number > 1]
        assert not twice
        now = {row.serial_number for row in rows if row.status == "revoked"}
        assert self.revoked <= now, "a revocation was undone"
        self.revoked = now
        working = {row.identifier.subject for row in rows if row.status == "active" and row.held_at is None}
        assert self.only_renewed <= working, "a renewal left a moment without a certificate"
        owners = defaultdict(set)
        for row in rows:
            owners[row.subject_key].add((row.environment, row.identifier.subject))
        assert all(len(found) == 1 for found in owners.values())
        for stored in crls:
            self._compare(stored.der, rows)
        return rows

    def _compare(self, der: bytes, rows: list[Registered]) -> None:
        crl = x509.load_der_x509_crl(der)
        assert crl.is_signature_valid(self._pki.cas[0].certificate.public_key())  # type: ignore[arg-type]
        listed = {f"{entry.serial_number:x}": _reason(entry) for entry in crl}
        wanted = {
            row.serial_number: row.revocation_reason if row.status == "revoked" else "certificateHold"
            for row in rows
            if row.status == "revoked" or row.held_at is not None
        }
        oldest = self._clock.now() - KEEP_AFTER_EXPIRY
        ended = {row.serial_number for row in rows if row.not_after <= oldest}
        assert {serial: reason for serial, reason in listed.items() if serial not in ended} == {
            serial: reason for serial, reason in wanted.items() if serial not in ended
        }, "the CRL is not what the register says"
        assert listed.keys() <= wanted.keys()

    async def watch(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self.look()
            await asyncio.sleep(0.02)  # two cores are to work the register, not to look at it


def _reason(entry: x509.RevokedCertificate) -> str:
    try:
        return entry.extensions.get_extension_for_class(x509.CRLReason).value.reason.value
    except x509.ExtensionNotFound:
        return "unspecified"


def _orders(rng: random.Random, at: str, rows: list[Registered]) -> list[dict[str, Any]]:
    # Few parties, so that nearly every round is about one that somebody else is busy with.
    subjects = rng.sample(SUBJECTS, rng.choice((1, 1, 2)))
    # Also what is about to be signed, or was killed before it could be known; seldom what was revoked already.
    states = {"active", "superseding", "issuing", "renewing"}
    live = [row.serial_number for row in rows if row.status in states] or ["1"]
    live += [row.serial_number for row in rows if row.status == "revoked"][-1:] * (rng.random() < 0.2)
    orders = []
    for _ in range(rng.randint(2, AT_ONCE)):
        do = rng.choice(
            ("enrol", "renew", "renew", "renew", "renew", "revoke", "revoke_one", "hold", "confirm", "sweep", "block")
        )
        order: dict[str, Any] = {"do": do, "subject": rng.choice(subjects), "at": at, "serial": rng.choice(live)}
        order |= {
            "pause": rng.choice((0, 0, 0.005, 0.03)),
            "overlap": rng.choice((0, 1, 7)),
            "reason": "superseded",
        }
        if do == "hold":
            order |= {"do": "revoke_one", "reason": rng.choice(("certificateHold", "removeFromCRL"))}
        else:
            order["reason"] = rng.choice(FOR_EVER)
        if do in {"enrol", "renew"} and rng.random() < 0.35:
            order["killed"] = rng.choice(("before", "after"))
        orders.append(order)
    if rng.random() < 0.25:  # one who revokes on the strength of what he saw a while ago, and one who is quick
        slow = {"do": "revoke", "pause": 0.2, "reason": rng.choice(FOR_EVER)}
        quick = {"do": rng.choice(("renew", "renew", "confirm")), "pause": 0}
        return [{**orders[0], **slow}, {**orders[1], "subject": orders[0]["subject"], **quick}, *orders[2:3]]
    if rng.random() < 0.3:  # many who only want to renew
        orders = [order | {"do": rng.choice(("renew", "confirm", "sweep"))} for order in orders]
    return orders


@pytest.fixture
async def processes(config: Path, pki: OpenAuthority) -> AsyncIterator[Processes]:
    async with Processes(config) as found:
        yield found


async def test_what_must_hold_holds_under_random_interleavings(
    processes: Processes, pki: OpenAuthority, clock: FixedClock
) -> None:
    rng = random.Random(SEED)  # noqa: S311  a schedule, not a secret
    watcher = Watcher(pki, clock)
    signed: dict[str, str] = {}
    outcomes: Counter[str] = Counter()
    await pki.withdrawal.sweep()
    until = time.monotonic() + SECONDS
    rounds = 0
    sys.stdout.write(f"SLUIS_TEST_SEED={SEED}\n")  # pytest shows it with a failure
    while time.monotonic() < until or rounds < 40:
        step = rng.choice(STEPS) if rng.random() < 0.98 else timedelta(days=399)
        clock.moment += step
        await pki.withdrawal.sweep()
        watcher.only_renewed = set()
        before = await _populated(pki, rng)
        orders = _orders(rng, clock.now().isoformat(), before)
        if all(order["do"] in {"renew", "confirm", "sweep"} for order in orders):
            watcher.only_renewed = {
                row.identifier.subject for row in before if row.status == "active" and row.held_at is None
            }
        stop = asyncio.Event()
        watching = asyncio.create_task(watcher.watch(stop))
        answers = await processes.work(orders)
        stop.set()
        await watching
        rows = {row.serial_number: row for row in await watcher.look()}
        rounds += 1
        for answer in answers:
            outcomes[f"{answer['order']['do']} {answer['outcome']}"] += 1
            assert answer["outcome"] in EXPECTED, answer
            for serial in answer["signed"]:
                signed[serial] = answer["outcome"]
        _check_signed(signed, rows)
        _check_revoked_parties(answers, before, rows)
        if rng.random() < 0.2:
            await _check_nobody_is_stuck(pki, clock)
    kind = pki.settings.database.address.partition("+")[0]
    count(f"interleavings of enrol, renew, revoke, confirm and time on {kind}", rounds)
    sys.stdout.write(f"{rounds} rounds, {watcher.looks} looks, {dict(sorted(outcomes.items()))}\n")
    assert {"renew done", "revoke done"} <= outcomes.keys()
    assert {"renew killed", "enrol killed"} & outcomes.keys()


async def _populated(pki: OpenAuthority, rng: random.Random) -> list[Registered]:
    """The register, after most of those without a certificate got one: among strangers there is nothing to race for."""
    taken = {row.identifier.subject for row in await pki.find(limit=100_000) if row.status in {"active", "issuing"}}
    for subject in SUBJECTS:
        if subject not in taken and rng.random() < 0.8:
            holder = Holder(Identifier.parse_subject(subject), "Test", "12345678", ("a.example.nl",))
            await pki.issue(holder, new_request(), operator("test"))
    return await pki.find(limit=100_000)


def _check_signed(signed: dict[str, str], rows: dict[str, Registered]) -> None:
    for serial, outcome in signed.items():
        assert serial in rows, "a certificate was signed that the register does not know"
        if outcome == "killed":
            assert rows[serial].status in {"issuing", "renewing", "revoked"}, "nobody has this certificate"
        elif outcome != "done":
            assert rows[serial].status == "revoked", "a certificate that was not handed over works"


async def _check_nobody_is_stuck(pki: OpenAuthority, clock: FixedClock) -> None:
    clock.moment += timedelta(days=8)
    await pki.withdrawal.sweep()
    for row in await pki.find(status="active"):
        if row.held_at is None:
            await pki.renew(row.identifier, new_request(), operator("test"))
    assert not await pki.find(status="renewing")


def _check_revoked_parties(
    answers: list[dict[str, Any]], before: list[Registered], rows: dict[str, Registered]
) -> None:
    """After a revocation of a whole party nothing works that existed before it, or was renewed from that."""
    enrolled = {answer["order"]["subject"] for answer in answers if answer["order"]["do"] == "enrol"}
    for answer in answers:
        order = answer["order"]
        if (order["do"], answer["outcome"]) != ("revoke", "done") or order["subject"] in enrolled:
            continue
        theirs = [row for row in rows.values() if row.identifier.subject == order["subject"]]
        assert not [row for row in theirs if row.status in {"active", "superseding"}], "a revoked party has one again"
    assert {row.serial_number for row in before} <= rows.keys()
