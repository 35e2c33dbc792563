"""What a register of an older copy needs to be told, each as one small step inside a transaction of the caller.

See `pki.revocation.restoring`, which puts the steps in order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, exists, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from pki.enrolment.key_names import KeyName
from pki.store.codes import OPEN
from pki.store.tables import certificates, changes, enrolment_codes, issuers


@dataclass(frozen=True, slots=True)
class Known:
    """What the register says of a certificate that a published CRL lists."""

    id: int
    serial_number: str
    status: str
    held_at: datetime | None
    revocation_reason: str | None
    key: KeyName


class RestoredRegister:
    """The older copy, within one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._db = connection

    async def known(self, issuer: str, serial_numbers: Sequence[str]) -> dict[str, Known]:
        """Those of these certificates of one CA that the register knows, by serial number (hex)."""
        columns = certificates.c
        query = select(
            columns.id,
            columns.serial_number,
            columns.status,
            columns.held_at,
            columns.revocation_reason,
            columns.subject_key,
            columns.key_core,
        ).where(columns.issuer == issuer, columns.serial_number.in_(serial_numbers))
        return {
            str(serial): Known(int(row), str(serial), str(status), held, reason, KeyName(str(key), str(core or "")))
            for row, serial, status, held, reason, key, core in await self._db.execute(query)
        }

    async def withdraw_codes(self) -> list[str]:
        """No code of the copy will work: since it was made, any of them may have been used or withdrawn.

        Also one whose certificate was about to be signed: that never came to an end here, and would free the code.

        Returns:
            Selectors.
        """
        table = enrolment_codes.c
        unsigned = exists().where(
            certificates.c.issuer == table.issuer,
            certificates.c.serial_number == table.serial_number,
            certificates.c.certificate.is_(None),
        )
        ended = await self._db.execute(
            update(enrolment_codes)
            .where(or_(table.status.in_((*OPEN, "locked")), and_(table.status == "used", unsigned)))
            .values(status="withdrawn")
            .returning(table.selector)
        )
        return sorted(ended.scalars())

    async def raise_crl_number(self, issuer: str, number: int) -> None:
        """The next CRL gets a number above this one, and above that of the copy.

        The change counter grows by as much: it grew by one with each of those CRLs, and readers of the feed take no
        lower version than they saw.
        """
        query = select(issuers.c.crl_number).where(issuers.c.name == issuer).with_for_update()
        behind = number - int((await self._db.execute(query)).scalar_one())
        if behind > 0:
            await self._db.execute(update(issuers).where(issuers.c.name == issuer).values(crl_number=number))
            await self._db.execute(update(changes).values(version=changes.c.version + behind))
