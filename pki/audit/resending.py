"""Audit records that the audit store refused for good, sent again by an operator who repaired the cause.

Specification: shared `spec/audit.md`, "Writing without losing or blocking": nothing acknowledged is lost. A record goes
out again as it was written, by the shipping of `pki serve` and in its old place in line; the audit store knows it by
its id, so sending one twice adds nothing. That somebody did so is a record of its own, in the same transaction.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from authz.domain.audit import EventType
from authz.domain.clock import Clock
from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.audit.records import Actor, RecordMaker
from pki.store.database import Database
from pki.store.outbox import WAITING, Outbox, OutboxRecord
from pki.store.register import Register

MAX_NAMED: Final = 20
"""Record ids that stand in the record about sending them again."""
LOOK: Final = 0.25
"""Seconds between looks at what became of them."""


class Resending:
    """Refused records of one authority.

    Args:
        database: the register.
        clock: the time.
        source: of this authority's own records.
    """

    def __init__(self, database: Database, clock: Clock, source: str) -> None:
        self._database = database
        self._clock = clock
        self._records = RecordMaker(source)

    async def refused(self, limit: int) -> tuple[list[OutboxRecord], int]:
        """What was put aside, oldest first, at most `limit`; and how many there are."""
        async with self._database.read() as connection:
            outbox = Outbox(connection)
            return await outbox.refused(limit), await outbox.count_refused()

    async def resend(self, record_ids: Sequence[str] | None, actor: Actor) -> list[str]:
        """Put refused records back in line. One that waits or was taken already is left as it is.

        Args:
            record_ids: which ones; everything that was refused when None.
            actor: who asks.

        Returns:
            All ids that were asked for, or were put back, oldest first.

        Raises:
            Refused: PARAMETER_UNKNOWN, one of them is not kept here; nothing is changed.
        """
        async with self._database.write() as connection:
            outbox = Outbox(connection)
            known: list[str] | None = None
            if record_ids is not None:
                known = [record.record_id for record in await outbox.find(list(dict.fromkeys(record_ids)))]
                if len(known) < len(set(record_ids)):
                    raise Refused(
                        Reason.PARAMETER_UNKNOWN,
                        "Expected ids of records that are kept here, as `pki audit list-refused` shows them.",
                    )
            changed = await outbox.put_back(known)
            if changed:
                details = {
                    "records": len(changed),
                    "record_ids": list(changed)[:MAX_NAMED],
                    "refused_for": sorted(set(changed.values())),
                }
                record = self._records.make(
                    EventType.RECORD_RESEND, actor, self._clock.now(), subject="unknown", details=details
                )
                await Register(connection).write([record])
        return list(changed) if known is None else known

    async def follow(
        self,
        record_ids: Sequence[str],
        seconds: float,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> list[OutboxRecord]:
        """What becomes of records, waiting until none of them is on its way any more.

        Args:
            record_ids: which ones.
            seconds: to wait at most, in steps of `LOOK`.
            sleep: waits.
        """
        looks = 1 + max(0, int(seconds / LOOK))
        for left in reversed(range(looks)):
            async with self._database.read() as connection:
                found = await Outbox(connection).find(record_ids)
            if not left or all(record.state != WAITING for record in found):
                break
            await sleep(LOOK)
        return found
