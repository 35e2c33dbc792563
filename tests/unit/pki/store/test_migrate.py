"""Migrations: the tables that they make are the tables that the code uses, and every start finds them ready."""

import asyncio
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

import pki.store
from pki.app import OpenAuthority
from pki.settings import PkiSettings
from pki.store.crls import part_name
from pki.store.database import Database, StoreUnavailable
from pki.store.migrate import HEAD, migrate
from pki.store.register import Register
from pki.store.tables import metadata


def test_the_head_that_a_start_looks_for_is_the_newest_revision() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(pki.store.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


async def test_the_migrations_make_the_tables_that_the_code_uses(pki: OpenAuthority) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    async with pki.database.read() as connection:
        assert await connection.run_sync(differences) == []


async def test_several_that_start_at_once_migrate_once(settings: PkiSettings) -> None:
    databases = [Database(settings.database.address) for _ in range(4)]
    await asyncio.gather(*(migrate(database) for database in databases))
    async with databases[0].read() as connection:
        assert (await connection.execute(text("SELECT version FROM changes"))).scalars().all() == [0]
    for database in databases:
        await database.close()


async def test_parts_of_a_crl_from_before_they_had_names_keep_what_they_say(settings: PkiSettings) -> None:
    def before(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(Path(pki.store.__file__).parent / "migrations"))
        config.attributes["connection"] = connection
        command.upgrade(config, "0004")

    database = Database(settings.database.address)
    parts = {7: b"entries", 8: b""}
    async with database.write() as connection:
        await connection.run_sync(before)
        await connection.execute(text("INSERT INTO issuers (name, key, crl_number) VALUES ('tst', 'key', 1)"))
        rows = [{"part": part, "entries": entries} for part, entries in parts.items()]
        statement = "INSERT INTO crl_parts (issuer, part, entries) VALUES ('tst', :part, :entries)"
        await connection.execute(text(statement), rows)
    await migrate(database)
    async with database.read() as connection:
        register = Register(connection)
        assert await register.crl_parts("tst") == parts
        assert await register.crl_part_names("tst") == {part: part_name(entries) for part, entries in parts.items()}
    await database.close()


async def test_a_database_of_a_newer_version_is_refused(pki: OpenAuthority) -> None:
    async with pki.database.write() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreUnavailable, match="newer version"):
        await migrate(pki.database)


async def test_a_file_that_is_not_a_database_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "pki.sqlite3"
    path.write_bytes(b"this is not a database" * 100)
    database = Database(f"sqlite+aiosqlite:///{path}")
    with pytest.raises(StoreUnavailable):
        await migrate(database)
    await database.close()
