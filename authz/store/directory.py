"""The address book in the database. Implements `authz.directory.model.DirectoryRepository`."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from authz.directory.model import Function, Service, SystemRole
from authz.domain.audit import AuditRecord
from authz.domain.errors import InvalidValue
from authz.domain.identifiers import Identifier
from authz.participants.model import Environment
from authz.store.changes import Topic, bump, current
from authz.store.counted import Counted
from authz.store.tables import metadata

_SERVICE: Final = metadata.tables["service"]


class StoredDirectory(Counted):
    """See `DirectoryRepository`.

    Args:
        database: started.
    """

    topic = Topic.DIRECTORY

    async def load(self) -> tuple[int, tuple[Service, ...]]:
        """Every service, with the version they belong to, sorted by their key."""
        async with self._database.read() as connection:
            version = await current(connection, Topic.DIRECTORY)
            rows = (await connection.execute(select(_SERVICE).order_by(*_SERVICE.primary_key.columns))).all()
        return version, tuple(
            Service(
                organisation=row.organisation,
                function=Function(row.function),
                environment=Environment(row.environment),
                system_role=SystemRole(row.system_role),
                holder=Identifier.parse_subject(row.holder),
                authorization_endpoint=row.authorization_endpoint,
                token_endpoint=row.token_endpoint,
                resource_endpoint=row.resource_endpoint,
                register=row.register_name,
            )
            for row in rows
        )

    async def save(self, services: Sequence[Service], records: Sequence[AuditRecord]) -> int:
        """Insert, or replace whole (by gegevensdienst_id and system_role), with the records in one transaction.

        Raises:
            InvalidValue: the holder is not a deelnemer of that environment.
        """

        async def act(connection: AsyncConnection) -> int:
            try:
                for service in services:
                    row = _row(service)
                    key = [column == row[column.name] for column in _SERVICE.primary_key.columns]
                    await connection.execute(delete(_SERVICE).where(*key))
                    await connection.execute(insert(_SERVICE), row)
            except IntegrityError as error:
                raise InvalidValue("the holder of a service is a deelnemer of the same environment") from error
            return await bump(connection, Topic.DIRECTORY)

        return await self._database.write(act, *records)


def _row(service: Service) -> dict[str, str]:
    return {
        "organisation": service.organisation,
        "function": service.function.value,
        "environment": service.environment.value,
        "system_role": service.system_role.value,
        "holder": service.holder.subject,
        "authorization_endpoint": service.authorization_endpoint,
        "token_endpoint": service.token_endpoint,
        "resource_endpoint": service.resource_endpoint,
        "register_name": service.register,
    }
