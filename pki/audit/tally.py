"""Refusals that get no audit record each: counted, and told in one record for each kind and interval.

A record costs a write to the disk and stays for ever in the log of authz. What anybody without a certificate can cause
as often as he likes, and what goes beyond a limit, is therefore counted in memory; who asked is not kept, because that
would be a list that a stranger can make long. A crash loses the counts of one interval at most.
"""

from collections import Counter
from typing import Final

from authz.domain.audit import EventType
from authz.domain.reasons import Reason
from pki.app import OpenAuthority
from pki.audit.enrolment import Trail
from pki.audit.records import Actor, new_trace

INTERVAL: Final = 60.0
"""Seconds between two records of one kind."""
_ROLE: Final = "CERTIFICATE_HOLDER"


class Tally:
    """Counts.

    Args:
        pki: the open authority.
    """

    def __init__(self, pki: OpenAuthority) -> None:
        self._database = pki.database
        self._trail = Trail(pki)
        self._counts: Counter[tuple[EventType, Reason]] = Counter()

    def add(self, event: EventType, reason: Reason) -> None:
        """One more was refused."""
        self._counts[event, reason] += 1

    async def write(self) -> int:
        """Tell what was counted since the last time.

        Returns:
            How many records that took.

        Raises:
            StoreUnavailable: nothing was written; it is told the next time.
        """
        counted = self._counts.copy()
        if not counted:
            return 0
        async with self._database.write() as connection:
            for (event, reason), number in counted.items():
                actor = Actor("unknown", _ROLE, new_trace())
                details = {"count": number, "within_seconds": int(INTERVAL)}
                await self._trail.write(connection, event, actor, "unknown", details=details, refused=reason)
        self._counts -= counted
        return len(counted)
