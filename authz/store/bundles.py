"""Serial numbers of published bundles: they grow with every content, over restarts, instances and restored backups.

Specification: shared `spec/policy.md`, "Bundles"; docs/decisions/0055. All instances over one database give the same
content the same number, so a reader may ask any of them.
"""

from datetime import datetime
from typing import Final

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from authz.domain.audit import AuditRecord
from authz.store.database import Database
from authz.store.tables import metadata

_SERIAL: Final = metadata.tables["bundle_serial"]


class StoredBundleSerials:
    """Gives out serial numbers.

    Args:
        database: started.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def known(self, name: str, content: str) -> int | None:
        """The number of what was published last under this name, if it is this content."""
        async with self._database.read() as connection:
            return await _known(connection, name, content)

    async def publish(self, name: str, content: str, at: datetime, record: AuditRecord) -> int:
        """The number of this content, a new one unless it was the last that was published; recorded.

        Args:
            name: of the bundle.
            content: its `content_digest`.
            at: the moment, seconds of which are the least number, so that a database that was restored from a backup
                does not give out numbers that readers have seen with other content.
            record: written in the same transaction.
        """

        async def act(connection: AsyncConnection) -> int:
            if (known := await _known(connection, name, content)) is not None:
                return known
            last = await connection.scalar(select(_SERIAL.c.serial).where(_SERIAL.c.name == name))
            serial = max(int(last or 0) + 1, int(at.timestamp()))
            await connection.execute(delete(_SERIAL).where(_SERIAL.c.name == name))
            await connection.execute(insert(_SERIAL), {"name": name, "serial": serial, "content": content})
            return serial

        return await self._database.write(act, record)

    async def renew(self, name: str, record: AuditRecord) -> None:
        """Have the next publication get a new number, also of the same content; recorded.

        Args:
            name: of the bundle.
            record: written in the same transaction.
        """

        async def act(connection: AsyncConnection) -> None:
            await connection.execute(update(_SERIAL).where(_SERIAL.c.name == name).values(content=""))

        await self._database.write(act, record)


async def _known(connection: AsyncConnection, name: str, content: str) -> int | None:
    found = await connection.scalar(
        select(_SERIAL.c.serial).where(_SERIAL.c.name == name, _SERIAL.c.content == content)
    )
    return None if found is None else int(found)
