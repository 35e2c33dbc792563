"""The DNSSEC standing of participants' domains, on a schedule; a change is a notice.

Specification: shared `spec/dnssec.md`: "on a schedule (default hourly)". The domains are the DNS names of active
certificates. Processes share the work: each name is claimed for one interval by whoever comes first. A change counts
when a second check, right after the first, says the same; and when nothing at all can be reached, the trouble is ours
and nobody's standing changes.
"""

import asyncio
import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import and_, bindparam, delete, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from authz.domain.audit import EventType
from authz.domain.clock import Clock
from pki.dnssec.advice import advise
from pki.dnssec.model import DnssecResult, DnssecState
from pki.dnssec.standing import Validator
from pki.notices.giving import Giver, Notice
from pki.store.database import Database
from pki.store.tables import UtcDateTime, certificates, domain_standing

BATCH: Final = 64
"""Names claimed at once; a process that dies leaves at most these unchecked for one interval."""
CONCURRENT: Final = 8
"""Checks at the same time."""
UNKNOWN: Final = "unknown"
"""Standing of a name that was never checked."""
_OURS: Final = frozenset({DnssecState.UNREACHABLE, DnssecState.INDETERMINATE})
"""States that say something of the resolver or of our settings when the root has them too."""
_LOG: Final = structlog.get_logger(__name__)
_NEVER: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_ADD: Final = text(
    "INSERT INTO domain_standing (name, subject, state, since, checked_at) "
    "VALUES (:name, :subject, 'unknown', :since, :never) ON CONFLICT (name) DO NOTHING"
).bindparams(bindparam("since", type_=UtcDateTime()), bindparam("never", type_=UtcDateTime()))


class StandingPatrol:
    """Checks domains and gives notices of changes.

    Args:
        database: the register.
        giver: writes notices.
        clock: the time.
        validator: checks a name; without a memory of its own.
        interval: how often each name is checked.
    """

    def __init__(
        self, database: Database, giver: Giver, clock: Clock, validator: Validator, interval: timedelta
    ) -> None:
        self._database = database
        self._giver = giver
        self._clock = clock
        self._validator = validator
        self._interval = interval
        self.blind = False
        """Whether the last look told nothing: no resolver answers, or the one that is believed does not validate."""

    async def look(self) -> int:
        """Check every name that is due and that no other process has claimed.

        Returns:
            How many names this process checked.

        Raises:
            StoreUnavailable: the rest is checked at the next look.
        """
        await self._follow_register()
        checked = 0
        while claimed := await self._claim():
            checked += len(claimed)
            outcomes = await self._check_all(claimed)
            self.blind = await self._reaches_nothing(outcomes.values())
            if self.blind:
                _LOG.warning("domains_not_checked", why="the resolver tells nothing about the root either")
                break
            await self._keep(claimed, outcomes)
        return checked

    async def _follow_register(self) -> None:
        """The names are those of active certificates, no more and no less."""
        at = self._clock.now()
        async with self._database.read() as connection:
            rows = await connection.execute(
                select(certificates.c.dns_names, certificates.c.identifier).where(certificates.c.status == "active")
            )
            wanted = {name: str(subject) for names, subject in rows for name in json.loads(names) if "." in name}
            known = set((await connection.execute(select(domain_standing.c.name))).scalars())
        if wanted.keys() == known:
            return
        async with self._database.write() as connection:
            for name in sorted(wanted.keys() - known):
                key = {"name": name, "subject": wanted[name], "since": at, "never": _NEVER}
                await connection.execute(_ADD, key)
            for name in known - wanted.keys():
                await connection.execute(delete(domain_standing).where(domain_standing.c.name == name))

    async def _claim(self) -> dict[str, tuple[str, str]]:
        """Names that are ours to check now, each with its subject and the state that it had."""
        at = self._clock.now()
        columns = domain_standing.c
        due = columns.checked_at <= at - self._interval
        async with self._database.read() as connection:
            found = select(columns.name).where(due).order_by(columns.checked_at, columns.name).limit(BATCH)
            names = list((await connection.execute(found)).scalars())
        if not names:
            return {}
        async with self._database.write() as connection:
            rows = await connection.execute(
                update(domain_standing)
                .where(columns.name.in_(names), due)
                .values(checked_at=at)
                .returning(columns.name, columns.subject, columns.state)
            )
            return {str(name): (str(subject), str(state)) for name, subject, state in rows}

    async def _check_all(self, claimed: Mapping[str, tuple[str, str]]) -> dict[str, DnssecResult]:
        gate = asyncio.Semaphore(CONCURRENT)

        async def check(name: str, held: str) -> DnssecResult:
            async with gate:
                result = await self._validator.check(name, self._clock.now())
                if result.standing.value != held and not result.secure:
                    # A lost packet or a moment between two versions of a zone is not a change.
                    result = await self._validator.check(name, self._clock.now())
                return result

        results = await asyncio.gather(*(check(name, held) for name, (_, held) in claimed.items()))
        return dict(zip(claimed, results, strict=True))

    async def _reaches_nothing(self, results: Iterable[DnssecResult]) -> bool:
        if any(result.state not in _OURS for result in results):
            return False
        root = await self._validator.check(".", self._clock.now(), "NS")
        return root.state in _OURS

    async def _keep(self, claimed: Mapping[str, tuple[str, str]], outcomes: Mapping[str, DnssecResult]) -> None:
        at = self._clock.now()
        changed = [name for name, result in outcomes.items() if result.standing.value != claimed[name][1]]
        if not changed:
            return
        async with self._database.write() as connection:
            for name in changed:
                await self._change(connection, name, claimed[name], outcomes[name], at)

    async def _change(
        self, connection: AsyncConnection, name: str, was: tuple[str, str], result: DnssecResult, at: datetime
    ) -> None:
        subject, held = was
        state = result.standing.value
        columns = domain_standing.c
        moved = await connection.execute(
            update(domain_standing)
            .where(and_(columns.name == name, columns.state == held))
            .values(state=state, since=at, message=result.message[:500])
        )
        # That a new name is in order is no news.
        if not moved.rowcount or (held == UNKNOWN and state == DnssecState.SECURE.value):
            return
        advice = advise(result)
        data = {
            "domain": name,
            "state": state,
            "before": held,
            "message": result.message,
            "where": advice.where if advice else "",
            "to_do": advice.what if advice else "",
        }
        await self._giver.give(connection, Notice(EventType.DOMAIN_STANDING, subject, data), at)
