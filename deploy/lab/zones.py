"""The lab's zones: what `deploy.lab.dns` serves, made from the network's parties."""

import json
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from deploy.lab.network import Party, Standing
from deploy.lab.ports import LOOPBACK

_STATE: Final = {Standing.SECURE: "secure", Standing.INSECURE: "unsigned", Standing.BOGUS: "wrong-ds"}


Records = Mapping[str, Mapping[str, Sequence[str]]]
"""By owner, relative to its zone, and type."""


def zones_json(
    parties: Iterable[Party], *, at_onboarding: bool = False, more: Mapping[str, Records] = MappingProxyType({})
) -> str:
    """The configuration of the DNS server: every name of every party leads to the loopback.

    Args:
        parties: whose domains.
        at_onboarding: as they stand when the parties are taken up: every domain is in order, or it would be refused.
        more: further records, by domain.
    """
    zones = [_zone(party, more.get(party.domain, {}), at_onboarding=at_onboarding) for party in parties]
    return json.dumps({"zones": zones}, indent=2) + "\n"


def _zone(party: Party, more: Records, *, at_onboarding: bool) -> dict[str, Any]:
    owners = ("@", *party.hosts)
    return {
        "name": party.domain,
        "state": _STATE[Standing.SECURE if at_onboarding else party.standing],
        "records": {owner: [LOOPBACK] for owner in owners} | dict(more),
    }
