"""What a process holds on the database stays held, whatever else the same process prepares (SQLite, POSIX locks)."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from authz.store.engine import prepare_file

_WRITER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=0.1)
try:
    connection.execute("BEGIN IMMEDIATE")
except sqlite3.OperationalError:
    print("locked out")
else:
    print("may write")
    connection.rollback()
"""


def another_process(path: Path) -> str:
    command = [sys.executable, "-c", _WRITER, str(path)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_preparing_a_database_again_drops_no_lock_of_the_same_process(tmp_path: Path) -> None:
    path = tmp_path / "authz.sqlite3"
    prepare_file(str(path))
    assert path.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute("BEGIN IMMEDIATE")
        with closing(sqlite3.connect(":memory:")):
            reopened = prepare_again(path)
        assert not reopened
        assert another_process(path) == "locked out"
        connection.rollback()
    assert another_process(path) == "may write"


def prepare_again(path: Path) -> bool:
    """As a second `Database` on the same file would; it may find the file busy, it must not free it."""
    try:
        prepare_file(str(path))
    except sqlite3.OperationalError:
        return False
    return True
