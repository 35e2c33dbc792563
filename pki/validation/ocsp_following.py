"""OCSP answers about the certificates that are seen here, fetched ahead of time and kept fresh, never in a request.

Specification: shared `spec/pki.md`, "Validating" rule 4: "OCSP where configured", "fetched ahead of time, never in the
request path". Whoever validates says which certificates of which CA it sees (`saw`, which takes no time); a background
task asks the responder that the settings name for that CA, verifies the answer, puts it into the store that decides,
and writes it into the folder, so that a restart starts with it. An answer is asked for anew at half of its life.

Bounded in every direction: at most `MAX_FOLLOWED` certificates (the longest unseen gives way), `AT_ONCE` questions at a
time, sizes and times of `pki.validation.ocsp_source`. A responder in trouble is asked again with growing pauses that
differ from place to place. What it says is taken only when it is about the certificate that was asked about, is of this
moment, and is not older than what is known. Only certificates that a pinned CA issued are followed, so nobody can fill
it.
"""

import asyncio
import contextlib
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Self

import httpx
import structlog

from authz.domain.clock import Clock
from authz.domain.errors import Refused
from authz.edge.background import keep_running
from authz.edge.http_client import http_client
from pki.validation.ocsp_folder import OcspFolder
from pki.validation.ocsp_source import Asker, NotAnswered, OcspSource
from pki.validation.ocsp_store import VerifiedAnswer

MAX_FOLLOWED: Final = 5_000
FORGET: Final = 24 * 3600.0
"""Seconds after which a certificate that is not seen any more is not asked about any more."""
AT_ONCE: Final = 4
LOOK: Final = 1.0
"""Seconds between looks at what is due."""
SKEW: Final = timedelta(seconds=60)
"""How far the clock of a responder may run ahead."""
_AGAIN: Final = 60.0
"""Seconds until an answer that says "revoked" is asked for again: a hold may be released, and a certificate that is too
new to be known may become known. Also the shortest time between two answers that are taken."""
_FIRST: Final = 2.0
_MOST: Final = 600.0
_LOG: Final = structlog.get_logger(__name__)

Named = tuple[str, int]
"""A certificate: hex SHA-256 of the key of its CA, and its serial number."""


@dataclass(slots=True)
class _Followed:
    seen: float
    wait_until: float = 0.0
    failures: int = 0


class OcspFollower:
    """Fetches answers while the `async with` block runs.

    Args:
        sources: the CAs for which OCSP is configured, and where.
        folder: where answers are kept; its store decides.
        clock: the time by which answers count.
        client: HTTP client for the responders; one of its own when None.
        monotonic: seconds by which pauses are measured.
    """

    def __init__(
        self,
        sources: Sequence[OcspSource],
        folder: OcspFolder,
        clock: Clock,
        client: httpx.AsyncClient | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client or http_client()
        self._sources = {source.issuer_key: source for source in sources}
        self._askers = {key: Asker(source, self._client) for key, source in self._sources.items()}
        self._folder = folder
        self._clock = clock
        self._monotonic = monotonic
        self._trouble: dict[str, int] = {}
        self._followed: OrderedDict[Named, _Followed] = OrderedDict()
        self._gone: set[Named] = set()
        self._new = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.failures: dict[str, int] = {}
        """Questions without an answer that could be used since the last success, by URL of the responder."""

    def __len__(self) -> int:
        return len(self._followed)

    def saw(self, issuer_key: str, serial_number: int) -> None:
        """A certificate was presented that this CA issued; called for each request."""
        if issuer_key not in self._sources:
            return
        named, now = (issuer_key, serial_number), self._monotonic()
        followed = self._followed.get(named)
        if followed is not None:
            followed.seen = now
            self._followed.move_to_end(named)
            return
        self._followed[named] = _Followed(now)
        while len(self._followed) > MAX_FOLLOWED:
            self._gone.add(self._followed.popitem(last=False)[0])
        # Those who wait hold on to the event they wait for; the next ones get a new one.
        new, self._new = self._new, asyncio.Event()
        new.set()

    def without_answer(self, at: datetime) -> int:
        """How many of the certificates that are followed have no answer that counts at this moment."""
        return sum(not self._counts(named, self._folder.store.about(*named), at) for named in self._followed)

    async def __aenter__(self) -> Self:
        # What was followed before a restart is followed on: its parties will be back.
        for issuer_key, serial_number in self._folder.kept(list(self._sources)):
            self.saw(issuer_key, serial_number)
        never = asyncio.Event()
        self._tasks = [
            asyncio.create_task(keep_running("ocsp", partial(self._follow, key), never), name="ocsp")
            for key in self._sources
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.aclose()

    async def look(self, issuer_key: str) -> float:
        """Ask what is due of one CA, a few questions at most.

        Returns:
            Seconds until the next look: 0 when there may be more to ask.
        """
        due = self._due(issuer_key)[:AT_ONCE]
        outcomes = await asyncio.gather(*(self._refresh(named) for named in due))
        self._forget()
        missed = [outcome for outcome in outcomes if isinstance(outcome, NotAnswered)]
        if missed and len(missed) == len(outcomes):
            # It is the responder and not a certificate: leave it alone for a while.
            self._trouble[issuer_key] = self._trouble.get(issuer_key, 0) + 1
            return max(_backoff(self._trouble[issuer_key]), *(problem.after for problem in missed))
        if due:
            self._trouble.pop(issuer_key, None)
        return 0.0 if due else LOOK

    async def _follow(self, issuer_key: str) -> None:
        while True:
            new = self._new
            try:
                rest = await self.look(issuer_key)
            except Exception as error:  # noqa: BLE001  whatever a responder brings must not end the following
                _LOG.error("ocsp_following_failed", error_kind=type(error).__name__)
                rest = _AGAIN
            if rest > LOOK:
                await asyncio.sleep(rest)
            elif rest:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(new.wait(), rest)

    def _due(self, issuer_key: str) -> list[Named]:
        at, now, store = self._clock.now(), self._monotonic(), self._folder.store
        found = []
        for named, followed in self._followed.items():
            if named[0] != issuer_key or now < followed.wait_until:
                continue
            answer = store.about(*named)
            if answer is None or answer.revoked or not self._is_young(named, answer, at):
                found.append((answer is not None, followed.wait_until, named))
        # Those of which nothing is known first, then who waits the longest.
        return [named for _, _, named in sorted(found)]

    async def _refresh(self, named: Named) -> "NotAnswered | Refused | None":
        """Ask about one certificate and take what comes; what went wrong, if something did."""
        issuer_key, _ = named
        try:
            der = await self._askers[issuer_key].ask(named[1])
            newer = await self._folder.keep(der, named, self._clock.now(), SKEW)
        except (NotAnswered, Refused) as problem:
            self._failed(named, str(problem) if isinstance(problem, NotAnswered) else problem.detail)
            return problem
        except Exception as mistake:  # noqa: BLE001  whatever a responder brings: others go on, and this one waits
            why = f"an unforeseen {type(mistake).__name__}"
            self._failed(named, why)
            return NotAnswered(why)
        followed, answer = self._followed.get(named), self._folder.store.about(*named)
        if followed is not None:
            # A responder that has nothing newer is asked less and less; a hold may be released any moment.
            followed.failures = 0 if newer or (answer and answer.revoked) else followed.failures + 1
            followed.wait_until = self._monotonic() + _jitter(min(_AGAIN * 2 ** min(followed.failures, 4), _MOST))
        if self.failures.pop(self._sources[issuer_key].url, 0):
            _LOG.info("ocsp_recovered", url=self._sources[issuer_key].url)
        return None

    def _failed(self, named: Named, why: str) -> None:
        followed, url = self._followed.get(named), self._sources[named[0]].url
        if followed is not None:
            followed.failures += 1
            followed.wait_until = self._monotonic() + _backoff(followed.failures)
        failed = self.failures[url] = self.failures.get(url, 0) + 1
        # The first failures are told, then every hundredth: a responder may be away for an hour.
        if failed <= 2 or failed % 100 == 0:  # noqa: PLR2004
            _LOG.warning("ocsp_not_fetched", url=url, failures=failed, why=why)

    def _is_young(self, named: Named, answer: VerifiedAnswer, at: datetime) -> bool:
        """Whether less than half of its life is over; a clock that went back makes it old as well."""
        life = min(answer.next_update - answer.this_update, self._sources[named[0]].max_age)
        return answer.this_update - SKEW <= at < answer.this_update + life / 2

    def _counts(self, named: Named, answer: VerifiedAnswer | None, at: datetime) -> bool:
        if answer is None:
            return False
        ends = min(answer.next_update, answer.this_update + self._sources[named[0]].max_age)
        return answer.revoked or answer.this_update - SKEW <= at <= ends

    def _forget(self) -> None:
        oldest = self._monotonic() - FORGET
        while self._followed and next(iter(self._followed.values())).seen < oldest:
            self._gone.add(self._followed.popitem(last=False)[0])
        while self._gone:
            named = self._gone.pop()
            if named not in self._followed:
                self._folder.forget(named)


def _backoff(failures: int) -> float:
    return _jitter(min(_FIRST * 2 ** min(failures - 1, 10), _MOST))


def _jitter(seconds: float) -> float:
    # So that all places do not come back at the same moment.
    return seconds * random.uniform(0.8, 1.2)  # noqa: S311
