"""Expiry notices: at 60, 30, 14, 7 and 1 days before the end of an active certificate.

Each certificate lies in one band of days at a time (30 to 60 days, 14 to 30, ...) and is noticed once for each band, by
a row whose key is the certificate and the band. Several processes, restarts and a clock that jumps ahead therefore
never give a notice twice, and a certificate that is first seen with five days left gets one notice instead of four. A
certificate that is being superseded is not noticed: its successor works already.
"""

import itertools
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from authz.domain.audit import EventType
from authz.domain.clock import Clock
from pki.notices.giving import Giver, Notice
from pki.store.database import Database
from pki.store.register import Register, Registered
from pki.store.tables import UtcDateTime, certificates, expiry_notices

BATCH: Final = 200
"""Notices in one transaction: others wait for a writer."""
# Both databases know this form; SQLAlchemy has it only per dialect.
_CLAIM: Final = text(
    "INSERT INTO expiry_notices (issuer, serial_number, days, noticed_at) VALUES (:issuer, :serial, :days, :at) "
    "ON CONFLICT (issuer, serial_number, days) DO NOTHING"
).bindparams(bindparam("at", type_=UtcDateTime()))


async def claim(connection: AsyncConnection, issuer: str, serial_number: str, days: int, at: datetime) -> bool:
    """Whether this process is the first to give a notice; it is then taken as given, with the transaction."""
    key = {"issuer": issuer, "serial": serial_number, "days": days, "at": at}
    return bool((await connection.execute(_CLAIM, key)).rowcount)


def bands_of(days: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """The bands between thresholds, in days: 1, 7 and 14 make (0, 1), (1, 7) and (7, 14)."""
    return tuple(itertools.pairwise((0, *sorted(set(days)))))


class ExpiryNotices:
    """Gives expiry notices.

    Args:
        database: the register.
        giver: writes notices.
        clock: the time.
        days: the thresholds.
    """

    def __init__(self, database: Database, giver: Giver, clock: Clock, days: Iterable[int]) -> None:
        self._database = database
        self._giver = giver
        self._clock = clock
        self._bands = bands_of(days)

    async def look(self) -> int:
        """Give every notice that is due.

        Returns:
            How many were given by this process.

        Raises:
            StoreUnavailable: what was not given yet is given at the next look.
        """
        at = self._clock.now()
        given = 0
        for above, days in self._bands:
            while due := await self._due(above, days, at):
                async with self._database.write() as connection:
                    for item in due:
                        given += await self._notice(connection, item, days, at)
        return given

    async def _due(self, above: int, days: int, at: datetime) -> list[Registered]:
        noticed = (
            select(expiry_notices.c.days)
            .where(
                expiry_notices.c.issuer == certificates.c.issuer,
                expiry_notices.c.serial_number == certificates.c.serial_number,
                expiry_notices.c.days == days,
            )
            .exists()
        )
        async with self._database.read() as connection:
            return await Register(connection).find(
                certificates.c.status == "active",
                certificates.c.not_after > at + timedelta(days=above),
                certificates.c.not_after <= at + timedelta(days=days),
                ~noticed,
                limit=BATCH,
            )

    async def _notice(self, connection: AsyncConnection, item: Registered, days: int, at: datetime) -> int:
        if not await claim(connection, item.issuer, item.serial_number, days, at):
            return 0
        data = {
            "certificate": item.reference,
            "environment": item.environment,
            "threshold_days": days,
            "days_left": (item.not_after - at).days,
            "not_after": item.not_after.isoformat().replace("+00:00", "Z"),
            "dns_names": list(item.dns_names),
            "on_hold": item.held_at is not None,
        }
        notice = Notice(EventType.CERTIFICATE_EXPIRES, item.identifier.subject, data, item.reference)
        await self._giver.give(connection, notice, at)
        return 1
