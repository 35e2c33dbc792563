"""The file of the register's database is for its owner, whatever the umask is."""

import os
import stat
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from sqlalchemy import text

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
