"""The database of one authz instance: many readers and one writer with group commit.

Every change goes through the writer, with the audit records that describe it, in one transaction; acts and records that
wait at the same moment share one commit. An act that raises takes back only itself.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from authz.audit.encoded import EncodedRecord, encode
from authz.audit.log import AuditUnavailable
from authz.domain.audit import AuditRecord
from authz.domain.clock import Clock
from authz.domain.errors import InvalidValue
from authz.store.engine import MIGRATION_TIMEOUT_S, make_engine, prepare_file
from authz.store.migrate import migrate
from authz.store.writer import Group, Writer, WriterLimits

T = TypeVar("T")
Act = Callable[[AsyncConnection], Awaitable[T]]


class Database:
    """Opens, migrates and serves one database. Implements `authz.audit.log.AuditLog`.

    Args:
        url: `sqlite+aiosqlite:///<file>` or `postgresql+asyncpg://...`.
        clock: tells when records are received.
        limits: caps of the writer's queue and groups.
    """

    def __init__(self, url: str, clock: Clock, limits: WriterLimits | None = None) -> None:
        self._reading: AsyncEngine = make_engine(url, readonly=True)
        self._writing: AsyncEngine = make_engine(url, readonly=False)
        self._migrating: AsyncEngine = make_engine(url, readonly=False, command_timeout=MIGRATION_TIMEOUT_S)
        self._writer = Writer(self._writing, clock, limits or WriterLimits())

    async def start(self) -> None:
        """Migrate under a lock and start the writer.

        Raises:
            AuditUnavailable: the database cannot be opened or migrated.
        """
        try:
            if self._writing.dialect.name == "sqlite" and self._writing.url.database:
                await asyncio.to_thread(prepare_file, self._writing.url.database)
            async with self._migrating.begin() as connection:
                await connection.run_sync(migrate)
            await self._migrating.dispose()
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            await self._dispose()
            raise AuditUnavailable("the database cannot be opened or brought to the schema of this release") from error
        self._writer.start()

    @property
    def failing(self) -> bool:
        """Whether what was written last is not durable, for example because the disk is full."""
        return self._writer.failing

    async def close(self) -> None:
        """Write what was accepted, refuse what comes after, and let go of the database."""
        await self._writer.close()
        await self._dispose()

    async def _dispose(self) -> None:
        await self._migrating.dispose()
        await self._writing.dispose()
        await self._reading.dispose()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reading: everything read through it is of one moment.

        Raises:
            AuditUnavailable: the database cannot be read.
        """
        try:
            async with self._reading.connect() as connection:
                yield connection
        except (SQLAlchemyError, OSError) as error:
            raise AuditUnavailable("the database cannot be read at this moment; try again later") from error

    async def write(self, act: Act[T], *records: AuditRecord) -> T:
        """Do an act and write its audit records in one transaction; returns when both are durable.

        Args:
            act: uses only the connection it is given, waits for nothing else, and may be run a second time after the
                first run was taken back. What it raises is raised here, and nothing of it remains.
            *records: written if the act succeeds.

        Raises:
            AuditUnavailable: nothing of it is acknowledged.
            InvalidValue: a record that cannot be stored.
        """
        encoded = [encode(record) for record in records]

        async def job(group: Group) -> T:
            result = await act(group.connection)
            group.append(encoded)
            return result

        return await self._writer.submit(job)

    async def record(self, *records: AuditRecord) -> None:
        """Append audit records; returns when they are durable.

        Raises:
            AuditUnavailable: they are not.
            InvalidValue: a record that cannot be stored, or that the log has already.
        """
        if records:
            await self._writer.submit_records([encode(record) for record in records])

    async def append_new(self, records: Sequence[EncodedRecord]) -> tuple[EncodedRecord, ...]:
        """See `authz.audit.log.LogIntake`."""
        first: dict[tuple[str, str], EncodedRecord] = {}
        for record in records:
            first.setdefault(record.key, record)
        if len(first) == len(records):
            # Nearly always all of them are new. The log tells when one is not, and only then each is looked up.
            with contextlib.suppress(InvalidValue):
                await self._writer.submit_records(records)
                return ()

        async def job(group: Group) -> tuple[EncodedRecord, ...]:
            known = await group.known(tuple(first.values()))
            group.append([item for key, item in first.items() if key not in known])
            # An erased payload (None) cannot be compared any more.
            there = {key: known.get(key, item.payload) for key, item in first.items()}
            return tuple(record for record in records if there[record.key] not in {record.payload, None})

        return await self._writer.submit(job)
