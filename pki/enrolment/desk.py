"""The desk where operators hand out enrolment codes, and where keys are blocked.

Specification: shared `spec/pki.md`, "Issuing": a code is bound to the identity by an operator, and by two in
production, each with a key of his own (`pki.enrolment.operators`, decision 0108). Where one is enough, an operator may
act under the name that the command line established.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy.ext.asyncio import AsyncConnection

from authz.domain.audit import EventType
from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.app import OpenAuthority
from pki.audit.enrolment import Trail
from pki.audit.records import Actor, RecordMaker, keyed
from pki.enrolment.codes import draw_code, draw_second, in_groups, new_salt, verifier_of
from pki.enrolment.key_names import KeyName
from pki.enrolment.opening import OpenDesk
from pki.enrolment.operators.signing import Signed
from pki.enrolment.requests import parse_request
from pki.enrolment.warrants import ISSUE, RENEW
from pki.issuing import Holder
from pki.notices.giving import Giver, Notice
from pki.revocation.crl import RevocationReason
from pki.signing.signer import KeySigner
from pki.store.codes import Codes, EnrolmentCode, columns_of
from pki.store.dns_names import DnsNames
from pki.store.keys import Keys, has_key
from pki.store.register import LIVE, UNDERWAY, Register, Registered
from pki.store.tables import certificates, enrolment_codes

_AT_ONCE: Final = 500
"""Keys in one transaction: a list may have a million."""


class CodeDesk:
    """Makes, approves, lists and withdraws codes; blocks keys.

    Args:
        pki: the open authority, or what of it needs no key of a CA; that does not block keys.
    """

    def __init__(self, pki: OpenAuthority | OpenDesk) -> None:
        self._pki = pki
        self._trail = Trail(pki)

    async def create(
        self,
        environment: str,
        holder: Holder,
        operator: Actor,
        *,
        life: timedelta | None = None,
        key: KeySigner | None = None,
        renewal: bool = False,
        subject_key: str | None = None,
    ) -> tuple[EnrolmentCode, str]:
        """A code for a party that the operator vetted. Its text is returned here and is nowhere afterwards.

        Where two persons are needed that text is the first half, which alone gets nothing.

        Args:
            environment: that the certificate will be for.
            holder: as vetted; names that could not be certified are refused now, not when the holder comes.
            operator: who vetted, when `key` does not tell it.
            life: how long it works; that of the settings when None.
            key: of the operator; needed where two persons are.
            renewal: for a party that has a certificate: the code makes one beside it, as a renewal does.
            subject_key: hex SHA-256 of the subjectPublicKeyInfo of the only key that it may be used for.

        Raises:
            Refused: OPERATOR_KEY_REQUIRED, OPERATOR_UNKNOWN, IDENTITY_HAS_CERTIFICATE, CERTIFICATE_UNKNOWN,
                CODE_EXISTS, DNS_NAME_TAKEN, DNS_NAME_OF_PRODUCTION, PARAMETER_MALFORMED, REQUEST_MALFORMED,
                LINT_FAILED.
            DomainsNotSecure: a DNS name is not secure at this moment.
        """
        settings = self._pki.settings.enrolment
        at = self._pki.clock.now()
        two = self._pki.warrants.needs_two(environment)
        code, salt = draw_code(), new_salt()
        async with self._trail.refusals(EventType.CODE_CREATE, operator, holder.identifier.subject):
            self._rehearse(environment, holder)
            operator = self._proven(operator, key, needed=two)
            await self._pki.domains.require_secure(holder.dns_names)
            made = EnrolmentCode(
                selector=code.selector,
                environment=environment,
                identifier=holder.identifier,
                organization=holder.organization,
                kvk=holder.kvk,
                dns_names=holder.dns_names,
                status="pending" if two else "ready",
                two_person=two,
                created_by=operator.id,
                created_at=at,
                expires_at=at + (life or timedelta(days=settings.code_days)),
                salt=salt,
                verifier=await asyncio.to_thread(verifier_of, code.secret, salt),
                purpose=RENEW if renewal else ISSUE,
                subject_key=subject_key,
            )
            if key is not None:
                made = replace(made, request=self._pki.warrants.roster.request(key, made))
            async with self._pki.database.write() as connection:
                codes = Codes(connection)
                await codes.expire(at)
                await Register(connection).expire(at)
                await self._tell(connection, await _fits_what_there_is(Register(connection), made), made)
                guarded = self._pki.warrants.guarded_from(environment)
                await DnsNames(connection).require_free(holder.dns_names, holder.kvk, guarded=guarded)
                await codes.add(**_columns(made))
                await self._trail.code(connection, EventType.CODE_CREATE, operator, made, signed_details(made.request))
        return made, code.text()

    async def _tell(self, connection: AsyncConnection, had: Registered | None, made: EnrolmentCode) -> None:
        """Tell the webhook that somebody may get a certificate beside one that works, whose holder need not notice."""
        if had is None:
            return
        source, hook = self._pki.settings.audit.source, self._pki.settings.notices.webhook
        data = {"code": made.selector, "environment": made.environment, "purpose": made.purpose}
        notice = Notice(EventType.CODE_CREATE, made.identifier.subject, data | {"certificate": had.reference})
        giver = Giver(RecordMaker(source), source, webhook=hook is not None)
        await giver.post(connection, notice, made.created_at)

    async def look(self, selector: str, operator: Actor, *, key: KeySigner | None = None) -> EnrolmentCode:
        """What waits for the agreement of a second operator, its statement verified, so that he reads before he signs.

        Args:
            selector: reference of the code.
            operator: who types, for the record of what is refused.
            key: of the second operator.

        Raises:
            Refused: those of `approve` but STATEMENT_DIFFERS.
        """
        waiting = await self._waiting(selector)
        async with self._trail.refusals(EventType.CODE_APPROVE, operator, _subject(waiting)):
            found, signer, _ = self._second(waiting, operator, key)
            self._pki.warrants.roster.asked(signer, found)
            return found

    async def approve(
        self, selector: str, operator: Actor, *, statement: str | None, key: KeySigner | None = None
    ) -> tuple[EnrolmentCode, str]:
        """A second operator agrees with identity and names, which must be secure at this moment too.

        The second half of the code is drawn here, returned for him alone, and is nowhere afterwards.

        Args:
            selector: reference of the code.
            operator: who types, for the record of what is refused.
            statement: hash of the request that he read (`EnrolmentCode.statement`); nothing else is signed.
            key: of the operator.

        Raises:
            Refused: OPERATOR_KEY_REQUIRED, OPERATOR_UNKNOWN; APPROVER_IS_CREATOR; CODE_UNKNOWN, no code with that
                reference waits for approval; OPERATOR_SIGNATURE or TWO_PERSONS_REQUIRED, what waits is not what the
                first operator signed; STATEMENT_DIFFERS, it is not what the second one read.
            DomainsNotSecure: a DNS name is not secure any more; the code keeps waiting.
        """
        waiting = await self._waiting(selector)
        async with self._trail.refusals(EventType.CODE_APPROVE, operator, _subject(waiting)):
            found, signer, operator = self._second(waiting, operator, key)
            at = self._pki.clock.now()
            second, salt = draw_second(), new_salt()
            halves = replace(
                found,
                approved_by=operator.id,
                approved_at=at,
                second_salt=salt,
                second_verifier=await asyncio.to_thread(verifier_of, second, salt),
            )
            approval = self._pki.warrants.roster.approve(signer, halves, at, statement)
            await self._pki.domains.require_secure(found.dns_names)
            async with self._pki.database.write() as connection:
                codes = Codes(connection)
                # Whether it still waits is decided here. What it says is not: who changes that meanwhile has a code
                # that the approval does not fit, and that gets nothing.
                if not await codes.approve(halves, approval):
                    raise _nothing_waits()
                approved = await _known(codes, selector)
                await self._trail.code(connection, EventType.CODE_APPROVE, operator, approved, signed_details(approval))
        return approved, in_groups(second)

    async def _waiting(self, selector: str) -> EnrolmentCode | None:
        async with self._pki.database.read() as connection:
            return await Codes(connection).by_selector(selector)

    def _second(
        self, waiting: EnrolmentCode | None, operator: Actor, key: KeySigner | None
    ) -> tuple[EnrolmentCode, KeySigner, Actor]:
        if waiting is None or waiting.status != "pending":
            raise _nothing_waits()
        operator = self._proven(operator, key, needed=True)
        if key is None:
            raise LookupError("an operator was proven without a key")
        return waiting, key, operator

    async def withdraw(self, selector: str, operator: Actor) -> EnrolmentCode:
        """The code will not work any more.

        Raises:
            Refused: CODE_UNKNOWN, no open code has that reference.
        """
        async with (
            self._trail.refusals(EventType.CODE_WITHDRAW, operator, "unknown"),
            self._pki.database.write() as connection,
        ):
            codes = Codes(connection)
            if not await codes.withdraw(selector):
                raise Refused(Reason.CODE_UNKNOWN, "Expected the reference of a code that is open.")
            withdrawn = await _known(codes, selector)
            await self._trail.code(connection, EventType.CODE_WITHDRAW, operator, withdrawn)
        return withdrawn

    async def find(self, *, still_open: bool) -> list[EnrolmentCode]:
        """Codes, newest first; what expired is shown as expired."""
        async with self._pki.database.write() as connection:
            codes = Codes(connection)
            await codes.expire(self._pki.clock.now())
            conditions = [enrolment_codes.c.status.in_(("pending", "ready", "locked"))] if still_open else []
            return await codes.find(*conditions)

    async def block_keys(self, names: Sequence[KeyName], why: str, operator: Actor) -> tuple[int, list[Registered]]:
        """Never certify these keys again, in no dress, and revoke what has them (keyCompromise).

        Args:
            names: of which a core that is not known here is not found in another dress.
            why: a coded word.
            operator: who says so.

        Returns:
            How many were not blocked before, and what was revoked.

        Raises:
            TypeError: this desk was opened without the key that signs CRLs.
        """
        pki = self._pki
        if not isinstance(pki, OpenAuthority):
            raise TypeError("blocking a key revokes, which takes the whole authority")
        added, revoked = 0, []
        keys = list(dict.fromkeys(names))
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            async with self._pki.database.write() as connection:
                new = await Keys(connection).block(some, why, operator.id, self._pki.clock.now())
                details = {"keys": len(some), "added": new, "why": why}
                await self._trail.write(connection, EventType.KEY_BLOCK, operator, "unknown", details=details)
            added += new
            # A second transaction on purpose: whoever is certified meanwhile is either found here or sees the block
            # when its outcome is recorded (`Register.complete`).
            async with self._pki.database.read() as connection:
                dressed = [*some, *await Keys(connection).known([name.subject_key for name in some])]
                found = await Register(connection).find(has_key(dressed), certificates.c.status.in_((*LIVE, *UNDERWAY)))
            if found:
                try:
                    revoked += await pki.withdrawal.revoke(found, RevocationReason.KEY_COMPROMISE, operator)
                except Refused as refused:
                    # Somebody else was faster, and for the same reason: what was asked for is so.
                    if refused.reason is not Reason.CERTIFICATE_NOT_ACTIVE:
                        raise
        return added, revoked

    def _proven(self, operator: Actor, key: KeySigner | None, *, needed: bool) -> Actor:
        """Who acts: by his key, or by what the command line knows where that is enough."""
        if key is not None:
            return keyed(self._pki.warrants.roster.name_of(key), operator)
        if needed:
            raise Refused(
                Reason.OPERATOR_KEY_REQUIRED,
                "Two operators vouch for a code here, each with a key of his own: give --operator-key.",
            )
        return operator

    def _rehearse(self, environment: str, holder: Holder) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
        self._pki.rehearse(environment, holder, parse_request(csr.public_bytes(Encoding.DER)))


async def _fits_what_there_is(register: Register, code: EnrolmentCode) -> Registered | None:
    """A first certificate is for who has none; a renewal for who has one. Else the party would hear it, days later.

    Returns:
        The certificate that it has.
    """
    found = await register.find(
        certificates.c.environment == code.environment,
        certificates.c.identifier == code.identifier.subject,
        certificates.c.status == "active",
        limit=1,
    )
    if found and code.purpose == ISSUE:
        raise Refused(
            Reason.IDENTITY_HAS_CERTIFICATE,
            f"This party has a certificate until {found[0].not_after:%Y-%m-%d}, which it renews itself (`pki reenrol`)."
            " For other names, or because its key is lost, make a code with --renewal; to start anew, revoke first"
            " (`pki revoke --identity ...`) and make the code then.",
        )
    if not found and code.purpose == RENEW:
        raise Refused(
            Reason.CERTIFICATE_UNKNOWN, "This party has no active certificate here: make the code without --renewal."
        )
    return found[0] if found else None


def signed_details(signed: Signed | None) -> dict[str, str]:
    """A statement for an audit record, whole: the record alone lets an auditor verify it."""
    if signed is None:
        return {}
    return {"statement": signed.statement, "operator_key": signed.key, "signature": signed.signature}


def _columns(made: EnrolmentCode) -> dict[str, object]:
    return {
        "selector": made.selector,
        "salt": made.salt,
        "verifier": made.verifier,
        "environment": made.environment,
        "identifier": made.identifier.subject,
        "organization": made.organization,
        "kvk": made.kvk,
        "dns_names": json.dumps(made.dns_names),
        "status": made.status,
        "two_person": made.two_person,
        "created_by": made.created_by,
        "created_at": made.created_at,
        "expires_at": made.expires_at,
        "purpose": made.purpose,
        "subject_key": made.subject_key,
        **({} if made.request is None else columns_of("request", made.request)),
    }


def _subject(code: EnrolmentCode | None) -> str:
    return "unknown" if code is None else code.identifier.subject


def _nothing_waits() -> Refused:
    return Refused(Reason.CODE_UNKNOWN, "Expected the reference of a code that waits for approval.")


async def _known(codes: Codes, selector: str) -> EnrolmentCode:
    found = await codes.by_selector(selector)
    if found is None:
        raise LookupError("a code that was changed a moment ago is gone")
    return found
