"""The last thing that a start waits for: the address book lists every datastation that runs.

authz looks at the endpoint of a deelnemer that must have DANE, and it was there before the endpoint was.
"""

import asyncio
from time import monotonic
from typing import Final

import httpx

from deploy.lab.client import Caller
from deploy.lab.components import START_PATIENCE
from deploy.lab.network import DATASTATIONS, TRUST_PROVIDER
from deploy.lab.running import RunningLab

_POLL: Final = 0.1
_OK: Final = 200


def wait_until_listed(lab: RunningLab) -> None:
    """Wait until authz lists the services of all datastations.

    Raises:
        TimeoutError: it does not in time; the text says which are missing.
    """
    asyncio.run(_wait(lab))


async def _wait(lab: RunningLab) -> None:
    wanted = {lab.audience(station) for station in DATASTATIONS}
    deadline = monotonic() + START_PATIENCE
    async with lab.caller(lab.credentials(TRUST_PROVIDER), keep_alive=True) as caller:
        while missing := wanted - await _listed(lab, caller):
            if monotonic() > deadline:
                raise TimeoutError(f"the address book does not list {', '.join(sorted(missing))}")
            await asyncio.sleep(_POLL)


async def _listed(lab: RunningLab, caller: Caller) -> set[str]:
    try:
        answer = await caller.send("GET", f"{lab.authz_url}/directory/v1/services")
    except httpx.TransportError:
        return set()
    if answer.status != _OK:
        return set()
    return {service["authorizationEndpointuri"] for service in answer.json()}
