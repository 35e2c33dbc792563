"""A zone as far as a check has come with it, and what a check offers to its parts."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import dns.name

from pki.dnssec.keys import ZoneKeys
from pki.dnssec.model import Budget, ChainBroken, DnssecState, Limits
from pki.dnssec.signatures import Verified


@dataclass(frozen=True, slots=True)
class Zone:
    """A zone on the way down: with keys to trust, or `insecure` with the reason why nothing below can be secure.

    Args:
        depth: zones between the anchor and this one.
    """

    name: dns.name.Name
    depth: int
    keys: ZoneKeys | None = None
    insecure: str = ""

    def trusted(self) -> ZoneKeys:
        """The keys of a zone that has them.

        Raises:
            ChainBroken: INDETERMINATE; asking an insecure zone for keys would be a mistake of ours, and must not
                pass as anything good.
        """
        if self.keys is None:
            raise ChainBroken(DnssecState.INDETERMINATE, f"{self.name} has no keys to trust")
        return self.keys


class Checker(Protocol):
    """The running check: its moment, its budget, and the record of what it relies on."""

    at: datetime
    budget: Budget

    @property
    def limits(self) -> Limits:
        """The limits of this check."""
        ...

    def rely_on(self, verified: Verified) -> None:
        """Note that the outcome holds no longer than this record set."""
        ...
