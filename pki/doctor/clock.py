"""The clock of this machine against the authorization server's (`Date` of an answer, RFC 9110 section 6.6.1).

Whole seconds only, which is enough: tokens have a tolerance of ten seconds at the agents.
"""

import ssl
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

import httpx

from authz.edge.http_client import http_client
from pki.dnssec.handshake import TIMEOUT, NotReached
from pki.doctor.model import Endpoint, Finding, Installation, Result
from pki.doctor.presented import address_of
from pki.doctor.tls import client_context

FINE: Final = timedelta(seconds=2)
TOLERATED: Final = timedelta(seconds=10)


async def check_clock(installation: Installation, authz: Endpoint) -> list[Finding]:
    """Whether authz answers us, and whether our clocks agree."""
    to_do = "Is the address right, and does --ca name the network's root? A firewall between?"
    try:
        context = client_context(installation, with_certificate=True)
        address, port = await address_of(authz.host, authz.port, authz.connect, installation.validator, installation.at)
        asked = datetime.now(UTC)
        async with http_client(verify=context, timeout=TIMEOUT) as client:
            host = f"[{address}]" if ":" in address else address
            answer = await client.get(
                f"https://{host}:{port}/health",
                headers={"host": f"{authz.host}:{authz.port}"},
                extensions={"sni_hostname": authz.host},
            )
        answered = datetime.now(UTC)
    except (httpx.HTTPError, NotReached, ssl.SSLError, OSError) as error:
        said = str(error) if isinstance(error, NotReached) else f"no answer ({type(error).__name__})"
        return [Finding("authz.reachable", Result.FAIL, f"{authz.host}: {said}", to_do)]
    found = [Finding("authz.reachable", Result.OK, f"{authz.host} answers {answer.status_code}")]
    try:
        theirs = parsedate_to_datetime(answer.headers["date"])
    except (KeyError, ValueError, TypeError, OverflowError):
        said = "the answer has no usable Date"
        return [*found, Finding("clock", Result.WARN, said, "Compare the clocks yourself.", essential=False)]
    return [*found, _judge(skew(asked, answered, theirs))]


def skew(asked: datetime, answered: datetime, theirs: datetime) -> timedelta:
    """How far we are ahead (positive) or behind; zero when their second lies within the exchange."""
    if theirs.tzinfo is None:
        theirs = theirs.replace(tzinfo=UTC)
    # Their second began at `theirs` and lasted a second; the answer was made between `asked` and `answered`.
    if asked > theirs + timedelta(seconds=1):
        return asked - theirs - timedelta(seconds=1)
    return min(answered - theirs, timedelta(0))


def _judge(ahead: timedelta) -> Finding:
    seconds = ahead.total_seconds()
    said = (
        "agrees with authz"
        if abs(ahead) <= FINE
        else f"{abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} authz"
    )
    to_do = "Synchronise this machine's clock (NTP); tokens live for minutes."
    if abs(ahead) > TOLERATED:
        return Finding("clock", Result.FAIL, said, to_do)
    return Finding("clock", Result.WARN if abs(ahead) > FINE else Result.OK, said, "" if abs(ahead) <= FINE else to_do)
