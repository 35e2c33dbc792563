"""How material is fetched: conditionally, bounded, and not as often as a caller with odd tokens would like."""

import asyncio
import threading
from typing import Any

import httpx
import pytest

from trust_agent.fetching import Fetcher, Sources
from trust_agent.jws import KeySet
from trust_agent.material import MaterialRefused


class Store:
    """What `Fetcher` needs of a `TrustStore`."""

    def __init__(self) -> None:
        self.taken: dict[str, bytes] = {}
        self.tags: dict[str, str] = {}
        self.confirmed: list[str] = []
        self.crls: list[bytes] = []
        self.taking_threads: set[int] = set()
        self.keys = KeySet({})
        self.refetch: Any = None
        self.changed = asyncio.Event()
        self.refused: set[bytes] = set()

    def etag(self, name: str) -> str:
        return self.tags.get(name, "")

    def take(self, name: str, content: bytes, etag: str) -> None:
        self.changed.set()
        if content in self.refused:
            raise MaterialRefused("no")
        self.taken[name], self.tags[name] = content, etag
        if name == "jwks":
            self.keys = KeySet({})

    def confirm(self, name: str) -> None:
        self.changed.set()
        self.confirmed.append(name)

    def take_crl(self, content: bytes) -> bool:
        self.crls.append(content)
        self.taking_threads.add(threading.get_ident())
        return True


class Authz:
    """What `Fetcher` needs of an `AuthzClient`, over a transport that a test controls."""

    url = "https://authz.test"

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.content = {"/jwks": b"keys", "/revocations": b"feed", "/bundles/default": b"bundle"}
        self.extensions: dict[str, Any] = {}
        self._client = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))

    def current(self) -> httpx.AsyncClient:
        return self._client

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        content = self.content.get(request.url.path)
        if content is None:
            return httpx.Response(503)
        tag = f'"{len(content)}"'
        if request.headers.get("if-none-match") == tag:
            await asyncio.sleep(0.01)
            return httpx.Response(304)
        return httpx.Response(200, content=content, headers={"etag": tag})

    def of(self, path: str) -> list[httpx.Request]:
        return [request for request in self.requests if request.url.path == path]


def make() -> tuple[Fetcher, Store, Authz]:
    store, authz = Store(), Authz()
    return Fetcher(store, Sources("default", (), 30), authz, 5.0), store, authz  # type: ignore[arg-type]


async def until(store: Store, condition: Any) -> None:
    async with asyncio.timeout(60):
        while not condition():
            store.changed.clear()
            await store.changed.wait()


async def test_everything_is_fetched_and_then_asked_for_conditionally() -> None:
    fetcher, store, authz = make()
    async with fetcher:
        await until(store, lambda: set(store.confirmed) >= {"jwks", "revocations", "bundle"})
    assert store.taken == {"jwks": b"keys", "revocations": b"feed", "bundle": b"bundle"}
    first, second = authz.of("/revocations")[:2]
    assert "if-none-match" not in first.headers
    assert second.headers["if-none-match"] == '"4"'
    assert second.headers["prefer"] == "wait=30"
    assert authz.of("/bundles/default")[1].headers["prefer"] == "modes=snapshot;wait=30"


async def test_a_feed_waits_for_the_keys_that_verify_it() -> None:
    fetcher, store, authz = make()
    del authz.content["/jwks"]
    async with fetcher:
        await until(store, lambda: "bundle" in store.taken)
        assert authz.of("/revocations") == []
        authz.content["/jwks"] = b"keys"
        await until(store, lambda: "revocations" in store.taken)


async def test_a_source_that_is_away_is_asked_again_and_told_in_the_metrics() -> None:
    fetcher, store, authz = make()
    bundle = authz.content.pop("/bundles/default")
    async with fetcher:
        await until(store, lambda: "revocations" in store.taken and fetcher.failures.get("bundle"))
        authz.content["/bundles/default"] = bundle
        await until(store, lambda: "bundle" in store.taken)
        await until(store, lambda: not fetcher.failures)


async def test_refused_material_is_a_failure_of_its_source() -> None:
    fetcher, store, _ = make()
    store.refused.add(b"bundle")
    async with fetcher:
        await until(store, lambda: fetcher.failures.get("bundle"))
    assert "bundle" not in store.taken


async def test_an_unknown_key_is_looked_up_once_in_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    # So that a busy machine makes neither the while nor the patience with the answer longer than it is.
    monkeypatch.setattr("trust_agent.fetching._REFETCH_EVERY", 3600.0)
    monkeypatch.setattr("trust_agent.fetching._REFETCH_TIMEOUT", 60.0)
    fetcher, store, authz = make()
    assert await fetcher.refetch_keys() is True
    asked = len(authz.of("/jwks"))
    answers = await asyncio.gather(*(fetcher.refetch_keys() for _ in range(50)))
    assert not any(answers)
    assert len(authz.of("/jwks")) == asked
    assert store.taken["jwks"] == b"keys"


async def test_too_much_of_anything_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trust_agent.fetching._MAX_BYTES", 3)
    fetcher, store, authz = make()
    assert await fetcher.refetch_keys() is False
    assert store.taken == {}
    assert authz.requests


@pytest.mark.parametrize("name", ["jwks", "revocations", "bundle"])
async def test_what_nobody_thought_of_does_not_end_the_following(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("authz.edge.long_poll._FIRST_PAUSE", 0.001)
    fetcher, store, _ = make()
    taking, failing = store.take, iter(range(3))

    def take(of: str, content: bytes, etag: str) -> None:
        if of == name and next(failing, None) is not None:
            store.changed.set()
            raise RuntimeError("nobody thought of this")
        taking(of, content, etag)

    monkeypatch.setattr(store, "take", take)
    async with fetcher:
        await until(store, lambda: name in store.taken)
        assert not any(task.done() for task in fetcher._tasks)


async def test_a_crl_is_taken_beside_the_event_loop_and_failures_are_told() -> None:
    authz, store = Authz(), Store()
    url = "http://pki.test/crl/issuing.crl"
    fetcher = Fetcher(store, Sources("default", (url,), 30), authz, 5.0)  # type: ignore[arg-type]
    fetcher._plain = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, content=b"crl")))
    assert await fetcher.crl_polls[url].fetch() is True
    assert store.crls == [b"crl"]
    assert store.taking_threads.isdisjoint({threading.get_ident()})
    fetcher.crl_polls[url].trouble.failed(RuntimeError())
    assert fetcher.failures == {f"crl {url}": 1}
