"""OCSP answers that were signed ahead of time: what is kept of each, whether it still counts, and as bytes.

Specification: RFC 6960 section 2.5 (pre-production); RFC 5019 sections 2.1.1 and 2.2. Of an answer only what cannot be
made again is kept: its time and its signatures. The rest follows from the register and is written anew for whoever
asks, which takes microseconds, so that 100,000 certificates take tens of megabytes and not hundreds.

Looks nothing up: whether a status is still true is decided by `pki.ocsp.responder`, by the version of the register.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pki.ocsp.key import ResponderKey
from pki.ocsp.messages import Question, Status, Window, certificate_id, encode_answers, join_response
from pki.revocation.crl import RevocationReason

FORMS: Final = ("sha1", "sha256")
"""How clients name the CA in a question; both are signed. Others, which nobody uses, are signed when asked for."""
MAX_AHEAD: Final = 250_000
"""Certificates of one CA that are kept, about 700 bytes each. Those beyond are signed when asked for."""
_SPREAD: Final = 64


@dataclass(slots=True)
class Signed:
    """What is kept of the answer about one certificate.

    Attributes:
        status: what it says.
        version: of the register, at which the status was last seen to be true.
        key: that signed it.
        this_update: when, in whole seconds, UTC.
        signatures: one for each of `FORMS`.
        round: number of the round that saw the certificate last.
    """

    status: Status
    version: int
    key: ResponderKey
    this_update: datetime
    signatures: tuple[bytes, ...]
    round: int = 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """One certificate whose answer is to be signed, and what the register says of it."""

    serial_number: int
    status: Status


class SignedAhead:
    """The answers of one CA.

    Args:
        hashes: every way in which a question may name the CA (`issuer_hashes`).
        life: of an answer.
        limit: certificates that are kept.
    """

    def __init__(self, hashes: Iterable[tuple[str, bytes, bytes]], life: timedelta, limit: int = MAX_AHEAD) -> None:
        known = {kind: (kind, name, key) for kind, name, key in hashes}
        self._hashes = tuple(known[kind] for kind in FORMS)
        self._life = life
        self._limit = limit
        self._signed: dict[int, Signed] = {}
        self._held: set[int] = set()
        self._round = 0
        self.left_out = 0
        """Certificates that the last complete round saw and that were not kept, because there are too many."""

    def __len__(self) -> int:
        return len(self._signed)

    # -- for one who asks ---------------------------------------------------------------------------------------

    def form_of(self, question: Question) -> int | None:
        """Which of `FORMS` a question has; None when it is spelled in another way."""
        kind = question.issuer[0]
        if kind not in FORMS or question.certificate_id != certificate_id(question.issuer, question.serial_number):
            return None
        return FORMS.index(kind)

    def usable(self, serial_number: int, at: datetime) -> Signed | None:
        """What is held about a certificate, unless half of its life is over or the clock went back behind it."""
        held = self._signed.get(serial_number)
        if held is None or not held.this_update <= at < held.this_update + self._life / 2:
            return None
        return held if at < held.key.not_after else None

    def response(self, held: Signed, question: Question, form: int) -> tuple[bytes, Window]:
        """DER of the OCSPResponse, byte for byte the same for everybody, and when it counts."""
        window = self._window(held.key, held.this_update)
        data = encode_answers(held.key.key_hash, [(question, held.status)], window, None)
        signer = held.key.signer
        return join_response(data, signer.algorithm, held.signatures[form], held.key.certificate), window

    # -- making -------------------------------------------------------------------------------------------------

    def to_sign(self, seen: Iterable[Wanted], version: int, at: datetime) -> list[Wanted]:
        """Which of the certificates that the register was just asked about need another answer.

        Of the others it is noted that they were true at `version`. An answer is made anew between a sixth and a third
        of its life, each at its own age, so that what was signed together is not renewed together.
        """
        found = []
        for item in seen:
            held = self._signed.get(item.serial_number)
            if held is None or held.status != item.status or not self._is_young(item.serial_number, held, at):
                found.append(item)
                continue
            held.version = version
            held.round = self._round
        return found

    def sign(self, key: ResponderKey, wanted: Iterable[Wanted], version: int, at: datetime) -> list[tuple[int, Signed]]:
        """Sign; changes nothing here, so that it may run in a thread.

        Raises:
            SignerError: the key cannot be used.
        """
        window, made = self._window(key, at), []
        for item in wanted:
            signatures = []
            for issuer in self._hashes:
                named = certificate_id(issuer, item.serial_number)
                question = Question(named, issuer, item.serial_number)
                signatures.append(
                    key.signer.sign(encode_answers(key.key_hash, [(question, item.status)], window, None))
                )
            made.append((item.serial_number, Signed(item.status, version, key, at, tuple(signatures))))
        return made

    def keep(self, made: Iterable[tuple[int, Signed]]) -> int:
        """Take what was signed into use, unless something newer took its place meanwhile.

        Returns:
            How many were not kept because there are too many.
        """
        refused = 0
        for serial_number, new in made:
            old = self._signed.get(serial_number)
            if old is not None and old.version > new.version and old.this_update >= new.this_update:
                continue
            if old is None and len(self._signed) >= self._limit:
                refused += 1
                continue
            new.round = self._round
            self._signed[serial_number] = new
            (self._held.add if _on_hold(new.status) else self._held.discard)(serial_number)
        return refused

    def on_hold(self) -> list[int]:
        """Certificates that are on hold as far as is known here: being released leaves no moment in the register."""
        return list(self._held)

    def begin_round(self) -> None:
        """A look at every certificate of the register begins."""
        self._round += 1
        self.left_out = 0

    def end_round(self) -> None:
        """Every certificate was looked at: forget those that are no longer there, because they expired."""
        for serial_number in [number for number, held in self._signed.items() if held.round != self._round]:
            del self._signed[serial_number]
            self._held.discard(serial_number)

    # -- for the operator ---------------------------------------------------------------------------------------

    def count(self, at: datetime) -> tuple[int, float]:
        """How many can be given to who asks now, and the age of the oldest of these in seconds (0 without any)."""
        oldest = at - self._life / 2
        made = [held.this_update for held in self._signed.values() if oldest < held.this_update <= at]
        return len(made), (at - min(made, default=at)).total_seconds()

    def _is_young(self, serial_number: int, held: Signed, at: datetime) -> bool:
        limit = self._life / 6 + (self._life / 6) * (serial_number % _SPREAD) / _SPREAD
        return held.this_update <= at < min(held.this_update + limit, held.key.not_after)

    def _window(self, key: ResponderKey, made: datetime) -> Window:
        return Window(made, min(made + self._life, key.not_after))


def _on_hold(status: Status) -> bool:
    return status.reason is RevocationReason.CERTIFICATE_HOLD
