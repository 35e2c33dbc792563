"""Deelnemers and their credentials in the database. Implements `authz.participants.model.ParticipantRepository`."""

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Row, delete, insert, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from authz.domain.audit import AuditRecord
from authz.domain.errors import InvalidValue
from authz.domain.identifiers import Identifier
from authz.participants.model import Credential, DaneRule, Environment, Participant, ParticipantStatus
from authz.store.changes import Topic, bump, current
from authz.store.counted import Counted
from authz.store.tables import metadata

_PARTICIPANT: Final = metadata.tables["participant"]
_IDENTIFIER: Final = metadata.tables["participant_identifier"]
_ROLE: Final = metadata.tables["participant_role"]
_SOURCE: Final = metadata.tables["participant_log_source"]
_CREDENTIAL: Final = metadata.tables["credential"]
_PARTS: Final = (_IDENTIFIER, _ROLE, _SOURCE, _CREDENTIAL)

_UPSERT: Final = text(
    "INSERT INTO participant (environment, id, name, organization_type, status, dane) "
    "VALUES (:environment, :id, :name, :organization_type, :status, :dane) "
    "ON CONFLICT (environment, id) DO UPDATE SET name = excluded.name, "
    "organization_type = excluded.organization_type, status = excluded.status, dane = excluded.dane"
)


class StoredParticipants(Counted):
    """See `ParticipantRepository`.

    Args:
        database: started.
    """

    topic = Topic.PARTICIPANTS

    async def load(self) -> tuple[int, tuple[Participant, ...]]:
        """Every deelnemer, with the version they belong to, sorted by environment and id."""
        async with self._database.read() as connection:
            version = await current(connection, Topic.PARTICIPANTS)
            owners = (await connection.execute(select(_PARTICIPANT).order_by("environment", "id"))).all()
            parts = [await _by_owner(connection, table) for table in _PARTS]
        return version, tuple(
            _participant(owner, *(part[owner.environment, owner.id] for part in parts)) for owner in owners
        )

    async def save(self, participants: Sequence[Participant], records: Sequence[AuditRecord]) -> int:
        """Insert, or replace whole (by environment and id), with the records in one transaction.

        Raises:
            InvalidValue: a credential, identifier or log source belongs to another deelnemer of the environment.
        """

        async def act(connection: AsyncConnection) -> int:
            try:
                # All parts go before any comes, so that two deelnemers may exchange a credential in one change.
                for participant in participants:
                    for table in _PARTS:
                        await connection.execute(
                            delete(table).where(
                                table.c.environment == participant.environment.value,
                                table.c.participant == participant.id.subject,
                            )
                        )
                for participant in participants:
                    await _insert(connection, participant)
            except IntegrityError as error:
                raise InvalidValue(
                    "a credential, identifier or log source belongs to another deelnemer already"
                ) from error
            return await bump(connection, Topic.PARTICIPANTS)

        return await self._database.write(act, *records)


async def _by_owner(connection: AsyncConnection, table: Any) -> dict[tuple[str, str], list[Row[Any]]]:  # noqa: ANN401  any table
    found: dict[tuple[str, str], list[Row[Any]]] = defaultdict(list)
    order = table.c.position if "position" in table.c else table.c.kind
    for row in await connection.execute(select(table).order_by(order)):
        found[row.environment, row.participant].append(row)
    return found


def _participant(
    owner: Row[Any],
    identifiers: Sequence[Row[Any]],
    roles: Sequence[Row[Any]],
    sources: Sequence[Row[Any]],
    credentials: Sequence[Row[Any]],
) -> Participant:
    own = Identifier.parse_subject(owner.id)
    parsed = [Identifier.parse_subject(f"{row.kind}:{row.value}") for row in identifiers]
    return Participant(
        id=own,
        name=owner.name,
        organization_type=owner.organization_type,
        environment=Environment(owner.environment),
        roles=tuple(row.role for row in roles),
        identifiers=(own, *(each for each in parsed if each != own)),
        credentials=tuple(
            Credential(
                issuer_key=row.issuer_key,
                identity=Identifier.parse_subject(row.identity),
                allowed_addresses=tuple(json.loads(row.allowed_addresses)),
                blocked=row.blocked,
            )
            for row in credentials
        ),
        log_sources=tuple(row.source for row in sources),
        status=ParticipantStatus(owner.status),
        dane=DaneRule(owner.dane),
    )


async def _insert(connection: AsyncConnection, participant: Participant) -> None:
    environment = participant.environment.value
    owner: dict[str, object] = {"environment": environment, "participant": participant.id.subject}
    await connection.execute(
        _UPSERT,
        {
            "environment": environment,
            "id": participant.id.subject,
            "name": participant.name,
            "organization_type": participant.organization_type,
            "status": participant.status.value,
            "dane": participant.dane.value,
        },
    )
    parts: tuple[list[dict[str, object]], ...] = (
        [owner | {"kind": each.kind.value, "value": each.value} for each in participant.identifiers],
        [owner | {"role": role, "position": place} for place, role in enumerate(participant.roles)],
        [owner | {"source": source, "position": place} for place, source in enumerate(participant.log_sources)],
        [
            owner
            | {
                "issuer_key": each.issuer_key,
                "identity": each.identity.subject,
                "allowed_addresses": json.dumps(each.allowed_addresses),
                "blocked": each.blocked,
                "position": place,
            }
            for place, each in enumerate(participant.credentials)
        ],
    )
    for table, rows in zip(_PARTS, parts, strict=True):
        if rows:
            await connection.execute(insert(table), rows)
