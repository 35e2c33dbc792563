"""The endpoints of deelnemers that require DANE, looked at on a schedule; the outcome is remembered for a while.

Specification: shared `spec/dnssec.md`: "Optional by default, per deelnemer enforceable"; docs/decisions/0103. Tokens
and the listing ask only what is remembered, so nobody can make this server connect by asking for a token. A change of
outcome is an audit record. How an endpoint is looked at is not decided here (`EndpointLook`).

A look at an endpoint that hangs takes long, and its holder decides that it hangs. So a look has two seconds at first,
which is plenty for who answers; who needs more gets it, doubled each time, in a lane of its own (decision 0118).
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
QUICK_LOOK: Final = 2.0
"""Seconds of a look at who was not looked at yet, or answered in time."""
LONGEST_LOOK: Final = 20.0
"""Seconds of a look at who needs more; it is doubled from look to look until then."""
QUICK_ROOM: Final = 48
SLOW_ROOM: Final = 16
"""Looks at once, of who answers in time and of who does not."""
QUICK_OF_ONE_HOLDER: Final = 2
SLOW_OF_ONE_HOLDER: Final = 1
FORGOTTEN_BY_HALF: Final = 300.0
"""Seconds after which half of the time that looks at a holder took is forgotten."""
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
    failures: int = 0
    patience: float = QUICK_LOOK
    took: float = 0.0

    @property
    def is_slow(self) -> bool:
        """Did not answer in time."""
        return self.patience > QUICK_LOOK

    @property
    def was_seen(self) -> bool:
        """Had a look, whatever came of it."""
        return self.is_slow or self.newest is not DaneState.UNCHECKED

    @property
    def keeps_failing(self) -> bool:
        """Not new, did not match lately, and not only once; of those that are slow, not within the longest look."""
        return self.patience >= LONGEST_LOOK if self.is_slow else self.failures > 1


class _Unfinished(Exception):  # noqa: N818  how a look ended
    """A look had less than the longest time, and did not come to an end."""


@dataclass(slots=True)
class _Lane:
    """Looks that share a room, in which no holder has more than its part."""

    slow: bool
    room: int
    of_one_holder: int
    running: dict[Endpoint, asyncio.Task[None]] = field(default_factory=dict)


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
        self._holders: dict[Endpoint, str] = {}
        self._seen: dict[Endpoint, _Seen] = {}
        self._spent: dict[str, float] = {}
        self._spent_at = monotonic()
        self._lanes = (
            _Lane(slow=False, room=QUICK_ROOM, of_one_holder=QUICK_OF_ONE_HOLDER),
            _Lane(slow=True, room=SLOW_ROOM, of_one_holder=SLOW_OF_ONE_HOLDER),
        )
        self.looked = asyncio.Event()
        """Set once everything that was due at the start has had a look."""

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
        """Look at every endpoint that is due now, to the end.

        Raises:
            AuditUnavailable: a change could not be recorded; it counts all the same, and is recorded later.
        """
        now = self._monotonic()
        while self._start(now):
            await asyncio.wait(self._going(), return_when=asyncio.FIRST_COMPLETED)
        await self._tell_all()

    def _start(self, now: float) -> bool:
        """Begin with as many looks that are due as there is room for.

        Returns:
            Whether any look goes on.
        """
        wanted = dict.fromkeys(self._follow().values())
        # Those that left the address book, or need no DANE any more, are forgotten.
        self._seen = {endpoint: self._seen.get(endpoint) or _Seen() for endpoint in wanted}
        if all(seen.was_seen for seen in self._seen.values()):
            self.looked.set()
        self._forget_spent(now)
        for lane in self._lanes:
            lane.running = {endpoint: task for endpoint, task in lane.running.items() if not task.done()}
        busy = {endpoint for lane in self._lanes for endpoint in lane.running}
        due = [endpoint for endpoint, seen in self._seen.items() if seen.due <= now and endpoint not in busy]
        for lane in self._lanes:
            self._fill(lane, [endpoint for endpoint in due if self._seen[endpoint].is_slow is lane.slow])
        return bool(self._going())

    def _fill(self, lane: _Lane, due: list[Endpoint]) -> None:
        of_holder = Counter(self._holders.get(endpoint, "") for endpoint in lane.running)
        failing = sum(endpoint in self._seen and self._seen[endpoint].keeps_failing for endpoint in lane.running)
        for endpoint in self._in_turn(due, of_holder):
            holder, seen = self._holders[endpoint], self._seen[endpoint]
            if len(lane.running) >= lane.room:
                break
            if of_holder[holder] >= lane.of_one_holder:
                continue
            if seen.keeps_failing and failing >= lane.room // 2:
                break
            of_holder[holder] += 1
            failing += seen.keeps_failing
            lane.running[endpoint] = asyncio.create_task(self._look_at(endpoint, seen), name=f"dane {endpoint}")

    def _in_turn(self, due: list[Endpoint], running: Counter[str]) -> list[Endpoint]:
        """Whose looks took the least time lately goes first, and of those who took as much, holders take turns.

        What keeps failing comes last whoever holds it; `_fill` relies on that.
        """
        turns = Counter(running)
        keyed: list[tuple[tuple[bool, float, float, int, float], Endpoint]] = []
        for endpoint in sorted(due, key=lambda item: (self._seen[item].keeps_failing, self._seen[item].due)):
            seen, holder = self._seen[endpoint], self._holders[endpoint]
            spent = self._spent.get(holder, 0.0)
            keyed.append(((seen.keeps_failing, seen.patience, spent, turns[holder], seen.due), endpoint))
            turns[holder] += 1
        return [endpoint for _, endpoint in sorted(keyed, key=lambda item: item[0])]

    def _forget_spent(self, now: float) -> None:
        part = 0.5 ** ((now - self._spent_at) / FORGOTTEN_BY_HALF)
        self._spent = {
            holder: left for holder, spent in self._spent.items() if (left := spent * part) > QUICK_LOOK / 100
        }
        self._spent_at = now

    def _going(self) -> list[asyncio.Task[None]]:
        return [task for lane in self._lanes for task in lane.running.values()]

    async def _look_at(self, endpoint: Endpoint, seen: _Seen) -> None:
        # The age of an outcome counts from before it was looked for.
        began = self._monotonic()
        try:
            found = await self._believed(endpoint, seen)
        except _Unfinished:
            # Nothing was found out, and nothing is forgotten: it is looked at again, for longer and in the slow lane.
            self._defer(seen)
            return
        except Exception as error:  # noqa: BLE001  a mistake of ours is not a match, and not the end of the watch
            _log.error("endpoint not looked at", endpoint=str(endpoint), error_kind=type(error).__name__)
            found = DaneState.UNREACHABLE
        self._keep(seen, found, began)

    async def _tell_all(self) -> None:
        for endpoint, seen in list(self._seen.items()):
            await self._tell(endpoint, seen)

    async def run(self, stop: asyncio.Event) -> None:
        """Look at what is due, again and again, until `stop`."""
        ended = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                pause = TICK
                try:
                    self._start(self._monotonic())
                    await self._tell_all()
                except AuditUnavailable:
                    _log.warning("endpoint standing not recorded")
                    pause = PATIENCE
                except Exception as error:  # noqa: BLE001  what is not looked at stops counting by itself
                    _log.error("endpoints not looked at", error_kind=type(error).__name__)
                    pause = PATIENCE
                # Room that comes free is used at once, unless something is wrong.
                looks = self._going() if pause == TICK else ()
                await asyncio.wait({ended, *looks}, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
        finally:
            going = [ended, *self._going()]
            for task in going:
                task.cancel()
            await asyncio.gather(*going, return_exceptions=True)

    def _follow(self) -> Mapping[str, Endpoint]:
        """Audiences whose holder requires DANE, by the scheme of this moment."""
        versions = (self._book.version, self._registry.version)
        if versions != self._versions:
            required: dict[str, Endpoint] = {}
            holders: dict[Endpoint, str] = {}
            for service in self._book.services:
                holder = self._registry.by_identifier(service.holder)
                # A holder that is not known yet may require it: the two snapshots are not read in one moment.
                if holder is None or holder.dane is DaneRule.REQUIRED:
                    endpoint = Endpoint(service.host, service.port)
                    required[service.audience] = endpoint
                    # By deelnemer and not by identifier, of which it may have several.
                    holders.setdefault(endpoint, str(service.holder if holder is None else holder.id))
            self._required, self._holders, self._versions = required, holders, versions
        return self._required

    def _standing(self, seen: _Seen) -> DaneState:
        now, life = self._monotonic(), self._every * REMEMBERED_INTERVALS
        if seen.newest is DaneState.UNREACHABLE and seen.matched is not None and now - seen.matched <= life:
            return DaneState.MATCHED
        return seen.newest if now - seen.looked <= life else DaneState.UNCHECKED

    async def _believed(self, endpoint: Endpoint, seen: _Seen) -> DaneState:
        """What a look found, confirmed by a second one where a match would end.

        Where the second differs, a third one decides. Who was seen once not to fit, and not to fit since, does not keep
        a match by being out of reach in between.
        """
        first = await self._look_once(endpoint, seen)
        if first is None:
            raise _Unfinished
        if first is DaneState.MATCHED or self._standing(seen) is not DaneState.MATCHED:
            return first
        # A lost packet, or a moment between two versions of a zone or two certificates, is not a change.
        await asyncio.sleep(self._pause)
        second = await self._look_once(endpoint, seen) or DaneState.UNREACHABLE
        if second in {first, DaneState.MATCHED}:
            return second
        await asyncio.sleep(self._pause)
        third = await self._look_once(endpoint, seen) or DaneState.UNREACHABLE
        return next(found for found in (third, second, first) if found is not DaneState.UNREACHABLE)

    async def _look_once(self, endpoint: Endpoint, seen: _Seen) -> DaneState | None:
        """One look; None when it needs more time than it had, and may have more."""
        began = self._monotonic()
        try:
            async with asyncio.timeout(seen.patience) as limit:
                return await self._eye.look(endpoint.host, endpoint.port)
        except TimeoutError:
            if not limit.expired():
                raise
            return None if seen.patience < LONGEST_LOOK else DaneState.UNREACHABLE
        finally:
            seen.took = self._monotonic() - began
            if holder := self._holders.get(endpoint):
                self._spent[holder] = self._spent.get(holder, 0.0) + seen.took

    def _defer(self, seen: _Seen) -> None:
        seen.patience = min(seen.patience * 2, LONGEST_LOOK)
        seen.failures += 1
        self._back_off(seen, self._monotonic())

    def _back_off(self, seen: _Seen, now: float) -> None:
        seen.due = now + min(seen.retry, self._every)
        seen.retry = min(seen.retry * 2, LONGEST_RETRY)

    def _keep(self, seen: _Seen, found: DaneState, now: float) -> None:
        seen.newest, seen.looked = found, now
        if seen.took <= QUICK_LOOK:
            seen.patience = QUICK_LOOK
        if found is DaneState.MATCHED:
            seen.matched, seen.retry, seen.due, seen.failures = now, FIRST_RETRY, now + self._every, 0
            return
        seen.failures += 1
        if found is not DaneState.UNREACHABLE:
            seen.matched = None
        self._back_off(seen, now)

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
