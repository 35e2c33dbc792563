"""Step 3: a zorgkantoor reads its own indication through the trust agent of CIZ."""

from dataclasses import replace
from typing import Any

from deploy.lab.client import Answer
from deploy.lab.network import INDICATIONS, NORTH
from deploy.lab.queries import body, indication, variables
from deploy.lab.register.people import indication_id
from deploy.lab.story.model import OK, Step, judged, said
from deploy.lab.story.session import Session


async def consultation(session: Session) -> Step:
    """Read one indication, whole."""
    wanted = indication_id(NORTH.identity.value)
    content = body(indication(), variables(wanted, NORTH.identity.value))
    answer = await session.consult(NORTH, INDICATIONS, content)
    exchange = judged(
        f"{NORTH.name}: its own indication, every field of the template", answer, OK, shown=describe(answer)
    )
    complete = [item["wlzindicatieID"] for item in found(answer)] == [wanted]
    exchange = replace(exchange, as_wanted=exchange.as_wanted and complete)
    title = "The zorgkantoor reads its own indication through the trust agent"
    return Step(3, title, await session.settled([exchange]))


def found(answer: Answer) -> list[dict[str, Any]]:
    """The indications in an answer; none when it holds none."""
    if answer.status != OK:
        return []
    data = answer.json().get("data") or {}
    return list(data.get("wlzIndicatie") or [])


def describe(answer: Answer) -> str:
    """What a report shows of an answer: which record and how much, nothing of the person."""
    items = found(answer)
    if not items:
        return said(answer)
    return f"indication {items[0]['wlzindicatieID']}, {len(items[0])} fields, {len(answer.content):,} bytes"
