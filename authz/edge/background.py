"""Work in the background that does not end before it is told to.

A loop that dies of an exception that nobody thought of is worse than one that fails: nothing is done any more, and
nothing says so. Here every failure is counted, told in the log by its kind (a text may hold what somebody else sent),
and followed by another try. What must not be postponed for ever asks `Loop.silent_for` in its health.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import structlog

from authz.domain.errors import SluisError

_LOG: Final = structlog.get_logger(__name__)
_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 30.0
_STABLE_AFTER: Final = 60.0
"""Seconds that something must run for its pauses to start small again."""
_TOLD_EACH: Final = 1024


class Trouble:
    """Failures in a row of one thing that is tried again and again.

    Told are the first, second, fourth, eighth, ... of them: what fails may fail ten times a second, or for a day.

    Args:
        what: name for the log.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self.count = 0
        """Failures since the last success."""

    def failed(self, error: Exception) -> None:
        """Count one more failure."""
        self.count += 1
        if self.count & (self.count - 1) == 0 or self.count % _TOLD_EACH == 0:
            # The sentences of our own errors hold nothing of others; those of libraries may.
            why = {"why": str(error)} if isinstance(error, SluisError) else {}
            _LOG.warning("failed", what=self._what, times=self.count, error_kind=type(error).__name__, **why)

    def over(self) -> None:
        """It works."""
        if self.count:
            _LOG.info("works_again", what=self._what, after=self.count)
        self.count = 0


class Loop:
    """Does one thing at intervals until told to stop; a failure is followed by the next attempt, never by the end.

    Args:
        name: for the log.
        act: what is done.
        every: seconds between the end of one and the start of the next.
        monotonic: clock in seconds that only moves forward.
    """

    def __init__(
        self,
        name: str,
        act: Callable[[], Awaitable[object]],
        every: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._act = act
        self._every = every
        self._monotonic = monotonic
        self._succeeded = monotonic()
        self.name = name
        self.trouble = Trouble(name)

    @property
    def silent_for(self) -> float:
        """Seconds since the last success, or since it was made; grows also while an attempt hangs."""
        return self._monotonic() - self._succeeded

    async def run(self, stop: asyncio.Event) -> None:
        """Go on until `stop`; nothing is cut off in the middle."""
        while not stop.is_set():
            try:
                await self._act()
            except Exception as error:  # noqa: BLE001  whatever it is, the next attempt must come
                self.trouble.failed(error)
            else:
                self.trouble.over()
                self._succeeded = self._monotonic()
            await pause(stop, self._every)


async def keep_running(name: str, run: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
    """Run something that does not end by itself, and run it again, after a growing pause, each time it fails.

    Args:
        name: for the log.
        run: what runs; when it returns by itself, it has nothing more to do.
        stop: ends it.
    """
    trouble, rest = Trouble(name), _FIRST_PAUSE
    while not stop.is_set():
        began = time.monotonic()
        try:
            await run()
        except Exception as error:  # noqa: BLE001  see above
            if time.monotonic() - began > _STABLE_AFTER:
                trouble.over()
                rest = _FIRST_PAUSE
            trouble.failed(error)
            await pause(stop, rest)
            rest = min(rest * 2, _LONGEST_PAUSE)
        else:
            return


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Wait so many seconds, or until `stop`."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
