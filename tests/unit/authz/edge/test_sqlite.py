"""Many get one new database into WAL mode at once, and nobody is turned away."""

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from authz.edge.sqlite import enter_wal_mode


def _fails(times: int, code: int) -> tuple[Callable[[str], object], list[str]]:
    asked: list[str] = []

    def execute(statement: str) -> None:
        asked.append(statement)
        if len(asked) <= times:
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = code
            raise error

    return execute, asked


@pytest.mark.parametrize("code", [sqlite3.SQLITE_BUSY, sqlite3.SQLITE_BUSY_RECOVERY, sqlite3.SQLITE_LOCKED])
def test_a_lock_is_asked_again(code: int) -> None:
    execute, asked = _fails(3, code)
    enter_wal_mode(execute, sleep=lambda _: None)
    assert len(asked) == 4


def test_a_lock_that_stays_is_told() -> None:
    execute, asked = _fails(1_000_000, sqlite3.SQLITE_BUSY)
    moments = iter(range(100))
    with pytest.raises(sqlite3.OperationalError):
        enter_wal_mode(execute, patience=5, monotonic=lambda: next(moments), sleep=lambda _: None)
    assert len(asked) == 5


def test_what_is_not_a_lock_is_told_at_once() -> None:
    execute, asked = _fails(1, sqlite3.SQLITE_READONLY)
    with pytest.raises(sqlite3.OperationalError):
        enter_wal_mode(execute)
    assert len(asked) == 1


def test_many_begin_with_the_same_new_file(tmp_path: Path) -> None:
    def begin(path: Path) -> str:
        with closing(sqlite3.connect(path, timeout=30)) as connection:
            enter_wal_mode(connection.execute)
            connection.execute("CREATE TABLE IF NOT EXISTS t (x)")
            mode: str = connection.execute("PRAGMA journal_mode").fetchone()[0]
            return mode

    with ThreadPoolExecutor(8) as pool:
        for number in range(50):
            assert set(pool.map(begin, [tmp_path / f"{number}.db"] * 8)) == {"wal"}
