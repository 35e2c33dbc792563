"""The story in order, from enrolment to the altered byte: each step given to whoever tells it as soon as it is done."""

import asyncio
from collections.abc import AsyncIterator, Callable
from time import monotonic
from typing import Final

from deploy.lab.network import INDICATIONS, NORTH
from deploy.lab.running import RunningLab
from deploy.lab.story.audit import audit
from deploy.lab.story.consultation import consultation
from deploy.lab.story.enrolment import enrolment
from deploy.lab.story.model import OK, Step
from deploy.lab.story.outage import outage
from deploy.lab.story.refusals import refusals
from deploy.lab.story.revocation import revocation
from deploy.lab.story.session import Session, StoryBroken
from deploy.lab.story.tokens import tokens

TOKEN_LIFETIME: Final = 15
"""Seconds that a token lives in the lab of the story, so that step 4 can show a genuine one that has expired.

Nothing is signed specially for it and no clock is moved: the token is asked for in the beginning and simply grows old.
In any other lab a token lives as long as authz says by default (15 minutes).
"""
CLOCK_SKEW: Final = 1
"""Seconds that a trust agent forgives in the lab of the story: one machine has one clock, and waiting 10 s is long."""


async def tell(lab: RunningLab, waiting: Callable[[float], None]) -> AsyncIterator[Step]:
    """Run the story.

    Args:
        lab: a lab in which zorgkantoor Noord has no certificate yet, and tokens live `TOKEN_LIFETIME` seconds.
        waiting: told how many seconds there is to wait for the token to expire.

    Raises:
        StoryBroken: a step that later ones build on did not do its work.
    """
    session = Session(lab)
    yield await enrolment(session)
    aged, expires = await _token_to_age(session)
    yield await tokens(session)
    yield await consultation(session)
    remaining = expires - monotonic()
    if remaining > 0:
        waiting(remaining)
        await asyncio.sleep(remaining)
    yield await refusals(session, aged)
    yield await revocation(session)
    yield await outage(session)
    yield await audit(session)


async def _token_to_age(session: Session) -> tuple[str, float]:
    """A token, and the moment from which on no agent takes it."""
    answer = await session.ask_token(NORTH, INDICATIONS, keep=False)
    if answer.status != OK:
        raise StoryBroken(f"{NORTH.name} got no token: {answer.status} {answer.text}")
    document = answer.json()
    return document["access_token"], monotonic() + document["expires_in"] + CLOCK_SKEW + 1
