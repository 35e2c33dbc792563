"""Turns of writers on one SQLite file, in the order in which they came, across tasks and processes.

SQLite lets a writer that finds the database locked sleep and try again, up to a tenth of a second each time; one that
writes without pause then keeps others out for as long as it likes (seen: a revocation that waited 20 seconds beside
the making of CRLs). Writers therefore queue on a lock of the operating system first, which wakes them in order and is
given back by itself when a process dies. It only orders: that writes exclude each other is still SQLite's work.
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path


class WriterLane:
    """The queue before one database.

    Args:
        path: file that is locked; made when it is not there, empty for ever.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ours = asyncio.Lock()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, and have it until the block ends.

        Raises:
            OSError: the file cannot be made or locked.
        """
        async with self._ours:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    # A thread that is left waiting by a cancelled task gets the lock of a closed file: nobody's.
                    await asyncio.to_thread(fcntl.flock, file, fcntl.LOCK_EX)
                yield
            finally:
                os.close(file)
