"""Revocations in the database. Implements `authz.tokens.revocation.RevocationRepository`."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import delete, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from authz.audit.search import from_microseconds, to_microseconds
from authz.domain.audit import AuditRecord
from authz.domain.clock import Clock
from authz.store.changes import Topic, bump, current
from authz.store.counted import Counted
from authz.store.database import Database
from authz.store.tables import metadata
from authz.tokens.revocation import Revocation, RevocationKind, RevocationList

_REVOCATION: Final = metadata.tables["revocation"]
_KEPT_US: Final = 24 * 3600 * 1_000_000
"""Microseconds that an expired revocation stays, far longer than clocks of readers may differ."""

_ADD: Final = text(
    "INSERT INTO revocation (kind, value, expires_us) VALUES (:kind, :value, :expires_us) "
    "ON CONFLICT (kind, value) DO UPDATE SET expires_us = CASE WHEN excluded.expires_us > revocation.expires_us "
    "THEN excluded.expires_us ELSE revocation.expires_us END"
)


async def add_revocations(connection: AsyncConnection, revocations: Sequence[Revocation]) -> int:
    """Add within a transaction of somebody else; returns the new version of the list."""
    for each in revocations:
        await connection.execute(
            _ADD, {"kind": each.kind.value, "value": each.value, "expires_us": to_microseconds(each.expires_at)}
        )
    return await bump(connection, Topic.REVOCATIONS)


class StoredRevocations(Counted):
    """See `RevocationRepository`.

    Args:
        database: started.
        clock: says which entries expired so long ago that they may go.
    """

    topic = Topic.REVOCATIONS

    def __init__(self, database: Database, clock: Clock) -> None:
        super().__init__(database)
        self._clock = clock

    async def load(self, at: datetime) -> RevocationList:
        """What is revoked and does not expire before `at`, sorted, with its version."""
        async with self._database.read() as connection:
            version = await current(connection, Topic.REVOCATIONS)
            rows = await connection.execute(
                select(_REVOCATION)
                .where(_REVOCATION.c.expires_us >= to_microseconds(at))
                .order_by(_REVOCATION.c.kind, _REVOCATION.c.value)
            )
            entries = tuple(
                Revocation(RevocationKind(row.kind), row.value, from_microseconds(row.expires_us)) for row in rows
            )
        return RevocationList(version, entries)

    async def add(self, revocations: Sequence[Revocation], records: Sequence[AuditRecord]) -> int:
        """Add (one that is there already keeps the later expiry), with the records in one transaction."""
        oldest = to_microseconds(self._clock.now()) - _KEPT_US

        async def act(connection: AsyncConnection) -> int:
            await connection.execute(delete(_REVOCATION).where(_REVOCATION.c.expires_us < oldest))
            return await add_revocations(connection, revocations)

        return await self._database.write(act, *records)

    async def follow(self, present: Sequence[Revocation], gone: Sequence[str]) -> int:
        """See `authz.tokens.certificate_feed.FollowedRevocations`; no records, because the authority made them."""

        async def act(connection: AsyncConnection) -> int:
            kind = RevocationKind.CERTIFICATE.value
            theirs = _REVOCATION.c.kind == kind
            rows = await connection.execute(select(_REVOCATION.c.value, _REVOCATION.c.expires_us).where(theirs))
            held = {row.value: row.expires_us for row in rows}
            wanted = {each.value: to_microseconds(each.expires_at) for each in present}
            news = {value: expires for value, expires in wanted.items() if held.get(value, -1) < expires}
            ended = [value for value in gone if value in held]
            if not news and not ended:
                return await current(connection, Topic.REVOCATIONS)
            for value, expires in news.items():
                await connection.execute(_ADD, {"kind": kind, "value": value, "expires_us": expires})
            for value in ended:
                await connection.execute(delete(_REVOCATION).where(theirs, _REVOCATION.c.value == value))
            return await bump(connection, Topic.REVOCATIONS)

        return await self._database.write(act)
