"""The domains of the address book, looked at on a schedule and not only when somebody asks a token.

Specification: shared `spec/dnssec.md` ("on a schedule (default hourly)"). A change is an audit record. What is
remembered is of this process: after a start the first look records what is not in order. `pki serve` keeps the durable
history and the notices to the outside.
"""

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Final

import structlog

from authz.audit.log import AuditUnavailable
from authz.audit.own import OwnRecords
from authz.directory.book import AddressBook
from authz.domain.audit import Action, EventType
from authz.domain.clock import Clock
from authz.grants.audience import DomainStanding, DomainState

MAX_CONCURRENT_CHECKS: Final = 8
_log = structlog.get_logger()


class DomainWatch:
    """Looks at every host of the address book.

    Args:
        book: the services.
        standing: tells the state of a host.
        own: takes the records of changes.
        clock: the time.
        every: seconds between looks.
    """

    def __init__(
        self, book: AddressBook, standing: DomainStanding, own: OwnRecords, clock: Clock, every: float
    ) -> None:
        self._book = book
        self._standing = standing
        self._own = own
        self._clock = clock
        self._every = every
        self.states: dict[str, DomainState] = {}
        """What the last look found, by host."""

    def counts(self) -> dict[str, int]:
        """How many hosts are in each state."""
        found = Counter(self.states.values())
        return {state.value: found[state] for state in DomainState}

    async def look(self) -> int:
        """Look at all hosts once; returns how many changes were recorded.

        Raises:
            AuditUnavailable: a change could not be recorded; it is found again at the next look.
        """
        gate = asyncio.Semaphore(MAX_CONCURRENT_CHECKS)

        async def state_of(host: str) -> DomainState:
            async with gate:
                return await self._standing.check(host, self._clock.now())

        hosts = sorted({service.host for service in self._book.services})
        found = dict(zip(hosts, await asyncio.gather(*map(state_of, hosts)), strict=True))
        # Hosts that left the address book are forgotten.
        known = {host: state for host, state in self.states.items() if host in found}
        recorded = 0
        for host, state in found.items():
            before = known.get(host)
            if state is not before and not (before is None and state is DomainState.SECURE):
                details = {"state": state.value, "before": before.value if before else "unknown"}
                await self._own.write(EventType.DOMAIN_STANDING, Action.UPDATE, ("domain", host), details=details)
                recorded += 1
            self.states = known = known | {host: state}
        return recorded

    async def run(self, stop: asyncio.Event) -> None:
        """Look, again and again, until `stop`; sooner again when the last look could not be recorded."""
        while not stop.is_set():
            pause = self._every
            try:
                await self.look()
            except AuditUnavailable:
                _log.warning("domain standing not recorded")
                pause = min(self._every, 60.0)
            except Exception as error:  # noqa: BLE001  what DNS brings must not end the server
                _log.error("domains not looked at", error_kind=type(error).__name__)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)
