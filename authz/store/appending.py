"""Turns records into rows of the log: index, salt, commitment and leaf, inside the writer's transaction.

The index is assigned here and nowhere else. On SQLite the transaction was begun immediately and is the only writer of
the file; on PostgreSQL an advisory lock orders the instances, and because it is held until after the commit, entries
become visible in the order of their indexes, without gaps.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Table, func, insert, select, text
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.asyncio import AsyncConnection

from authz.audit.commitment import commit, leaf_of, new_salts
from authz.audit.encoded import EncodedRecord
from authz.store.tables import metadata

APPEND_LOCK: Final = 0x534C5549_4C4F4700
"""Key of PostgreSQL's advisory lock under which the log grows ("SLUILOG")."""

ENTRY: Final = metadata.tables["audit_entry"]
TERM: Final = metadata.tables["audit_term"]


Row = tuple[object, ...]


def rows_of(records: Sequence[EncodedRecord], start: int, received_us: int) -> tuple[list[Row], list[Row]]:
    """Rows of `audit_entry` and `audit_term`, in the order of their columns.

    Args:
        records: what to append, in order.
        start: index of the first.
        received_us: time of receipt, microseconds since the epoch.
    """
    entries: list[Row] = []
    terms: list[Row] = []
    for index, (record, salt) in enumerate(zip(records, new_salts(len(records)), strict=True), start):
        payload, found = record.payload, record.terms
        commitment = commit(salt, index, received_us, payload)
        entries.append(
            (
                *(index, received_us, payload, salt, commitment, leaf_of(commitment)),
                *(found.record_id, found.source, found.event_type, found.event_us),
                *(found.outcome, found.reason, found.trace_id),
            )
        )
        terms += [(kind.value, value, index) for kind, value in found.names]
    return entries, terms


class Appender:
    """Appends encoded records; the statements are compiled once, because this is the hot path of every token."""

    def __init__(self, dialect: Dialect) -> None:
        self._postgresql = dialect.name == "postgresql"
        self._insert_entry = _compiled(ENTRY, dialect)
        # A term left behind by somebody who deleted entries must not stop the log; the verifier names it.
        self._insert_term = _compiled(TERM, dialect) + " ON CONFLICT DO NOTHING"

    async def lock(self, connection: AsyncConnection) -> None:
        """Become the only writer until the transaction ends."""
        if self._postgresql:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": APPEND_LOCK})

    async def append(self, connection: AsyncConnection, records: Sequence[EncodedRecord], received_us: int) -> None:
        """Write the rows.

        Args:
            connection: inside a transaction that holds `lock`.
            records: what to append, in order.
            received_us: time of receipt, microseconds since the epoch.
        """
        last = await connection.scalar(select(func.max(ENTRY.c.entry_index)))
        entries, terms = rows_of(records, 0 if last is None else last + 1, received_us)
        await connection.exec_driver_sql(self._insert_entry, entries)
        await connection.exec_driver_sql(self._insert_term, terms)


def _compiled(table: Table, dialect: Dialect) -> str:
    # Positional parameters in the order of the columns, as `rows_of` gives them.
    return str(insert(table).compile(dialect=dialect))
