"""What a process holds on the register stays held, whatever else the same process opens (SQLite, POSIX locks)."""

import subprocess
import sys
from pathlib import Path

from sqlalchemy import text

from pki.store.database import Database

_OTHER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
print(connection.execute("SELECT count(*) FROM things").fetchone()[0])
connection.close()
"""


def seen_by_another_process(path: Path) -> int:
    command = [sys.executable, "-c", _OTHER, str(path)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


async def test_opening_the_register_again_loses_no_writes_of_the_same_process(tmp_path: Path) -> None:
    """Without its locks a server is not seen: who closes then takes itself for the last, and removes the log in use."""
    path = tmp_path / "pki.sqlite3"
    server = Database(f"sqlite+aiosqlite:///{path}", pooled=True)
    async with server.write() as connection:
        await connection.execute(text("CREATE TABLE things (id INTEGER)"))
    again = Database(f"sqlite+aiosqlite:///{path}")
    async with server.read() as reading:
        assert (await reading.execute(text("SELECT count(*) FROM things"))).scalar() == 0
        async with again.read():
            pass
    for written in (1, 2, 3):
        async with server.write() as connection:
            await connection.execute(text("INSERT INTO things VALUES (1)"))
        assert seen_by_another_process(path) == written
    await again.close()
    await server.close()
