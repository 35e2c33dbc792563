"""Keeping the anchor file of RFC 5011 up to date while a service runs.

Specification: RFC 5011 section 2.3 (active refresh: at least once an hour, and more seldom than every 15 days). The
file is read anew before each look, because several processes and the command line may keep the same one; each writes
it whole, and each writes what the zone itself says, so it does not matter who comes last.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from authz.domain.clock import Clock
from authz.domain.errors import SluisError
from pki.dnssec.anchors import TrustAnchor
from pki.dnssec.apart import apart
from pki.dnssec.rollover import AnchorFile, TrackedKey
from pki.dnssec.transport import DnsTransport

EVERY: Final = 3600.0
"""Seconds between looks."""
_LOG: Final = structlog.get_logger(__name__)

Tell = Callable[[tuple[str, ...]], Awaitable[None]]
"""Hears what changed, one sentence for each change."""


class AnchorKeeper:
    """Follows one zone's keys, usually the root's.

    Args:
        path: the anchor file; made at the first look that succeeds.
        seed: what is trusted while there is no file.
        resolver: carries the questions.
        clock: the time.
        tell: hears what changed, after it was written; what could not be told is told after the next look.
        every: seconds between looks.

    Raises:
        InvalidValue: the file is malformed, or of another zone.
    """

    def __init__(
        self,
        path: Path,
        seed: tuple[TrustAnchor, ...],
        resolver: DnsTransport,
        clock: Clock,
        *,
        tell: Tell | None = None,
        every: float = EVERY,
    ) -> None:
        self._path = path
        self._seed = seed
        self._resolver = resolver
        self._clock = clock
        self._tell = tell
        self._every = every
        self._file = AnchorFile(path, seed)
        self._untold: tuple[str, ...] = ()
        self.problem = ""
        """Why the last look failed, for metrics and logs; empty when it did not."""

    def anchors(self) -> tuple[TrustAnchor, ...]:
        """What is trusted now."""
        return self._file.anchors()

    @property
    def keys(self) -> tuple[TrackedKey, ...]:
        """The keys that are followed; empty before the first look that succeeded."""
        return self._file.keys

    async def look(self) -> tuple[str, ...]:
        """Look once; returns what changed.

        Raises:
            ChainBroken: the keys that the zone shows are not vouched for by a trusted key; nothing changed.
            ResolverUnreachable: no answer; nothing changed.
            InvalidValue: the file was damaged meanwhile.
            OSError: the file cannot be written.
        """
        file = AnchorFile(self._path, self._seed)
        at = self._clock.now()
        changes = await apart(lambda: file.refresh(self._resolver, at))
        self._file = file
        self._untold += changes
        if self._untold and self._tell is not None:
            await self._tell(self._untold)
        self._untold = ()
        return changes

    async def run(self, stop: asyncio.Event) -> None:
        """Look, again and again, until `stop`. What fails is tried again in a tenth of the time."""
        while not stop.is_set():
            try:
                changes = await self.look()
            except (SluisError, OSError) as error:
                self.problem = type(error).__name__
                _LOG.warning("anchors_not_refreshed", zone=str(self._file.zone), why=str(error))
            except Exception as error:  # noqa: BLE001  what DNS brings must not end the service
                self.problem = type(error).__name__
                _LOG.error("anchors_not_refreshed", zone=str(self._file.zone), error_kind=self.problem)
            else:
                self.problem = ""
                for change in changes:
                    _LOG.warning("anchor_changed", zone=str(self._file.zone), what=change)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self._every / 10 if self.problem else self._every)
