"""Enrolment: the certificates that holders get for the code they were given, and by the certificate they have.

Specification: shared `spec/pki.md`, "Issuing": a one-time code bound to the identity by an operator (two persons in
production), then a request of which only the key counts. A code is used up in the transaction of the intent, so it
never makes two certificates and a refused request uses none. Renewal by the current certificate is here too; validating
that certificate is the work of whoever received it.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from authz.domain.audit import EventType
from authz.domain.errors import Refused, SluisError
from authz.domain.identifiers import Identifier
from authz.domain.reasons import Reason
from authz.domain.tracing import TraceContext
from pki.app import OpenAuthority
from pki.authority import Issued
from pki.codes import Code, fits, read_code
from pki.issuing import Holder
from pki.records import Actor
from pki.renewal_limits import DAY, RenewalLimits
from pki.requests import CertificateRequest, parse_request
from pki.store.codes import Codes, EnrolmentCode
from pki.store.register import Register, Registered
from pki.store.tables import certificates
from pki.trail import Trail
from pki.validation import ValidatedCertificate

HASHING: Final = 2
"""Slow hashes at the same time in one process; each takes 16 MiB."""
WAITING: Final = 64
"""Attempts that may wait for their turn; more are told to come back."""
_ROLE: Final = "CERTIFICATE_HOLDER"
_LOCKED: Final = "locked after too many attempts; ask an operator for a new one"
_USED: Final = "used up; ask an operator for a new one"
_NOBODY: Final = Code("00000000", "0" * 32)
_NO_SALT: Final = b"\0" * 16
_INVALID: Final = "The code is not valid. Copy it again; after five wrong attempts a code is locked."


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
    """Too many attempts wait already; nothing was looked at."""


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

    async def authenticate(self, identifier: Identifier | None, text: str, asker: Asker) -> EnrolmentCode:
        """The code that somebody holds, if it is right and may be used now.

        Args:
            identifier: whose code it is said to be.
            text: the code as it was sent.
            asker: for the record.

        Raises:
            Refused: CODE_INVALID (no such code, or not this one), CODE_LOCKED, CODE_OTHER_IDENTITY, CODE_EXPIRED,
                CODE_USED, CODE_WITHDRAWN, CODE_UNAPPROVED.
            Busy: too many attempts at the same time.
        """
        code = read_code(text)
        found, right = await self._verified(code, asker) if code is not None else (None, False)
        if found is None or not right:
            await self._refuse(asker, found, Reason.CODE_INVALID)
            raise Refused(Reason.CODE_INVALID, _INVALID)
        # From here on the asker holds the code: he may be told what is the matter with it.
        async with self._pki.database.read() as connection:
            spent = found.status == "used" and await Codes(connection).is_spent(found)
        refused = _state(found, identifier, self._pki.clock.now(), spent=spent)
        if refused is not None:
            await self._refuse(asker, found, refused.reason)
            raise refused
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
        request = await self._request(EventType.CERTIFICATE_ISSUE, code.identifier, data, asker)
        actor = Actor(code.identifier.subject, _ROLE, asker.trace)

        async def claim(connection: AsyncConnection, issuer: str, serial_number: str) -> None:
            at = self._pki.clock.now()
            if not await Codes(connection).claim(code.selector, at, issuer=issuer, serial_number=serial_number):
                raise _not_now(Reason.CODE_USED, _USED)
            details = {"address": asker.address or "unknown"}
            await self._trail.code(connection, EventType.CODE_USE, actor, code, details)

        holder = Holder(code.identifier, code.organization, code.kvk, code.dns_names)
        return await self._pki.authority.issue(code.environment, holder, request, actor, claim=claim)

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
        issued = await self._pki.authority.renew(old, request, actor, overlap=overlap, claim=claim)
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

    async def _verified(self, code: Code, asker: Asker) -> tuple[EnrolmentCode | None, bool]:
        """The attempt is counted before the secret is compared, so that many at once cannot pass the limit."""
        if self._waiting >= WAITING:
            raise Busy
        async with self._pki.database.write() as connection:
            codes = Codes(connection)
            counted = await codes.count_attempt(code.selector)
            found = await codes.by_selector(code.selector)
        if found is not None and not counted:
            await self._refuse(asker, found, Reason.CODE_LOCKED)
            raise _not_now(Reason.CODE_LOCKED, _LOCKED)
        self._waiting += 1
        try:
            async with self._hashing:
                # Without a code of that name the same work is done, so that the time does not tell.
                right = await asyncio.to_thread(
                    fits,
                    code if found else _NOBODY,
                    found.salt if found else _NO_SALT,
                    found.verifier if found else b"",
                )
        finally:
            self._waiting -= 1
        if found is None:
            return None, False
        async with self._pki.database.write() as connection:
            await Codes(connection).settle_attempt(code.selector, right=right)
        return found, right

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


def _state(code: EnrolmentCode, identifier: Identifier | None, at: datetime, *, spent: bool) -> Refused | None:
    """What keeps a code from being used, in words for its holder; None when nothing does."""
    expired = code.status == "expired" or code.expires_at <= at
    checks = (
        (code.identifier != identifier, Reason.CODE_OTHER_IDENTITY, "of another identity than the user name says"),
        (code.status == "withdrawn", Reason.CODE_WITHDRAWN, "withdrawn; ask an operator for a new one"),
        (code.status == "locked", Reason.CODE_LOCKED, _LOCKED),
        (spent, Reason.CODE_USED, _USED),
        (expired, Reason.CODE_EXPIRED, "expired; ask an operator for a new one"),
        (code.status == "pending", Reason.CODE_UNAPPROVED, "waiting for the approval of a second operator"),
    )
    return next((_not_now(reason, why) for stops, reason, why in checks if stops), None)


def _not_now(reason: Reason, why: str) -> Refused:
    return Refused(reason, f"This code is {why}.")
