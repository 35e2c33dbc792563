"""Following what certificate authorities revoked lately, into our own revocation feed.

Specification: shared `spec/pki.md`, "Revocation"; docs/decisions/0018. Agents follow one feed, ours; a certificate that
its authority revoked stands there by thumbprint, beside what operators blocked, until every CRL in use has it. The URLs
come from the settings and nowhere else (cases/oauth.md 74). Losing sight of an authority opens nothing: validation asks
the CRL, and refuses without a fresh one.
"""

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, Protocol

import httpx

from authz.domain.clock import Clock
from authz.edge.long_poll import LongPoll, Source
from authz.tokens.revocation import Revocation, RevocationKind

MAX_FEED_BYTES: Final = 4 * 1024 * 1024


class RevokedLately(Protocol):
    """A verified feed of one authority (`pki.validation.revocation_feed.VerifiedFeed`)."""

    @property
    def revoked(self) -> Mapping[str, datetime]:
        """Thumbprint -> moment after which the CRLs in use have it."""
        ...


class FollowedRevocations(Protocol):
    """The part of the repository that is not ours to decide about, only to pass on."""

    async def follow(self, present: Sequence[Revocation], gone: Sequence[str]) -> int:
        """Bring the certificates on the list to what an authority says; the version grows only when that changed it.

        Args:
            present: of kind CERTIFICATE.
            gone: thumbprints that were there and are not any more (a hold that was released).

        Returns:
            The version of the list.
        """
        ...


class CertificateFeedMirror:
    """Follows a set of feeds.

    Args:
        urls: where they are published.
        read: verifies a feed at a moment; raises `Refused` when it does not count here.
        repository: where revocations are kept.
        client: HTTP client, owned by the caller.
        clock: the time.
    """

    def __init__(
        self,
        urls: Sequence[str],
        read: Callable[[bytes, datetime], RevokedLately],
        repository: FollowedRevocations,
        client: httpx.AsyncClient,
        clock: Clock,
    ) -> None:
        self._read = read
        self._repository = repository
        self._clock = clock
        self._known: dict[str, frozenset[str]] = {}
        self._bodies: dict[str, bytes] = {}
        self.polls = {url: self._poll(url, client) for url in urls}
        """What follows each URL."""

    async def run(self) -> None:
        """Follow every URL until cancelled."""
        await asyncio.gather(*(poll.run() for poll in self.polls.values()))

    def _poll(self, url: str, client: httpx.AsyncClient) -> LongPoll:
        async def take(body: bytes, _etag: str | None) -> bool:
            return await self._take(url, body)

        name = f"certificate feed {url}"
        return LongPoll(Source(name, url, "application/jwt", MAX_FEED_BYTES, take, lambda: client))

    async def _take(self, url: str, body: bytes) -> bool:
        """Take a feed in; tells whether it is another one than before.

        Raises:
            Refused: not a feed that counts here.
            SluisError: it cannot be kept.
        """
        now = self._clock.now()
        feed = self._read(body, now)
        live = {name: until for name, until in feed.revoked.items() if until > now}
        present = [Revocation(RevocationKind.CERTIFICATE, name, until) for name, until in live.items()]
        before, named = self._known.get(url), frozenset(feed.revoked)
        gone = sorted((before or frozenset()) - named)
        await self._repository.follow(present, gone)
        self._known[url] = named
        digest = hashlib.sha256(body).digest()
        another, self._bodies[url] = self._bodies.get(url) != digest, digest
        return another
