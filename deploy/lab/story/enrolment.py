"""Step 1: a zorgkantoor enrols; a second certificate for the same identifier is refused; renewal works.

A party whose domain is not signed is not taken up: neither with a certificate nor with a service.
"""

from textwrap import shorten
from typing import Final

from authz.domain.reasons import Reason
from deploy.lab.client import Credentials
from deploy.lab.enrolment import KEY_NAME, write_request
from deploy.lab.network import INDICATIONS, NORTH, UNSIGNED, Party
from deploy.lab.running import Finished
from deploy.lab.settings import scheme
from deploy.lab.story.model import OK, PERMITTED, Exchange, Step, judged
from deploy.lab.story.session import Session, StoryBroken
from deploy.lab.story.tokens import describe_token
from deploy.lab.toml import to_toml

_REFUSED: Final = 2
"""Exit status of `pki` and `authz` for a refusal."""
_SHOWN: Final = 220
"""Characters of a refusal that are shown: a domain comes with all that is to repair."""


async def enrolment(session: Session) -> Step:
    """Enrol, try to enrol again, renew, and use both certificates; try it with a domain that nobody signed."""
    first = await _certify(session, NORTH, "issue", "")
    if first.status:
        raise StoryBroken(f"pki issue failed: {first.problem.strip()}")
    with_first = await session.ask_token(NORTH, INDICATIONS, keep=False)
    second = await _certify(session, NORTH, "issue", "second-")
    renewed = await _certify(session, NORTH, "renew", "renewed-")
    if renewed.status:
        raise StoryBroken(f"pki renew failed: {renewed.problem.strip()}")
    still = await session.ask_token(NORTH, INDICATIONS, keep=False)
    session.replace_credentials(NORTH, _credentials(session, "renewed-"))
    with_renewed = await session.ask_token(NORTH, INDICATIONS)
    unsigned = await _certify(session, UNSIGNED, "issue", "")
    service = await _take_up(session)
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
            _command(
                f"operator: pki issue --identity {UNSIGNED.identity.subject}, whose domain nobody signs any more",
                unsigned,
                Reason.DOMAIN_INSECURE,
            ),
            _command(
                f"stelselbeheer: authz scheme import, with another endpoint of {UNSIGNED.domain}",
                service,
                Reason.DOMAIN_INSECURE,
            ),
        )
    )
    return Step(1, "A zorgkantoor enrols", exchanges)


async def _certify(session: Session, party: Party, command: str, label: str) -> Finished:
    """Run `pki issue` or `pki renew` for a fresh key of a party."""
    folder = session.lab.layout.party(party)
    folder.mkdir(mode=0o700, exist_ok=True)
    request = write_request(folder, label)
    arguments = ["--identity", party.identity.subject, "--csr", str(request)]
    if command == "issue":
        arguments += ["--organization", party.name, "--kvk", party.kvk]
        for name in party.dns_names:
            arguments += ["--dns", name]
    chain = _credentials(session, label, party).chain
    return await session.lab.command("pki", command, *arguments, "--out", str(chain))


async def _take_up(session: Session) -> Finished:
    """Run `authz scheme import` with a service whose endpoint changes, at the domain that nobody signs any more."""
    lab = session.lab
    document = scheme(lab)
    document["participants"] = []
    document["services"] = [
        service | {"authorization_endpoint": f"{service['authorization_endpoint']}/v2"}
        for service in document["services"]
        if service["holder"] == UNSIGNED.identity.subject
    ]
    path = lab.layout.authz / "changed-scheme.toml"
    path.write_text(to_toml(document), encoding="utf-8")
    return await lab.command("authz", "scheme", "import", str(path))


def _credentials(session: Session, label: str, party: Party = NORTH) -> Credentials:
    folder = session.lab.layout.party(party)
    return Credentials(folder / f"{label}chain.pem", folder / f"{label}{KEY_NAME}")


def _command(asked: str, finished: Finished, reason: str) -> Exchange:
    """A command of the CA; a refusal must be the wanted one."""
    text = " ".join((finished.output if finished.status == 0 else finished.problem).split())
    fits = finished.status == (_REFUSED if reason else 0) and reason in text
    shown = shorten(text, _SHOWN, placeholder=" ...") if reason else text.rpartition(" to ")[0]
    return Exchange(asked, f"refused ({reason})" if reason else "done", shown, as_wanted=fits)
