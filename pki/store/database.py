"""The connection to the register's database: transactions that mean the same on SQLite and PostgreSQL.

A write on SQLite starts with BEGIN IMMEDIATE, so that two processes never both read first and then find that only one
can write; WAL and synchronous=FULL, so that what was acknowledged survives a crash. Getting a new file into WAL mode
may take waiting, which is done in a thread before the first connection. No other module knows a dialect.
"""

import asyncio
import os
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, nullcontext, suppress
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, event
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from authz.domain.errors import SluisError
from authz.edge.sqlite import enter_wal_mode
from pki.store.lane import WriterLane

_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
BUSY_TIMEOUT: Final = 20_000
"""Milliseconds that a writer on SQLite waits for its turn."""
POOL_TIMEOUT: Final = 10
"""Seconds that a server waits for one of its own connections, all of which a database that hangs would hold."""


class StoreUnavailable(SluisError):  # noqa: N818  it says what is the matter
    """The database cannot be used at this moment. Nothing was changed."""


class Database:
    """One database.

    Args:
        url: `sqlite+aiosqlite:///<path>` or `postgresql+asyncpg://...`.
        pooled: keep connections open (a server); a command opens one and is gone.
    """

    def __init__(self, url: str, *, pooled: bool = False) -> None:
        options: dict[str, Any] = {"pool_timeout": POOL_TIMEOUT} if pooled else {"poolclass": NullPool}
        self._engine: AsyncEngine = create_async_engine(url, **options)
        address = self._engine.url
        self._where = address.database if address.host is None else f"{address.host}:{address.port or 5432}"
        # SQLite reads one snapshot anyway; PostgreSQL would look anew at each statement.
        postgresql = self._engine.dialect.name == "postgresql"
        self._snapshot: dict[str, Any] = {"isolation_level": "REPEATABLE READ"} if postgresql else {}
        self._lane: WriterLane | None = None
        self._file: str | None = None
        """Of SQLite, until it was made ready."""
        if self._engine.dialect.name == "sqlite":
            self._file = self._engine.url.database
            self._lane = WriterLane(Path(f"{self._engine.url.database}.lane"))
            event.listen(self._engine.sync_engine, "do_connect", _private_file)
            event.listen(self._engine.sync_engine, "connect", _prepare_sqlite)
            event.listen(self._engine.sync_engine, "begin", _begin_sqlite)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """One transaction, committed when the block ends well.

        Raises:
            IntegrityError: a rule that the database keeps was broken; the caller knows which one it is.
            StoreUnavailable: anything else that the database, or the pool of connections to it, reports.
        """
        try:
            await self._ready()
            async with self._lane.turn() if self._lane else nullcontext(), self._engine.begin() as connection:
                yield connection
        except IntegrityError:
            raise
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            raise self._unavailable("used", error) from error

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """One consistent look, the same in every statement; writes nothing and blocks no writer.

        Raises:
            StoreUnavailable: the database cannot be read.
        """
        try:
            await self._ready()
            async with self._engine.connect() as connection:
                await connection.execution_options(sluis_reads_only=True, **self._snapshot)
                async with connection.begin():
                    yield connection
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            raise self._unavailable("read", error) from error

    async def _ready(self) -> None:
        if self._file is not None:  # several who are first at once do it each; it is the same for all
            await asyncio.to_thread(_prepare_file, self._file)
            self._file = None

    def _unavailable(self, what: str, error: BaseException) -> StoreUnavailable:
        return StoreUnavailable(f"the database {self._where} cannot be {what} at this moment: {_why(error)}")

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()


def _why(error: BaseException) -> str:
    """Why, in words that hold neither a password nor a value of a row."""
    cause: BaseException = getattr(error, "orig", None) or error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    if isinstance(cause, sqlite3.Error):  # it names tables and columns, never what stands in them
        return str(cause)
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return " ".join(_WORDS.findall(type(cause).__name__)).lower()


def _prepare_file(path: str) -> None:
    """Make the file, and put it into WAL mode, which it remembers; waits, so not in an event loop."""
    _make_private(path)
    with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT / 1000)) as connection:
        enter_wal_mode(connection.execute)


def _private_file(_dialect: object, _record: object, arguments: list[Any], _options: object) -> None:
    if arguments:
        _make_private(arguments[0])


def _make_private(path: str) -> None:
    # SQLite would make the file with the umask; the files beside it (-wal, -shm) get the mode of the database.
    if path != ":memory:":
        # Only a file that is not there yet: closing any descriptor of a database drops every lock that the process has
        # on it (POSIX fcntl), and with the locks what others rely on: writes were lost.
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _prepare_sqlite(connection: Any, record: object) -> None:  # noqa: ANN401, ARG001  the driver's own type
    # Transactions are begun by us alone: the driver would begin one only before a write, and DEFERRED.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT}")
    # The file is in WAL mode by now, unless somebody put another one in its place; for that no event loop waits.
    cursor.execute("PRAGMA journal_mode")
    if cursor.fetchone() != ("wal",):
        cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    reads_only = connection.get_execution_options().get("sluis_reads_only", False)
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")
