"""Refusals of who has shown no valid certificate: a few a minute get a record each, the others are counted and told.

Specification: shared `spec/audit.md`, "What is recorded". Whoever reaches the port can be refused as often as his
connection allows; with a record for each he would fill the log that nothing is ever removed from (docs/decisions/0128).
Not for whoever has a certificate that counts: each of his refusals has its own record.
"""

from collections import Counter
from datetime import datetime
from typing import Final, Protocol

from authz.domain.clock import Clock
from authz.domain.reasons import Reason
from authz.edge.rate import network_of
from authz.edge.restraint import WINDOW_SECONDS, Restraint
from authz.edge.tracing import new_trace
from trust_agent.records import counted_record

INTERVAL: Final = float(WINDOW_SECONDS)
"""Seconds between two looks at what was counted."""


class DurableLog(Protocol):
    """Takes a record."""

    async def append(self, payload: bytes) -> None:
        """Return when it is durable; raises Refused with JOURNAL_UNAVAILABLE."""
        ...


class Strangers:
    """Keeps refusals of strangers from filling the log.

    Args:
        journal: where the numbers become durable.
        clock: the time of the counting.
        source: bron, for example `sluis/trust-agent/ciz`.
        most: records a minute for all strangers together.
    """

    def __init__(self, journal: DurableLog, clock: Clock, source: str, most: int) -> None:
        self._journal = journal
        self._clock = clock
        self._source = source
        self._restraint: Restraint[Reason] = Restraint(most)

    def gets_record(self, reason: Reason, peer_address: str, at: datetime) -> bool:
        """Whether this refusal gets a record of its own; otherwise it was counted.

        Args:
            reason: of the refusal.
            peer_address: address and port of the stranger.
            at: now.
        """
        address = peer_address.rpartition(":")[0].strip("[]")
        return self._restraint.admits(reason, network_of(address), at)

    async def tell(self) -> None:
        """Write what was counted: one record for each reason.

        Raises:
            Refused: JOURNAL_UNAVAILABLE; what is not told yet is told the next time.
        """
        for reason, number in self._restraint.counted().items():
            await self._journal.append(counted_record(self._source, reason, number, self._clock.now(), new_trace()))
            self._restraint.told(Counter({reason: number}))
