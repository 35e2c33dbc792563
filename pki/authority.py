"""The certificate authority at work: enrol and renew, so that the register always knows more than the world.

Specification: shared `spec/pki.md`, "One per AGB-code" and "Issuing". The order is the point: prepare and lint; record
the intent, which takes the place of the identifier in the database; sign; record the outcome; only then hand over. A
process killed anywhere leaves at most an intent, whose serial number is revoked when it is found
(`pki.revocation.withdrawal`), so no signed certificate is outside the register.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from authz.domain.audit import AuditRecord, EventType
from authz.domain.clock import Clock
from authz.domain.domains import DomainsNotSecure
from authz.domain.errors import Refused
from authz.domain.identifiers import Identifier
from authz.domain.reasons import Reason
from pki.audit.records import Actor, RecordMaker
from pki.enrolment.onboarding import DomainGate
from pki.enrolment.requests import CertificateRequest
from pki.enrolment.warrants import ISSUE, RENEW, Warrants
from pki.intents import intent_columns, renewal_holder, why_no_renewal
from pki.issuing import Holder, IssuingCa, IssuingError, Prepared
from pki.profiles import SYSTEM_LIFETIME
from pki.revocation.crl import RevocationReason
from pki.revocation.publishing import CrlPublisher
from pki.signing.signer import SignerError
from pki.store.codes import EnrolmentCode
from pki.store.database import Database
from pki.store.dns_names import DnsNames
from pki.store.keys import Keys
from pki.store.register import UNDERWAY, Register, Registered
from pki.store.tables import certificates
from pki.validation.validator import ValidatedCertificate

OVERLAP: Final = timedelta(days=7)
"""spec/pki.md: how long the old certificate works beside its renewal."""
MAX_OVERLAP: Final = timedelta(days=30)
Claim = Callable[[AsyncConnection, str, str], Awaitable[None]]
"""Does what belongs into the transaction of the intent, given that, the CA's name and the serial number."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A new certificate, already in the register.

    Attributes:
        registered: its row.
        certificate: DER.
        issuer: DER of the issuing CA.
    """

    registered: Registered
    certificate: bytes
    issuer: bytes


class Authority:
    """Enrols and renews.

    Args:
        database: the register.
        cas: the issuing CAs that issue, one for each environment; what older ones issued is renewed here too.
        publisher: makes CRLs.
        clock: read once per operation.
        records: makes audit records.
        domains: lets names pass that may be taken up.
        warrants: decides what entitles to a certificate.
        lifetime: of a certificate.
    """

    def __init__(
        self,
        *,
        database: Database,
        cas: Sequence[IssuingCa],
        publisher: CrlPublisher,
        clock: Clock,
        records: RecordMaker,
        domains: DomainGate,
        warrants: Warrants,
        lifetime: timedelta = SYSTEM_LIFETIME,
    ) -> None:
        self._database = database
        self._cas: Mapping[str, IssuingCa] = {ca.environment: ca for ca in cas}
        self._publisher = publisher
        self._clock = clock
        self._records = records
        self._domains = domains
        self._warrants = warrants
        self._lifetime = lifetime

    async def issue(
        self,
        environment: str,
        holder: Holder,
        request: CertificateRequest,
        actor: Actor,
        *,
        code: EnrolmentCode | None = None,
        claim: Claim | None = None,
    ) -> Issued:
        """Give a party its first certificate in an environment, or the next after a revocation or expiry.

        Args:
            environment: that of the issuing CA.
            holder: as vetted.
            request: proved key.
            actor: who asks.
            code: that entitles to it, used up in the transaction of the intent; where two persons are needed there must
                be one that two operators vouched for.
            claim: called in the transaction of the intent; what it refuses leaves no trace of a certificate.

        Raises:
            Refused: TWO_PERSONS_REQUIRED, OPERATOR_SIGNATURE, CODE_USED, IDENTITY_HAS_CERTIFICATE, KEY_REUSED,
                KEY_BLOCKED, DNS_NAME_TAKEN, DNS_NAME_OF_PRODUCTION, REQUEST_MALFORMED, LINT_FAILED, what `claim`
                refuses, and CERTIFICATE_NOT_ACTIVE when it was revoked while it was being issued.
            DomainsNotSecure: a DNS name of the holder is not secure at this moment.
            SignerError: the key of the CA cannot be used.
        """
        async with self._refusals_recorded(EventType.CERTIFICATE_ISSUE, holder.identifier, actor):
            ca = self._issuer(environment)
            self._warrants.require_for_issue(environment, code)
            prepared = await self._prepare(ca, holder, request, holder.dns_names)
            at = self._clock.now()
            # Intent.
            async with self._database.write() as connection:
                register = Register(connection)
                await register.expire(at)
                row = await register.add_intent(
                    **intent_columns(ca, holder, request, prepared, code), status="issuing", intent_at=at
                )
                await Keys(connection).reserve(request.name, environment, holder.identifier)
                guarded = self._warrants.guarded_from(environment)
                await DnsNames(connection).take(holder.dns_names, holder.kvk, guarded=guarded)
                await self._use(connection, code, holder, ca, prepared, request, ISSUE)
                if claim is not None:
                    await claim(connection, ca.name, f"{prepared.serial_number:x}")
                await register.write([self._record(EventType.CERTIFICATE_INTENT, actor, holder, ca, prepared)])
            failure = self._record(EventType.CERTIFICATE_ISSUE, actor, holder, ca, prepared, failed=True)
            der = await self._sign(ca, prepared, row, failure)
            # Outcome.
            async with self._outcome(ca, row, der) as register:
                if not await register.complete(row, der, at):
                    raise _withdrawn()
                await register.write([self._record(EventType.CERTIFICATE_ISSUE, actor, holder, ca, prepared)])
                registered = (await register.find(certificates.c.id == row))[0]
            return Issued(registered, der, ca.der)

    async def renew(
        self,
        old: Registered,
        request: CertificateRequest,
        actor: Actor,
        *,
        dns_names: Sequence[str] | None = None,
        overlap: timedelta = OVERLAP,
        code: EnrolmentCode | None = None,
        shown: ValidatedCertificate | None = None,
        claim: Claim | None = None,
    ) -> Issued:
        """Replace an active certificate; both work until the overlap ends.

        Args:
            old: the active certificate.
            request: with a new key, or the same one.
            actor: who asks.
            dns_names: other names than before, vetted. Those that are new must be secure; those of before are not
                looked at, because a certificate that runs out is worse than a domain that is repaired later.
            overlap: at most `MAX_OVERLAP`. The holder may end it earlier (`Withdrawal.confirm_use`).
            code: that entitles to it, for a renewal; its organisation and names are those of the new certificate.
            shown: the certificate by which the holder himself asks.
            claim: called in the transaction of the intent; what it refuses leaves no trace of a certificate.

        Raises:
            Refused: TWO_PERSONS_REQUIRED, CERTIFICATE_NOT_ACTIVE, RENEWAL_UNDERWAY, REGISTER_CONTRADICTS_CERTIFICATE,
                what `claim` refuses, and those of `issue`.
            DomainsNotSecure: a DNS name that was not in the old certificate is not secure.
            SignerError: the key of the CA cannot be used.
        """
        async with self._refusals_recorded(EventType.CERTIFICATE_RENEW, old.identifier, actor):
            if not timedelta(0) <= overlap <= MAX_OVERLAP:
                raise Refused(Reason.PARAMETER_MALFORMED, f"An overlap has at most {MAX_OVERLAP.days} days.")
            if old.status != "active" or old.held_at is not None:
                raise Refused(Reason.CERTIFICATE_NOT_ACTIVE, "Only an active certificate can be renewed.")
            # From here on the certificate says who it is, not the row.
            certified = self._warrants.certified(old)
            had, holder = certified.holder, renewal_holder(certified.holder, dns_names, code)
            ca = self._issuer(certified.environment)
            self._warrants.require_for_renewal(old, certified, holder, request, code=code, shown=shown)
            added = [name for name in holder.dns_names if name not in had.dns_names]
            prepared = await self._prepare(ca, holder, request, added)
            at = self._clock.now()
            serial_number = f"{prepared.serial_number:x}"
            # Intent.
            async with self._database.write() as connection:
                register = Register(connection)
                await register.expire(at)
                if claim is not None:
                    await claim(connection, ca.name, serial_number)
                if not await register.claim_renewal(old.id, serial_number):
                    raise await why_no_renewal(register, old)
                row = await register.add_intent(
                    **intent_columns(ca, holder, request, prepared, code),
                    status="renewing",
                    intent_at=at,
                    replaces=old.serial_number,
                )
                await Keys(connection).reserve(request.name, certified.environment, holder.identifier)
                names = added if holder.kvk == had.kvk else holder.dns_names
                guarded = self._warrants.guarded_from(certified.environment)
                await DnsNames(connection).take(names, holder.kvk, guarded=guarded)
                await self._use(connection, code, holder, ca, prepared, request, RENEW)
                await register.write([self._record(EventType.CERTIFICATE_INTENT, actor, holder, ca, prepared)])
            failure = self._record(EventType.CERTIFICATE_RENEW, actor, holder, ca, prepared, failed=True)
            der = await self._sign(ca, prepared, row, failure)
            # Outcome: the old one gives way only in the transaction in which the new one is there.
            until = min(at + overlap, old.not_after)
            async with self._outcome(ca, row, der) as register:
                if not await register.supersede(old.serial_number, serial_number, issuer=old.issuer, until=until):
                    raise _withdrawn()
                if not await register.complete(row, der, at):
                    raise _withdrawn()
                await register.write([self._record(EventType.CERTIFICATE_RENEW, actor, holder, ca, prepared)])
                registered = (await register.find(certificates.c.id == row))[0]
            return Issued(registered, der, ca.der)

    async def _use(  # noqa: PLR0917  what is used, for what
        self,
        connection: AsyncConnection,
        code: EnrolmentCode | None,
        holder: Holder,
        ca: IssuingCa,
        prepared: Prepared,
        request: CertificateRequest,
        purpose: str,
    ) -> None:
        if code is not None:
            number = f"{prepared.serial_number:x}"
            where = {"environment": ca.environment, "purpose": purpose, "issuer": ca.name, "serial_number": number}
            key = request.subject_key
            await self._warrants.use(connection, code, holder, self._clock.now(), **where, subject_key=key)

    async def _prepare(
        self, ca: IssuingCa, holder: Holder, request: CertificateRequest, names: Sequence[str]
    ) -> Prepared:
        """Prepare and lint, then have the names checked that come into the network by this certificate.

        DNS may take seconds: who goes on from here reads the clock again.
        """
        prepared = ca.prepare(holder, request, self._clock.now(), self._lifetime)
        try:
            await self._domains.require_secure(names)
        except BaseException:
            ca.forget(prepared)
            raise
        return prepared

    @asynccontextmanager
    async def _outcome(self, ca: IssuingCa, row: int, der: bytes) -> AsyncIterator[Register]:
        """The transaction in which a signed certificate becomes active.

        When it may not any more (revoked, held, given up or its key blocked meanwhile) nothing of that transaction
        stays, and what was signed goes on the CRL, with its bytes in the register; nobody gets it.
        """
        try:
            async with self._database.write() as connection:
                yield Register(connection)
        except Refused:
            at = self._clock.now()
            async with self._database.write() as connection:
                register = Register(connection)
                revoked = await register.revoke([row], RevocationReason.CESSATION_OF_OPERATION, at, among=UNDERWAY)
                await register.keep_signed(row, der)
                if revoked:
                    await self._publisher.publish(register, ca, at)
            raise

    async def _sign(self, ca: IssuingCa, prepared: Prepared, row: int, failure: AuditRecord) -> bytes:
        """Redeem; when the signer fails, that is recorded and the place of the identifier is free again at once."""
        try:
            return ca.redeem(prepared)
        except (SignerError, IssuingError):
            ca.forget(prepared)
            at = self._clock.now()
            async with self._database.write() as connection:
                register = Register(connection)
                # Only what is still under way: somebody who revoked it meanwhile had another reason.
                await register.revoke([row], RevocationReason.CESSATION_OF_OPERATION, at, among=UNDERWAY, given_up=True)
                await register.write([failure])
            # On its own: a signer that cannot sign this may not be able to sign a CRL either, and nothing was issued.
            with suppress(SignerError):
                async with self._database.write() as connection:
                    await self._publisher.publish(Register(connection), ca, at)
            raise

    def rehearse(self, environment: str, holder: Holder, request: CertificateRequest) -> None:
        """Make ready what would be signed, and forget it: what a party could not be given is found beforehand.

        Raises:
            Refused: PARAMETER_MALFORMED, REQUEST_MALFORMED, LINT_FAILED.
        """
        ca = self._issuer(environment)
        ca.forget(ca.prepare(holder, request, self._clock.now(), self._lifetime))

    def _issuer(self, environment: str) -> IssuingCa:
        ca = self._cas.get(environment)
        if ca is None:
            raise Refused(Reason.PARAMETER_MALFORMED, "This authority does not issue for that environment.")
        return ca

    def _record(
        self,
        event: EventType,
        actor: Actor,
        holder: Holder,
        ca: IssuingCa,
        prepared: Prepared,
        *,
        failed: bool = False,
    ) -> AuditRecord:
        return self._records.make(
            event,
            actor,
            self._clock.now(),
            subject=holder.identifier.subject,
            certificate=f"{ca.name}/{prepared.serial_number:x}",
            failed=failed,
            details={"environment": ca.environment},
        )

    @asynccontextmanager
    async def _refusals_recorded(self, event: EventType, identifier: Identifier, actor: Actor) -> AsyncIterator[None]:
        try:
            yield
        except Refused as refused:
            record = self._records.make(
                event,
                actor,
                self._clock.now(),
                subject=identifier.subject,
                refused=refused.reason,
                details=refused.details() if isinstance(refused, DomainsNotSecure) else None,
            )
            async with self._database.write() as connection:
                await Register(connection).write([record])
            raise


def _withdrawn() -> Refused:
    return Refused(
        Reason.CERTIFICATE_NOT_ACTIVE, "The certificate was withdrawn while it was being made; it is not handed over."
    )
