"""What the register says of certificates to whoever asks: the status for OCSP, and the responders' own certificates.

Each as one small step inside a transaction that the caller opened, like `pki.store.register`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Column, ColumnElement, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from pki.ocsp.messages import GOOD, Status
from pki.revocation.crl import RevocationReason
from pki.store.tables import certificates, changes, responders

UNKNOWN: Final = Status(known=False)
_ISSUED: Final = ("active", "superseding", "expired", "revoked")
"""What is about to be signed, or was and nobody knows, is not issued yet."""


class StatusRegister:
    """Status of certificates within one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._db = connection

    async def version(self) -> int:
        """The change counter: while it is the same, nothing was revoked, held or released."""
        return int((await self._db.execute(select(changes.c.version))).scalar_one())

    async def statuses(self, issuer: str, serial_numbers: Sequence[str]) -> Mapping[str, Status]:
        """The status of each certificate that is known, by serial number (hex)."""
        columns = certificates.c
        fields = (columns.serial_number, columns.revoked_at, columns.held_at, columns.revocation_reason)
        theirs = (columns.issuer == issuer, columns.serial_number.in_(serial_numbers), columns.status.in_(_ISSUED))
        found = {
            str(serial): _status(revoked, held, reason)
            for serial, revoked, held, reason in await self._db.execute(select(*fields).where(*theirs))
        }
        if len(found) < len(serial_numbers):
            own = select(responders.c.serial_number).where(
                responders.c.issuer == issuer,
                responders.c.serial_number.in_(serial_numbers),
                responders.c.certificate.isnot(None),
            )
            found |= dict.fromkeys((await self._db.execute(own)).scalars(), GOOD)
        return found

    async def page(self, issuer: str, after: str, at: datetime, limit: int) -> list[tuple[str, Status]]:
        """Certificates that were issued and have not expired, by serial number (hex): the next ones after `after`.

        In the order of an index that holds both columns, so that each page costs the same.
        """
        columns = certificates.c
        query = (
            select(columns.serial_number, columns.revoked_at, columns.held_at, columns.revocation_reason)
            .where(columns.issuer == issuer, columns.serial_number > after)
            .where(columns.status.in_(_ISSUED), columns.not_after > at)
            .order_by(columns.serial_number)
            .limit(limit)
        )
        return [
            (str(serial), _status(revoked, held, reason))
            for serial, revoked, held, reason in await self._db.execute(query)
        ]

    async def changed(self, issuer: str, since: datetime, at: datetime, limit: int) -> tuple[dict[str, Status], bool]:
        """Certificates that were revoked or put on hold since then and have not expired; and whether that is all.

        Args:
            issuer: name of the CA.
            since: moment, UTC.
            at: this moment, UTC.
            limit: rows that are read of each kind, the newest first.
        """
        columns = certificates.c
        fields = (columns.serial_number, columns.revoked_at, columns.held_at, columns.revocation_reason)
        found: dict[str, Status] = {}
        complete = True
        for moment in (columns.held_at, columns.revoked_at):
            query = select(*fields, columns.status, columns.not_after).where(*_lately(issuer, moment, since))
            rows = (await self._db.execute(query.order_by(moment.desc()).limit(limit))).all()
            complete = complete and len(rows) < limit
            found |= {
                str(serial): _status(revoked, held, reason)
                for serial, revoked, held, reason, status, ends in rows
                if status in _ISSUED and ends > at
            }
        return found, complete

    async def recently_revoked(self, issuer: str, since: datetime, limit: int) -> list[tuple[bytes, datetime]]:
        """Certificates (DER) that were revoked or put on hold since then, and when; newest first, at most `limit`."""
        columns = certificates.c
        found: list[tuple[bytes, datetime]] = []
        for moment in (columns.held_at, columns.revoked_at):
            query = (
                select(columns.certificate, moment)
                .where(*_lately(issuer, moment, since), columns.certificate.isnot(None))
                .order_by(moment.desc())
                .limit(limit)
            )
            found += [(bytes(der), when) for der, when in await self._db.execute(query)]
        # Both kinds together before the cut: many holds must not keep a revocation off.
        return sorted(found, key=lambda item: item[1], reverse=True)[:limit]

    async def add_responder(self, issuer: str, serial_number: str, not_after: datetime, tbs: bytes) -> None:
        """Record a responder's certificate that is about to be signed."""
        row = {"issuer": issuer, "serial_number": serial_number, "not_after": not_after, "tbs": tbs}
        await self._db.execute(insert(responders).values(row))

    async def complete_responder(self, issuer: str, serial_number: str, certificate: bytes) -> None:
        """Record that it was signed."""
        ours = (responders.c.issuer == issuer, responders.c.serial_number == serial_number)
        await self._db.execute(update(responders).where(*ours).values(certificate=certificate))


def _lately(
    issuer: str, moment: Column[datetime | None], since: datetime
) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """What happened since a moment, found by the index of the moments.

    SQLite would rather take the index that starts with the issuer, and read every certificate of that CA.
    """
    return moment >= since, certificates.c.issuer.concat("") == issuer


def _status(revoked: datetime | None, held: datetime | None, reason: str | None) -> Status:
    if revoked is not None:
        return Status(known=True, revoked_at=revoked, reason=RevocationReason(reason or "unspecified"))
    if held is not None:
        return Status(known=True, revoked_at=held, reason=RevocationReason.CERTIFICATE_HOLD)
    return GOOD
