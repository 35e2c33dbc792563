"""Step 5: the certificate is revoked, and tokens and calls stop within two seconds."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from authz.domain.audit import EventType, Outcome
from authz.domain.reasons import Reason
from deploy.lab.client import Answer
from deploy.lab.network import INDICATIONS, NORTH
from deploy.lab.queries import body, indication, variables
from deploy.lab.records import list_records
from deploy.lab.register.people import indication_id
from deploy.lab.running import RunningLab
from deploy.lab.story.model import FORBIDDEN, OK, Exchange, Step, judged
from deploy.lab.story.session import Session, StoryBroken

LIMIT: Final = 2.0
"""Seconds from the revocation until nothing is permitted any more (architecture.md, "Budgets")."""
_PATIENCE: Final = 60.0
_PAUSE: Final = 0.05
"""Seconds between two tries."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """When the answers turned into refusals.

    Attributes:
        permitted: how often it was permitted before.
        at: moment of the first refusal.
        answer: that refusal.
    """

    permitted: int
    at: datetime
    answer: Answer


@dataclass(frozen=True, slots=True)
class Revoked:
    """What came of a revocation under traffic.

    Attributes:
        at: when the CA revoked, by its own audit record: the beginning of its act, before it was durable.
        tokens: when tokens stopped.
        calls: when calls stopped.
    """

    at: datetime
    tokens: Stopped
    calls: Stopped

    def after(self, stopped: Stopped) -> float:
        """Seconds from the revocation until a refusal."""
        return (stopped.at - self.at).total_seconds()

    @property
    def reached(self) -> float:
        """Seconds from the revocation until both tokens and calls were refused."""
        return max(self.after(self.tokens), self.after(self.calls))


async def revocation(session: Session) -> Step:
    """Revoke while the zorgkantoor keeps asking for tokens and keeps consulting."""
    revoked = await revoke_under_traffic(session)
    exchanges = (
        Exchange(
            asked=f"operator: pki revoke --identity {NORTH.identity.subject} --reason keyCompromise",
            wanted="revoked",
            answered=f"revoked at {revoked.at:%H:%M:%S}.{revoked.at.microsecond // 1000:03d}",
            as_wanted=True,
        ),
        _in_time(f"{NORTH.name}: a token, again and again", revoked.tokens, revoked),
        _in_time(f"{NORTH.name}: its indication, with a token from before", revoked.calls, revoked),
    )
    return Step(5, "The certificate is revoked: tokens and calls stop", await session.settled(exchanges))


async def revoke_under_traffic(session: Session) -> Revoked:
    """Revoke the zorgkantoor's certificate while it works, and watch when it stops working.

    Raises:
        StoryBroken: the command failed, or left no record.
        TimeoutError: it still works after a long time.
    """
    content = body(indication(), variables(indication_id(NORTH.identity.value), NORTH.identity.value))
    token = await session.token(NORTH, INDICATIONS, fresh=True)

    async def ask() -> Answer:
        return await session.ask_token(NORTH, INDICATIONS)

    async def call() -> Answer:
        return await session.consult(NORTH, INDICATIONS, content, token=token)

    async with asyncio.timeout(_PATIENCE), asyncio.TaskGroup() as group:
        asking = group.create_task(_until_refused(ask))
        calling = group.create_task(_until_refused(call))
        command = await session.lab.command(
            "pki", "revoke", "--identity", NORTH.identity.subject, "--reason", "keyCompromise"
        )
        if command.status:
            raise StoryBroken(f"pki revoke failed: {command.problem.strip()}")
    return Revoked(await _moment_of_revocation(session.lab), asking.result(), calling.result())


async def _moment_of_revocation(lab: RunningLab) -> datetime:
    """When the CA began the latest revocation; waits until its record has arrived."""
    async with asyncio.timeout(_PATIENCE):
        while True:
            records = await list_records(lab, "--event", EventType.CERTIFICATE_REVOKE.value)
            moments = [record.time for record in records if record.outcome is Outcome.SUCCESS]
            if moments:
                return max(moments)
            await asyncio.sleep(_PAUSE)


async def _until_refused(ask: Callable[[], Awaitable[Answer]]) -> Stopped:
    permitted = 0
    while (answer := await ask()).status == OK:
        permitted += 1
        await asyncio.sleep(_PAUSE)
    return Stopped(permitted, datetime.now(UTC), answer)


def _in_time(asked: str, stopped: Stopped, revoked: Revoked) -> Exchange:
    """Refused for the revocation, and soon enough."""
    exchange = judged(asked, stopped.answer, FORBIDDEN, Reason.CERTIFICATE_REVOKED)
    after = revoked.after(stopped)
    return replace(
        exchange,
        # Whichever is there first: the CRL of the authority, or its feed by way of authz.
        or_reasons=(Reason.CREDENTIAL_REVOKED,),
        wanted=f"{exchange.wanted} within {LIMIT:g} s",
        answered=f"{stopped.permitted} x 200, then {exchange.answered}, {after:.2f} s after the revocation",
        as_wanted=exchange.as_wanted and stopped.permitted > 0 and after < LIMIT,
    )
