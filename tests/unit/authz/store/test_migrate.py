"""The migrations give the tables, once, and leave a newer schema alone."""

import asyncio
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from authz.store.database import Database
from authz.store.tables import metadata
from tests.fakes.clock import FixedClock


async def test_the_migrated_schema_is_that_of_the_tables(database: Database) -> None:
    def difference(connection: Connection) -> list[Any]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    async with database.read() as connection:
        assert await connection.run_sync(difference) == []


async def test_instances_that_start_together_migrate_once(url: str, clock: FixedClock) -> None:
    instances = [Database(url, clock) for _ in range(4)]
    await asyncio.gather(*(instance.start() for instance in instances))
    await asyncio.gather(*(instance.close() for instance in instances))


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
