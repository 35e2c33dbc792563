"""Background tasks that keep the trust store current: authz over mTLS, CRLs over plain HTTP, each by long poll.

A source that has something new answers at once, so a revocation arrives within a fraction of its 2 seconds; a source
that is away is asked again with a growing pause, and the store tells by itself when its material gets too old.
Specification: shared `spec/policy.md`, "Bundles" (long poll); RFC 7240 (`Prefer: wait`); RFC 9110 section 13 (ETag).
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Self

import httpx
import structlog

from authz.edge.entity_tag import usable_tag
from trust_agent.authz_client import AuthzClient
from trust_agent.trust_store import MaterialRefused, TrustStore

_LOG: Final = structlog.get_logger(__name__)
_PAUSE_FIRST: Final = 0.2
_PAUSE_MOST: Final = 10.0
_REFETCH_EVERY: Final = 5.0
"""Seconds between two fetches of the keys for an unknown key id, which anybody with a certificate can bring up."""
_REFETCH_TIMEOUT: Final = 1.0
_MAX_BYTES: Final = 64 * 1024 * 1024
_AFTER_NEW: Final = 0.05
_AFTER_NOTHING: Final = 1.0
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
        self._plain = httpx.AsyncClient(trust_env=False)
        self._timeout = timeout
        self._tasks: list[asyncio.Task[None]] = []
        self._last_refetch = float("-inf")
        self._refetching = asyncio.Lock()
        self._keys_known = asyncio.Event()
        self.failures: dict[str, int] = {}
        """Failed attempts since the last success, by name, for metrics."""

    async def __aenter__(self) -> Self:
        self._store.refetch = self.refetch_keys
        paths = {"jwks": "/jwks", "revocations": "/revocations", "bundle": f"/bundles/{self._sources.bundle}"}
        if len(self._store.keys):
            self._keys_known.set()
        for name, path in paths.items():
            self._start(name, self._authz_poll(name, self._authz.url + path))
        for url in self._sources.crls:
            self._start(f"crl {url}", self._crl_poll(url))
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
                    await self._fetch_once("jwks", self._authz.url + "/jwks", wait=0)
            except (httpx.HTTPError, MaterialRefused, TimeoutError) as error:
                _LOG.warning("refetch_failed", why=type(error).__name__)
            return self._store.keys is not before

    def _start(self, name: str, poll: Callable[[], Awaitable[None]]) -> None:
        self._tasks.append(asyncio.create_task(self._keep_polling(name, poll), name=f"fetch {name}"))

    async def _keep_polling(self, name: str, poll: Callable[[], Awaitable[None]]) -> None:
        pause = _PAUSE_FIRST
        while True:
            try:
                await poll()
            except (httpx.HTTPError, MaterialRefused, OSError) as error:
                failed = self.failures.get(name, 0) + 1
                self.failures[name] = failed
                # The first failures are told, then every tenth: authz may be away for an hour.
                if failed <= 2 or failed % 10 == 0:  # noqa: PLR2004
                    _LOG.warning("fetch_failed", material=name, failures=failed, why=_why(error))
                # Jitter, so that all agents do not come back at the same moment.
                await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311
                pause = min(pause * 2, _PAUSE_MOST)
            else:
                if self.failures.pop(name, 0):
                    _LOG.info("fetch_recovered", material=name)
                pause = _PAUSE_FIRST

    def _authz_poll(self, name: str, url: str) -> Callable[[], Awaitable[None]]:
        async def poll() -> None:
            if name == "revocations" and not self._keys_known.is_set():
                # The feed is signed with a key of the set: without the set it can not be verified.
                await self._keys_known.wait()
            loop = asyncio.get_running_loop()
            begun = loop.time()
            wait = self._sources.wait if self._store.etag(name) else 0
            new = await self._fetch_once(name, url, wait)
            await _no_spinning(loop.time() - begun, new=new)

        return poll

    async def _fetch_once(self, name: str, url: str, wait: int) -> bool:
        headers = {"accept": _ACCEPT[name]}
        if etag := self._store.etag(name):
            headers["if-none-match"] = etag
            headers["prefer"] = f"modes=snapshot;wait={wait}" if name == "bundle" else f"wait={wait}"
        status, answered, content = await self._get(self._authz.current(), url, headers, wait, self._authz.extensions)
        if status == httpx.codes.NOT_MODIFIED:
            self._store.confirm(name)
            return False
        tag = usable_tag(answered.get("etag")) or ""
        if name == "bundle":
            # Compiling takes a third of a second, in which decisions go on with the policies of before.
            await asyncio.to_thread(self._store.take, name, content, tag)
        else:
            self._store.take(name, content, tag)
        if name == "jwks":
            self._keys_known.set()
        _LOG.info("material_taken", material=name)
        return True

    def _crl_poll(self, url: str) -> Callable[[], Awaitable[None]]:
        etag = ""

        async def poll() -> None:
            nonlocal etag
            loop = asyncio.get_running_loop()
            begun = loop.time()
            headers = {"accept": "application/pkix-crl"}
            wait = self._sources.wait if etag else 0
            if etag:
                headers |= {"if-none-match": etag, "prefer": f"wait={wait}"}
            status, answered, content = await self._get(self._plain, url, headers, wait, {})
            if status != httpx.codes.NOT_MODIFIED:
                taken = self._store.take_crl(content)
                etag = usable_tag(answered.get("etag")) or ""
                _LOG.info("crl_fetched", newer=taken)
            await _no_spinning(loop.time() - begun, new=status != httpx.codes.NOT_MODIFIED)

        return poll

    async def _get(
        self, client: httpx.AsyncClient, url: str, headers: dict[str, str], wait: int, extensions: dict[str, Any]
    ) -> tuple[int, httpx.Headers, bytes]:
        timeout = httpx.Timeout(self._timeout, read=self._timeout + wait)
        async with client.stream("GET", url, headers=headers, timeout=timeout, extensions=extensions) as answer:
            if answer.status_code not in {httpx.codes.OK, httpx.codes.NOT_MODIFIED}:
                raise MaterialRefused(f"the source answered {answer.status_code}")
            content = bytearray()
            # Bounded while it arrives: a source is believed to be who it is, not to be well.
            async for part in answer.aiter_bytes():
                content += part
                if len(content) > _MAX_BYTES:
                    raise MaterialRefused("the source sent too much")
            return answer.status_code, answer.headers, bytes(content)


async def _no_spinning(took: float, *, new: bool) -> None:
    # A source without long polling answers "not modified" at once each time: then ask about once a second. After
    # something new the next question follows shortly, because the next revocation may be there already.
    await asyncio.sleep(max(0.0, (_AFTER_NEW if new else _AFTER_NOTHING) - took))


def _why(error: Exception) -> str:
    return str(error) if isinstance(error, MaterialRefused) else type(error).__name__
