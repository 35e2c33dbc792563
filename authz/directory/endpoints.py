"""The endpoints of deelnemers that require DANE, looked at on a schedule; the outcome is remembered for a while.

Specification: shared `spec/dnssec.md`: "Optional by default, per deelnemer enforceable"; docs/decisions/0103. Tokens
and the listing ask only what is remembered, so nobody can make this server connect by asking for a token. A change of
outcome is an audit record. How an endpoint is looked at is not decided here (`EndpointLook`).
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from authz.audit.log import AuditUnavailable
from authz.audit.own import OwnRecords
from authz.directory.book import AddressBook
from authz.domain.audit import Action, EventType
from authz.grants.audience import DaneState
from authz.participants.model import DaneRule
from authz.participants.registry import ParticipantRegistry

LONGEST_INTERVAL: Final = 3600.0
"""Seconds between looks at an endpoint that matches, however seldom domains are looked at."""
REMEMBERED_INTERVALS: Final = 2
"""How many intervals a match counts, when the endpoint cannot be looked at meanwhile."""
FIRST_RETRY: Final = 0.5
"""Seconds until an endpoint that did not match is looked at again; doubled each time."""
LONGEST_RETRY: Final = 60.0
MAX_CONCURRENT_LOOKS: Final = 8
TICK: Final = 0.25
"""Seconds between questions what is due; a change of the scheme is seen as soon."""
PATIENCE: Final = 5.0
"""Seconds until the next try when the log cannot be written."""
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a trust agent is reached."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class EndpointLook(Protocol):
    """Looks at an endpoint."""

    async def look(self, host: str, port: int) -> DaneState:
        """What DANE says now; UNREACHABLE when it could not be found out. Takes a bounded time, and never raises."""
        ...


@dataclass(slots=True)
class _Seen:
    """What is remembered of one endpoint; times are of the monotonic clock, so no clock that is set changes an age."""

    due: float = 0.0
    newest: DaneState = DaneState.UNCHECKED
    looked: float = 0.0
    matched: float | None = None
    told: DaneState = DaneState.UNCHECKED
    retry: float = FIRST_RETRY


class EndpointWatch:
    """Looks at every endpoint whose holder requires DANE. Implements `EndpointStanding`.

    Args:
        book: the services.
        registry: says which deelnemers require DANE.
        eye: looks.
        own: takes the records of changes.
        every: seconds between looks at an endpoint that matches; at most an hour.
        pause: seconds before a second look.
        monotonic: seconds that never go back.
    """

    def __init__(
        self,
        book: AddressBook,
        registry: ParticipantRegistry,
        eye: EndpointLook,
        own: OwnRecords,
        every: float,
        *,
        pause: float = 1.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._book = book
        self._registry = registry
        self._eye = eye
        self._own = own
        self._every = min(every, LONGEST_INTERVAL)
        self._pause = pause
        self._monotonic = monotonic
        self._versions: tuple[int, int] | None = None
        self._required: Mapping[str, Endpoint] = {}
        self._seen: dict[Endpoint, _Seen] = {}
        self.looked = asyncio.Event()
        """Set once everything that was due at the start has been looked at."""

    def dane(self, url: str) -> DaneState | None:
        """See `EndpointStanding.dane`."""
        endpoint = self._follow().get(url)
        return None if endpoint is None else self._standing(self._seen.get(endpoint, _Seen()))

    def states(self) -> dict[str, DaneState]:
        """What counts now, by `host:port`."""
        return {str(item): self._standing(self._seen.get(item, _Seen())) for item in set(self._follow().values())}

    def newest(self) -> dict[str, DaneState]:
        """What the newest look found, by `host:port`, also while an earlier match still counts."""
        return {str(item): self._seen.get(item, _Seen()).newest for item in set(self._follow().values())}

    def counts(self) -> dict[str, int]:
        """How many endpoints are in each state."""
        found = Counter(self.states().values())
        return {state.value: found[state] for state in DaneState}

    async def look(self) -> None:
        """Look at every endpoint that is due.

        Raises:
            AuditUnavailable: a change could not be recorded; it counts all the same, and is recorded later.
        """
        wanted = dict.fromkeys(self._follow().values())
        # Those that left the address book, or need no DANE any more, are forgotten.
        self._seen = {endpoint: self._seen.get(endpoint) or _Seen() for endpoint in wanted}
        now = self._monotonic()
        due = [(endpoint, seen) for endpoint, seen in self._seen.items() if seen.due <= now]
        gate = asyncio.Semaphore(MAX_CONCURRENT_LOOKS)

        async def one(endpoint: Endpoint, seen: _Seen) -> None:
            async with gate:
                # The age of an outcome counts from before it was looked for.
                began = self._monotonic()
                self._keep(seen, await self._believed(endpoint, seen), began)

        await asyncio.gather(*(one(endpoint, seen) for endpoint, seen in due))
        self.looked.set()
        for endpoint, seen in list(self._seen.items()):
            await self._tell(endpoint, seen)

    async def run(self, stop: asyncio.Event) -> None:
        """Look at what is due, again and again, until `stop`."""
        while not stop.is_set():
            pause = TICK
            try:
                await self.look()
            except AuditUnavailable:
                _log.warning("endpoint standing not recorded")
                pause = PATIENCE
            except Exception as error:  # noqa: BLE001  what is not looked at stops counting by itself
                _log.error("endpoints not looked at", error_kind=type(error).__name__)
                pause = PATIENCE
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)

    def _follow(self) -> Mapping[str, Endpoint]:
        """Audiences whose holder requires DANE, by the scheme of this moment."""
        versions = (self._book.version, self._registry.version)
        if versions != self._versions:
            required = {}
            for service in self._book.services:
                holder = self._registry.by_identifier(service.holder)
                # A holder that is not known yet may require it: the two snapshots are not read in one moment.
                if holder is None or holder.dane is DaneRule.REQUIRED:
                    required[service.audience] = Endpoint(service.host, service.port)
            self._required, self._versions = required, versions
        return self._required

    def _standing(self, seen: _Seen) -> DaneState:
        now, life = self._monotonic(), self._every * REMEMBERED_INTERVALS
        if seen.newest is DaneState.UNREACHABLE and seen.matched is not None and now - seen.matched <= life:
            return DaneState.MATCHED
        return seen.newest if now - seen.looked <= life else DaneState.UNCHECKED

    async def _believed(self, endpoint: Endpoint, seen: _Seen) -> DaneState:
        """What a look found, confirmed by a second one where a match would end."""
        first = await self._eye.look(endpoint.host, endpoint.port)
        if first is DaneState.MATCHED or self._standing(seen) is not DaneState.MATCHED:
            return first
        # A lost packet, or a moment between two versions of a zone or two certificates, is not a change.
        await asyncio.sleep(self._pause)
        second = await self._eye.look(endpoint.host, endpoint.port)
        return second if second in {first, DaneState.MATCHED} else DaneState.UNREACHABLE

    def _keep(self, seen: _Seen, found: DaneState, now: float) -> None:
        seen.newest, seen.looked = found, now
        if found is DaneState.MATCHED:
            seen.matched, seen.retry, seen.due = now, FIRST_RETRY, now + self._every
            return
        if found is not DaneState.UNREACHABLE:
            seen.matched = None
        seen.due = now + min(seen.retry, self._every)
        seen.retry = min(seen.retry * 2, LONGEST_RETRY)

    async def _tell(self, endpoint: Endpoint, seen: _Seen) -> None:
        before, found = seen.told, seen.newest
        if found is before:
            return
        # That a new endpoint is in order is no news.
        if not (before is DaneState.UNCHECKED and found is DaneState.MATCHED):
            details = {"dane": found.value, "before": before.value}
            item = ("endpoint", str(endpoint))
            await self._own.write(EventType.DOMAIN_STANDING, Action.UPDATE, item, details=details)
        seen.told = found
