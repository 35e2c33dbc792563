"""The oldest and the newest event of each block of entries, so that a search by time leaves out what cannot fit.

Entries stand in the order of their receipt, which is nearly that of their events; an agent that was cut off ships old
events late. No index gives a period in the order of the log. A block that is complete is summarised once, with a
checkpoint, and never changes: payloads may be erased, times may not. A block without a summary is always searched, so a
summary that is missing costs time and hides nothing; a false one is found by `authz audit verify`
(`StoredAuditLog.terms`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, func, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from authz.audit.search import Criteria, to_microseconds
from authz.store.tables import metadata

BLOCK: Final = metadata.tables["audit_block"]
ENTRIES: Final = 1_024
"""Entries of one block; the migration that summarises what is there has the same number."""
AT_ONCE: Final = 16
"""Blocks that are summarised with one checkpoint: a hundredth of a second of the writer's time."""
_WORTH: Final = 8
"""Blocks in a row that are worth a search of its own on either side, instead of being read through."""
_SUMMARISE: Final = text(
    f"INSERT INTO audit_block (block, oldest_us, newest_us)"  # noqa: S608  a number of ours
    f" SELECT entry_index / {ENTRIES}, min(event_us), max(event_us) FROM audit_entry"
    f" WHERE entry_index >= :start AND entry_index < :stop GROUP BY entry_index / {ENTRIES}"
    f" HAVING count(*) = {ENTRIES} ON CONFLICT (block) DO NOTHING"
)


@dataclass(frozen=True, slots=True)
class Window:
    """Entries with low <= index < high."""

    low: int
    high: int


async def summarise(connection: AsyncConnection, size: int, at_once: int = AT_ONCE) -> None:
    """Summarise blocks that are complete and have no summary, the oldest first.

    Args:
        connection: of the writer.
        size: entries of the log.
        at_once: blocks at most.
    """
    last = await connection.scalar(select(func.max(BLOCK.c.block)))
    first = 0 if last is None else last + 1
    stop = min(size // ENTRIES, first + at_once)
    if first < stop:
        await connection.execute(_SUMMARISE, {"start": first * ENTRIES, "stop": stop * ENTRIES})


async def windows(connection: AsyncConnection, criteria: Criteria, high: int) -> list[Window]:
    """Where entries of a period can be, newest first: everything but the blocks whose summary says otherwise.

    Args:
        connection: for reading.
        criteria: with `since`, `until` or both.
        high: only entries below.
    """
    found: list[Window] = []
    for row in await connection.execute(outside(criteria)):
        above = (row.last + 1) * ENTRIES
        if above < high:
            found.append(Window(above, high))
        high = min(high, row.first * ENTRIES)
    return [*found, Window(0, high)] if high > 0 else found


def outside(criteria: Criteria) -> Select[Any]:
    """The statement that gives the rows of blocks that lie outside a period as a whole, newest first."""
    missed: list[ColumnElement[bool]] = []
    if criteria.since is not None:
        missed.append(BLOCK.c.newest_us < to_microseconds(criteria.since))
    if criteria.until is not None:
        missed.append(BLOCK.c.oldest_us >= to_microseconds(criteria.until))
    # Blocks in a row differ from their rank by the same number.
    rank = func.row_number().over(order_by=BLOCK.c.block)
    blocks = select(BLOCK.c.block, (BLOCK.c.block - rank).label("row_of")).where(or_(*missed)).subquery()
    first, last = func.min(blocks.c.block).label("first"), func.max(blocks.c.block).label("last")
    return select(first, last).group_by(blocks.c.row_of).having(last - first >= _WORTH - 1).order_by(first.desc())


@dataclass(frozen=True, slots=True)
class Spans:
    """What summaries say about some entries."""

    of_blocks: Mapping[int, tuple[Any, Any]]

    def holds(self, index: int, event_us: Any) -> bool:  # noqa: ANN401  SQLite stores any type in any column
        """Whether a search by time finds an entry with this event."""
        span = self.of_blocks.get(index // ENTRIES)
        if span is None:
            return True
        return all(isinstance(each, int) for each in (*span, event_us)) and span[0] <= event_us <= span[1]


async def spans_of(connection: AsyncConnection, start: int, stop: int) -> Spans:
    """The summaries of the blocks of entries with start <= index < stop."""
    rows = await connection.execute(
        select(BLOCK.c.block, BLOCK.c.oldest_us, BLOCK.c.newest_us).where(
            BLOCK.c.block >= start // ENTRIES, BLOCK.c.block <= stop // ENTRIES
        )
    )
    return Spans({row.block: (row.oldest_us, row.newest_us) for row in rows})
