"""Engines and connections: how each database is opened so that what is committed survives.

SQLite: WAL, `synchronous=FULL`, foreign keys, a busy timeout, and BEGIN IMMEDIATE for writers, so that a second process
(the command line beside the server) waits for its turn instead of failing halfway. PostgreSQL: asyncpg with a limit on
each command, so that a database that hangs refuses acts instead of holding them for ever.
"""

import os
import sqlite3
from contextlib import closing, suppress
from typing import Any, Final

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from authz.edge.sqlite import enter_wal_mode

BUSY_TIMEOUT_MS: Final = 5_000
"""Milliseconds that a connection waits for another process's transaction; ours take a few."""
COMMAND_TIMEOUT_S: Final = 10
"""Seconds that PostgreSQL may take for one command."""
WAL_PAGES: Final = 4_000
"""Pages (16 MB) of SQLite's WAL between two checkpoints, for whoever writes: with the usual 1,000 the same pages are
copied into the file again and again."""
MIGRATION_TIMEOUT_S: Final = 3_600
"""Seconds for one command of a migration: an index over a log of years takes minutes."""
READERS: Final = 4
"""Connections for reading; the token path reads from memory."""


def make_engine(url: str, *, readonly: bool, command_timeout: int = COMMAND_TIMEOUT_S) -> AsyncEngine:
    """An engine for one kind of connection.

    Args:
        url: `sqlite+aiosqlite:///<file>` or `postgresql+asyncpg://...`.
        readonly: connections refuse to write, and every transaction is one consistent reading.
        command_timeout: seconds that PostgreSQL may take for one command.
    """
    parsed = make_url(url)
    size = READERS if readonly else 1
    if parsed.get_backend_name() == "sqlite":
        engine = create_async_engine(parsed, pool_size=size, max_overflow=0)
        _prepare_sqlite(engine.sync_engine, readonly=readonly)
        return engine
    return create_async_engine(
        parsed,
        pool_size=size,
        max_overflow=0,
        pool_pre_ping=True,
        isolation_level="REPEATABLE READ" if readonly else "READ COMMITTED",
        connect_args={
            "timeout": COMMAND_TIMEOUT_S,
            "command_timeout": command_timeout,
            "server_settings": {"default_transaction_read_only": "on" if readonly else "off"},
        },
    )


def prepare_file(path: str) -> None:
    """Make the file of a SQLite database, readable by its owner only, in WAL mode (which the file remembers).

    Raises:
        OSError: the folder is not there or not writable.
        sqlite3.Error: the file is not a database.
    """
    # Only a file that is not there yet: closing any descriptor of a database drops every lock that this process has on
    # it (POSIX fcntl), and with the locks what other connections rely on.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_MS / 1000)) as connection:
        enter_wal_mode(connection.execute)


def _any_text(stored: bytes) -> str:
    return stored.decode(errors="surrogateescape")


def _prepare_sqlite(engine: Engine, *, readonly: bool) -> None:
    def connect(connection: Any, _record: object) -> None:  # noqa: ANN401  the driver's adapted connection
        # The driver's own idea of transactions would begin them late and never immediately; the event below does it.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA query_only=ON" if readonly else f"PRAGMA wal_autocheckpoint={WAL_PAGES}")
        cursor.close()
        # Text that somebody damaged must arrive to be judged, instead of making the whole log unreadable.
        connection.driver_connection.text_factory = _any_text

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN" if readonly else "BEGIN IMMEDIATE")

    event.listen(engine, "connect", connect)
    event.listen(engine, "begin", begin)
