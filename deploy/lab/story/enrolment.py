"""Step 1: a zorgkantoor enrols; a second certificate for the same identifier is refused; renewal works."""

from typing import Final

from authz.domain.reasons import Reason
from deploy.lab.client import Credentials
from deploy.lab.enrolment import KEY_NAME, write_request
from deploy.lab.network import INDICATIONS, NORTH
from deploy.lab.running import Finished
from deploy.lab.story.model import OK, PERMITTED, Exchange, Step, judged
from deploy.lab.story.session import Session, StoryBroken
from deploy.lab.story.tokens import describe_token

_REFUSED: Final = 2
"""Exit status of `pki` for a refusal."""


async def enrolment(session: Session) -> Step:
    """Enrol, try to enrol again, renew, and use both certificates."""
    first = await _certify(session, "issue", "")
    if first.status:
        raise StoryBroken(f"pki issue failed: {first.problem.strip()}")
    with_first = await session.ask_token(NORTH, INDICATIONS, keep=False)
    second = await _certify(session, "issue", "second-")
    renewed = await _certify(session, "renew", "renewed-")
    if renewed.status:
        raise StoryBroken(f"pki renew failed: {renewed.problem.strip()}")
    still = await session.ask_token(NORTH, INDICATIONS, keep=False)
    session.replace_credentials(NORTH, _credentials(session, "renewed-"))
    with_renewed = await session.ask_token(NORTH, INDICATIONS)
    name, identity = NORTH.name, NORTH.identity.subject
    exchanges = await session.settled(
        (
            _command(f"operator: pki issue --identity {identity}", first, PERMITTED),
            judged(f"{name}: a token with its new certificate", with_first, OK, shown=describe_token(with_first)),
            _command(
                f"operator: pki issue --identity {identity}, another key", second, Reason.IDENTITY_HAS_CERTIFICATE
            ),
            _command(f"operator: pki renew --identity {identity}", renewed, PERMITTED),
            judged(f"{name}: a token with the old one (overlap)", still, OK, shown=describe_token(still)),
            judged(f"{name}: a token with the renewed one", with_renewed, OK, shown=describe_token(with_renewed)),
        )
    )
    return Step(1, "A zorgkantoor enrols", exchanges)


async def _certify(session: Session, command: str, label: str) -> Finished:
    """Run `pki issue` or `pki renew` for a fresh key of the zorgkantoor."""
    folder = session.lab.layout.party(NORTH)
    request = write_request(folder, label)
    arguments = ["--identity", NORTH.identity.subject, "--csr", str(request)]
    if command == "issue":
        arguments += ["--organization", NORTH.name, "--kvk", NORTH.kvk]
        for name in NORTH.dns_names:
            arguments += ["--dns", name]
    chain = _credentials(session, label).chain
    return await session.lab.command("pki", command, *arguments, "--out", str(chain))


def _credentials(session: Session, label: str) -> Credentials:
    folder = session.lab.layout.party(NORTH)
    return Credentials(folder / f"{label}chain.pem", folder / f"{label}{KEY_NAME}")


def _command(asked: str, finished: Finished, reason: str) -> Exchange:
    """A command of the CA; a refusal must be the wanted one."""
    text = " ".join((finished.output if finished.status == 0 else finished.problem).split())
    fits = finished.status == (_REFUSED if reason else 0) and reason in text
    shown = text if reason else text.rpartition(" to ")[0]
    return Exchange(asked, f"refused ({reason})" if reason else "done", shown, as_wanted=fits)
