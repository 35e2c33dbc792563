"""Background tasks that keep the trust store current: authz over mTLS, CRLs over plain HTTP, each by long poll.

A source that has something new answers at once, so a revocation arrives within a fraction of its 2 seconds; a source
that is away is asked again with a growing pause, and the store tells by itself when its material gets too old.
Specification: shared `spec/policy.md`, "Bundles" (long poll). How a source is followed: `authz.edge.long_poll`.
"""

import asyncio
from dataclasses import dataclass
from typing import Final, Self

import httpx
import structlog

from authz.domain.errors import SluisError
from authz.edge.http_client import http_client
from authz.edge.long_poll import LongPoll, Source
from trust_agent.authz_client import AuthzClient
from trust_agent.trust_store import TrustStore

_LOG: Final = structlog.get_logger(__name__)
_REFETCH_EVERY: Final = 5.0
"""Seconds between two fetches of the keys for an unknown key id, which anybody with a certificate can bring up."""
_REFETCH_TIMEOUT: Final = 1.0
_MAX_BYTES: Final = 16 * 1024 * 1024
"""Of each material; a CRL of 350,000 entries, a feed of 350,000 revocations."""
_ACCEPT: Final = {
    "jwks": "application/jwk-set+json, application/json",
    "revocations": "application/jwt",
    "bundle": "application/vnd.openpolicyagent.bundles, application/gzip",
}


@dataclass(frozen=True, slots=True)
class Sources:
    """Where material comes from.

    Attributes:
        bundle: name of the policy bundle.
        crls: URLs of the CRLs.
        wait: seconds of a long poll.
    """

    bundle: str
    crls: tuple[str, ...]
    wait: int


class Fetcher:
    """Runs the tasks.

    Args:
        store: what the material is for.
        sources: where it comes from.
        authz: client for authz.
        timeout: seconds beyond the long poll.
    """

    def __init__(self, store: TrustStore, sources: Sources, authz: AuthzClient, timeout: float) -> None:
        self._store = store
        self._sources = sources
        self._authz = authz
        self._plain = http_client()
        self._timeout = timeout
        self._tasks: list[asyncio.Task[None]] = []
        self._last_refetch = float("-inf")
        self._refetching = asyncio.Lock()
        self._keys_known = asyncio.Event()
        paths = {"jwks": "/jwks", "revocations": "/revocations", "bundle": f"/bundles/{sources.bundle}"}
        self._authz_polls = {name: self._authz_poll(name, authz.url + path) for name, path in paths.items()}
        self.crl_polls = {url: self._crl_poll(url) for url in sources.crls}
        """What follows each CRL, by URL."""

    @property
    def failures(self) -> dict[str, int]:
        """Failed attempts since the last success, by name, for metrics."""
        polls = [*self._authz_polls.items(), *((f"crl {url}", poll) for url, poll in self.crl_polls.items())]
        return {name: poll.trouble.count for name, poll in polls if poll.trouble.count}

    async def __aenter__(self) -> Self:
        self._store.refetch = self.refetch_keys
        if len(self._store.keys):
            self._keys_known.set()
        for name, poll in self._authz_polls.items():
            work = self._after_the_keys(poll) if name == "revocations" else poll.run()
            self._tasks.append(asyncio.create_task(work, name=f"fetch {name}"))
        for poll in self.crl_polls.values():
            self._tasks.append(asyncio.create_task(poll.run(), name="fetch crl"))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._plain.aclose()

    async def refetch_keys(self) -> bool:
        """Fetch the keys now, at most once in `_REFETCH_EVERY` seconds, and wait for it shortly."""
        loop = asyncio.get_running_loop()
        if loop.time() - self._last_refetch < _REFETCH_EVERY or self._refetching.locked():
            return False
        async with self._refetching:
            self._last_refetch = loop.time()
            before = self._store.keys
            try:
                async with asyncio.timeout(_REFETCH_TIMEOUT):
                    await self._authz_polls["jwks"].fetch(waiting=False)
            except (httpx.HTTPError, SluisError, TimeoutError) as error:
                _LOG.warning("refetch_failed", why=type(error).__name__)
            return self._store.keys is not before

    async def _after_the_keys(self, poll: LongPoll) -> None:
        # The feed is signed with a key of the set: without the set it cannot be verified.
        await self._keys_known.wait()
        await poll.run()

    def _authz_poll(self, name: str, url: str) -> LongPoll:
        async def take(content: bytes, etag: str | None) -> bool:
            if name == "bundle":
                # Compiling takes a third of a second, in which decisions go on with the policies of before.
                await asyncio.to_thread(self._store.take, name, content, etag or "")
            else:
                self._store.take(name, content, etag or "")
            if name == "jwks":
                self._keys_known.set()
            _LOG.info("material_taken", material=name)
            return True

        source = Source(
            name,
            url,
            _ACCEPT[name],
            _MAX_BYTES,
            take,
            self._authz.current,
            confirm=lambda: self._store.confirm(name),
            prefer="modes=snapshot;" if name == "bundle" else "",
            wait=self._sources.wait,
            timeout=self._timeout,
            extensions=self._authz.extensions,
        )
        return LongPoll(source, self._store.etag(name) or None)

    def _crl_poll(self, url: str) -> LongPoll:
        async def take(content: bytes, _etag: str | None) -> bool:
            # A long list takes a while, in which decisions go on with the list of before.
            newer = await asyncio.to_thread(self._store.take_crl, content)
            _LOG.info("crl_fetched", newer=newer)
            return newer

        return LongPoll(
            Source(
                f"crl {url}",
                url,
                "application/pkix-crl",
                _MAX_BYTES,
                take,
                lambda: self._plain,
                wait=self._sources.wait,
                timeout=self._timeout,
            )
        )
