"""Records of signing keys in the database, never the keys. Implements `authz.tokens.rotation.SigningKeyRepository`."""

import json
from collections.abc import Sequence
from typing import Final

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from authz.audit.search import from_microseconds, to_microseconds
from authz.domain.audit import AuditRecord
from authz.store.changes import Topic, bump, current
from authz.store.counted import Counted
from authz.store.revocations import add_revocations
from authz.store.tables import metadata
from authz.tokens.revocation import Revocation
from authz.tokens.rotation import SigningKeyRecord

_KEY: Final = metadata.tables["signing_key"]


class StoredSigningKeys(Counted):
    """See `SigningKeyRepository`.

    Args:
        database: started.
    """

    topic = Topic.SIGNING_KEYS

    async def load(self) -> tuple[int, tuple[SigningKeyRecord, ...]]:
        """Every record, in the order in which they sign, with the version they belong to."""
        async with self._database.read() as connection:
            version = await current(connection, Topic.SIGNING_KEYS)
            rows = (await connection.execute(select(_KEY).order_by(_KEY.c.signs_us, _KEY.c.kid))).all()
        return version, tuple(
            SigningKeyRecord(
                kid=row.kid,
                algorithm=row.algorithm,
                public_jwk=json.loads(row.public_jwk),
                published_from=from_microseconds(row.published_us),
                signs_from=from_microseconds(row.signs_us),
                withdrawn_at=None if row.withdrawn_us is None else from_microseconds(row.withdrawn_us),
            )
            for row in rows
        )

    async def save(
        self,
        keys: Sequence[SigningKeyRecord],
        records: Sequence[AuditRecord],
        revocations: Sequence[Revocation] = (),
    ) -> int:
        """Insert, or replace by kid, with the records and revocations in one transaction."""

        async def act(connection: AsyncConnection) -> int:
            for key in keys:
                await connection.execute(delete(_KEY).where(_KEY.c.kid == key.kid))
                await connection.execute(
                    insert(_KEY),
                    {
                        "kid": key.kid,
                        "algorithm": key.algorithm,
                        "public_jwk": json.dumps(dict(key.public_jwk), sort_keys=True),
                        "published_us": to_microseconds(key.published_from),
                        "signs_us": to_microseconds(key.signs_from),
                        "withdrawn_us": None if key.withdrawn_at is None else to_microseconds(key.withdrawn_at),
                    },
                )
            if revocations:
                await add_revocations(connection, revocations)
            return await bump(connection, Topic.SIGNING_KEYS)

        return await self._database.write(act, *records)
