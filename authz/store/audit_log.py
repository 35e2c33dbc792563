"""The log as rows: reading, searching and checkpoints. Implements `authz.audit.log.CheckpointStore` and `LogReader`."""

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, LargeBinary, Row, Select, cast, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from authz.audit.log import LogEntry, StoredCheckpoint
from authz.audit.merkle import HASH_BYTES
from authz.audit.search import MAX_INDEX, Criteria, TermKind, Terms
from authz.store.appending import ENTRY, TERM
from authz.store.blocks import spans_of, summarise
from authz.store.database import Database
from authz.store.searching import search
from authz.store.tables import metadata

BATCH: Final = 1_000
"""Entries read at a time; about 1 MB."""
_LAST: Final = MAX_INDEX  # an entry that somebody put there must not stop the reading of the others
_NEVER: Final = -(2**63)
"""The time of an event that no period holds."""

_CHECKPOINT: Final = metadata.tables["audit_checkpoint"]
# SQLite stores any type in any column; what somebody put there must arrive as bytes to be judged, whatever it is.
_EVIDENCE: Final = (
    ENTRY.c.entry_index,
    cast(ENTRY.c.received_us, BigInteger).label("received_us"),
    *(cast(ENTRY.c[name], LargeBinary).label(name) for name in ("payload", "salt", "commitment", "leaf_hash")),
)
_LEAF: Final = (_EVIDENCE[0], _EVIDENCE[-1])
_KEEP_FIRST: Final = text(
    "INSERT INTO audit_checkpoint (size, note, frontier) VALUES (:size, :note, :frontier) ON CONFLICT (size) DO NOTHING"
)


class StoredAuditLog:
    """See `LogReader` and `CheckpointStore`.

    Args:
        database: started.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def size(self) -> int:
        """Number of entries: one more than the largest index."""
        async with self._database.read() as connection:
            last = await connection.scalar(select(func.max(ENTRY.c.entry_index)))
        return 0 if last is None else int(last) + 1

    async def entries(self, start: int, stop: int) -> AsyncIterator[LogEntry]:
        """Entries with start <= index < stop, in order, as they are stored."""
        while start < stop:
            async with self._database.read() as connection:
                rows = (await connection.execute(_range(start, stop, *_EVIDENCE))).all()
            for row in rows:
                yield _entry(row)
            if len(rows) < BATCH:
                return
            start = rows[-1].entry_index + 1

    async def leaf_hashes(self, stop: int) -> AsyncIterator[bytes]:
        """Stored leaf hashes of the entries below `stop`, in order."""
        start = 0
        while start < stop:
            async with self._database.read() as connection:
                rows = (await connection.execute(_range(start, stop, *_LEAF))).all()
            for row in rows:
                yield row.leaf_hash
            if len(rows) < BATCH:
                return
            start = rows[-1].entry_index + 1

    async def find(self, criteria: Criteria) -> Sequence[LogEntry]:
        """Entries that fit, newest first, at most `criteria.limit`."""
        async with self._database.read() as connection:
            return [_entry(row) for row in await search(connection, criteria, _EVIDENCE)]

    async def terms(self, start: int, stop: int) -> dict[int, Terms]:
        """The searchable copies of what the payloads say, by index.

        The time is the one under which a search by time finds the entry; one that the summary of its block leaves out
        is never found.
        """
        async with self._database.read() as connection:
            names = await _names(connection, start, stop)
            spans = await spans_of(connection, start, min(stop, _LAST))
            rows = await connection.execute(
                select(
                    ENTRY.c.entry_index,
                    ENTRY.c.record_id,
                    ENTRY.c.source,
                    ENTRY.c.event_type,
                    ENTRY.c.event_us,
                    ENTRY.c.outcome,
                    ENTRY.c.reason,
                    ENTRY.c.trace_id,
                ).where(ENTRY.c.entry_index >= start, ENTRY.c.entry_index < min(stop, _LAST))
            )
            found = {row[0]: Terms(*row[1:], names=frozenset(names[row[0]])) for row in rows}
        return {
            index: terms if spans.holds(index, terms.event_us) else replace(terms, event_us=_NEVER)
            for index, terms in found.items()
        }

    async def checkpoints(self) -> Sequence[StoredCheckpoint]:
        """Every signed checkpoint, smallest first."""
        async with self._database.read() as connection:
            rows = await connection.execute(select(_CHECKPOINT).order_by(_CHECKPOINT.c.size))
            return [_checkpoint(row) for row in rows]

    async def last_checkpoint(self) -> StoredCheckpoint | None:
        """The largest signed checkpoint."""
        async with self._database.read() as connection:
            rows = await connection.execute(select(_CHECKPOINT).order_by(_CHECKPOINT.c.size.desc()).limit(1))
            row = rows.first()
        return None if row is None else _checkpoint(row)

    async def add_checkpoint(self, checkpoint: StoredCheckpoint) -> None:
        """Keep a checkpoint; one of the same size that is there already stays. Blocks it completes are summarised."""

        async def act(connection: AsyncConnection) -> None:
            frontier = b"".join(checkpoint.frontier)
            await connection.execute(
                _KEEP_FIRST, {"size": checkpoint.size, "note": checkpoint.note, "frontier": frontier}
            )
            await summarise(connection, checkpoint.size)

        await self._database.write(act)


def _range(start: int, stop: int, *columns: ColumnElement[Any]) -> Select[Any]:
    return (
        select(*columns)
        .where(ENTRY.c.entry_index >= start, ENTRY.c.entry_index < min(stop, _LAST))
        .order_by(ENTRY.c.entry_index)
        .limit(BATCH)
    )


def _entry(row: Row[Any]) -> LogEntry:
    return LogEntry(row.entry_index, row.received_us, row.payload, row.salt, row.commitment, row.leaf_hash)


def _checkpoint(row: Row[Any]) -> StoredCheckpoint:
    # SQLite stores any type in any column; what is no text or no bytes is an empty one, which the verifier names.
    note = row.note if isinstance(row.note, str) else ""
    frontier = row.frontier if isinstance(row.frontier, bytes) else b""
    hashes = tuple(frontier[start : start + HASH_BYTES] for start in range(0, len(frontier), HASH_BYTES))
    return StoredCheckpoint(row.size, note, hashes)


async def _names(connection: AsyncConnection, start: int, stop: int) -> dict[int, set[tuple[TermKind, str]]]:
    found: dict[int, set[tuple[TermKind, str]]] = defaultdict(set)
    rows = await connection.execute(
        select(TERM).where(TERM.c.entry_index >= start, TERM.c.entry_index < min(stop, _LAST))
    )
    for row in rows:
        found[row.entry_index].add((row.kind, row.value))
    return found
