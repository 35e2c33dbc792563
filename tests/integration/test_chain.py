"""The chain, end to end, on real processes: every step of the story, and what is lost when something is killed."""

import asyncio
import itertools
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import httpx
import pytest

from authz.domain.audit import AuditRecord, EventType, Outcome
from deploy.lab import processes
from deploy.lab.client import Answer, Caller
from deploy.lab.layout import AUTHZ, agent_component
from deploy.lab.network import INDICATIONS, NORTH, SOUTH
from deploy.lab.processes import ProcessId
from deploy.lab.programs import kill, start_again
from deploy.lab.queries import body, indication, variables
from deploy.lab.records import list_records
from deploy.lab.register.people import indication_id
from deploy.lab.running import RunningLab
from deploy.lab.story import revocation
from deploy.lab.story.model import Step
from deploy.lab.story.revocation import LIMIT, Revoked, revoke_under_traffic
from deploy.lab.story.session import Session
from deploy.lab.story.telling import CLOCK_SKEW, tell
from deploy.lab.up import LabOptions, down, up

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

AGENT = agent_component(INDICATIONS.key)
RECOVERY = 90.0
"""Seconds in which a killed part must serve again, and records must have arrived, on a busy machine."""
LIFETIME = 40
"""Seconds that a token lives: longer than in the demo, because no step may outlast it on a busy machine either."""
TELLINGS = 3
"""How often the story is told at most."""


@dataclass
class Told:
    """A lab in which the story was told, and what came of each step."""

    lab: RunningLab
    steps: dict[int, Step]
    revocation_took: float
    """Seconds until neither tokens nor calls passed any more."""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    folder = tmp_path_factory.mktemp("chain") / "lab"
    options = LabOptions(token_lifetime=LIFETIME, clock_skew=CLOCK_SKEW, without_certificate=(NORTH.key,))

    took: list[float] = []

    async def revoke_and_measure(session: Session) -> Revoked:
        revoked = await revoke_under_traffic(session)
        took.append(revoked.reached)
        return revoked

    async def story() -> Told:
        lab = await up(folder, options)
        steps = {step.number: step async for step in tell(lab, lambda _seconds: None)}
        return Told(lab, steps, took[-1])

    try:
        with pytest.MonkeyPatch.context() as patch:
            # Steps are judged by what they do, and how long the revocation took is looked at on its own: a machine may
            # stand still at that very moment, so the story is told again; a lab that is too slow is so each time.
            patch.setattr(revocation, "revoke_under_traffic", revoke_and_measure)
            patch.setattr(revocation, "LIMIT", RECOVERY)
            result = asyncio.run(story())
            while result.revocation_took >= LIMIT and len(took) < TELLINGS:
                asyncio.run(down(folder))
                result = asyncio.run(story())
        everything = running(result.lab)
        assert len(everything) > len(result.lab.state.processes)  # with their Envoys and services
        yield result
        everything |= running(result.lab)
    finally:
        left = asyncio.run(down(folder))
    assert not left
    assert [process for process in everything if process.alive] == []
    assert not folder.exists()
    assert not result.lab.state.sockets.exists()


def running(lab: RunningLab) -> set[ProcessId]:
    """Every process of the lab, also those that its programs started."""
    parents = set(lab.state.processes.values())
    return parents | {child for parent in parents for child in processes.descendants(parent.pid)}


@pytest.mark.parametrize("number", range(1, 8))
def test_each_step_of_the_story_goes_as_it_must(told: Told, number: int) -> None:
    step = told.steps[number]
    failed = [
        f"{exchange.asked}: wanted {exchange.wanted}, got {exchange.answered}; audit log: {exchange.why}"
        for exchange in step.exchanges
        if not exchange.ok
    ]
    assert failed == []
    assert step.ok


def test_a_revocation_ends_tokens_and_calls_within_two_seconds(told: Told) -> None:
    assert told.revocation_took < LIMIT


@pytest.mark.parametrize(
    ("number", "reasons"),
    [
        (2, {"domain_insecure", "domain_bogus"}),
        (4, {"policy_denied", "token_binding", "token_audience", "token_expired"}),
        (5, {"certificate_revoked"}),
    ],
)
def test_each_refusal_has_its_own_reason_in_the_audit_log(told: Told, number: int, reasons: set[str]) -> None:
    asked = [exchange for exchange in told.steps[number].exchanges if exchange.trace_id is not None]
    # A revocation arrives by the CRL and by the feed, and either may be first.
    found = {exchange.reason.replace("credential_revoked", "certificate_revoked") for exchange in asked}
    assert found - {""} == reasons
    assert all(exchange.recorded for exchange in asked)


def test_each_denial_by_policy_says_what_was_missed(told: Told) -> None:
    whys = [exchange.why for exchange in told.steps[4].exchanges]
    assert [code in why for code, why in zip(POLICY_CODES, whys, strict=False)] == [True] * len(POLICY_CODES)


POLICY_CODES = ("own_zorgkantoor_required", "field_not_in_template", "filter_required", "field_not_in_template")


@dataclass
class Traffic:
    """What was asked under which trace, and what was answered; what got no answer is not in it."""

    answered: dict[str, int] = field(default_factory=dict)
    unanswered: int = 0

    def of(self, *statuses: int) -> set[str]:
        return {trace for trace, status in self.answered.items() if status in statuses}


Ask = Callable[[Caller, int], Awaitable[Answer]]


@asynccontextmanager
async def traffic(lab: RunningLab, ask: Ask, workers: int = 4) -> AsyncIterator[Traffic]:
    """Keep asking over open connections while the block runs."""
    result = Traffic()
    stopping = asyncio.Event()

    async def work() -> None:
        async with lab.caller(lab.credentials(SOUTH), keep_alive=True) as caller:
            for number in itertools.count():
                if stopping.is_set():
                    return
                try:
                    answer = await ask(caller, number)
                except httpx.TransportError:
                    result.unanswered += 1
                    await asyncio.sleep(0.02)
                else:
                    result.answered[answer.trace_id] = answer.status

    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(work())
        try:
            yield result
        finally:
            stopping.set()


async def token(lab: RunningLab) -> str:
    async with lab.caller(lab.credentials(SOUTH)) as caller:
        answer = await caller.token_iwlz(lab.iwlz_token, INDICATIONS.scopes[0], lab.audience(INDICATIONS))
    assert answer.status == 200, answer.text
    return str(answer.json()["access_token"])


async def consultations(lab: RunningLab, *, renew: bool = True) -> Ask:
    """Every second request is permitted, the others are refused; a token that grows old is replaced."""
    own = body(indication(), variables(indication_id("5001"), "5001"))
    other = body(indication(), variables(indication_id("5000"), "5000"))
    presented = await token(lab)
    until = monotonic() + LIFETIME / 2

    async def ask(caller: Caller, number: int) -> Answer:
        nonlocal presented, until
        if renew and monotonic() > until:
            until = monotonic() + LIFETIME / 2
            presented = await token(lab)
        return await caller.consult(lab.audience(INDICATIONS), presented, other if number % 2 else own)

    return ask


async def serves(lab: RunningLab, ask: Ask, status: int = 200) -> None:
    """Wait until the first question is answered as it should be."""
    async with asyncio.timeout(RECOVERY), lab.caller(lab.credentials(SOUTH)) as caller:
        while True:
            try:
                if (await ask(caller, 0)).status == status:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)


async def both_kinds(seen: Traffic) -> None:
    """Wait until from now on, for half a second at least, something was permitted and something refused."""
    before = len(seen.of(200)), len(seen.of(403))
    await asyncio.sleep(0.5)
    async with asyncio.timeout(RECOVERY):
        while len(seen.of(200)) == before[0] or len(seen.of(403)) == before[1]:  # noqa: ASYNC110  the callers tell nobody
            await asyncio.sleep(0.05)


async def recorded(lab: RunningLab, event: EventType, wanted: set[str]) -> dict[str, AuditRecord]:
    """The records of some traces, each there once; waits until all have arrived."""
    deadline = monotonic() + RECOVERY
    while True:
        records = await list_records(lab, "--event", event.value)
        fitting = [record for record in records if record.trace.trace_id in wanted]
        found = {record.trace.trace_id: record for record in fitting}
        if wanted <= set(found) or monotonic() > deadline:
            assert len(fitting) == len(found)  # shipped again after a kill, and taken once
            return found


async def assert_all_decisions_recorded(lab: RunningLab, seen: Traffic) -> None:
    permitted, refused = seen.of(200), seen.of(403)
    assert permitted
    assert refused
    found = await recorded(lab, EventType.ACCESS_DECISION, permitted | refused)
    assert permitted | refused <= set(found)
    assert {found[trace].outcome for trace in permitted} == {Outcome.SUCCESS}
    assert {found[trace].outcome for trace in refused} == {Outcome.REFUSED}


def child(lab: RunningLab, component: str, *, envoy: bool) -> ProcessId:
    """The Envoy, or the service, of a supervised program."""
    parent = lab.state.processes[component]
    found = [each for each in processes.descendants(parent.pid) if (_program(each) == "envoy") is envoy]
    assert len(found) == 1
    return found[0]


def _program(process: ProcessId) -> str:
    return Path(f"/proc/{process.pid}/exe").readlink().name


@pytest.mark.parametrize("envoy", [False, True], ids=["decision service", "envoy"])
async def test_no_decision_is_lost_when_a_part_of_the_agent_is_killed(told: Told, envoy: bool) -> None:  # noqa: FBT001
    lab = told.lab
    ask = await consultations(lab)
    async with traffic(lab, ask) as seen:
        await both_kinds(seen)
        victim = child(lab, AGENT, envoy=envoy)
        victim.signal(signal.SIGKILL)
        await serves(lab, ask)
        await both_kinds(seen)
    assert not victim.alive
    await assert_all_decisions_recorded(lab, seen)


async def test_no_decision_is_lost_when_the_whole_agent_is_killed(told: Told) -> None:
    lab = told.lab
    ask = await consultations(lab)
    async with traffic(lab, ask) as seen:
        await both_kinds(seen)
        await kill(lab, AGENT)
        async with asyncio.timeout(RECOVERY):
            while not seen.unanswered:  # noqa: ASYNC110  the callers tell nobody
                await asyncio.sleep(0.02)
        await start_again(lab, AGENT)
        await serves(lab, ask)
        await both_kinds(seen)
    await assert_all_decisions_recorded(lab, seen)


async def test_no_token_is_issued_without_its_record_when_authz_is_killed(told: Told) -> None:
    lab = told.lab

    async def ask(caller: Caller, number: int) -> Answer:
        scope = INDICATIONS.scopes[0] if number % 2 == 0 else "registers/unknown:read"
        return await caller.token_iwlz(lab.iwlz_token, scope, lab.audience(INDICATIONS))

    async with traffic(lab, ask) as seen:
        await both_kinds(seen)
        child(lab, AUTHZ, envoy=False).signal(signal.SIGKILL)
        await serves(lab, ask)
        await both_kinds(seen)
        await kill(lab, AUTHZ)
        await start_again(lab, AUTHZ)
        await serves(lab, ask)
        await both_kinds(seen)
    issued, refused = seen.of(200), seen.of(403)
    assert issued
    assert refused
    found = await recorded(lab, EventType.TOKEN_REQUEST, issued | refused)
    assert issued | refused <= set(found)
    assert {found[trace].outcome for trace in issued} == {Outcome.SUCCESS}
    assert {found[trace].reason for trace in refused} == {"scope_unknown"}


async def test_the_agent_starts_from_what_it_kept_while_authz_is_away(told: Told) -> None:
    lab = told.lab
    # Tokens that live a quarter of an hour: what grows old while an agent starts is not the subject here.
    await kill(lab, AUTHZ)
    settings = lab.layout.authz_settings
    short = settings.read_text()
    assert f"lifetime = {LIFETIME}\n" in short
    settings.write_text(short.replace(f"lifetime = {LIFETIME}\n", "lifetime = 900\n"))
    await start_again(lab, AUTHZ)
    ask = await consultations(lab, renew=False)
    await kill(lab, AUTHZ)
    try:
        await kill(lab, AGENT)
        await start_again(lab, AGENT)
        seen = Traffic()
        async with lab.caller(lab.credentials(SOUTH)) as caller:
            for number in range(4):
                answer = await ask(caller, number)
                seen.answered[answer.trace_id] = answer.status
        assert list(seen.answered.values()) == [200, 403, 200, 403]
    finally:
        await start_again(lab, AUTHZ)
    await assert_all_decisions_recorded(lab, seen)


async def test_the_log_is_whole_after_all_of_that(told: Told) -> None:
    verified = await told.lab.command("authz", "audit", "verify")
    assert verified.status == 0, verified.output
