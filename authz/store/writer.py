"""The one writer of a database: a queue of jobs, taken in groups, one transaction and one commit for each group.

Waiting for the disk is what a commit costs, so everything that waits at the same moment shares it. Jobs are isolated by
savepoints; records without an act need none. If a group as a whole fails on one job's data, each job is tried alone.
"""

import asyncio
import shutil
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import structlog
from sqlalchemy import select, tuple_
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from authz.audit.encoded import EncodedRecord
from authz.audit.log import AuditUnavailable
from authz.audit.search import to_microseconds
from authz.domain.clock import Clock
from authz.domain.errors import InvalidValue
from authz.store.appending import ENTRY, Appender
from authz.store.changes import Topic, bump
from authz.store.sqlite_lane import SqliteLane

PROBE_INTERVAL_S: Final = 2.0
"""Seconds between two looks at a database that fails."""
IDLE_PROBE_S: Final = 10.0
"""Seconds without a job after which one is made up: a disk that filled up meanwhile is known before a request fails."""
MIN_FREE_BYTES: Final = 4 * 1024 * 1024
"""Room beside a SQLite file below which it counts as full: a small write may still fit into what it has already."""
T = TypeVar("T")
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WriterLimits:
    """Caps of the writer.

    Attributes:
        pending: jobs that may wait; more are refused at once, so that a slow disk never becomes a full memory.
        group: jobs in one transaction.
    """

    pending: int = 10_000
    group: int = 500


class Group:
    """One transaction in the making."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
        self.records: list[EncodedRecord] = []

    def append(self, records: Sequence[EncodedRecord]) -> None:
        """Have records written with this transaction."""
        self.records.extend(records)

    async def known(self, records: Sequence[EncodedRecord]) -> Mapping[tuple[str, str], bytes | None]:
        """Payloads of those records that the log, or this transaction, has already, by key."""
        wanted = {record.key for record in records}
        found: dict[tuple[str, str], bytes | None] = {
            record.key: record.payload for record in self.records if record.key in wanted
        }
        keys = sorted(wanted)
        for start in range(0, len(keys), 200):  # SQLite allows 32,766 parameters, PostgreSQL 65,535
            rows = await self.connection.execute(
                select(ENTRY.c.source, ENTRY.c.record_id, ENTRY.c.payload).where(
                    tuple_(ENTRY.c.source, ENTRY.c.record_id).in_(keys[start : start + 200])
                )
            )
            found.update({(row.source, row.record_id): row.payload for row in rows})
        return found


@dataclass(slots=True)
class _Job(Generic[T]):
    done: asyncio.Future[T]
    run: Callable[[Group], Awaitable[T]] | None = None
    records: Sequence[EncodedRecord] = ()


class Writer:
    """Runs jobs in order, one group at a time.

    Args:
        engine: makes the one writing connection.
        clock: read once per group.
        limits: caps.
    """

    def __init__(self, engine: AsyncEngine, clock: Clock, limits: WriterLimits) -> None:
        self._engine = engine
        self._clock = clock
        self._limits = limits
        self._appender = Appender(engine.dialect)
        self._lane = (
            SqliteLane(engine.url.database) if engine.dialect.name == "sqlite" and engine.url.database else None
        )
        self._file = Path(engine.url.database) if self._lane is not None and engine.url.database else None
        self._jobs: deque[_Job[Any]] = deque()
        self._wake = asyncio.Event()
        self._closing = True
        self._task: asyncio.Task[None] | None = None
        self._connection: AsyncConnection | None = None
        self.failing = False
        """Whether the database did not take what was written last; tried again while nobody writes."""

    def start(self) -> None:
        """Begin to take jobs."""
        self._closing = False
        self._task = asyncio.create_task(self._work(), name="store-writer")

    async def close(self) -> None:
        """Finish the jobs that were accepted, refuse later ones."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await self._task
            self._task = None

    async def submit(self, run: Callable[[Group], Awaitable[T]]) -> T:
        """Run a job in a transaction; returns when it is durable.

        Raises:
            AuditUnavailable: the queue is full, the writer is closed, or the database failed.
        """
        return await self._queue(_Job(self._future(), run=run))

    async def submit_records(self, records: Sequence[EncodedRecord]) -> None:
        """Append records; returns when they are durable.

        Raises:
            AuditUnavailable: as `submit`.
            InvalidValue: the log has one of them already.
        """
        await self._queue(_Job(self._future(), records=records))

    @staticmethod
    def _future() -> asyncio.Future[Any]:
        return asyncio.get_running_loop().create_future()

    async def _queue(self, job: _Job[T]) -> T:
        if asyncio.current_task() is self._task:
            raise RuntimeError("an act of the writer waits for the writer: use the connection it was given")
        if self._closing:
            raise AuditUnavailable("this instance is stopping")
        if len(self._jobs) >= self._limits.pending:
            raise AuditUnavailable
        self._jobs.append(job)
        self._wake.set()
        # A caller that goes away cancels its future, never its job: the act may have been answered for already.
        return await job.done

    async def _work(self) -> None:
        while True:
            if not self._jobs:
                if self._closing:
                    break
                self._wake.clear()
                await self._wait()
                continue
            group = [self._jobs.popleft() for _ in range(min(len(self._jobs), self._limits.group))]
            await self._commit(group)
        await self._disconnect()
        if self._lane is not None:
            await self._lane.close()

    async def _wait(self) -> None:
        """Wait for a job, at most until it is time to see whether the database takes one."""
        failed = self.failing
        try:
            async with asyncio.timeout(PROBE_INTERVAL_S if failed else IDLE_PROBE_S):
                await self._wake.wait()
        except TimeoutError:
            # Whoever looks at the health of this instance may send it no requests until it is well again.
            probe: _Job[int] = _Job(self._future(), run=lambda group: bump(group.connection, Topic.WRITE_PROBE))
            await self._commit([probe])
            if probe.done.exception() is None:
                self.failing = not self._has_room()
                if failed != self.failing:
                    _log.warning("store_has_no_room" if self.failing else "store_writes_again")

    def _has_room(self) -> bool:
        if self._file is None:
            return True
        try:
            return shutil.disk_usage(self._file.parent).free >= MIN_FREE_BYTES
        except OSError:
            return False

    async def _commit(self, jobs: Sequence[_Job[Any]]) -> None:
        try:
            outcomes = await self._transaction(jobs)
            # An act that raised wrote nothing, so it says nothing about the disk.
            self.failing = self.failing and all(isinstance(outcome, BaseException) for outcome in outcomes)
        except (IntegrityError, DataError, sqlite3.IntegrityError) as error:
            if len(jobs) > 1:
                await self._each_alone(jobs)
                return
            refusal = InvalidValue("the log has a record with this source and id already, or cannot hold it")
            refusal.__cause__ = error
            outcomes = [refusal]
        except (SQLAlchemyError, sqlite3.Error, OSError, TimeoutError) as error:
            _log.error("store_write_failed", error=type(error).__name__, jobs=len(jobs))
            await self._disconnect()
            if len(jobs) > 1 and _about_a_value(error):
                await self._each_alone(jobs)
                return
            self.failing = self.failing or not _about_a_value(error)
            outcomes = [_unavailable(error) for _ in jobs]
        except Exception as error:  # noqa: BLE001  whatever it is, every caller must hear it, and the writer goes on
            _log.error("store_writer_error", error=type(error).__name__, jobs=len(jobs))
            await self._disconnect()
            if len(jobs) > 1:
                await self._each_alone(jobs)
                return
            outcomes = [_unavailable(error) for _ in jobs]
        for job, outcome in zip(jobs, outcomes, strict=True):
            if job.done.done():
                continue
            if isinstance(outcome, BaseException):
                job.done.set_exception(outcome)
            else:
                job.done.set_result(outcome)

    async def _each_alone(self, jobs: Sequence[_Job[Any]]) -> None:
        for job in jobs:
            await self._commit([job])

    async def _transaction(self, jobs: Sequence[_Job[Any]]) -> list[Any]:
        """Results in the order of the jobs; an exception among them is what that job's act raised."""
        if self._lane is not None and all(job.run is None for job in jobs):
            records = [record for job in jobs for record in job.records]
            await self._lane.append(records, to_microseconds(self._clock.now()))
            return [None] * len(jobs)
        if self._connection is None:
            self._connection = await self._engine.connect()
        connection = self._connection
        outcomes: list[Any] = []
        async with connection.begin():
            await self._appender.lock(connection)
            group = Group(connection)
            for job in jobs:
                if job.run is None:
                    group.append(job.records)
                    outcomes.append(None)
                else:
                    outcomes.append(await self._act(group, job.run))
            if group.records:
                await self._appender.append(connection, group.records, to_microseconds(self._clock.now()))
        return outcomes

    @staticmethod
    async def _act(group: Group, run: Callable[[Group], Awaitable[Any]]) -> Any:  # noqa: ANN401  whatever it returns
        mark = len(group.records)
        savepoint = await group.connection.begin_nested()
        try:
            result = await run(group)
            await savepoint.commit()
        except Exception as error:
            del group.records[mark:]
            if isinstance(error, DBAPIError) and not isinstance(error, IntegrityError | DataError):
                raise  # the database failed, not the act
            await savepoint.rollback()
            return error
        return result

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            await connection.invalidate()
            await connection.close()
        except (SQLAlchemyError, OSError) as error:
            _log.warning("store_disconnect_failed", error=type(error).__name__)


def _about_a_value(error: BaseException) -> bool:
    """Whether the driver did not take a value: one job's doing, which the others must not pay for."""
    if isinstance(error, ProgrammingError | sqlite3.ProgrammingError):
        return True
    # asyncpg's own errors about an argument arrive as the base class.
    return type(error) is DBAPIError and not error.connection_invalidated


def _unavailable(cause: BaseException) -> AuditUnavailable:
    refusal = AuditUnavailable()
    refusal.__cause__ = cause
    return refusal
