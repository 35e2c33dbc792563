"""Audit records that the audit store refused for good: what is known of them, and putting them back in line.

Each step is inside a transaction that the caller opened, as in `pki.store.register`, which writes and ships the rest of
the outbox. A record is never changed: what is sent again is what was written with the act.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import RowMapping, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from authz.domain.audit import EventType
from pki.store.tables import outbox

REFUSED: Final = "refused"
WAITING: Final = "waiting"
TAKEN: Final = "taken"
UNKNOWN: Final = "unknown"
_AT_ONCE: Final = 500
"""Record ids in one question; databases have a limit."""


@dataclass(frozen=True, slots=True)
class OutboxRecord:
    """Where one audit record stands. It holds codes, and nothing of what the record says about a party.

    Attributes:
        record_id: by which the audit store knows it again.
        event: kind of event.
        time: when that was, RFC 3339, as the record says.
        state: `refused`, `waiting` or `taken`.
        refused_at: when the audit store refused it last.
        why: its code; `unknown` of the time when that was not kept.
    """

    record_id: str
    event: str
    time: str
    state: str
    refused_at: datetime | None
    why: str | None


class Outbox:
    """Refused records, within one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._db = connection

    async def count_refused(self) -> int:
        """How many there are."""
        return int((await self._db.execute(select(func.count()).where(*_ASIDE))).scalar_one())

    async def refused(self, limit: int) -> list[OutboxRecord]:
        """Oldest first, at most `limit`."""
        query = select(outbox).where(*_ASIDE).order_by(outbox.c.id).limit(limit)
        return [_read(row) for row in (await self._db.execute(query)).mappings()]

    async def find(self, record_ids: Sequence[str]) -> list[OutboxRecord]:
        """Those of these records that are kept here, whatever became of them, oldest first."""
        found: list[tuple[int, OutboxRecord]] = []
        for start in range(0, len(record_ids), _AT_ONCE):
            query = select(outbox).where(outbox.c.record_id.in_(record_ids[start : start + _AT_ONCE]))
            found += [(row["id"], _read(row)) for row in (await self._db.execute(query)).mappings()]
        return [record for _, record in sorted(found, key=lambda item: item[0])]

    async def put_back(self, record_ids: Sequence[str] | None = None) -> dict[str, str]:
        """Let refused records be sent again. The code is kept until the audit store has said something new.

        Args:
            record_ids: which ones; all when None.

        Returns:
            Of those that changed, by record id: why they had been refused. Of two that ask at once, one gets each.
        """
        if record_ids is None:
            return await self._put_back()
        changed: dict[str, str] = {}
        for start in range(0, len(record_ids), _AT_ONCE):
            changed |= await self._put_back(outbox.c.record_id.in_(record_ids[start : start + _AT_ONCE]))
        return changed

    async def _put_back(self, *conditions: Any) -> dict[str, str]:  # noqa: ANN401  SQLAlchemy expressions
        result = await self._db.execute(
            update(outbox)
            .where(*_ASIDE, *conditions)
            .values(refused_at=None)
            .returning(outbox.c.id, outbox.c.record_id, outbox.c.refused_why)
        )
        return {record_id: why or UNKNOWN for _, record_id, why in sorted(result.all())}


_ASIDE: Final = (outbox.c.shipped_at.is_(None), outbox.c.refused_at.isnot(None))


def _read(row: RowMapping) -> OutboxRecord:
    try:
        event = json.loads(row["record"])["event"]
        kind, time = EventType(event["type"]).value, datetime.fromisoformat(event["time"]).isoformat()
    except (ValueError, KeyError, TypeError):
        # Of a newer version, or somebody changed the row; that it is there must still be seen.
        kind = time = UNKNOWN
    refused = row["refused_at"] is not None
    state = TAKEN if row["shipped_at"] is not None else REFUSED if refused else WAITING
    why = (row["refused_why"] or UNKNOWN) if refused else None
    return OutboxRecord(row["record_id"], kind, time, state, row["refused_at"], why)
