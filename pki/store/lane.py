"""Turns of writers on one SQLite file, so that nobody is passed over twice, across tasks and processes.

SQLite lets a writer that finds the database locked sleep and try again, up to a tenth of a second each time; one that
writes without pause then keeps others out for as long as it likes (seen: a revocation that waited 20 seconds beside
the making of CRLs). Writers therefore queue on locks of the operating system first, which wake them and are given back
by themselves when a process dies. They only order: that writes exclude each other is still SQLite's work.

There are two, as a room with one chair before it. With one lock, who leaves the room and wants it again at once is
there before the one that was woken; so everybody has to have the chair first, and there the other one sits already.
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path


class WriterLane:
    """The queue before one database.

    Args:
        path: file that is locked; made when it is not there, empty for ever. The chair is a file beside it, with
            `.next` behind the name.
    """

    def __init__(self, path: Path) -> None:
        self._room = path
        self._chair = path.with_name(f"{path.name}.next")
        self._ours = asyncio.Lock()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, and have it until the block ends.

        Raises:
            OSError: a file cannot be made or locked.
        """
        async with self._ours, AsyncExitStack() as held:
            async with _locked(self._chair):
                await held.enter_async_context(_locked(self._room))
            yield


@asynccontextmanager
async def _locked(path: Path) -> AsyncIterator[None]:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # A thread that is left waiting by a cancelled task gets the lock of a closed file: nobody's.
            await asyncio.to_thread(fcntl.flock, file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)
