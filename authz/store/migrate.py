"""Brings the database to the schema of this release, at start, once, however many instances start together.

Migrations only add for one release before they remove, so instances of two versions run side by side (shared
`architecture.md`, "State and growth"). A database that a newer release has migrated is therefore left as it is.
"""

from pathlib import Path
from typing import Final

import structlog
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, text

MIGRATION_LOCK: Final = 0x534C5549_4D494752
"""Key of PostgreSQL's advisory lock under which instances migrate ("SLUIMIGR")."""

_log = structlog.get_logger(__name__)


def migrate(connection: Connection, revision: str = "head") -> None:
    """Apply what is missing.

    Args:
        connection: inside a transaction that the caller commits. On SQLite it was begun with BEGIN IMMEDIATE, which
            is the lock; on PostgreSQL an advisory lock is taken here.
        revision: to which; that of this release.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
    config = Config()
    # Percent signs would be read as interpolation by the configuration parser.
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None:
        try:
            ScriptDirectory.from_config(config).get_revision(current)
        except CommandError:
            _log.warning("database_is_newer", revision=current)
            return
    command.upgrade(config, revision)
