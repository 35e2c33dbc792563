"""Step 5: the certificate is revoked, and tokens and calls stop within two seconds."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from time import monotonic
from typing import Final

from authz.domain.reasons import Reason
from deploy.lab.client import Answer
from deploy.lab.network import INDICATIONS, NORTH
from deploy.lab.queries import body, indication, variables
from deploy.lab.register.people import indication_id
from deploy.lab.story.model import FORBIDDEN, OK, Exchange, Step, judged
from deploy.lab.story.session import Session, StoryBroken

LIMIT: Final = 2.0
"""Seconds from the end of `pki revoke` (architecture.md, "Budgets")."""
_PATIENCE: Final = 20.0
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
    at: float
    answer: Answer


@dataclass(frozen=True, slots=True)
class Revoked:
    """What came of a revocation under traffic.

    Attributes:
        tokens: when tokens stopped.
        calls: when calls stopped.
        ended: moment at which the operator's command had ended.
        took: seconds that the command took.
    """

    tokens: Stopped
    calls: Stopped
    ended: float
    took: float

    @property
    def reached(self) -> float:
        """Seconds from the end of the command until everything was refused; 0 when it was before that."""
        return max(0.0, self.tokens.at - self.ended, self.calls.at - self.ended)


async def revocation(session: Session) -> Step:
    """Revoke while the zorgkantoor keeps asking for tokens and keeps consulting."""
    revoked = await revoke_under_traffic(session)
    exchanges = (
        Exchange(
            asked=f"operator: pki revoke --identity {NORTH.identity.subject} --reason keyCompromise",
            wanted="revoked",
            answered=f"done in {revoked.took:.2f} s",
            as_wanted=True,
        ),
        _in_time(f"{NORTH.name}: a token, again and again", revoked.tokens, revoked.ended),
        _in_time(f"{NORTH.name}: its indication, with a token from before", revoked.calls, revoked.ended),
    )
    return Step(5, "The certificate is revoked: tokens and calls stop", await session.settled(exchanges))


async def revoke_under_traffic(session: Session) -> Revoked:
    """Revoke the zorgkantoor's certificate while it works, and watch when it stops working.

    Raises:
        StoryBroken: the command failed.
        TimeoutError: it still works after a long time.
    """
    content = body(indication(), variables(indication_id(NORTH.identity.value), NORTH.identity.value))
    token = await session.token(NORTH, INDICATIONS, fresh=True)

    async def ask() -> Answer:
        return await session.ask_token(NORTH, INDICATIONS)

    async def call() -> Answer:
        return await session.consult(NORTH, INDICATIONS, content, token=token)

    identity = NORTH.identity.subject
    async with asyncio.timeout(_PATIENCE), asyncio.TaskGroup() as group:
        asking = group.create_task(_until_refused(ask))
        calling = group.create_task(_until_refused(call))
        revoked = await session.lab.command("pki", "revoke", "--identity", identity, "--reason", "keyCompromise")
        ended = monotonic()
        if revoked.status:
            raise StoryBroken(f"pki revoke failed: {revoked.problem.strip()}")
    return Revoked(asking.result(), calling.result(), ended, revoked.seconds)


async def _until_refused(ask: Callable[[], Awaitable[Answer]]) -> Stopped:
    permitted = 0
    while (answer := await ask()).status == OK:
        permitted += 1
        await asyncio.sleep(_PAUSE)
    return Stopped(permitted, monotonic(), answer)


def _in_time(asked: str, stopped: Stopped, ended: float) -> Exchange:
    """Refused for the revocation, and soon enough after the operator's command had ended."""
    exchange = judged(asked, stopped.answer, FORBIDDEN, Reason.CERTIFICATE_REVOKED)
    after = stopped.at - ended
    moment = f"{after:.2f} s after the command" if after > 0 else "before the command had ended"
    return replace(
        exchange,
        wanted=f"{exchange.wanted} within {LIMIT:g} s",
        answered=f"{stopped.permitted} x 200, then {exchange.answered}, {moment}",
        as_wanted=exchange.as_wanted and stopped.permitted > 0 and after < LIMIT,
    )
