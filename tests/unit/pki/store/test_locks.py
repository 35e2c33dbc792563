"""What a process holds on the register stays held, whatever else the same process opens (SQLite, POSIX locks)."""

import subprocess
import sys
from pathlib import Path

from sqlalchemy import text

from pki.store.database import Database

_OTHER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)
try:
    connection.execute("BEGIN IMMEDIATE")
except sqlite3.OperationalError as error:
    print(error)
else:
    print("got the lock")
"""


def other(path: Path) -> str:
    command = [sys.executable, "-c", _OTHER, str(path)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


async def test_opening_the_register_again_drops_no_lock_of_the_same_process(tmp_path: Path) -> None:
    path = tmp_path / "pki.sqlite3"
    first, second = (Database(f"sqlite+aiosqlite:///{path}") for _ in range(2))
    async with first.write() as connection:
        await connection.execute(text("CREATE TABLE things (id INTEGER)"))
    async with first.write() as connection:
        await connection.execute(text("INSERT INTO things VALUES (1)"))
        async with second.read() as reading:
            assert (await reading.execute(text("SELECT count(*) FROM things"))).scalar() == 0
        assert other(path) == "database is locked"
    assert other(path) == "got the lock"
    await first.close()
    await second.close()
