"""The OCSP responder: what the register says of a certificate, signed by a delegated key.

Specification: RFC 6960; RFC 5019 (answers made once and given to everybody); shared `spec/pki.md`, "Revocation". An
answer without a nonce is signed when it is first asked for and given to whoever asks the same, until half its life is
over or the register says something else; with a nonce it is signed for the one who asks. Each request looks at the
change counter of the register first, so no answer outlives a revocation here, whichever process made it.
"""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from authz.domain.clock import Clock
from authz.domain.errors import Refused
from pki.issuing import IssuingCa, IssuingError
from pki.ocsp import (
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
from pki.responder_key import RENEW_BEFORE, ResponderKey, issuer_hashes, new_responder_key
from pki.signer import SignerError
from pki.store.database import Database, StoreUnavailable
from pki.store.status import UNKNOWN, StatusRegister

ANSWER_LIFE: Final = timedelta(hours=1)
"""nextUpdate after thisUpdate: the age that the field allows a CRL."""
MAX_KEPT: Final = 20_000
"""Signed answers in memory, about a kilobyte each."""


@dataclass(frozen=True, slots=True)
class OcspAnswer:
    """What is sent.

    Attributes:
        content: DER of the OCSPResponse.
        window: when it counts; None for an error, and for an answer with a nonce, which nobody may keep.
    """

    content: bytes
    window: Window | None = None


@dataclass(frozen=True, slots=True)
class _Kept:
    status: Status
    version: int
    key: ResponderKey
    answer: OcspAnswer


class Responder:
    """Answers for the issuing CAs of one installation.

    Args:
        database: the register.
        cas: issuing CAs.
        clock: read once for each request.
        life: of an answer.
    """

    def __init__(
        self, database: Database, cas: tuple[IssuingCa, ...], clock: Clock, life: timedelta = ANSWER_LIFE
    ) -> None:
        self._database = database
        self._cas = {ca.name: ca for ca in cas}
        self._hashes = {ca.name: frozenset(issuer_hashes(ca)) for ca in cas}
        self._clock = clock
        self._life = life
        self._keys: dict[str, ResponderKey] = {}
        self._certifying = asyncio.Lock()
        self._kept: OrderedDict[tuple[str, bytes], _Kept] = OrderedDict()

    def speaks_for(self, name: str) -> bool:
        """Whether there is a CA of this name."""
        return name in self._cas

    async def answer(self, name: str, der: bytes) -> OcspAnswer:
        """Answer one request to the responder of one CA.

        Args:
            name: of the CA; one that `speaks_for`.
            der: the request as it came.

        Returns:
            Always an answer; RFC 6960 has its own errors, which are not signed.
        """
        try:
            request = parse_request(der)
        except MalformedRequest:
            return OcspAnswer(error_response(ErrorStatus.MALFORMED_REQUEST))
        if any(question.issuer not in self._hashes[name] for question in request.questions):
            # RFC 5019 section 2.2.3: not an authority on that certificate.
            return OcspAnswer(error_response(ErrorStatus.UNAUTHORIZED))
        try:
            return await self._authoritative(self._cas[name], request)
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

    async def _authoritative(self, ca: IssuingCa, request: OcspRequest) -> OcspAnswer:
        at = self._clock.now().replace(microsecond=0)
        key = await self._key(ca, at)
        alone = request.questions[0] if len(request.questions) == 1 and request.nonce is None else None
        async with self._database.read() as connection:
            register = StatusRegister(connection)
            version = await register.version()
            if alone is not None and (kept := self._usable(ca, alone, key, at)) and kept.version == version:
                return kept.answer
            serials = [f"{question.serial_number:x}" for question in request.questions]
            found = await register.statuses(ca.name, serials)
        answers = [
            (question, found.get(serial, UNKNOWN)) for question, serial in zip(request.questions, serials, strict=True)
        ]
        if alone is None:
            window = Window(at, min(at + self._life, key.not_after))
            return OcspAnswer(_signed(key, answers, window, request.nonce), None if request.nonce else window)
        return self._shared(ca, answers[0], version, at)

    def _shared(self, ca: IssuingCa, found: tuple[Question, Status], version: int, at: datetime) -> OcspAnswer:
        question, status = found
        key = self._keys[ca.name]
        kept = self._usable(ca, question, key, at)
        if kept is not None and kept.status == status:
            answer = kept.answer
        else:
            window = Window(at, min(at + self._life, key.not_after))
            answer = OcspAnswer(_signed(key, [(question, status)], window, None), window)
        # What is unknown may be issued any moment, without the counter telling; and anybody can ask about anything.
        if status.known:
            self._kept[ca.name, question.certificate_id] = _Kept(status, version, key, answer)
            self._kept.move_to_end((ca.name, question.certificate_id))
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        return answer

    def _usable(self, ca: IssuingCa, question: Question, key: ResponderKey, at: datetime) -> _Kept | None:
        kept = self._kept.get((ca.name, question.certificate_id))
        if kept is None or kept.key is not key or kept.answer.window is None:
            return None
        fresh = kept.answer.window.this_update <= at < kept.answer.window.this_update + self._life / 2
        return kept if fresh else None

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
