"""The short way for records without an act on SQLite: one group, one visit to one thread.

Most of what authz writes is a record and nothing else, for each token. Through the asynchronous driver a group costs a
change of threads for every statement, and `executemany` gives up and takes back the interpreter for every row, which
under load waits behind every request. Here a group is a handful of statements with many rows each, on a connection of
its own to the same file. The writer uses it between its other transactions, never beside one.
"""

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Final

from sqlalchemy import Table

from authz.audit.encoded import EncodedRecord
from authz.store.appending import ENTRY, TERM, Row, rows_of
from authz.store.engine import BUSY_TIMEOUT_MS, WAL_PAGES

MAX_ROWS: Final = 128
"""Rows in one statement; 13 columns each stay far below SQLite's 32,766 parameters."""
_CACHE_KB: Final = 8_000
"""Pages kept by this connection. Token ids go all over the index of terms, whose leaves are read again for nearly every
record with the usual 2 MB; with this and `WAL_PAGES` a record costs about a fifth less at load."""


class SqliteLane:
    """Appends groups of records.

    Args:
        path: the database file; migrated and in WAL mode.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store-lane")
        self._connection: sqlite3.Connection | None = None

    async def append(self, records: Sequence[EncodedRecord], received_us: int) -> None:
        """Append a group; returns when it is durable.

        Raises:
            sqlite3.IntegrityError: the log has one of the records already; nothing is written.
            sqlite3.Error: nothing is written.
        """
        await asyncio.get_running_loop().run_in_executor(self._thread, self._append, records, received_us)

    async def close(self) -> None:
        """Let go of the file."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    def _append(self, records: Sequence[EncodedRecord], received_us: int) -> None:
        connection = self._connection or self._open()
        try:
            connection.execute("BEGIN IMMEDIATE")
            (last,) = connection.execute("SELECT max(entry_index) FROM audit_entry").fetchone()
            entries, terms = rows_of(records, 0 if last is None else last + 1, received_us)
            _insert(connection, ENTRY, entries, "")
            _insert(connection, TERM, terms, " ON CONFLICT DO NOTHING")
            connection.execute("COMMIT")
        except sqlite3.IntegrityError:
            connection.execute("ROLLBACK")
            raise
        except BaseException:
            # Whatever state the connection is in, closing it takes the transaction back.
            self._close()
            raise

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=BUSY_TIMEOUT_MS / 1000, isolation_level=None, cached_statements=64
        )
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute(f"PRAGMA cache_size=-{_CACHE_KB}")
        connection.execute(f"PRAGMA wal_autocheckpoint={WAL_PAGES}")
        self._connection = connection
        return connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _insert(connection: sqlite3.Connection, table: Table, rows: Sequence[Row], conflict: str) -> None:
    marks = f"({','.join('?' * len(table.columns))})"
    for part in _parts(rows):
        values = ",".join([marks] * len(part))
        statement = f"INSERT INTO {table.name} VALUES {values}{conflict}"  # noqa: S608  only our own names and marks
        connection.execute(statement, tuple(chain.from_iterable(part)))


def _parts(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """The rows in parts of 128, 64, 32, ...: few statements, and always the same few texts, which stay prepared."""
    start, size = 0, MAX_ROWS
    while start < len(rows):
        while size > len(rows) - start:
            size //= 2
        yield rows[start : start + size]
        start += size
