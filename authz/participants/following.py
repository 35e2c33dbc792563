"""Snapshots in memory that follow what is stored, whoever changed it.

Every snapshot has a version that is cheap to ask for. It is asked several times a second, so a change by the command
line or by another instance is seen within a second, and a missed notification repairs itself (`architecture.md`, "State
and growth").
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from authz.domain.clock import Clock
from authz.edge.background import Trouble

DEFAULT_INTERVAL: Final = 0.25
"""Seconds between two looks; a revocation has two seconds to reach every agent."""
MAX_BLIND: Final = timedelta(seconds=10)
"""After this long without a successful look, the snapshots count as unknown."""


@dataclass(frozen=True, slots=True)
class Followed:
    """One snapshot.

    Attributes:
        name: for logs.
        stored: version of what is stored.
        held: version of the snapshot.
        refresh: reads the snapshot again.
    """

    name: str
    stored: Callable[[], Awaitable[int]]
    held: Callable[[], int]
    refresh: Callable[[], Awaitable[None]]


class Follower:
    """Keeps snapshots up to date.

    Args:
        followed: the snapshots.
        clock: the time.
        interval: seconds between two looks.
    """

    def __init__(self, followed: Sequence[Followed], clock: Clock, interval: float = DEFAULT_INTERVAL) -> None:
        self._followed = tuple(followed)
        self._clock = clock
        self._interval = interval
        self._last: datetime | None = None

    async def look(self) -> None:
        """Read again whatever has changed.

        Raises:
            SluisError: one could not be read; it keeps its last good state, and those behind it were not looked at.
        """
        for snapshot in self._followed:
            if await snapshot.stored() != snapshot.held():
                await snapshot.refresh()
        self._last = self._clock.now()

    async def run(self) -> None:
        """Look, again and again, until cancelled."""
        trouble = Trouble("stored state")
        while True:
            await asyncio.sleep(self._interval)
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001  `blind` stops the tokens when it goes on failing
                trouble.failed(error)
            else:
                trouble.over()

    @property
    def blind(self) -> bool:
        """Whether the last successful look is too long ago."""
        return self._last is None or self._clock.now() - self._last > MAX_BLIND
