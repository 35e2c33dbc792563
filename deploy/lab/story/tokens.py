"""Step 2: a token for an audience whose domain is secure, and none for a domain that is not."""

from authz.domain.reasons import Reason
from deploy.lab.client import Answer
from deploy.lab.network import BROKEN_SERVICE, INDICATIONS, NORTH, UNSIGNED_SERVICE
from deploy.lab.story.model import BAD_REQUEST, FORBIDDEN, OK, Step, judged
from deploy.lab.story.session import Session


async def tokens(session: Session) -> Step:
    """Ask on both faces, and for three domains."""
    name = NORTH.name
    iwlz = await session.ask_token(NORTH, INDICATIONS)
    oauth = await session.ask_token(NORTH, INDICATIONS, oauth=True)
    unsigned = await session.ask_token(NORTH, UNSIGNED_SERVICE)
    broken = await session.ask_token(NORTH, BROKEN_SERVICE, oauth=True)
    exchanges = (
        judged(f"{name}: a token for the Indicatieregister (iWlz face)", iwlz, OK, shown=describe_token(iwlz)),
        judged(f"{name}: the same (OAuth face)", oauth, OK, shown=describe_token(oauth)),
        judged(
            f"{name}: for a service at {UNSIGNED_SERVICE.party.domain}, which nobody signed",
            unsigned,
            FORBIDDEN,
            Reason.DOMAIN_INSECURE,
        ),
        judged(
            f"{name}: for a service at {BROKEN_SERVICE.party.domain}, whose signatures are wrong (OAuth face)",
            broken,
            BAD_REQUEST,
            Reason.DOMAIN_BOGUS,
        ),
    )
    return Step(2, "A token, for a domain that is secure", await session.settled(exchanges))


def describe_token(answer: Answer) -> str:
    """What a report may show of a token: never the token."""
    if answer.status != OK:
        return answer.text
    document = answer.json()
    return f"{document['token_type']} for {document['expires_in']} s, {document['scope']}"
