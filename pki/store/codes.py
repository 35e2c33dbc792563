"""Enrolment codes in the register, each step inside a transaction that the caller opened.

As in `pki.store.register`, every change is conditional on the state it expects. That two different operators made and
approved a code, and that an identity has at most one open code, is kept by the database itself.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import RowMapping, and_, exists, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from authz.domain.errors import Refused
from authz.domain.identifiers import Identifier
from authz.domain.reasons import Reason
from pki.enrolment.operators.signing import Signed
from pki.store.tables import certificates, enrolment_codes

OPEN: Final = ("pending", "ready")
"""States in which a code may still come to use."""
MAX_ATTEMPTS: Final = 5
"""Wrong secrets for one selector, ever; then the code is locked."""


@dataclass(frozen=True, slots=True)
class EnrolmentCode:
    """A code as the register knows it: everything but the code itself."""

    selector: str
    environment: str
    identifier: Identifier
    organization: str
    kvk: str
    dns_names: tuple[str, ...]
    status: str
    two_person: bool
    created_by: str
    created_at: datetime
    expires_at: datetime
    salt: bytes
    verifier: bytes
    approved_by: str | None = None
    approved_at: datetime | None = None
    attempts: int = 0
    used_at: datetime | None = None
    issuer: str | None = None
    serial_number: str | None = None
    attempted_at: datetime | None = None
    purpose: str = "issue"
    request: Signed | None = None
    approval: Signed | None = None
    second_salt: bytes | None = None
    second_verifier: bytes | None = None
    subject_key: str | None = None
    before_halves: bool = False

    @property
    def proof(self) -> tuple[bytes, bytes, bytes | None, bytes | None]:
        """What whoever shows the code is held against."""
        return self.salt, self.verifier, self.second_salt, self.second_verifier

    @property
    def statement(self) -> str | None:
        """Hash of what the first operator signed: names it for the second one, who agrees with nothing else."""
        return None if self.request is None else self.request.hash


class Codes:
    """Codes within one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._db = connection

    async def add(self, **values: Any) -> None:  # noqa: ANN401  columns of one table
        """A new code; `status` is `pending` or `ready`.

        Raises:
            Refused: CODE_EXISTS, the identity has an open one.
        """
        try:
            await self._db.execute(insert(enrolment_codes).values(values))
        except IntegrityError as error:
            raise Refused(
                Reason.CODE_EXISTS, "This identity has an open code in this environment; withdraw that one first."
            ) from error

    async def expire(self, at: datetime) -> None:
        """What is past its time is no longer open."""
        table = enrolment_codes.c
        await self._change(and_(table.status.in_(OPEN), table.expires_at <= at), status="expired")

    async def find(self, *conditions: Any, limit: int = 1000) -> list[EnrolmentCode]:  # noqa: ANN401
        """Codes that meet all conditions, newest first."""
        query = select(enrolment_codes).where(*conditions).order_by(enrolment_codes.c.id.desc()).limit(limit)
        return [_code(row) for row in (await self._db.execute(query)).mappings()]

    async def by_selector(self, selector: str) -> EnrolmentCode | None:
        """The one code with this selector."""
        found = await self.find(enrolment_codes.c.selector == selector)
        return found[0] if found else None

    async def approve(self, approved: EnrolmentCode, approval: Signed) -> bool:
        """A second operator agrees, and signed that; False when the code does not wait for it.

        Args:
            approved: the code with `approved_by`, `approved_at` and what its second half is held against.
            approval: his statement.

        Raises:
            Refused: APPROVER_IS_CREATOR, by the rule in the database.
        """
        table = enrolment_codes.c
        try:
            return await self._change(
                and_(
                    table.selector == approved.selector,
                    table.status == "pending",
                    table.expires_at > approved.approved_at,
                ),
                status="ready",
                approved_by=approved.approved_by,
                approved_at=approved.approved_at,
                second_salt=approved.second_salt,
                second_verifier=approved.second_verifier,
                **columns_of("approval", approval),
            )
        except IntegrityError as error:
            raise Refused(
                Reason.APPROVER_IS_CREATOR, "Expected another operator than the one who made the code."
            ) from error

    async def withdraw(self, selector: str) -> bool:
        """The code will not work; False when it is not open."""
        table = enrolment_codes.c
        condition = and_(table.selector == selector, table.status.in_((*OPEN, "locked")))
        return await self._change(condition, status="withdrawn")

    async def withdraw_all(self, environment: str, identifier: str) -> list[EnrolmentCode]:
        """No open code of a party will work; returns those that would have, or might after an approval."""
        table = enrolment_codes.c
        condition = (table.environment == environment, table.identifier == identifier)
        changed = await self._db.execute(
            update(enrolment_codes)
            .where(*condition, table.status.in_((*OPEN, "locked")))
            .values(status="withdrawn")
            .returning(table.id)
        )
        rows = changed.scalars().all()
        return await self.find(table.id.in_(rows)) if rows else []

    async def count_attempt(self, selector: str, at: datetime) -> bool:
        """Count an attempt before it is known whether it is right, so that many at once cannot pass the limit.

        Returns:
            Whether there was one left.
        """
        table = enrolment_codes.c
        condition = and_(table.selector == selector, table.attempts < MAX_ATTEMPTS)
        return await self._change(condition, attempts=table.attempts + 1, attempted_at=at)

    async def lock_abandoned(self, selector: str, before: datetime) -> bool:
        """Lock a code whose attempts are all used and whose last one began before a moment: nobody settles it any more.

        Returns:
            Whether it was locked by this.
        """
        table = enrolment_codes.c
        spent = and_(table.selector == selector, table.attempts >= MAX_ATTEMPTS, table.status.in_(OPEN))
        late = or_(table.attempted_at.is_(None), table.attempted_at <= before)
        return await self._change(and_(spent, late), status="locked")

    async def settle_attempt(self, selector: str, *, right: bool) -> bool:
        """Take the attempt back when the secret was right; else lock the code when it was the last one.

        Returns:
            Whether the code was locked by this.
        """
        table = enrolment_codes.c
        if right:
            await self._change(and_(table.selector == selector, table.attempts > 0), attempts=table.attempts - 1)
            return False
        spent = and_(table.selector == selector, table.attempts >= MAX_ATTEMPTS, table.status.in_(OPEN))
        return await self._change(spent, status="locked")

    async def claim(self, selector: str, at: datetime, *, purpose: str, issuer: str, serial_number: str) -> bool:
        """Use the code for the certificate that is about to be signed; False when it is not there to be used.

        A code whose certificate was never signed (the key of the CA did not answer, or the process died and the intent
        was given up) may be used again: it has made nothing. What was signed for it is asked of the certificates,
        whatever the row of the code says.
        """
        table = enrolment_codes.c
        unsigned = exists().where(
            certificates.c.issuer == table.issuer, certificates.c.serial_number == table.serial_number, *_UNSIGNED
        )
        signed = exists().where(certificates.c.code == table.selector, certificates.c.certificate.isnot(None))
        return await self._change(
            and_(
                table.selector == selector,
                table.purpose == purpose,
                ~signed,
                ~table.before_keys,
                ~table.before_halves,
                table.expires_at > at,
                or_(table.status == "ready", and_(table.status == "used", unsigned)),
            ),
            status="used",
            used_at=at,
            issuer=issuer,
            serial_number=serial_number,
        )

    async def is_spent(self, code: EnrolmentCode) -> bool:
        """Whether the certificate that a used code was for was signed, or still may be (see `claim`)."""
        query = select(certificates.c.id).where(
            certificates.c.issuer == code.issuer, certificates.c.serial_number == code.serial_number, *_UNSIGNED
        )
        return (await self._db.execute(query)).first() is None

    async def _change(self, condition: Any, **values: Any) -> bool:  # noqa: ANN401  SQLAlchemy expressions
        result = await self._db.execute(update(enrolment_codes).where(condition).values(values))
        return bool(result.rowcount)


_UNSIGNED: Final = (
    certificates.c.status == "revoked",
    certificates.c.certificate.is_(None),
    certificates.c.given_up,
)
"""A row whose intent came to nothing by a fault of ours; never one that somebody revoked."""
_FIELDS: Final = (
    "selector", "environment", "organization", "kvk", "status", "two_person", "created_by", "created_at", "expires_at",
    "approved_by", "approved_at", "attempts", "used_at", "issuer", "serial_number", "salt", "verifier",
    "attempted_at", "purpose", "second_salt", "second_verifier", "subject_key",
    "before_halves",
)  # fmt: skip


def _code(row: RowMapping) -> EnrolmentCode:
    return EnrolmentCode(
        identifier=Identifier.parse_subject(row["identifier"]),
        dns_names=tuple(json.loads(row["dns_names"])),
        request=_signed(row, "request"),
        approval=_signed(row, "approval"),
        **{field: row[field] for field in _FIELDS},
    )


def columns_of(which: str, signed: Signed) -> dict[str, str]:
    """The columns of a statement, `request` or `approval`."""
    return {
        f"{which}_statement": signed.statement,
        f"{which}_key": signed.key,
        f"{which}_signature": signed.signature,
    }


def _signed(row: RowMapping, which: str) -> Signed | None:
    statement, key, signature = (row[f"{which}_{part}"] for part in ("statement", "key", "signature"))
    return None if statement is None or key is None or signature is None else Signed(statement, key, signature)
