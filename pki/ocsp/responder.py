"""The OCSP responder: what the register says of a certificate, signed by a delegated key.

Specification: RFC 6960; RFC 5019 (answers made once and given to everybody); shared `spec/pki.md`, "Revocation"
("pre-signed, nonce echoed when asked"). An answer without a nonce was signed ahead of time (`pki.ocsp.rounds`),
and is given to whoever asks until half its life is over or the register says something else; one that is missing,
because the certificate is new, is signed at once. With a nonce it is signed for the one who asks, in a thread and
within a budget (decision 0123); beyond that he gets the answer without it, which RFC 5019 section 4 tells clients to
take, or "try later" where there is none. Each request looks at
the change counter of the register first, so no answer outlives a revocation here, whichever process made it, and a
register that cannot be read means "try later".
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from authz.domain.clock import Clock
from authz.domain.errors import Refused
from pki.issuing import IssuingCa, IssuingError
from pki.ocsp.ahead import MAX_AHEAD, SignedAhead, Wanted
from pki.ocsp.budget import SigningBudget
from pki.ocsp.key import RENEW_BEFORE, ResponderKey, issuer_hashes, new_responder_key
from pki.ocsp.messages import (
    ErrorStatus,
    MalformedRequest,
    OcspRequest,
    Question,
    Status,
    Window,
    encode_answers,
    error_response,
    join_response,
    parse_request,
)
from pki.signing.signer import SignerError
from pki.store.database import Database, StoreUnavailable
from pki.store.status import UNKNOWN, StatusRegister

ANSWER_LIFE: Final = timedelta(hours=1)
"""nextUpdate after thisUpdate: the age that the field allows a CRL."""
AT_ONCE: Final = 2
"""Answers that are signed for who asks at the same time; others wait their turn."""
_LOG: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class OcspAnswer:
    """What is sent.

    Attributes:
        content: DER of the OCSPResponse.
        window: when it counts; None for an error, and for an answer with a nonce, which nobody may keep.
    """

    content: bytes
    window: Window | None = None


class Responder:
    """Answers for the issuing CAs of one installation.

    Args:
        database: the register.
        cas: issuing CAs.
        clock: read once for each request.
        life: of an answer.
        limit: certificates of one CA whose answers are kept.
        budget: how many answers are signed for who asks.
    """

    def __init__(  # noqa: PLR0917  the last ones are for tests
        self,
        database: Database,
        cas: tuple[IssuingCa, ...],
        clock: Clock,
        life: timedelta = ANSWER_LIFE,
        limit: int = MAX_AHEAD,
        budget: SigningBudget | None = None,
    ) -> None:
        self._database = database
        self._cas = {ca.name: ca for ca in cas}
        hashes = {ca.name: issuer_hashes(ca) for ca in cas}
        self._hashes = {name: frozenset(theirs) for name, theirs in hashes.items()}
        self.ahead = {name: SignedAhead(theirs, life, limit) for name, theirs in hashes.items()}
        """What was signed ahead of time, by name of the CA."""
        self.given = {"ahead": 0, "asked": 0}
        """Answers given since the start: signed before they were asked for, and because they were."""
        self._clock = clock
        self._life = life
        self._keys: dict[str, ResponderKey] = {}
        self._certifying = asyncio.Lock()
        self._budget = budget or SigningBudget()
        self._signing = asyncio.Semaphore(AT_ONCE)

    def speaks_for(self, name: str) -> bool:
        """Whether there is a CA of this name."""
        return name in self._cas

    async def answer(self, name: str, der: bytes, source: str = "") -> OcspAnswer:
        """Answer one request to the responder of one CA.

        Args:
            name: of the CA; one that `speaks_for`.
            der: the request as it came.
            source: who counts as one asker (`authz.edge.rate.network_of`).

        Returns:
            Always an answer; RFC 6960 has its own errors, which are not signed.
        """
        try:
            return await self._answer(name, der, source)
        except Exception as error:  # noqa: BLE001  RFC 6960 section 2.3: whatever went wrong has an answer
            # Its kind only: the text may hold what was asked.
            _LOG.error("ocsp_failed", why=type(error).__name__)
            return OcspAnswer(error_response(ErrorStatus.INTERNAL_ERROR))

    async def _answer(self, name: str, der: bytes, source: str) -> OcspAnswer:
        try:
            request = parse_request(der)
        except MalformedRequest:
            return OcspAnswer(error_response(ErrorStatus.MALFORMED_REQUEST))
        if any(question.issuer not in self._hashes[name] for question in request.questions):
            # RFC 5019 section 2.2.3: not an authority on that certificate.
            return OcspAnswer(error_response(ErrorStatus.UNAUTHORIZED))
        try:
            return await self._authoritative(self._cas[name], request, source)
        except (StoreUnavailable, SignerError):
            return OcspAnswer(error_response(ErrorStatus.TRY_LATER))
        except (IssuingError, Refused):  # the key of the CA, or the lints, do not do what they should
            return OcspAnswer(error_response(ErrorStatus.INTERNAL_ERROR))

    async def refresh(self) -> None:
        """See to it that there is a key for every CA, ahead of the requests.

        Raises:
            StoreUnavailable, SignerError, IssuingError: one cannot be made; the one before works until it ends.
        """
        for ca in self._cas.values():
            await self._key(ca, self._clock.now())

    async def key(self, name: str) -> ResponderKey:
        """The key that speaks for a CA at this moment.

        Raises:
            StoreUnavailable, SignerError, IssuingError: there is none and none can be made.
        """
        return await self._key(self._cas[name], self._clock.now())

    async def _authoritative(self, ca: IssuingCa, request: OcspRequest, source: str) -> OcspAnswer:
        at = self._clock.now().replace(microsecond=0)
        key, ahead = await self._key(ca, at), self.ahead[ca.name]
        first = request.questions[0]
        form = ahead.form_of(first) if len(request.questions) == 1 else None
        nonce, paid = request.nonce, False
        if form is None or nonce is not None:
            paid = self._budget.take(source)
            if form is None and not paid:
                return OcspAnswer(error_response(ErrorStatus.TRY_LATER))
            if not paid:
                nonce = None
            else:
                form = None
        async with self._database.read() as connection:
            register = StatusRegister(connection)
            version = await register.version()
            if form is not None and (held := ahead.usable(first.serial_number, at)) and held.version == version:
                self.given["ahead"] += 1
                return OcspAnswer(*ahead.response(held, first, form))
            serials = [f"{question.serial_number:x}" for question in request.questions]
            found = await register.statuses(ca.name, serials)
        answers = [
            (question, found.get(serial, UNKNOWN)) for question, serial in zip(request.questions, serials, strict=True)
        ]
        # What is unknown may be issued any moment, without the counter telling; and anybody can ask about anything.
        if form is not None and answers[0][1].known:
            wanted = Wanted(first.serial_number, answers[0][1])
            held = ahead.usable(wanted.serial_number, at)
            if held is None or held.status != wanted.status:
                ((_, held),) = made = ahead.sign(key, [wanted], version, at)
                ahead.keep(made)
                self.given["asked"] += 1
            else:
                # Something else changed in the register.
                held.version = version
                self.given["ahead"] += 1
            return OcspAnswer(*ahead.response(held, first, form))
        if not paid and not self._budget.take(source):
            return OcspAnswer(error_response(ErrorStatus.TRY_LATER))
        self.given["asked"] += 1
        window = Window(at, min(at + self._life, key.not_after))
        async with self._signing:
            content = await asyncio.to_thread(_signed, key, answers, window, nonce)
        return OcspAnswer(content, None if nonce else window)

    async def _key(self, ca: IssuingCa, at: datetime) -> ResponderKey:
        async with self._certifying:
            held = self._keys.get(ca.name)
            if held is not None and at < held.not_after - RENEW_BEFORE:
                return held
            try:
                self._keys[ca.name] = await new_responder_key(self._database, ca, at)
            except (StoreUnavailable, SignerError):
                if held is None or at >= held.not_after:
                    raise
                return held
            return self._keys[ca.name]


def _signed(key: ResponderKey, answers: list[tuple[Question, Status]], window: Window, nonce: bytes | None) -> bytes:
    data = encode_answers(key.key_hash, answers, window, nonce)
    return join_response(data, key.signer.algorithm, key.signer.sign(data), key.certificate)
