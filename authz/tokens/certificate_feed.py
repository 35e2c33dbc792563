"""Following what certificate authorities revoked lately, into our own revocation feed.

Specification: shared `spec/pki.md`, "Revocation"; docs/decisions/0018. Agents follow one feed, ours; a certificate that
its authority revoked stands there by thumbprint, beside what operators blocked, until every CRL in use has it. The URLs
come from the settings and nowhere else (cases/oauth.md 74). Losing sight of an authority opens nothing: validation asks
the CRL, and refuses without a fresh one.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, Protocol

import httpx
import structlog

from authz.domain.clock import Clock
from authz.domain.errors import Refused, SluisError
from authz.edge.entity_tag import usable_tag
from authz.tokens.revocation import Revocation, RevocationKind

WAIT: Final = 30
"""Seconds of a long poll (RFC 7240 `Prefer: wait`)."""
MAX_FEED_BYTES: Final = 4 * 1024 * 1024
_PAUSE: Final = 0.5
"""Seconds between two polls of a server that does not know long polls."""
_FIRST_BACKOFF: Final = 0.2
_LONGEST_BACKOFF: Final = 5.0

_log = structlog.get_logger()


class RevokedLately(Protocol):
    """A verified feed of one authority (`pki.feed_reading.VerifiedFeed`)."""

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
        self._urls = tuple(urls)
        self._read = read
        self._repository = repository
        self._client = client
        self._clock = clock
        self._known: dict[str, frozenset[str]] = {}

    async def run(self) -> None:
        """Follow every URL until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for url in self._urls:
                tasks.create_task(self._follow(url), name="certificate feed")

    async def fetch(self, url: str, etag: str | None) -> str | None:
        """Fetch once, waiting on the server's side for a newer feed than `etag`, and take it in.

        Returns:
            The entity tag to ask with the next time.

        Raises:
            httpx.HTTPError: no answer, or another status than 200 or 304.
            Refused: not a feed that counts here.
            SluisError: it can not be kept.
        """
        headers = {"accept": "application/jwt"}
        if etag is not None:
            headers |= {"if-none-match": etag, "prefer": f"wait={WAIT}"}
        async with self._client.stream(
            "GET", url, headers=headers, timeout=httpx.Timeout(10, read=WAIT + 10)
        ) as answer:
            if answer.status_code == httpx.codes.NOT_MODIFIED:
                return etag
            answer.raise_for_status()
            body = bytearray()
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > MAX_FEED_BYTES:
                    raise httpx.DecodingError("the feed is too large")
        await self._take(url, bytes(body))
        return usable_tag(answer.headers.get("etag"))

    async def _take(self, url: str, body: bytes) -> None:
        now = self._clock.now()
        feed = self._read(body, now)
        live = {name: until for name, until in feed.revoked.items() if until > now}
        present = [Revocation(RevocationKind.CERTIFICATE, name, until) for name, until in live.items()]
        gone = sorted(self._known.get(url, frozenset()) - feed.revoked.keys())
        await self._repository.follow(present, gone)
        self._known[url] = frozenset(feed.revoked)

    async def _follow(self, url: str) -> None:
        etag: str | None = None
        backoff = _FIRST_BACKOFF
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            try:
                newer = await self.fetch(url, etag)
            except (httpx.HTTPError, Refused, SluisError, OSError) as error:
                _log.warning("feed of revoked certificates not taken", url=url, error_kind=type(error).__name__)
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, _LONGEST_BACKOFF)
                continue
            backoff = _FIRST_BACKOFF
            if newer is None or (newer == etag and loop.time() - started < _PAUSE):
                await asyncio.sleep(_PAUSE)
            etag = newer
