"""Enrolment: the certificates that holders get for the code they were given, and by the certificate they have.

Specification: shared `spec/pki.md`, "Issuing": a one-time code bound to the identity by an operator (two persons in
production), then a request of which only the key counts. A code is used up in the transaction of the intent, so it
never makes two certificates and a refused request uses none. Renewal by the current certificate is here too; validating
that certificate is the work of whoever received it.

Attempts are counted in the register, before they are compared; how often an address may try is counted by who received
the request. A code that is over costs whoever tries it neither a slow hash nor, but once an hour, a record.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NoReturn

from sqlalchemy.ext.asyncio import AsyncConnection

from authz.domain.audit import EventType
from authz.domain.errors import Refused, SluisError
from authz.domain.identifiers import Identifier
from authz.domain.reasons import Reason
from authz.domain.tracing import TraceContext
from authz.edge.rate import RateLimiter
from pki.app import OpenAuthority
from pki.audit.enrolment import Trail
from pki.audit.records import Actor
from pki.authority import Issued
from pki.enrolment.codes import Code, fits, read_code
from pki.enrolment.renewal_limits import DAY, RenewalLimits
from pki.enrolment.requests import CertificateRequest, parse_request
from pki.enrolment.warrants import RENEW, USED
from pki.issuing import Holder
from pki.store.codes import OPEN, Codes, EnrolmentCode
from pki.store.register import Register, Registered
from pki.store.tables import certificates
from pki.validation.validator import ValidatedCertificate

HASHING: Final = 2
"""Slow hashes at the same time in one process; each takes 16 MiB."""
WAITING: Final = 64
"""Attempts that may wait for their turn; more are told to come back."""
_ROLE: Final = "CERTIFICATE_HOLDER"
_LOCKED: Final = "locked after too many attempts; ask an operator for a new one"
ATTEMPT_TIMEOUT: Final = timedelta(seconds=60)
"""After this long an attempt that was not settled was a wrong one: its process died."""
AT_ONCE_RETRY: Final = 5
"""Seconds after which somebody comes back whose code is being tried many times at this moment."""
RECORD_INTERVAL: Final = 3600.0
"""Seconds between two records about one code that is over and is tried again."""
_NO_SALT: Final = b"\0" * 16
_INVALID: Final = (
    "The code is not valid. Copy it again, and if two operators gave you a half each, both, the first one first;"
    " after five wrong attempts a code is locked."
)
_INVALID_HALVES: Final = (
    "The code is not valid. Copy it again; were the halves in the order first, second?"
    " After five wrong attempts a code is locked."
)
_OF_BEFORE: Final = "of before codes had two halves; ask an operator for a new one"


@dataclass(frozen=True, slots=True)
class Asker:
    """Where a request to enrol came from.

    Attributes:
        trace: under which it was asked.
        address: of the connection, as the edge saw it.
    """

    trace: TraceContext
    address: str | None = None


class Busy(SluisError):  # noqa: N818  it says what is the matter
    """Too many attempts wait already; nothing was looked at.

    Attributes:
        seconds: after which to come back; None for whenever the caller usually says.
    """

    def __init__(self, seconds: int | None = None) -> None:
        super().__init__("too many attempts at the same time")
        self.seconds = seconds


class Repeated(Refused):
    """Refused as often before, and not recorded: whoever received it counts it (`pki.audit.tally`)."""


class Enrolment:
    """Redeems codes, and renews by certificate.

    Args:
        pki: the open authority.
    """

    def __init__(self, pki: OpenAuthority) -> None:
        self._pki = pki
        self._trail = Trail(pki)
        self._hashing = asyncio.Semaphore(HASHING)
        self._waiting = 0
        self._records = RateLimiter(1, RECORD_INTERVAL)

    async def authenticate(self, identifier: Identifier | None, text: str, asker: Asker) -> EnrolmentCode:
        """The code that somebody holds, if it is right and may be used now.

        Args:
            identifier: whose code it is said to be.
            text: the code as it was sent.
            asker: for the record.

        Raises:
            Refused: CODE_INVALID (no such code, or not this one, or not this second half), CODE_LOCKED,
                CODE_OTHER_IDENTITY, CODE_EXPIRED, CODE_USED, CODE_WITHDRAWN; with the right first half alone
                CODE_UNAPPROVED or CODE_INCOMPLETE.
            Repeated: the same, of a code that is over and was tried lately.
            Busy: too many attempts at the same time.
        """
        code = read_code(text)
        async with self._pki.database.read() as connection:
            codes = Codes(connection)
            found = None if code is None else await codes.by_selector(code.selector)
            spent = found is not None and found.status == "used" and await codes.is_spent(found)
        if found is not None and (over := _over(found, self._pki.clock.now(), spent=spent)) is not None:
            # Nothing of it is worth protecting any more. Who knows reference and identity hears what became of it.
            await self._refuse_over(asker, found, over if found.identifier == identifier else _invalid(code))
        right = code is not None and await self._is_right(code, found, identifier, asker)
        if found is None or not right:
            await self._refuse(asker, found, Reason.CODE_INVALID)
            raise _invalid(code)
        # From here on the asker holds the code: he may be told what is the matter with it.
        if found.identifier != identifier:
            # It counted as a wrong attempt, or a code that leaked without its identity would find it.
            await self._refuse(asker, found, Reason.CODE_OTHER_IDENTITY)
            raise _not_now(Reason.CODE_OTHER_IDENTITY, "of another identity than the one that it was shown for")
        if found.status == "pending":
            await self._refuse(asker, found, Reason.CODE_UNAPPROVED)
            raise _not_now(
                Reason.CODE_UNAPPROVED,
                "waiting for the approval of a second operator, who then gives you its second half",
            )
        if found.second_verifier is not None and code is not None and code.second is None:
            await self._refuse(asker, found, Reason.CODE_INCOMPLETE)
            raise _not_now(
                Reason.CODE_INCOMPLETE,
                "the first of two halves; put the second one behind it, which another operator gave you",
            )
        return found

    async def enrol(self, code: EnrolmentCode, data: bytes, asker: Asker) -> Issued:
        """The certificate that an authenticated code entitles to.

        Args:
            code: as `authenticate` returned it.
            data: PKCS#10; only its key is used.
            asker: for the record.

        Raises:
            Refused: CODE_USED, somebody else was faster; those of `parse_request` and `Authority.issue`.
            DomainsNotSecure: a name is not secure any more since the code was made; the code stays usable.
            SignerError: the key of the CA cannot be used; the code stays usable.
        """
        event = EventType.CERTIFICATE_RENEW if code.purpose == RENEW else EventType.CERTIFICATE_ISSUE
        request = await self._request(event, code.identifier, data, asker)
        return await self.certify(code, request, Actor(code.identifier.subject, _ROLE, asker.trace), asker)

    async def certify(
        self,
        code: EnrolmentCode,
        request: CertificateRequest,
        actor: Actor,
        asker: Asker,
        **options: Any,  # noqa: ANN401
    ) -> Issued:
        """As `enrol`, for a request that was read already.

        Args:
            code: as `authenticate` returned it.
            request: proved key.
            actor: who asks.
            asker: for the record.
            **options: of `Authority.renew`, for a code that renews.
        """

        async def told(connection: AsyncConnection, _issuer: str, _serial_number: str) -> None:
            details = {"address": asker.address or "unknown"}
            await self._trail.code(connection, EventType.CODE_USE, actor, code, details)

        authority = self._pki.authority
        if code.purpose == RENEW:
            async with self._trail.refusals(EventType.CERTIFICATE_RENEW, actor, code.identifier.subject):
                found = await self._pki.find(identifier=code.identifier, environment=code.environment, status="active")
                if not found:
                    raise Refused(
                        Reason.CERTIFICATE_UNKNOWN,
                        "This code renews, and there is no active certificate; ask for one without --renewal.",
                    )
            options.setdefault("overlap", timedelta(days=self._pki.settings.issuing.overlap_days))
            return await authority.renew(found[0], request, actor, code=code, claim=told, **options)
        holder = Holder(code.identifier, code.organization, code.kvk, code.dns_names)
        return await authority.issue(code.environment, holder, request, actor, code=code, claim=told)

    async def reenrol(self, current: ValidatedCertificate, leaf: bytes, data: bytes, asker: Asker) -> bytes:
        """A new certificate for who holds the active one, with the names that were vetted for it.

        When the answer to a renewal got lost, its holder is left with a certificate that is being superseded: with that
        one, and the same new key, the renewal is handed over again. Nothing new is made.

        Args:
            current: validated, at this moment.
            leaf: DER of the same certificate.
            data: PKCS#10; only its key is used.
            asker: for the record.

        Returns:
            DER of the certificate.

        Raises:
            Refused: CERTIFICATE_UNKNOWN, CERTIFICATE_NOT_ACTIVE, RENEWAL_UNDERWAY, those of `parse_request`.
            TooOften: RENEWAL_TOO_SOON, RENEWALS_EXHAUSTED.
            SignerError: the key of the CA cannot be used.
        """
        request = await self._request(EventType.CERTIFICATE_RENEW, current.identity, data, asker)
        actor = Actor(current.identity.subject, _ROLE, asker.trace)
        async with self._trail.refusals(EventType.CERTIFICATE_RENEW, actor, current.identity.subject):
            old = await self._registered(current, leaf)
            if old.status == "superseding":
                return await self._again(old, request)
            if old.status != "active":
                raise Refused(Reason.CERTIFICATE_NOT_ACTIVE, "Only an active certificate can be renewed.")
        settings = self._pki.settings.issuing
        limits = RenewalLimits(
            DAY * settings.renewal_after_hours / 24, settings.renewals_per_day, settings.renewals_per_month
        )

        async def claim(connection: AsyncConnection, _issuer: str, _serial_number: str) -> None:
            await limits.check(Register(connection), old, self._pki.clock.now())

        overlap = timedelta(days=settings.overlap_days)
        issued = await self._pki.authority.renew(old, request, actor, overlap=overlap, shown=current, claim=claim)
        return issued.certificate

    async def refuse_renewal(self, reason: Reason, asker: Asker) -> None:
        """Record that somebody's certificate did not pass, before it was known whose it is."""
        details = {"address": asker.address or "unknown"}
        actor = Actor("unknown", _ROLE, asker.trace)
        await self._trail.refuse(EventType.CERTIFICATE_RENEW, actor, "unknown", reason, details)

    async def _registered(self, current: ValidatedCertificate, leaf: bytes) -> Registered:
        async with self._pki.database.read() as connection:
            found = await Register(connection).find(
                certificates.c.serial_number == f"{current.serial_number:x}",
                certificates.c.environment == current.environment,
                certificates.c.identifier == current.identity.subject,
            )
        same = [item for item in found if item.certificate == leaf]
        if len(same) != 1:
            raise Refused(Reason.CERTIFICATE_UNKNOWN, "This certificate is not in the register.")
        return same[0]

    async def _again(self, old: Registered, request: CertificateRequest) -> bytes:
        async with self._pki.database.read() as connection:
            newer = await Register(connection).find(
                certificates.c.replaces == old.serial_number,
                certificates.c.environment == old.environment,
                certificates.c.identifier == old.identifier.subject,
                certificates.c.subject_key == request.subject_key,
                certificates.c.status == "active",
                certificates.c.held_at.is_(None),
            )
        if len(newer) != 1 or newer[0].certificate is None:
            raise Refused(
                Reason.CERTIFICATE_NOT_ACTIVE,
                "This certificate has been replaced; renew with the one that replaced it.",
            )
        return newer[0].certificate

    async def _is_right(
        self, code: Code, found: EnrolmentCode | None, identifier: Identifier | None, asker: Asker
    ) -> bool:
        """Whether every half that was given fits. The work depends on nothing but that text, so the time tells nothing.

        The attempt is counted before a secret is compared, so that many at once cannot pass the limit.
        """
        if self._waiting >= WAITING:
            raise Busy
        if found is not None:
            await self._count(found, asker)
        self._waiting += 1
        try:
            async with self._hashing:
                right = await asyncio.to_thread(_fits, code, found)
        finally:
            self._waiting -= 1
        if found is not None:
            async with self._pki.database.write() as connection:
                honest = right and found.identifier == identifier
                await Codes(connection).settle_attempt(code.selector, right=honest)
        return right

    async def _count(self, found: EnrolmentCode, asker: Asker) -> None:
        at = self._pki.clock.now()
        async with self._pki.database.write() as connection:
            codes = Codes(connection)
            if await codes.count_attempt(found.selector, at):
                return
            await codes.lock_abandoned(found.selector, at - ATTEMPT_TIMEOUT)
            now = await codes.by_selector(found.selector)
        if now is None or now.status not in OPEN:
            await self._refuse_over(asker, found, _not_now(Reason.CODE_LOCKED, _LOCKED))
        # All attempts that are left are being compared at this moment, and may turn out to be right.
        raise Busy(AT_ONCE_RETRY)

    async def _refuse_over(self, asker: Asker, found: EnrolmentCode, refused: Refused) -> NoReturn:
        if self._records.take(f"{found.selector}/{refused.reason}"):
            raise Repeated(refused.reason, refused.detail)
        await self._refuse(asker, found, refused.reason)
        raise refused

    async def _request(self, event: EventType, identifier: Identifier, data: bytes, asker: Asker) -> CertificateRequest:
        actor = Actor(identifier.subject, _ROLE, asker.trace)
        async with self._trail.refusals(event, actor, identifier.subject):
            return parse_request(data)

    async def _refuse(self, asker: Asker, found: EnrolmentCode | None, reason: Reason) -> None:
        await self._trail.refuse(
            EventType.CODE_USE,
            Actor("unknown", _ROLE, asker.trace),
            found.identifier.subject if found else "unknown",
            reason,
            {"code": found.selector if found else "unknown", "address": asker.address or "unknown"},
        )


def _fits(code: Code, found: EnrolmentCode | None) -> bool:
    """Whether each half is the one that the register knows; a second half where none is known never is."""
    salt, verifier, second_salt, second_verifier = found.proof if found else (_NO_SALT, b"", None, None)
    first = fits(code.secret, salt, verifier)
    if code.second is None:
        return first
    return fits(code.second, second_salt or _NO_SALT, second_verifier or b"") and first


def _over(code: EnrolmentCode, at: datetime, *, spent: bool) -> Refused | None:
    """Why a code will not work any more, in words for its holder; None while it may."""
    expired = code.status == "expired" or code.expires_at <= at
    checks = (
        (code.before_halves and not spent, Reason.CODE_WITHDRAWN, _OF_BEFORE),
        (code.status == "withdrawn", Reason.CODE_WITHDRAWN, "withdrawn; ask an operator for a new one"),
        (code.status == "locked", Reason.CODE_LOCKED, _LOCKED),
        (spent, Reason.CODE_USED, USED),
        (expired, Reason.CODE_EXPIRED, "expired; ask an operator for a new one"),
    )
    return next((_not_now(reason, why) for stops, reason, why in checks if stops), None)


def _invalid(code: Code | None) -> Refused:
    """The same for every text of one form, whatever the register knows of it."""
    halves = code is not None and code.second is not None
    return Refused(Reason.CODE_INVALID, _INVALID_HALVES if halves else _INVALID)


def _not_now(reason: Reason, why: str) -> Refused:
    return Refused(reason, f"This code is {why}.")
