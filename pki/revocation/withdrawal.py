"""Withdrawing certificates: on request, when an overlap ends, and when an intent never came to an outcome.

Specification: shared `spec/pki.md`, "Revocation" and "One per AGB-code"; RFC 5280 section 5.3.1. Each change and the
CRL that tells it are one transaction, so after an answer the CRL already has it. A revocation is for ever: nothing here
or in `pki.authority` turns a revoked row into another state; only a hold can be released. What may change is the
reason: that a key is compromised is often learnt after its certificate was revoked for another one, and then the CRL
says so from there on (CA/B Baseline Requirements 7.2.2). The moment stays that of the first revocation, because since
then nobody believed the certificate.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from authz.domain.audit import AuditRecord, EventType
from authz.domain.clock import Clock
from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.audit.records import Actor, RecordMaker, itself
from pki.revocation.crl import COMPROMISED, RevocationReason
from pki.revocation.publishing import CrlPublisher
from pki.store.codes import Codes, EnrolmentCode
from pki.store.database import Database
from pki.store.keys import Keys, has_key
from pki.store.register import LIVE, UNDERWAY, Register, Registered
from pki.store.tables import certificates

INTENT_TIMEOUT: Final = timedelta(seconds=60)
"""After this long an intent without an outcome counts as given up; a slow signer finds it withdrawn."""
_HOLDS: Final = frozenset({RevocationReason.CERTIFICATE_HOLD, RevocationReason.REMOVE_FROM_CRL})


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """What was taken from a party.

    Attributes:
        certificates: as they are now.
        codes: open enrolment codes that will not work.
    """

    certificates: list[Registered]
    codes: list[EnrolmentCode]


class Withdrawal:
    """Revokes, holds, releases, and does what falls due.

    Args:
        database: the register.
        publisher: makes CRLs.
        clock: read once per operation.
        records: makes audit records.
        intent_timeout: how long an intent may be without an outcome.
    """

    def __init__(
        self,
        *,
        database: Database,
        publisher: CrlPublisher,
        clock: Clock,
        records: RecordMaker,
        intent_timeout: timedelta = INTENT_TIMEOUT,
    ) -> None:
        self._database = database
        self._publisher = publisher
        self._clock = clock
        self._records = records
        self._intent_timeout = intent_timeout

    async def revoke(self, found: Sequence[Registered], reason: RevocationReason, actor: Actor) -> list[Registered]:
        """Withdraw certificates; the CRL has it when this returns.

        Args:
            found: as looked up before; what happened to them since is taken into account.
            reason: `certificateHold` holds, `removeFromCRL` releases, every other one is for ever. A key that is
                compromised takes every certificate with that key along and is never certified again; it replaces
                the reason of what was revoked before.
            actor: who asks.

        Returns:
            The certificates as they are now.

        Raises:
            Refused: CERTIFICATE_UNKNOWN, nothing to withdraw; CERTIFICATE_NOT_ACTIVE, already revoked, or a hold or
                release that does not fit.
        """
        await self._publisher.make_ready(self._database)
        async with self._database.write() as connection:
            return await self._withdraw(connection, found, reason, actor)

    async def revoke_party(
        self, environment: str, identifier: str, reason: RevocationReason, actor: Actor
    ) -> Withdrawn:
        """Withdraw everything of one party that works, or is about to; see `revoke`.

        What that is, is looked up in the same transaction and kept from changing: a renewal that comes to its end in
        between would otherwise leave the party with a certificate that the one who revoked never saw. Its open
        enrolment codes go too, approved or not, or it would be back with the next one; a hold leaves them.

        Of a party without a certificate that works, the newest one that expired is revoked on the record; when its key
        is compromised, the newest one at all.

        Raises:
            Refused: see `revoke`.
        """
        await self._publisher.make_ready(self._database)
        async with self._database.write() as connection:
            register = Register(connection)
            # Codes first: who is using one up at this moment is waited for, and what he gets is found below.
            codes = [] if reason in _HOLDS else await Codes(connection).withdraw_all(environment, identifier)
            theirs = (certificates.c.environment == environment, certificates.c.identifier == identifier)
            found = await register.find(*theirs, certificates.c.status.in_((*LIVE, *UNDERWAY)), lock=True)
            if not found:
                over = ("expired", "revoked") if reason in COMPROMISED else ("expired",)
                found = (await register.find(*theirs, certificates.c.status.in_(over), lock=True))[-1:]
            at = self._clock.now()
            await register.write(self._code_record(code, actor, at) for code in codes)
            try:
                certificates_now = await self._withdraw(connection, found, reason, actor)
            except Refused:
                # Nothing to revoke, or nothing that can be: that keeps no code open.
                if not codes:
                    raise
                certificates_now = []
            return Withdrawn(certificates_now, codes)

    async def _withdraw(
        self, connection: AsyncConnection, found: Sequence[Registered], reason: RevocationReason, actor: Actor
    ) -> list[Registered]:
        if not found:
            raise Refused(Reason.CERTIFICATE_UNKNOWN, "There is no such certificate in the register.")
        register = Register(connection)
        at = self._clock.now()
        blocked = False
        rows = [item.id for item in found]
        if reason is RevocationReason.CERTIFICATE_HOLD:
            changed = {row for row in rows if await register.hold(row, at)}
        elif reason is RevocationReason.REMOVE_FROM_CRL:
            changed = {row for row in rows if await register.release(row)}
        else:
            if reason in COMPROMISED:
                # Rows before keys, as when a whole party is revoked: two who do this at once wait in one order.
                await register.find(certificates.c.id.in_(rows), lock=True)
                keys = sorted({item.key for item in found})
                blocked = await Keys(connection).mark_compromised(keys, at)
                states = (*LIVE, *UNDERWAY, "revoked")
                rows += [item.id for item in await register.find(has_key(keys), certificates.c.status.in_(states))]
            rows = sorted(set(rows))
            changed = await register.revoke(rows, reason, at)
            if reason in COMPROMISED:
                changed |= await register.worsen(rows, reason)
        # That a key was blocked stays, whatever else there was to do.
        if not changed and not blocked:
            raise Refused(Reason.CERTIFICATE_NOT_ACTIVE, "The certificate is not in a state in which this can be done.")
        now = await register.find(certificates.c.id.in_(changed))
        await self._tell(register, now, reason, actor)
        return now

    async def confirm_use(self, issuer: str, serial_number: str, holder: Actor) -> bool:
        """This certificate is in use, says its holder: the one it replaces ends now and not after the overlap.

        Saying so is his choice (spec/pki.md: "whichever the holder chose"); nobody else can make it for him.

        Args:
            issuer: name of the CA.
            serial_number: hex.
            holder: of the certificate.

        Returns:
            Whether another certificate was revoked by it.
        """
        at = self._clock.now()
        # Most who ask have nothing to end any more: they hold up no writer.
        async with self._database.read() as connection:
            if not await _replaced(Register(connection), issuer, serial_number):
                return False
        async with self._database.write() as connection:
            register = Register(connection)
            old = await _replaced(register, issuer, serial_number)
            ended = await register.revoke(
                [item.id for item in old], RevocationReason.SUPERSEDED, at, among=("superseding",)
            )
            if ended:
                await self._tell(register, old, RevocationReason.SUPERSEDED, holder)
        return bool(ended)

    async def sweep(self) -> None:
        """Do what falls due: ended overlaps, given-up intents, expiry, and CRLs that need refreshing."""
        at = self._clock.now()
        async with self._database.read() as connection:
            register = Register(connection)
            due = await self._publisher.due(register, at)
            ended = await register.overlaps_ended(at)
            given_up = await register.given_up(at - self._intent_timeout)
            expired = await register.find(certificates.c.status.in_(LIVE), certificates.c.not_after < at, limit=1)
        if not (due or ended or given_up or expired):
            return
        await self._publisher.make_ready(self._database)
        refreshed = [await self._publisher.refresh(self._database, name, at) for name in due]
        if all(refreshed) and not (ended or given_up or expired):
            return
        async with self._database.write() as connection:
            register = Register(connection)
            await register.expire(at)
            names = set(await self._publisher.due(register, at))
            for name in names:
                await register.leave_crl(name, at)
            for items, among, reason in (
                (await register.overlaps_ended(at), ("superseding",), RevocationReason.SUPERSEDED),
                (await register.given_up(at - self._intent_timeout), UNDERWAY, RevocationReason.CESSATION_OF_OPERATION),
            ):
                # Only what is still in that state: another instance may have been a moment earlier.
                rows = [item.id for item in items]
                changed = await register.revoke(rows, reason, at, among=among, given_up=among is UNDERWAY)
                await register.write(self._record(item, reason, itself()) for item in items if item.id in changed)
                names |= {item.issuer for item in items if item.id in changed}
            await self._publisher.publish_named(register, sorted(names), at)

    async def _tell(
        self, register: Register, items: Sequence[Registered], reason: RevocationReason, actor: Actor
    ) -> None:
        at = self._clock.now()
        await register.write(self._record(item, reason, actor) for item in items)
        await self._publisher.publish_named(register, [item.issuer for item in items], at)

    def _record(self, item: Registered, reason: RevocationReason, actor: Actor) -> AuditRecord:
        return self._records.make(
            EventType.CERTIFICATE_REVOKE,
            actor,
            self._clock.now(),
            subject=item.identifier.subject,
            certificate=item.reference,
            details={"environment": item.environment, "reason": reason.value},
        )

    def _code_record(self, code: EnrolmentCode, actor: Actor, at: datetime) -> AuditRecord:
        details = {"code": code.selector, "environment": code.environment, "two_person": code.two_person}
        return self._records.make(EventType.CODE_WITHDRAW, actor, at, subject=code.identifier.subject, details=details)


async def _replaced(register: Register, issuer: str, serial_number: str) -> list[Registered]:
    """The certificate that an active one replaced, while it still works."""
    used = await register.find(
        certificates.c.issuer == issuer,
        certificates.c.serial_number == serial_number,
        certificates.c.status == "active",
        certificates.c.replaces.isnot(None),
    )
    if not used:
        return []
    return await register.find(
        certificates.c.serial_number == used[0].replaces,
        certificates.c.identifier == used[0].identifier.subject,
        certificates.c.environment == used[0].environment,
        certificates.c.status == "superseding",
    )
