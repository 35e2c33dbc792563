"""The file of the register's database is for its owner, whatever the umask is."""

import os
import sqlite3
import stat
import threading
from collections.abc import Callable
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest
from sqlalchemy import text

from authz.edge.sqlite import enter_wal_mode
from pki.store import database as module
from pki.store.database import Database, StoreUnavailable


async def test_the_database_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        database = Database(f"sqlite+aiosqlite:///{tmp_path}/pki.sqlite3", pooled=True)
        async with database.write() as connection:
            await connection.execute(text("CREATE TABLE one (id INTEGER)"))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}  # noqa: ASYNC240  a test
        await database.close()
    finally:
        os.umask(before)
    assert {"pki.sqlite3", "pki.sqlite3-wal", "pki.sqlite3-shm"} <= modes.keys()
    assert set(modes.values()) == {0o600}


async def test_a_folder_that_is_not_there_is_no_database(tmp_path: Path) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/missing/pki.sqlite3")
    with pytest.raises(StoreUnavailable):
        async with database.read():
            pass
    await database.close()


async def test_when_all_connections_are_in_use_the_database_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POOL_TIMEOUT", 0.01)
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/pki.sqlite3", pooled=True)
    async with AsyncExitStack() as held:
        for _ in range(15):
            await held.enter_async_context(database.read())
        with pytest.raises(StoreUnavailable):
            async with database.read():
                pass
        with pytest.raises(StoreUnavailable):
            async with database.write():
                pass
    async with database.read():
        pass
    await database.close()


async def test_no_connection_waits_for_the_mode_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The patient way is taken once, in another thread than that of the event loop."""
    threads: list[int] = []

    def watched(execute: Callable[[str], object]) -> None:
        threads.append(threading.get_ident())
        enter_wal_mode(execute)

    monkeypatch.setattr(module, "enter_wal_mode", watched)
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/pki.sqlite3")
    for _ in range(3):
        async with database.read() as connection:
            assert (await connection.execute(text("PRAGMA journal_mode"))).scalar() == "wal"
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()
    await database.close()


async def test_another_file_that_was_put_in_its_place_is_used_in_the_same_mode(tmp_path: Path) -> None:
    path = tmp_path / "pki.sqlite3"
    database = Database(f"sqlite+aiosqlite:///{path}")
    async with database.read():
        pass
    path.unlink()
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE one (id INTEGER)")
    async with database.read() as connection:
        assert (await connection.execute(text("PRAGMA journal_mode"))).scalar() == "wal"
        assert (await connection.execute(text("SELECT count(*) FROM one"))).scalar() == 0
    await database.close()


async def test_what_is_no_database_is_told(tmp_path: Path) -> None:
    path = tmp_path / "pki.sqlite3"
    path.write_bytes(b"something else, longer than the header of a database is" * 40)
    database = Database(f"sqlite+aiosqlite:///{path}")
    with pytest.raises(StoreUnavailable, match="file is not a database"):
        async with database.write():
            pass
    await database.close()
