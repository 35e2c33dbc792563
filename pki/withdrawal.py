"""Withdrawing certificates: on request, when an overlap ends, and when an intent never came to an outcome.

Specification: shared `spec/pki.md`, "Revocation" and "One per AGB-code"; RFC 5280 section 5.3.1. Each change and the
CRL that tells it are one transaction, so after an answer the CRL already has it. A revocation is for ever: nothing here
or in `pki.authority` turns a revoked row into another state; only a hold can be released.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from authz.domain.audit import AuditRecord, EventType
from authz.domain.clock import Clock
from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.publishing import CrlPublisher
from pki.records import Actor, RecordMaker, itself
from pki.revocation import RevocationReason
from pki.store.database import Database
from pki.store.register import LIVE, UNDERWAY, Register, Registered
from pki.store.tables import certificates

INTENT_TIMEOUT: Final = timedelta(seconds=60)
"""After this long an intent without an outcome counts as given up; a slow signer finds it withdrawn."""
_COMPROMISED: Final = frozenset({RevocationReason.KEY_COMPROMISE, RevocationReason.CA_COMPROMISE})


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
                compromised takes every certificate with that key along and is never certified again.
            actor: who asks.

        Returns:
            The certificates as they are now.

        Raises:
            Refused: CERTIFICATE_UNKNOWN, nothing to withdraw; CERTIFICATE_NOT_ACTIVE, already revoked, or a hold or
                release that does not fit.
        """
        await self._publisher.make_ready(self._database)
        async with self._database.write() as connection:
            return await self._withdraw(Register(connection), found, reason, actor)

    async def revoke_party(
        self, environment: str, identifier: str, reason: RevocationReason, actor: Actor
    ) -> list[Registered]:
        """Withdraw everything of one party that works, or is about to; see `revoke`.

        What that is, is looked up in the same transaction and kept from changing: a renewal that comes to its end in
        between would otherwise leave the party with a certificate that the one who revoked never saw.

        Raises:
            Refused: see `revoke`.
        """
        await self._publisher.make_ready(self._database)
        async with self._database.write() as connection:
            register = Register(connection)
            found = await register.find(
                certificates.c.environment == environment,
                certificates.c.identifier == identifier,
                certificates.c.status.in_((*LIVE, *UNDERWAY)),
                lock=True,
            )
            return await self._withdraw(register, found, reason, actor)

    async def _withdraw(
        self, register: Register, found: Sequence[Registered], reason: RevocationReason, actor: Actor
    ) -> list[Registered]:
        if not found:
            raise Refused(Reason.CERTIFICATE_UNKNOWN, "There is no such certificate in the register.")
        at = self._clock.now()
        rows = [item.id for item in found]
        if reason is RevocationReason.CERTIFICATE_HOLD:
            changed = {row for row in rows if await register.hold(row, at)}
        elif reason is RevocationReason.REMOVE_FROM_CRL:
            changed = {row for row in rows if await register.release(row)}
        else:
            if reason in _COMPROMISED:
                for key in sorted({item.subject_key for item in found}):
                    rows += [item.id for item in await register.mark_compromised(key, at)]
            changed = await register.revoke(sorted(set(rows)), reason, at)
        if not changed:
            raise Refused(Reason.CERTIFICATE_NOT_ACTIVE, "The certificate is not in a state in which this can be done.")
        now = await register.find(certificates.c.id.in_(changed))
        await self._tell(register, now, reason, actor)
        return now

    async def confirm_use(self, issuer: str, serial_number: str, *, holder: Actor | None = None) -> bool:
        """This certificate is in use: the one it replaces ends, if its holder chose so.

        Args:
            issuer: name of the CA.
            serial_number: hex.
            holder: when it is he who says so, which is his choice. Without him the choice counts that was made with
                the renewal.

        Returns:
            Whether another certificate was revoked by it.
        """
        at = self._clock.now()
        async with self._database.write() as connection:
            register = Register(connection)
            used = await register.find(
                certificates.c.issuer == issuer,
                certificates.c.serial_number == serial_number,
                certificates.c.status == "active",
                certificates.c.replaces.isnot(None),
            )
            if not used:
                return False
            old = await register.find(
                certificates.c.serial_number == used[0].replaces,
                certificates.c.identifier == used[0].identifier.subject,
                certificates.c.environment == used[0].environment,
                certificates.c.status == "superseding",
                *([] if holder is not None else [certificates.c.ends_on_use.is_(True)]),
            )
            ended = await register.revoke(
                [item.id for item in old], RevocationReason.SUPERSEDED, at, among=("superseding",)
            )
            if ended:
                await self._tell(register, old, RevocationReason.SUPERSEDED, holder or itself())
        return bool(ended)

    async def sweep(self) -> None:
        """Do what falls due: ended overlaps, given-up intents, expiry, and CRLs that need refreshing."""
        at = self._clock.now()
        async with self._database.read() as connection:
            register = Register(connection)
            due = await self._publisher.due(register, at)
            ended = await register.overlaps_ended(at)
            given_up = await register.given_up(at - self._intent_timeout)
            expired = await register.find(
                certificates.c.status.in_(LIVE),
                certificates.c.not_after < at,
                certificates.c.held_at.is_(None),
                limit=1,
            )
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
                changed = await register.revoke([item.id for item in items], reason, at, among=among)
                for item in items:
                    if item.id in changed and item.status in UNDERWAY and item.replaces is not None:
                        await register.unclaim(item.replaces, item.serial_number)
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
