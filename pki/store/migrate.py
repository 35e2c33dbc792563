"""Bringing a database to the tables of this version, at start.

Alembic takes most of a second to import, so it is imported only when there is something to do.
"""

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError

from pki.store.database import Database, StoreUnavailable

HEAD: Final = "0010"
"""The newest revision in `migrations/versions`."""
_LOCK: Final = 0x51_51_70_6B_69
"""PostgreSQL advisory lock: of several instances that start at once, one migrates and the others wait."""


async def migrate(database: Database) -> None:
    """Create or upgrade the tables when they are not of this version.

    Raises:
        StoreUnavailable: the database cannot be used, or is of a newer version than this program.
    """
    async with database.read() as connection:
        if await connection.run_sync(_revision) == HEAD:
            return
    async with database.write() as connection:
        await connection.run_sync(_upgrade)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415  slow to import, and seldom needed
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise StoreUnavailable("the database was written by a newer version of this program") from error
    except DBAPIError as error:
        raise StoreUnavailable("the tables cannot be brought to this version") from error
