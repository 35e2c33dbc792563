"""Signing OCSP answers ahead of time: rounds along the register, and at once what has just changed.

Specification: shared `spec/pki.md`, "Revocation" ("OCSP responder, pre-signed"); RFC 6960 section 2.5. Every
certificate that has not expired gets an answer, made anew before half of its life is over. A round goes in small steps:
one page of the register, its signatures in a thread, then a pause three times as long as the work was. So a start with
100,000 certificates is quiet work, and whoever asks meanwhile gets an answer that is signed for him.

Expired certificates have no answers ahead: nobody accepts them, so nobody has to know. What the register says about
them is signed when asked for, for as long as the register has them. Nothing here decides that an answer is still true:
that is seen at each request (`pki.ocsp.responder`), so what is overlooked or late here costs time, and never truth.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

import structlog

from authz.domain.clock import Clock
from authz.domain.errors import Refused
from authz.edge.pages import Sample
from pki.issuing import IssuingError
from pki.ocsp.ahead import Wanted
from pki.ocsp.messages import Status
from pki.ocsp.responder import ANSWER_LIFE, Responder
from pki.signing.signer import SignerError
from pki.store.database import Database, StoreUnavailable
from pki.store.status import StatusRegister

PAGE: Final = 100
"""Certificates in one step: a few milliseconds of work."""
EVERY: Final = ANSWER_LIFE / 12
"""Between the starts of two rounds: an answer is renewed at a third of its life, or at the round after that."""
LOOK: Final = 1.0
"""Seconds between looks at the change counter, should nobody wake us."""
MAX_CHANGED: Final = 2_000
"""Certificates that are signed at once after a change; a larger mass revocation starts a round."""
_MARGIN: Final = timedelta(minutes=10)
"""How far back a revocation may be dated that was committed after the last look: waiting for locks, other clocks."""
_REST: Final = 3.0
"""How much longer a pause is than the work before it."""
_SHORTEST: Final = 0.002
_LONGEST: Final = 1.0
_MOST_BACKOFF: Final = 30.0
_LOG: Final = structlog.get_logger(__name__)
_TROUBLE: Final = (StoreUnavailable, SignerError, IssuingError, Refused)


class Rounds:
    """Keeps the answers of a responder signed.

    Args:
        database: the register.
        responder: whose answers.
        clock: read once for each step.
        next_change: gives an event that is set when something published changes, so that a revocation is noticed at
            once; None to look each second.
    """

    def __init__(
        self,
        database: Database,
        responder: Responder,
        clock: Clock,
        next_change: Callable[[], asyncio.Event] | None = None,
    ) -> None:
        self._database = database
        self._responder = responder
        self._clock = clock
        self._next_change = next_change or asyncio.Event
        self._version = -1
        self._looked: datetime | None = None
        self._begun: datetime | None = None
        self._again = False
        self.failures = 0
        """Steps that failed since the start."""

    async def run(self, stop: asyncio.Event) -> None:
        """Go on until `stop`; what fails is tried again, with growing pauses."""
        pause = LOOK
        while not stop.is_set():
            changed = self._next_change()
            try:
                await self.notice()
                if self._is_due(self._clock.now()):
                    await self.round(stop)
                pause = LOOK
            except _TROUBLE as error:
                self.failures += 1
                _LOG.warning("ocsp_not_signed_ahead", why=type(error).__name__)
                pause = min(pause * 2, _MOST_BACKOFF)
            with suppress(TimeoutError):
                if pause > LOOK:
                    await asyncio.wait_for(stop.wait(), pause)
                else:
                    await asyncio.wait_for(changed.wait(), pause)

    async def notice(self) -> None:
        """Sign at once what was revoked, put on hold or released since the last look.

        Raises:
            StoreUnavailable, SignerError, IssuingError, Refused: it could not be done; the next look tries again.
        """
        at = self._clock.now().replace(microsecond=0)
        async with self._database.read() as connection:
            version = await StatusRegister(connection).version()
        if version == self._version:
            return
        since = min(self._looked or at, at) - _MARGIN
        for name, ahead in self._responder.ahead.items():
            async with self._database.read() as connection:
                register = StatusRegister(connection)
                read = await register.version()
                found, complete = await register.changed(name, since, at, MAX_CHANGED)
                on_hold = [f"{number:x}" for number in ahead.on_hold()]
                for first in range(0, len(on_hold), PAGE):
                    found |= await register.statuses(name, on_hold[first : first + PAGE])
            self._again |= not complete
            items = list(found.items())
            for first in range(0, len(items), PAGE):
                await self._sign(name, dict(items[first : first + PAGE]), read, at)
        self._version, self._looked = version, at

    async def round(self, stop: asyncio.Event | None = None) -> None:
        """Look at every certificate and sign what is missing, changed or no longer young.

        Args:
            stop: ends it between two steps.

        Raises:
            StoreUnavailable, SignerError, IssuingError, Refused: it broke off; what was signed stays.
        """
        begun, self._again = self._clock.now(), False
        loop = asyncio.get_running_loop()
        for name, ahead in self._responder.ahead.items():
            ahead.begin_round()
            after = ""
            while True:
                started = loop.time()
                at = self._clock.now().replace(microsecond=0)
                async with self._database.read() as connection:
                    register = StatusRegister(connection)
                    version = await register.version()
                    page = await register.page(name, after, at, PAGE)
                if not page:
                    break
                after = page[-1][0]
                await self._sign(name, dict(page), version, at)
                if version != self._version:
                    await self.notice()
                await asyncio.sleep(min(max((loop.time() - started) * _REST, _SHORTEST), _LONGEST))
                if stop is not None and stop.is_set():
                    return
            ahead.end_round()
        self._begun = begun

    def samples(self) -> list[Sample]:
        """What an operator watches."""
        at = self._clock.now()
        found: list[Sample] = []
        for name, ahead in self._responder.ahead.items():
            number, oldest = ahead.count(at)
            found.append(("sluis_pki_ocsp_signed_ahead", {"issuer": name}, number))
            found.append(("sluis_pki_ocsp_oldest_seconds", {"issuer": name}, oldest))
            found.append(("sluis_pki_ocsp_left_out", {"issuer": name}, ahead.left_out))
        for how, number in self._responder.given.items():
            found.append(("sluis_pki_ocsp_answers_total", {"signed": how}, number))
        found.append(("sluis_pki_ocsp_failures_total", {}, self.failures))
        return found

    def _is_due(self, now: datetime) -> bool:
        # By the clock of the answers: when it jumps, either way, all of them have another age at once.
        return self._again or self._begun is None or not self._begun <= now < self._begun + EVERY

    async def _sign(self, name: str, statuses: Mapping[str, Status], version: int, at: datetime) -> None:
        ahead = self._responder.ahead[name]
        seen = [Wanted(int(serial, 16), status) for serial, status in statuses.items()]
        wanted = ahead.to_sign(seen, version, at)
        if wanted:
            key = await self._responder.key(name)
            ahead.left_out += ahead.keep(await asyncio.to_thread(ahead.sign, key, wanted, version, at))
