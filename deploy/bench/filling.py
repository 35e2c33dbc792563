"""Puts a plausible log into an empty, migrated database, fast: past the writer, in one transaction, indexes at the end.

For the bench only. Nothing of it is kept when it is interrupted.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

import asyncpg  # type: ignore[import-untyped]

from deploy.bench.plausible_log import PlausibleLog

_FAST: Final = ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", "cache_size=-1000000")
_ENTRY: Final = f"INSERT INTO audit_entry VALUES ({','.join('?' * 13)})"  # noqa: S608  question marks
_TERM: Final = "INSERT INTO audit_term VALUES (?, ?, ?)"
_OF_VERIFYING: Final = "DROP INDEX ix_audit_term_entry_index"
"""No search uses it; it would be sorted for minutes."""


def fill_sqlite(file: Path, log: PlausibleLog) -> None:
    """Fill a SQLite database that nobody has open."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        for pragma in _FAST:
            connection.execute(f"PRAGMA {pragma}")
        connection.execute(_OF_VERIFYING)
        connection.execute("BEGIN")
        for entries in log.entries():
            connection.executemany(_ENTRY, entries)
        for terms in log.terms():
            connection.executemany(_TERM, terms)
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode=WAL")


async def fill_postgresql(url: str, log: PlausibleLog) -> None:
    """Fill a database on PostgreSQL."""
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        await connection.execute(_OF_VERIFYING)
        for entries in log.entries():
            await connection.copy_records_to_table("audit_entry", records=entries)
        for terms in log.terms():
            await connection.copy_records_to_table("audit_term", records=terms)
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()
