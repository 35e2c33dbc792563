"""Step 6: authz is killed, the trust agent still enforces, and its records arrive when authz is back."""

import httpx

from authz.domain.audit import EventType
from authz.domain.reasons import Reason
from deploy.lab.layout import AUTHZ
from deploy.lab.network import INDICATIONS, NORTH, SOUTH
from deploy.lab.programs import kill, start_again
from deploy.lab.queries import body, indication, variables
from deploy.lab.register.people import indication_id
from deploy.lab.story.consultation import describe
from deploy.lab.story.model import FORBIDDEN, OK, Exchange, Step, judged
from deploy.lab.story.session import Session

ROUNDS = 10
"""Permits, and as many refusals, while authz is away."""


async def outage(session: Session) -> Step:
    """Consult while authz is away; zorgkantoor Zuid speaks, because Noord's certificate is revoked by now."""
    token = await session.token(SOUTH, INDICATIONS, fresh=True)
    uzovi = SOUTH.identity.value
    own = body(indication(), variables(indication_id(SOUTH.identity.value), uzovi))
    other = body(indication(), variables(indication_id(NORTH.identity.value), NORTH.identity.value))
    await kill(session.lab, AUTHZ)
    exchanges = [await _nobody_answers(session)]
    for _ in range(ROUNDS):
        permitted = await session.consult(SOUTH, INDICATIONS, own, token=token)
        exchanges.append(judged(f"{SOUTH.name}: its own indication", permitted, OK, shown=describe(permitted)))
        denied = await session.consult(SOUTH, INDICATIONS, other, token=token)
        exchanges.append(
            judged(f"{SOUTH.name}: the indication of {NORTH.name}", denied, FORBIDDEN, Reason.POLICY_DENIED)
        )
    seconds = await start_again(session.lab, AUTHZ)
    settled = await session.settled(exchanges)
    arrived = sum(exchange.recorded for exchange in settled[1:])
    shown = (*settled[:3], _counted(arrived, 2 * ROUNDS, seconds))
    lost = tuple(exchange for exchange in settled[3:] if not exchange.ok)
    return Step(6, "authz is killed: the trust agent still enforces, and loses no record", (*shown, *lost))


async def _nobody_answers(session: Session) -> Exchange:
    asked = f"{SOUTH.name}: a token, while authz is away"
    try:
        answer = await session.ask_token(SOUTH, INDICATIONS)
    except httpx.TransportError as error:
        return Exchange(asked, "no answer", f"no answer ({type(error).__name__})", as_wanted=True)
    return Exchange(asked, "no answer", f"{answer.status}", as_wanted=False)


def _counted(arrived: int, asked: int, seconds: float) -> Exchange:
    return Exchange(
        asked=f"auditor: {EventType.ACCESS_DECISION.value} records of the {asked} decisions in between",
        wanted=f"{asked} of {asked}",
        answered=f"{arrived} of {asked}, authz was back after {seconds:.1f} s",
        as_wanted=arrived == asked,
    )
