"""Checks in an event loop of their own, in a thread of their own, so that no zone stops whoever asks.

What a zone sends is read and computed with in Python, up to the limits of a check. Half a second of it in the event
loop of a token endpoint would be half a second for everybody; here the interpreter takes turns every few milliseconds.
All checks share the one thread: a check waits for the network most of its time, and the others go on meanwhile.
"""

import asyncio
import atexit
import os
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import datetime
from typing import Any, Final, TypeVar

from pki.dnssec.model import DnssecResult
from pki.dnssec.standing import Validator

Result = TypeVar("Result")
_PATIENCE: Final = 5.0
"""Seconds that the end of the process waits for the thread."""


class CheckThread:
    """A thread with an event loop; it begins with the first use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def loop(self) -> asyncio.AbstractEventLoop:
        """Its event loop, running."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                # A daemon, so that a process that ends in the middle of a check is not kept by a silent name server.
                self._thread = threading.Thread(target=self._loop.run_forever, name="dnssec checks", daemon=True)
                self._thread.start()
                atexit.register(self.stop)
            return self._loop

    def stop(self) -> None:
        """End it; what runs is cancelled."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is None or thread is None:
            return
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result(_PATIENCE)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_PATIENCE)
        if not thread.is_alive():
            loop.close()

    def forget(self) -> None:
        """In a forked process there is no such thread; the next use begins a new one."""
        self._lock, self._loop, self._thread = threading.Lock(), None, None


async def _cancel_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


_THREAD: Final = CheckThread()
os.register_at_fork(after_in_child=_THREAD.forget)


async def apart(work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """Run a coroutine in that thread and wait for it here; cancelling here cancels it there.

    Args:
        work: makes the coroutine; what it makes must not belong to the event loop of the caller.
    """
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work(), _THREAD.loop()))


class ApartValidator:
    """A validator whose checks run apart (implements `standing.Validator`).

    Args:
        validator: does the checks.
    """

    def __init__(self, validator: Validator) -> None:
        self.validator = validator

    async def check(self, name: str, at: datetime, rdtype: str = "A") -> DnssecResult:
        """See `ChainValidator.check`."""
        return await apart(lambda: self.validator.check(name, at, rdtype))
