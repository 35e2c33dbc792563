"""A counter for each kind of thing that changes, so that every process notices what another has changed.

The counter grows in the transaction of the change, so whoever sees the new number also sees the change.
"""

from enum import StrEnum
from typing import Final

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from authz.store.tables import metadata


class Topic(StrEnum):
    """What is counted."""

    PARTICIPANTS = "participants"
    DIRECTORY = "directory"
    REVOCATIONS = "revocations"
    SIGNING_KEYS = "signing_keys"
    WRITE_PROBE = "write_probe"


_COUNTER: Final = metadata.tables["change_counter"]
# Both databases know this form; SQLAlchemy has it only per dialect.
_BUMP: Final = text(
    "INSERT INTO change_counter (topic, version) VALUES (:topic, 1) "
    "ON CONFLICT (topic) DO UPDATE SET version = change_counter.version + 1 RETURNING version"
)


async def bump(connection: AsyncConnection, topic: Topic) -> int:
    """Count a change; returns the new number."""
    return int((await connection.execute(_BUMP, {"topic": topic.value})).scalar_one())


async def current(connection: AsyncConnection, topic: Topic) -> int:
    """The number of the last change, zero before the first."""
    return int(await connection.scalar(select(_COUNTER.c.version).where(_COUNTER.c.topic == topic.value)) or 0)
