"""Acts and records: durable together, isolated from each other, refused when they cannot be written."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from authz.audit.log import AuditUnavailable
from authz.domain.audit import Outcome
from authz.domain.errors import InvalidValue, Refused
from authz.domain.reasons import Reason
from authz.store.audit_log import StoredAuditLog
from authz.store.changes import Topic, bump
from authz.store.database import Database
from authz.store.sqlite_lane import SqliteLane
from authz.store.writer import MIN_FREE_BYTES, WriterLimits
from tests.fakes.clock import FixedClock
from tests.fakes.records import audit_record


async def add(connection: AsyncConnection, topic: str) -> str:
    await connection.execute(text("INSERT INTO change_counter (topic, version) VALUES (:topic, 1)"), {"topic": topic})
    return topic


async def topics(database: Database) -> list[str]:
    async with database.read() as connection:
        return list(await connection.scalars(text("SELECT topic FROM change_counter ORDER BY topic")))


def is_failing(database: Database) -> bool:
    return database.failing


async def eventually(condition: Callable[[], bool]) -> bool:
    for _ in range(6000):
        if condition():
            return True
        await asyncio.sleep(0.01)
    return False


async def ids(database: Database) -> list[str]:
    async with database.read() as connection:
        return list(await connection.scalars(text("SELECT record_id FROM audit_entry ORDER BY entry_index")))


async def test_an_act_and_its_records_are_one(database: Database) -> None:
    record = audit_record()
    assert await database.write(lambda connection: add(connection, "a"), record) == "a"
    assert (await topics(database), await ids(database)) == (["a"], [record.record_id])


async def test_an_act_that_raises_leaves_neither_change_nor_record(database: Database) -> None:
    async def act(connection: AsyncConnection) -> None:
        await add(connection, "a")
        raise Refused(Reason.SCOPE_UNKNOWN, "no")

    with pytest.raises(Refused, match="scope_unknown"):
        await database.write(act, audit_record())
    assert (await topics(database), await ids(database)) == ([], [])


async def test_an_act_that_raises_takes_back_only_itself_in_its_group(database: Database) -> None:
    runs: list[str] = []

    async def failing(connection: AsyncConnection) -> None:
        runs.append("failing")
        await add(connection, "bad")
        raise Refused(Reason.SCOPE_UNKNOWN, "no")

    kept = [audit_record() for _ in range(4)]
    outcomes = await asyncio.gather(
        database.write(lambda connection: add(connection, "a"), kept[0]),
        database.write(failing, audit_record()),
        database.record(kept[1]),
        database.write(failing, audit_record()),
        database.write(lambda connection: add(connection, "b"), kept[2], kept[3]),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [str, Refused, type(None), Refused, str]
    assert runs == ["failing", "failing"]
    assert (await topics(database), await ids(database)) == (["a", "b"], [record.record_id for record in kept])


async def test_a_value_that_no_driver_takes_fails_only_its_own_record(database: Database) -> None:
    good, later = audit_record(), audit_record()
    poison = audit_record(outcome=Outcome.REFUSED, reason={"a": 1})
    outcomes = await asyncio.gather(
        database.record(good), database.record(poison), database.record(later), return_exceptions=True
    )
    assert [outcomes[0], outcomes[2]] == [None, None]
    assert isinstance(outcomes[1], InvalidValue | AuditUnavailable)
    assert await ids(database) == [good.record_id, later.record_id]


async def test_an_act_that_breaks_a_constraint_takes_back_only_itself(database: Database) -> None:
    outcomes = await asyncio.gather(
        database.write(lambda connection: add(connection, "a"), audit_record()),
        database.write(lambda connection: add(connection, "a"), audit_record()),
        database.write(lambda connection: add(connection, "b"), audit_record()),
        return_exceptions=True,
    )
    assert [isinstance(outcome, Exception) for outcome in outcomes] == [False, True, False]
    assert (await topics(database), len(await ids(database))) == (["a", "b"], 2)


async def test_a_record_that_is_there_already_is_refused_and_its_neighbours_are_not(database: Database) -> None:
    first = audit_record()
    await database.record(first)
    others = [audit_record(), audit_record()]
    outcomes = await asyncio.gather(
        database.record(others[0]),
        database.record(first),
        database.write(lambda connection: add(connection, "a"), others[1]),
        return_exceptions=True,
    )
    assert isinstance(outcomes[1], InvalidValue)
    assert (outcomes[0], outcomes[2]) == (None, "a")
    assert await ids(database) == [record.record_id for record in (first, *others)]


@pytest.mark.parametrize("bad", [{"details": {"x": object()}}, {"user": "u" * 600}, {"identifier": "a\x00b"}])
async def test_a_record_that_can_not_be_stored_is_refused_before_it_is_queued(
    database: Database, bad: dict[str, object]
) -> None:
    with pytest.raises(InvalidValue):
        await database.record(audit_record(**bad))  # type: ignore[arg-type]
    await database.record(audit_record())
    assert len(await ids(database)) == 1


async def test_an_act_that_waits_for_the_writer_is_refused_and_does_not_hang(database: Database) -> None:
    async def act(_connection: AsyncConnection) -> None:
        await database.record(audit_record())

    with pytest.raises(RuntimeError):
        await asyncio.wait_for(database.write(act), 60)


async def test_a_caller_that_goes_away_does_not_take_its_record_with_it(database: Database) -> None:
    record = audit_record()
    task = asyncio.create_task(database.record(record))
    await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await database.record(audit_record())
    assert record.record_id in await ids(database)


async def test_what_is_accepted_before_close_is_written_and_what_comes_after_is_refused(
    url: str, clock: FixedClock
) -> None:
    database = Database(url, clock)
    await database.start()
    accepted = [asyncio.create_task(database.record(audit_record())) for _ in range(20)]
    await asyncio.sleep(0)
    await database.close()
    await asyncio.gather(*accepted)
    with pytest.raises(AuditUnavailable):
        await database.record(audit_record())
    again = Database(url, clock)
    await again.start()
    assert len(await ids(again)) == 20
    await again.close()


async def test_more_than_may_wait_is_refused_at_once(url: str, clock: FixedClock) -> None:
    database = Database(url, clock, WriterLimits(pending=3, group=2))
    await database.start()
    outcomes = await asyncio.gather(*(database.record(audit_record()) for _ in range(10)), return_exceptions=True)
    assert sum(isinstance(outcome, AuditUnavailable) for outcome in outcomes) == 7
    await database.record(audit_record())
    assert len(await ids(database)) == 4
    await database.close()


async def test_reading_can_not_write(database: Database) -> None:
    with pytest.raises(AuditUnavailable):
        async with database.read() as connection:
            await connection.execute(text("INSERT INTO change_counter (topic, version) VALUES ('x', 1)"))


async def test_two_writers_of_one_database_share_one_unbroken_index(url: str, clock: FixedClock) -> None:
    one, other = Database(url, clock), Database(url, clock)
    await asyncio.gather(one.start(), other.start())
    try:
        await asyncio.gather(*(each.record(audit_record(), audit_record()) for _ in range(50) for each in (one, other)))
        entries = [entry.index async for entry in StoredAuditLog(one).entries(0, 1000)]
        assert entries == list(range(200))
    finally:
        await one.close()
        await other.close()


async def test_a_full_disk_refuses_the_act_and_the_process_recovers(
    tmp_path: Path, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The writer tries again by itself after a second, which may be over before this test has looked.
    monkeypatch.setattr("authz.store.writer.PROBE_INTERVAL_S", 3600.0)
    monkeypatch.setattr("authz.store.writer.IDLE_PROBE_S", 3600.0)
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/authz.db", clock)
    await database.start()
    log = StoredAuditLog(database)
    await database.record(audit_record())

    async def limit(connection: AsyncConnection, pages: int) -> None:
        await connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

    # SQLite does not go below the pages in use, so the disk is full from here on.
    await database.write(lambda connection: limit(connection, 1))

    async def fill() -> None:
        for _ in range(50):
            await database.write(
                lambda connection: add(connection, os.urandom(8).hex()), audit_record(details={"x": "y" * 5_000})
            )

    with pytest.raises(AuditUnavailable) as refused:
        await fill()
    assert refused.value.reason is Reason.AUDIT_UNAVAILABLE
    assert is_failing(database)
    size = await log.size()
    assert len(await topics(database)) == size - 1
    # The writer let go of the connection, and with it of the limit: there is space again.
    await database.write(lambda connection: add(connection, "after"), audit_record())
    assert not is_failing(database)
    assert "after" in await topics(database)
    assert await log.size() == size + 1
    await database.close()


async def test_a_database_that_fails_is_tried_again_while_nobody_writes(
    tmp_path: Path, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("authz.store.writer.PROBE_INTERVAL_S", 0.02)
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/authz.db", clock)
    await database.start()
    write = SqliteLane._append
    tries: list[int] = []

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    async def no_space(_connection: AsyncConnection, _topic: Topic) -> int:
        tries.append(1)
        raise OperationalError("UPDATE", {}, sqlite3.OperationalError("database or disk is full"))

    with monkeypatch.context() as disk:
        disk.setattr(SqliteLane, "_append", full)
        disk.setattr("authz.store.writer.bump", no_space)
        with pytest.raises(AuditUnavailable):
            await database.record(audit_record())
        assert await eventually(lambda: len(tries) > 1)
        assert is_failing(database)
    assert SqliteLane._append is write
    assert await eventually(lambda: not is_failing(database))
    assert await StoredAuditLog(database).size() == 0
    await database.close()


async def test_a_disk_that_fills_up_while_nobody_writes_is_known_before_a_request_fails(
    tmp_path: Path, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("authz.store.writer.IDLE_PROBE_S", 0.02)
    monkeypatch.setattr("authz.store.writer.PROBE_INTERVAL_S", 0.02)
    probes: list[int] = []
    free = MIN_FREE_BYTES

    async def counted(connection: AsyncConnection, topic: Topic) -> int:
        probes.append(1)
        return await bump(connection, topic)

    monkeypatch.setattr("authz.store.writer.bump", counted)
    monkeypatch.setattr("authz.store.writer.shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/authz.db", clock)
    await database.start()
    assert await eventually(lambda: len(probes) > 1)
    assert not is_failing(database)
    free -= 1
    assert await eventually(lambda: is_failing(database))
    # A small write may still find place in what the file has already; it does not count as recovery.
    seen = len(probes)
    assert await eventually(lambda: len(probes) > seen + 1)
    assert is_failing(database)
    free += 1
    assert await eventually(lambda: not is_failing(database))
    await database.close()


async def test_a_record_that_is_refused_is_no_failure_of_the_database(database: Database) -> None:
    record = audit_record()
    await database.record(record)
    with pytest.raises(InvalidValue):
        await database.record(record)
    assert not database.failing


async def test_a_database_that_can_not_be_opened_says_so(tmp_path: Path, clock: FixedClock) -> None:
    (tmp_path / "text.db").write_text("not a database, but long enough to be looked at as one" * 100)
    for name in ("missing/authz.db", "text.db"):
        with pytest.raises(AuditUnavailable):
            await Database(f"sqlite+aiosqlite:///{tmp_path}/{name}", clock).start()


async def test_the_file_of_the_log_is_its_owner_s_only(tmp_path: Path, clock: FixedClock) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/authz.db", clock)
    await database.start()
    await database.record(audit_record())
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}  # noqa: ASYNC240  a test
    await database.close()


_WRITER = """
import asyncio, sys
from authz.domain.clock import SystemClock
from authz.store.database import Database
from tests.fakes.records import audit_record

async def main():
    database = Database(sys.argv[1], SystemClock())
    await database.start()
    async def work():
        while True:
            record = audit_record()
            await database.record(record)
            sys.stdout.write(record.record_id + "\\n")
            sys.stdout.flush()
    await asyncio.gather(*(work() for _ in range(16)))

asyncio.run(main())
"""


def killed_after(url: str, lines: int) -> list[str]:
    """Ids that a writing process had acknowledged when it was killed in the midst of its work."""
    with subprocess.Popen([sys.executable, "-c", _WRITER, url], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        acknowledged = [process.stdout.readline().strip() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        return acknowledged + [line.strip() for line in process.stdout if len(line) == 37]


@pytest.mark.integration
@pytest.mark.parametrize("lines", [1, 7, 150, 1201])
async def test_everything_acknowledged_survives_sigkill(tmp_path: Path, clock: FixedClock, lines: int) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/authz.db"
    acknowledged = killed_after(url, lines)
    database = Database(url, clock)
    await database.start()
    there = set(await ids(database))
    entries = [entry.index async for entry in StoredAuditLog(database).entries(0, 1_000_000)]
    await database.close()
    assert set(acknowledged) <= there
    assert entries == list(range(len(there)))
