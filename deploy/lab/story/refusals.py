"""Step 4: everything that is close to what is allowed and is refused, each for a reason of its own."""

from dataclasses import replace
from typing import Final

from authz.domain.reasons import Reason
from deploy.lab.client import Answer
from deploy.lab.network import INDICATIONS, MEDIATION, NORTH, SOUTH
from deploy.lab.queries import WHERE_INSIDE_OR, body, indication, variables
from deploy.lab.register.people import indication_id
from deploy.lab.story.model import FORBIDDEN, UNAUTHORIZED, Exchange, Step, judged, said
from deploy.lab.story.session import Session

ALIAS: Final = "grondslag: id"
"""`Grondslag.id` is not in the template; the answer would carry it under a name that is."""


async def refusals(session: Session, aged_token: str) -> Step:
    """Try each near miss once.

    Args:
        session: the telling.
        aged_token: a token of the zorgkantoor that was genuine and has expired by now.
    """
    mine = variables(indication_id(NORTH.identity.value), NORTH.identity.value)
    theirs = variables(indication_id(SOUTH.identity.value), SOUTH.identity.value)
    whole = body(indication(), mine)

    async def ask(content: bytes, token: str | None = None) -> Answer:
        return await session.consult(NORTH, INDICATIONS, content, token=token)

    exchanges = (
        _denied(
            "the indication of another zorgkantoor", await ask(body(indication(), theirs)), "own_zorgkantoor_required"
        ),
        _denied(
            "one field too many: client.id", await ask(body(indication(client="id"), mine)), "field_not_in_template"
        ),
        _denied(
            "the required filter inside an `or`",
            await ask(body(indication(where=WHERE_INSIDE_OR), mine)),
            "filter_required",
        ),
        _denied(
            "a field that is not allowed, under an alias",
            await ask(body(indication(ground=ALIAS), mine)),
            "field_not_in_template",
        ),
        judged(
            f"{NORTH.name}: the token of {SOUTH.name} over its own certificate",
            await ask(whole, await session.token(SOUTH, INDICATIONS)),
            UNAUTHORIZED,
            Reason.TOKEN_BINDING,
        ),
        judged(
            f"{NORTH.name}: its token for the other datastation",
            await ask(whole, await session.token(NORTH, MEDIATION)),
            UNAUTHORIZED,
            Reason.TOKEN_AUDIENCE,
        ),
        judged(f"{NORTH.name}: an expired token", await ask(whole, aged_token), UNAUTHORIZED, Reason.TOKEN_EXPIRED),
    )
    return Step(4, "Refused: what comes close to it", await session.settled(exchanges))


def _denied(what: str, answer: Answer, code: str) -> Exchange:
    """A denial by policy, whose public reason code the caller is told."""
    told = answer.json().get("reasons", []) if answer.status == FORBIDDEN else []
    exchange = judged(
        f"{NORTH.name}: {what}", answer, FORBIDDEN, Reason.POLICY_DENIED, shown=", ".join(told) or said(answer)
    )
    return replace(exchange, wanted=f"{FORBIDDEN} {code}", as_wanted=exchange.as_wanted and code in told)
