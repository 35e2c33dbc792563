"""Keys in the register: whose each one is, and which are never certified.

Each step is inside a transaction that the caller opened, as in `pki.store.register`. A key in another dress
(`pki.enrolment.key_names`) is the same key: the database keeps one dress of each.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, Exists, bindparam, exists, insert, or_, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from authz.domain.errors import Refused
from authz.domain.identifiers import Identifier
from authz.domain.reasons import Reason
from pki.enrolment.key_names import KeyName, cores_of
from pki.store.tables import UtcDateTime, blocked_keys, certificates, subject_keys

_BLOCK: Final = text(
    "INSERT INTO blocked_keys (subject_key, key_core, why, blocked_by, blocked_at)"
    " VALUES (:subject_key, :key_core, :why, :blocked_by, :blocked_at) ON CONFLICT (subject_key)"
    " DO UPDATE SET key_core = COALESCE(blocked_keys.key_core, excluded.key_core)"
).bindparams(bindparam("blocked_at", type_=UtcDateTime))
"""In words that both databases have. A key of which only the hash was known gets its core when it turns up."""


class Keys:
    """Keys within one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._db = connection

    async def reserve(self, name: KeyName, environment: str, identifier: Identifier) -> None:
        """Bind a key to a party for ever.

        Raises:
            Refused: KEY_REUSED, it is another party's or another environment's, it was compromised, or it is a known
                key in another dress; KEY_BLOCKED.
        """
        blocked = select(blocked_keys.c.subject_key).where(
            or_(blocked_keys.c.subject_key == name.subject_key, blocked_keys.c.key_core == name.core)
        )
        if (await self._db.execute(blocked.limit(1))).first() is not None:
            raise Refused(
                Reason.KEY_BLOCKED, "subjectPublicKeyInfo: this key is known to be compromised or weak: make a new one."
            )
        known = select(subject_keys).where(subject_keys.c.subject_key == name.subject_key)
        row = (await self._db.execute(known)).mappings().first()
        if row is None:
            values = {
                "subject_key": name.subject_key,
                "key_core": name.core,
                "environment": environment,
                "identifier": identifier.subject,
            }
            try:
                await self._db.execute(insert(subject_keys).values(values))
            except IntegrityError as error:  # bound by another process since we looked, or known in another dress
                raise _reused() from error
            return
        if (row["environment"], row["identifier"]) != (environment, identifier.subject) or row["compromised_at"]:
            raise _reused()

    async def block(self, names: Sequence[KeyName], why: str, by: str, at: datetime) -> int:
        """Never certify these keys, in no dress. Returns how many were not blocked before.

        Of a key that is known by its hash alone, the core is taken from the register when it was certified here.
        """
        wanted = list(dict.fromkeys(name.subject_key for name in names))
        blocked = set(await self._among(blocked_keys.c.subject_key, wanted))
        cores = {name.subject_key: name.core for name in names if name.core}
        for name in await self.known(wanted):
            cores.setdefault(name.subject_key, name.core)
        rows = [
            {"subject_key": key, "key_core": cores.get(key) or None, "why": why, "blocked_by": by, "blocked_at": at}
            for key in wanted
        ]
        if rows:
            await self._db.execute(_BLOCK, rows)
        return len(set(wanted) - blocked)

    async def mark_compromised(self, names: Sequence[KeyName], at: datetime) -> bool:
        """Block keys because of a revocation; whether one of them was not blocked before."""
        found = or_(
            subject_keys.c.subject_key.in_([name.subject_key for name in names]),
            subject_keys.c.key_core.in_(cores_of(names)),
        )
        await self._db.execute(update(subject_keys).where(found).values(compromised_at=at))
        return bool(await self.block(names, "compromised", "revocation", at))

    async def known(self, keys: Sequence[str]) -> list[KeyName]:
        """Those of these keys that were certified here, with their cores."""
        query = select(subject_keys.c.subject_key, subject_keys.c.key_core).where(subject_keys.c.subject_key.in_(keys))
        return [KeyName(str(key), str(core or "")) for key, core in await self._db.execute(query)]

    async def _among(self, column: ColumnElement[str], values: Sequence[str]) -> Sequence[str]:
        return (await self._db.execute(select(column).where(column.in_(values)))).scalars().all()


def has_key(names: Sequence[KeyName]) -> ColumnElement[bool]:
    """Certificates of one of these keys, in whatever dress."""
    return or_(
        certificates.c.subject_key.in_([name.subject_key for name in names]),
        certificates.c.key_core.in_(cores_of(names)),
    )


def is_blocked() -> Exists:
    """Whether the key of a row of `certificates` is blocked."""
    return exists().where(
        or_(
            blocked_keys.c.subject_key == certificates.c.subject_key,
            blocked_keys.c.key_core == certificates.c.key_core,
        )
    )


def _reused() -> Refused:
    return Refused(Reason.KEY_REUSED, "This key cannot be certified: make a new one.")
