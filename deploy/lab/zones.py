"""The lab's zones: what `deploy.lab.dns` serves, made from the network's parties."""

import json
from collections.abc import Iterable
from typing import Any, Final

from deploy.lab.network import Party, Standing
from deploy.lab.ports import LOOPBACK

_STATE: Final = {Standing.SECURE: "secure", Standing.INSECURE: "unsigned", Standing.BOGUS: "wrong-ds"}


def zones_json(parties: Iterable[Party]) -> str:
    """The configuration of the DNS server: every name of every party leads to the loopback."""
    return json.dumps({"zones": [_zone(party) for party in parties]}, indent=2) + "\n"


def _zone(party: Party) -> dict[str, Any]:
    owners = ("@", *party.hosts)
    return {
        "name": party.domain,
        "state": _STATE[party.standing],
        "records": {owner: [LOOPBACK] for owner in owners},
    }
