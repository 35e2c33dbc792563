"""The migrations give the tables, once, and leave a newer schema alone."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from authz.audit.encoded import encode
from authz.audit.search import Criteria, to_microseconds
from authz.store.appending import rows_of
from authz.store.audit_log import StoredAuditLog
from authz.store.blocks import BLOCK, ENTRIES
from authz.store.database import Database
from authz.store.engine import make_engine
from authz.store.migrate import migrate
from authz.store.participants import StoredParticipants
from authz.store.tables import metadata
from tests.fakes.clock import FixedClock
from tests.fakes.records import audit_record


async def test_the_migrated_schema_is_that_of_the_tables(database: Database) -> None:
    def difference(connection: Connection) -> list[Any]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    async with database.read() as connection:
        assert await connection.run_sync(difference) == []


async def test_instances_that_start_together_migrate_once(url: str, clock: FixedClock) -> None:
    instances = [Database(url, clock) for _ in range(4)]
    await asyncio.gather(*(instance.start() for instance in instances))
    await asyncio.gather(*(instance.close() for instance in instances))


async def _made_by(url: str, revision: str, fill: Callable[[AsyncConnection], Awaitable[None]]) -> None:
    """A database as a release of before left it."""
    engine = make_engine(url, readonly=False)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(migrate, revision)
            await fill(connection)
    finally:
        await engine.dispose()


async def test_blocks_that_are_there_already_are_summarised(url: str, clock: FixedClock) -> None:
    async def of_before(connection: AsyncConnection) -> None:
        size = 2 * ENTRIES + 1
        entries, terms = rows_of([encode(audit_record(time=_at(number))) for number in range(size)], 0, 0)
        for table, rows in (("audit_entry", entries), ("audit_term", terms)):
            names = metadata.tables[table].columns.keys()
            await connection.execute(
                insert(metadata.tables[table]), [dict(zip(names, row, strict=True)) for row in rows]
            )

    await _made_by(url, "0004", of_before)
    database = Database(url, clock)
    await database.start()
    async with database.read() as connection:
        rows = [tuple(row) for row in await connection.execute(select(BLOCK).order_by(BLOCK.c.block))]
    found = await StoredAuditLog(database).find(Criteria(since=_at(ENTRIES), until=_at(ENTRIES + 1)))
    await database.close()
    first, second = ((to_microseconds(_at(start)), to_microseconds(_at(start + ENTRIES - 1))) for start in (0, ENTRIES))
    assert rows == [(0, *first), (1, *second)]
    assert [entry.index for entry in found] == [ENTRIES]


def _at(number: int) -> datetime:
    return datetime(2026, 11, 22, tzinfo=UTC) + timedelta(seconds=number)


async def test_who_was_stored_with_a_short_ura_is_found_under_the_one_spelling(url: str, clock: FixedClock) -> None:
    async def of_before(connection: AsyncConnection) -> None:
        for table, values in (
            ("participant", {"id": "ura:1234567", "name": "Short", "dane": "required"}),
            ("participant", {"id": "ura:7654321", "name": "Twice", "dane": "required"}),
            ("participant", {"id": "ura:07654321", "name": "Once", "dane": "optional"}),
        ):
            rest = {"environment": "TST", "organization_type": "ZORGAANBIEDER", "status": "active"}
            await connection.execute(insert(metadata.tables[table]).values(rest | values))
        for owner, identity in (("ura:1234567",) * 2, ("ura:7654321",) * 2, ("ura:07654321",) * 2):
            key = {"environment": "TST", "participant": owner}
            value = identity.removeprefix("ura:")
            await connection.execute(
                insert(metadata.tables["participant_identifier"]).values(key | {"kind": "ura", "value": value})
            )
            credential = {"issuer_key": "a" * 64, "identity": identity, "allowed_addresses": "[]", "blocked": False}
            await connection.execute(insert(metadata.tables["credential"]).values(key | credential | {"position": 0}))

    await _made_by(url, "0003", of_before)
    again = Database(url, clock)
    await again.start()
    _, found = await StoredParticipants(again).load()
    await again.close()
    assert {(each.id.subject, each.name) for each in found} == {("ura:01234567", "Short"), ("ura:07654321", "Once")}
    for each in found:
        assert each.identifiers == (each.id,)
        assert [credential.identity for credential in each.credentials] == [each.id]
    # Who stood under both spellings has what the right one had, not what was stricter or looser under the other.
    assert {each.dane.value for each in found} == {"required", "optional"}


async def test_a_database_of_a_newer_release_is_left_as_it_is(url: str, clock: FixedClock) -> None:
    database = Database(url, clock)
    await database.start()
    await database.write(lambda connection: connection.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    await database.close()
    again = Database(url, clock)
    await again.start()
    async with again.read() as connection:
        assert await connection.scalar(text("SELECT version_num FROM alembic_version")) == "9999"
    await again.close()
