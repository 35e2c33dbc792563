"""What the register can do, each as one small step inside a transaction that the caller opened.

Every change is conditional on the state it expects, so that of two processes that want the same one wins and the other
learns it: no step reads first and then writes what it read. `pki.authority` puts the steps in order.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import RowMapping, and_, exists, insert, select, update
from sqlalchemy.exc import IntegrityError

from authz.domain.audit import AuditRecord
from authz.domain.errors import Refused
from authz.domain.identifiers import Identifier
from authz.domain.reasons import Reason
from pki.enrolment.key_names import KeyName
from pki.revocation.crl import COMPROMISED, RevocationReason
from pki.store.crls import CrlRegister, StoredCrl
from pki.store.keys import is_blocked
from pki.store.tables import certificates, outbox

__all__ = ["LIVE", "UNDERWAY", "Register", "Registered", "StoredCrl"]
LIVE: Final = ("active", "superseding")
"""States in which a certificate may be used."""
UNDERWAY: Final = ("issuing", "renewing")
"""States in which a certificate is about to be signed, or was and its process died."""


@dataclass(frozen=True, slots=True)
class Registered:
    """One certificate as the register knows it."""

    id: int
    issuer: str
    serial_number: str
    environment: str
    identifier: Identifier
    status: str
    organization: str
    common_name: str
    kvk: str
    dns_names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    certificate: bytes | None
    subject_key: str
    key_core: str | None
    replaces: str | None
    overlap_until: datetime | None
    held_at: datetime | None
    revoked_at: datetime | None
    revocation_reason: str | None

    @property
    def reference(self) -> str:
        """`<issuer>/<serial number in hex>`: how audit records and people name it."""
        return f"{self.issuer}/{self.serial_number}"

    @property
    def key(self) -> KeyName:
        """Its key."""
        return KeyName(self.subject_key, self.key_core or "")


class Register(CrlRegister):
    """The register within one transaction."""

    # Certificates.

    async def add_intent(self, **values: Any) -> int:  # noqa: ANN401  columns of one table
        """Record what is about to be signed; takes the place of the identifier.

        Args:
            **values: columns of `certificates`; `status` is `issuing` or `renewing`.

        Raises:
            Refused: IDENTITY_HAS_CERTIFICATE or RENEWAL_UNDERWAY: the place is taken.
        """
        try:
            result = await self._db.execute(insert(certificates).values(values))
        except IntegrityError as error:
            if values["status"] == "renewing":
                raise Refused(Reason.RENEWAL_UNDERWAY, "A renewal for this identifier is under way.") from error
            raise Refused(
                Reason.IDENTITY_HAS_CERTIFICATE,
                "This identifier has an active certificate in this environment; renew or revoke that one.",
            ) from error
        key = result.inserted_primary_key
        if key is None:
            raise TypeError("the database gave no row id")
        return int(key[0])

    async def claim_renewal(self, old: int, serial_number: str) -> bool:
        """Say that the certificate in row `old` is being renewed; False when it may not be.

        It must be active, not on hold, and of the same party no earlier one may still be in its overlap and no renewal
        be under way. What became of earlier renewals is asked of their own rows: whoever revokes one, for whatever
        reason, has freed this one with it. Of two that claim at once, one finds the place of its row taken.
        """
        other = certificates.alias("other")
        underway = exists().where(
            other.c.environment == certificates.c.environment,
            other.c.identifier == certificates.c.identifier,
            other.c.status.in_(("superseding", "renewing")),
        )
        return await self._change(
            and_(
                certificates.c.id == old,
                certificates.c.status == "active",
                certificates.c.held_at.is_(None),
                ~underway,
            ),
            renewed_by=serial_number,
        )

    async def supersede(self, old: str, by: str, *, issuer: str, until: datetime) -> bool:
        """The old certificate gives way to `by`; False when it may not.

        It was revoked or held meanwhile, or another renewal was begun since, because this one counted as given up.
        """
        return await self._change(
            and_(
                certificates.c.serial_number == old,
                certificates.c.issuer == issuer,
                certificates.c.status == "active",
                certificates.c.held_at.is_(None),
                certificates.c.renewed_by == by,
            ),
            status="superseding",
            overlap_until=until,
        )

    async def complete(self, row: int, certificate: bytes, at: datetime) -> bool:
        """Record the signed certificate as active; False when the intent was given up meanwhile."""
        return await self._change(
            and_(
                certificates.c.id == row,
                certificates.c.status.in_(UNDERWAY),
                # Blocked since the intent: what `block_keys` did not find active yet must not become so.
                ~is_blocked(),
            ),
            status="active",
            certificate=certificate,
            issued_at=at,
        )

    async def keep_signed(self, row: int, certificate: bytes) -> None:
        """Keep the bytes of a certificate that was signed but may not become active; its row is revoked."""
        await self._change(certificates.c.id == row, certificate=certificate)

    async def revoke(
        self,
        rows: Sequence[int],
        reason: RevocationReason,
        at: datetime,
        *,
        among: Sequence[str] = (),
        given_up: bool = False,
    ) -> set[int]:
        """Revoke for ever; also what is about to be signed, and what expired.

        Args:
            rows: which ones.
            reason: why.
            at: moment, UTC.
            among: only those that are in one of these states at this very moment; empty for all but revoked.
            given_up: they are intents that came to nothing by a fault of ours.

        Returns:
            The rows that changed.
        """
        if not rows:
            return set()
        expected = certificates.c.status.in_(among) if among else certificates.c.status != "revoked"
        result = await self._db.execute(
            update(certificates)
            .where(certificates.c.id.in_(rows), expected)
            .values(
                status="revoked",
                revoked_at=at,
                revocation_reason=reason.value,
                held_at=None,
                crl_pending=True,
                given_up=given_up,
            )
            .returning(certificates.c.id)
        )
        return set(result.scalars())

    async def worsen(self, rows: Sequence[int], reason: RevocationReason) -> set[int]:
        """Give what is revoked already the reason that its key is compromised, which was learnt later.

        The moment stays that of the first revocation: since then it does not work. Returns the rows that changed.
        """
        weaker = certificates.c.revocation_reason.notin_([item.value for item in COMPROMISED])
        result = await self._db.execute(
            update(certificates)
            .where(certificates.c.id.in_(rows), certificates.c.status == "revoked", weaker)
            .values(revocation_reason=reason.value, crl_pending=True)
            .returning(certificates.c.id)
        )
        return set(result.scalars())

    async def hold(self, row: int, at: datetime) -> bool:
        """Put a live certificate on hold."""
        condition = and_(certificates.c.id == row, certificates.c.status.in_(LIVE), certificates.c.held_at.is_(None))
        return await self._change(condition, held_at=at, crl_pending=True)

    async def release(self, row: int) -> bool:
        """Take a certificate off hold; only what is on hold can be."""
        condition = and_(certificates.c.id == row, certificates.c.status.in_(LIVE), certificates.c.held_at.isnot(None))
        return await self._change(condition, held_at=None, crl_pending=True)

    async def expire(self, at: datetime) -> None:
        """What is past its time is no longer active, so its place is free.

        On hold or not: there is nothing to release any more. The hold stays on the row; the CRL tells it for a day.
        """
        await self._change(and_(certificates.c.status.in_(LIVE), certificates.c.not_after < at), status="expired")

    async def given_up(self, before: datetime) -> list[Registered]:
        """Intents from before that moment without an outcome: their process died, or is as good as dead."""
        return await self.find(certificates.c.status.in_(UNDERWAY), certificates.c.intent_at < before)

    async def renewals(self, environment: str, identifier: Identifier, since: datetime) -> list[tuple[datetime, bool]]:
        """Renewals of a party that were begun since then, newest first: when, and whether it was given up unsigned."""
        query = (
            select(certificates.c.intent_at, and_(certificates.c.given_up, certificates.c.certificate.is_(None)))
            .where(certificates.c.identifier == identifier.subject, certificates.c.environment == environment)
            .where(certificates.c.replaces.isnot(None), certificates.c.intent_at > since)
            .order_by(certificates.c.intent_at.desc())
        )
        return [(begun, bool(unsigned)) for begun, unsigned in await self._db.execute(query)]

    async def overlaps_ended(self, at: datetime) -> list[Registered]:
        """Superseding certificates whose overlap is over."""
        return await self.find(certificates.c.status == "superseding", certificates.c.overlap_until <= at)

    async def find(
        self,
        *conditions: Any,  # noqa: ANN401  SQLAlchemy's own kind
        limit: int = 1000,
        after: int = 0,
        lock: bool = False,
    ) -> list[Registered]:
        """Certificates that meet all conditions, oldest first.

        Args:
            *conditions: SQLAlchemy expressions on `certificates`.
            limit: at most so many.
            after: only rows with a larger id (paging).
            lock: keep them as they are until the transaction ends, waiting for whoever is changing them now.
        """
        query = (
            select(certificates).where(certificates.c.id > after, *conditions).order_by(certificates.c.id).limit(limit)
        )
        if lock:
            query = query.with_for_update()
        return [_registered(row) for row in (await self._db.execute(query)).mappings()]

    # Audit records on their way out.

    async def write(self, records: Iterable[AuditRecord]) -> None:
        """Put audit records in the outbox."""
        rows = [{"record_id": item.record_id, "record": json.dumps(item.to_json())} for item in records]
        if rows:
            await self._db.execute(insert(outbox), rows)

    async def unshipped(self, limit: int) -> list[tuple[int, str]]:
        """Oldest first: row id and the record as JSON."""
        waiting = (outbox.c.shipped_at.is_(None), outbox.c.refused_at.is_(None))
        query = select(outbox.c.id, outbox.c.record).where(*waiting).order_by(outbox.c.id)
        return [(int(row), str(record)) for row, record in await self._db.execute(query.limit(limit))]

    async def mark_shipped(self, rows: Sequence[int], at: datetime) -> None:
        """The audit store has them."""
        await self._db.execute(update(outbox).where(outbox.c.id.in_(rows)).values(shipped_at=at))

    async def mark_refused(self, row: int, at: datetime, why: str) -> None:
        """The audit store does not take it as it is; it stays here until an operator has it sent again.

        Args:
            row: of the record.
            at: moment, UTC.
            why: code of the audit store.
        """
        await self._db.execute(update(outbox).where(outbox.c.id == row).values(refused_at=at, refused_why=why))

    async def _change(self, condition: Any, **values: Any) -> bool:  # noqa: ANN401  SQLAlchemy expressions
        result = await self._db.execute(update(certificates).where(condition).values(values))
        return bool(result.rowcount)


_FIELDS: Final = (
    "id", "issuer", "serial_number", "environment", "status", "organization", "common_name", "kvk", "not_before",
    "not_after", "certificate", "subject_key", "key_core", "replaces", "overlap_until", "held_at", "revoked_at",
    "revocation_reason",
)  # fmt: skip


def _registered(row: RowMapping) -> Registered:
    return Registered(
        identifier=Identifier.parse_subject(row["identifier"]),
        dns_names=tuple(json.loads(row["dns_names"])),
        **{field: row[field] for field in _FIELDS},
    )
