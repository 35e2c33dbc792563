"""What the register keeps of CRLs, each as one small step inside a transaction that the caller opened.

A CRL is kept in parts (`pki.revocation.crl_parts`), each with the hash of what it says, so that a revocation among
100,000 reads what others changed since and writes one of them. `certificates.crl_pending` says what the CRL does not
tell yet; whoever makes a CRL takes that up.
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, and_, delete, exists, insert, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from pki.revocation.crl import KEEP_AFTER_EXPIRY, RevocationReason, SignedCrl
from pki.signing.encoding import CrlEntry
from pki.store.tables import certificates, changes, crl_parts, crls, issuers

_HELD: Final = RevocationReason.CERTIFICATE_HOLD.value
_CODES: Final = {reason.value: reason.code for reason in RevocationReason}


@dataclass(frozen=True, slots=True)
class StoredCrl:
    """The newest CRL of one CA."""

    issuer: str
    number: int
    this_update: datetime
    next_update: datetime
    signed: SignedCrl

    @property
    def der(self) -> bytes:
        """The whole list."""
        return self.signed.der


def part_name(entries: bytes) -> bytes:
    """What a part is known by: the hash of what it says."""
    return hashlib.sha256(entries).digest()


def _ended(at: datetime) -> ColumnElement[bool]:
    return certificates.c.not_after <= at - KEEP_AFTER_EXPIRY


def _belongs(at: datetime) -> ColumnElement[bool]:
    return and_(or_(certificates.c.status == "revoked", certificates.c.held_at.isnot(None)), ~_ended(at))


def _entry(serial: str, revoked: datetime | None, held: datetime | None, reason: str | None) -> CrlEntry:
    moment = revoked or held
    if moment is None:
        raise TypeError("a certificate that is neither revoked nor on hold has no place on a CRL")
    return CrlEntry(int(serial, 16), moment, _CODES[reason or _HELD])


_PUT_PART: Final = text(
    "INSERT INTO crl_parts (issuer, part, name, entries) VALUES (:issuer, :part, :name, :entries)"
    " ON CONFLICT (issuer, part) DO UPDATE SET name = excluded.name, entries = excluded.entries"
)
"""In words that both databases have; SQLAlchemy has them for each apart."""


class CrlRegister:
    """CRLs within one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._db = connection

    async def issuers(self) -> dict[str, str]:
        """Name -> key of every issuing CA that the register knows."""
        rows = await self._db.execute(select(issuers.c.name, issuers.c.key))
        return {str(name): str(key) for name, key in rows}

    async def add_issuer(self, name: str, key: str) -> None:
        """Make an issuing CA known; the ceremony made its first CRL, number 1.

        Raises:
            IntegrityError: another process did the same at this moment.
        """
        await self._db.execute(insert(issuers).values(name=name, key=key, crl_number=1))

    async def next_crl_number(self, issuer: str) -> int:
        """The next number; holds other makers of CRLs of this CA until the transaction ends."""
        statement = (
            update(issuers)
            .where(issuers.c.name == issuer)
            .values(crl_number=issuers.c.crl_number + 1)
            .returning(issuers.c.crl_number)
        )
        return int((await self._db.execute(statement)).scalar_one())

    async def crl_number(self, issuer: str) -> int:
        """The number of the newest CRL."""
        return int((await self._db.execute(select(issuers.c.crl_number).where(issuers.c.name == issuer))).scalar_one())

    async def claim_crl_number(self, issuer: str, number: int, at: datetime) -> bool:
        """Take the next number for a CRL that says what the one before says.

        False when another took it, or when something is to be taken up or to leave.
        """
        theirs = certificates.c.issuer == issuer
        claimed = await self._db.execute(
            update(issuers)
            .where(
                issuers.c.name == issuer,
                issuers.c.crl_number == number - 1,
                ~exists().where(theirs, text("crl_pending")),
                ~exists().where(theirs, text("listed"), _ended(at)),
            )
            .values(crl_number=number)
        )
        return bool(claimed.rowcount)

    async def crl_changes(self, issuer: str, at: datetime) -> dict[int, CrlEntry | None]:
        """What the CRL has to take up, by serial number; None is to leave it. From now on it counts as taken up.

        Everything revoked or on hold stands on it, until a day after it expired. Rows that another transaction is
        changing at this moment are left to that one.
        """
        columns = certificates.c
        pending = select(columns.id).where(columns.issuer == issuer, text("crl_pending"))
        statement = (
            update(certificates)
            .where(columns.id.in_(pending.with_for_update(skip_locked=True)))
            .values(crl_pending=False, listed=_belongs(at))
            .returning(
                columns.serial_number, columns.revoked_at, columns.held_at, columns.revocation_reason, columns.listed
            )
        )
        return {
            int(serial, 16): _entry(serial, revoked, held, reason) if listed else None
            for serial, revoked, held, reason, listed in await self._db.execute(statement)
        }

    async def leave_crl(self, issuer: str, at: datetime) -> None:
        """What expired more than a day ago is to leave the CRL. It is in no hurry: each refresh asks, no revocation."""
        columns = certificates.c
        gone = select(columns.id).where(text("listed AND NOT crl_pending"), columns.issuer == issuer, _ended(at))
        await self._db.execute(
            update(certificates).where(columns.id.in_(gone.with_for_update(skip_locked=True))).values(crl_pending=True)
        )

    async def crl_entries(self, issuer: str, at: datetime) -> list[CrlEntry]:
        """Everything that belongs on the CRL, whatever is on it; from now on all of it counts as taken up."""
        columns = certificates.c
        settled = update(certificates).values(crl_pending=False, listed=_belongs(at))
        differs = or_(text("crl_pending"), columns.listed != _belongs(at))
        await self._db.execute(settled.where(columns.issuer == issuer, differs))
        fields = (columns.serial_number, columns.revoked_at, columns.held_at, columns.revocation_reason)
        query = select(*fields).where(columns.issuer == issuer, _belongs(at))
        return [_entry(*row) for row in await self._db.execute(query)]

    async def crl_part_names(self, issuer: str) -> dict[int, bytes]:
        """The hash of every part of a CRL, which is read hundreds of times faster than the parts."""
        query = select(crl_parts.c.part, crl_parts.c.name).where(crl_parts.c.issuer == issuer)
        return {part: bytes(name) for part, name in await self._db.execute(query)}

    async def crl_parts(self, issuer: str, only: Collection[int] | None = None) -> dict[int, bytes]:
        """The encoded entries of a CRL by part, in their order; some parts, or all."""
        query = select(crl_parts.c.part, crl_parts.c.entries).where(crl_parts.c.issuer == issuer)
        if only is not None:
            query = query.where(crl_parts.c.part.in_(only))
        return {int(part): bytes(entries) for part, entries in await self._db.execute(query.order_by(crl_parts.c.part))}

    async def put_crl_parts(self, issuer: str, parts: Mapping[int, bytes]) -> None:
        """Replace some parts."""
        if not parts:
            return
        rows = [
            {"issuer": issuer, "part": part, "name": part_name(entries), "entries": entries}
            for part, entries in parts.items()
        ]
        await self._db.execute(_PUT_PART, rows)

    async def forget_crl_parts(self, issuer: str) -> None:
        """Away with all parts; others are put in their place."""
        await self._db.execute(delete(crl_parts).where(crl_parts.c.issuer == issuer))

    async def put_crl(self, crl: StoredCrl) -> None:
        """Replace the newest CRL of a CA (its parts are there) and let other processes know."""
        await self._put(crl)
        await self._db.execute(update(changes).values(version=changes.c.version + 1))

    async def _put(self, crl: StoredCrl) -> None:
        values = {
            "number": crl.number, "this_update": crl.this_update, "next_update": crl.next_update,
            "head": crl.signed.head, "tail": crl.signed.tail,
        }  # fmt: skip
        changed = await self._db.execute(update(crls).where(crls.c.issuer == crl.issuer).values(values))
        if not changed.rowcount:
            await self._db.execute(insert(crls).values(values | {"issuer": crl.issuer}))

    async def crls(self, of: str | None = None) -> list[StoredCrl]:
        """The newest CRL of each CA, or of one; among them those of roots, as they were carried here."""
        query = select(crls.c.issuer, crls.c.number, crls.c.this_update, crls.c.next_update, crls.c.head, crls.c.tail)
        if of is not None:
            query = query.where(crls.c.issuer == of)
        found = []
        for issuer, number, this_update, next_update, head, tail in (await self._db.execute(query)).all():
            listed = tuple((await self.crl_parts(issuer)).values())
            found.append(StoredCrl(issuer, number, this_update, next_update, SignedCrl(head, listed, tail)))
        return found

    async def root_crl(self, name: str, key: str, *, lock: bool = False) -> StoredCrl | None:
        """The list of a root that was published last; None when none was, or only of a root of another key.

        Args:
            name: of the root.
            key: of the root.
            lock: hold others who would replace it until the transaction ends.
        """
        query = select(issuers.c.key).where(issuers.c.name == name)
        found = (await self._db.execute(query.with_for_update() if lock else query)).scalar_one_or_none()
        return next(iter(await self.crls(name)), None) if found == key else None

    async def root_crls_kept(self, names: Collection[str]) -> dict[str, tuple[int, datetime]]:
        """Number and date of the list that is kept of each of these roots, by name; read without the lists."""
        query = select(crls.c.issuer, crls.c.number, crls.c.this_update).where(crls.c.issuer.in_(names))
        return {str(name): (int(number), made) for name, number, made in await self._db.execute(query)}

    async def keep_root_crl(self, crl: StoredCrl, key: str) -> None:
        """Replace the list of a root.

        The change counter stays: it counts what issuing CAs say, and readers of their feed rely on it. Other processes
        find out by `root_crls_kept`.

        Raises:
            IntegrityError: another process did the same at this moment, for the first time.
        """
        numbers = {"key": key, "crl_number": crl.number}
        known = await self._db.execute(update(issuers).where(issuers.c.name == crl.issuer).values(numbers))
        if not known.rowcount:
            await self._db.execute(insert(issuers).values(numbers | {"name": crl.issuer}))
        await self._put(crl)

    async def crls_made(self) -> dict[str, datetime]:
        """When the newest CRL of each CA was made."""
        return {str(issuer): made for issuer, made in await self._db.execute(select(crls.c.issuer, crls.c.this_update))}

    async def crls_behind(self) -> set[str]:
        """CAs of which something is to be taken up by the next CRL."""
        query = select(certificates.c.issuer).where(text("crl_pending")).distinct()
        return set((await self._db.execute(query)).scalars())

    async def version(self) -> int:
        """The change counter."""
        return int((await self._db.execute(select(changes.c.version))).scalar_one())
