"""What SQLite leaves to its users: getting a database into WAL mode while others do the same."""

import sqlite3
import time
from collections.abc import Callable
from typing import Final

_PATIENCE: Final = 30.0
_PAUSE: Final = 0.01


def enter_wal_mode(
    execute: Callable[[str], object],
    patience: float = _PATIENCE,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Put a database into WAL mode, which its file remembers.

    SQLite waits for no lock while it changes the mode (a busy timeout does not count there): of several processes that
    start at the same moment one may hear at once that the database is locked. So it is asked again.

    Args:
        execute: runs one statement.
        patience: seconds in which to ask again.
        monotonic: clock in seconds.
        sleep: waits so many seconds.

    Raises:
        sqlite3.OperationalError: it stays locked, or it is something else.
    """
    until = monotonic() + patience
    while True:
        try:
            execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if not is_locked(error) or monotonic() >= until:
                raise
            sleep(_PAUSE)
        else:
            return


def is_locked(error: sqlite3.Error) -> bool:
    """Whether somebody else has the database at this moment."""
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(code, int) and code & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
