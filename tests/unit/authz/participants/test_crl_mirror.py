"""CRLs are fetched ahead of time, believed only when verified, and kept for the next start."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from cryptography import x509

from authz.domain.errors import Refused
from authz.edge import long_poll
from authz.participants.crl_mirror import CrlMirror
from pki.validation.crl_store import CrlStore
from tests.fakes.certificates import FakeAuthority

URL = "http://pki.test/crl/issuing.crl"
Handler = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(scope="module")
def ca() -> FakeAuthority:
    return FakeAuthority()


def serving(content: bytes, etag: str = '"1"') -> Handler:
    def handle(request: httpx.Request) -> httpx.Response:
        if request.headers.get("if-none-match") == etag:
            return httpx.Response(304)
        return httpx.Response(200, content=content, headers={"etag": etag})

    return handle


def client(handle: Handler) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.MockTransport(handle))


def kept(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def test_a_crl_is_taken_kept_and_loaded_at_the_next_start(ca: FakeAuthority, tmp_path: Path) -> None:
    crls = ca.crl_store(ca.root_crl())
    async with client(serving(ca.crl())) as http:
        poll = CrlMirror([URL], crls.put, tmp_path, http).polls[URL]
        assert await poll.fetch() is True
        assert await poll.fetch() is False
        assert poll.etag == '"1"'
    assert len(crls.held()) == 2
    again = ca.crl_store(ca.root_crl())
    async with client(serving(b"")) as http:
        CrlMirror([URL], again.put, tmp_path, http).load()
    assert len(again.held()) == 2


async def test_a_crl_of_a_rogue_ca_is_not_kept(ca: FakeAuthority, tmp_path: Path) -> None:
    crls = ca.crl_store(ca.root_crl())
    async with client(serving(ca.rogue().crl())) as http:
        with pytest.raises(Refused):
            await CrlMirror([URL], crls.put, tmp_path, http).polls[URL].fetch()
    assert kept(tmp_path) == []


async def test_a_replayed_older_crl_changes_nothing(ca: FakeAuthority, tmp_path: Path) -> None:
    crls = ca.crl_store(ca.root_crl(), ca.crl(number=5, revoked=[7]))
    before = crls.version
    async with client(serving(ca.crl(number=4))) as http:
        assert await CrlMirror([URL], crls.put, tmp_path, http).polls[URL].fetch() is False
    assert crls.version == before
    assert kept(tmp_path) == []


async def test_a_damaged_file_does_not_stop_the_start(ca: FakeAuthority, tmp_path: Path) -> None:
    (tmp_path / "a.crl").write_bytes(b"damaged")
    (tmp_path / "b.crl").write_bytes(ca.crl())
    crls = ca.crl_store(ca.root_crl())
    async with client(serving(b"")) as http:
        CrlMirror([URL], crls.put, tmp_path, http).load()
    assert len(crls.held()) == 2


async def test_it_goes_on_after_an_error(ca: FakeAuthority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_poll, "_FIRST_PAUSE", 0.001)
    taken, failures = asyncio.Event(), iter([500, 404])

    def recovering(_: httpx.Request) -> httpx.Response:
        status = next(failures, 200)
        return httpx.Response(status, content=ca.crl(), headers={"etag": '"1"'})

    crls = ca.crl_store(ca.root_crl())

    loop = asyncio.get_running_loop()

    def put(der: bytes) -> bool:
        newer = crls.put(der)
        loop.call_soon_threadsafe(taken.set)
        return newer

    async with client(recovering) as http:
        running = asyncio.create_task(CrlMirror([URL], put, tmp_path, http).run())
        await asyncio.wait_for(taken.wait(), 25)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert len(crls.held()) == 2


async def test_a_long_crl_is_verified_beside_the_event_loop(ca: FakeAuthority, tmp_path: Path) -> None:
    threads: list[int] = []

    def put(_: bytes) -> bool:
        threads.append(threading.get_ident())
        return False

    async with client(serving(ca.crl())) as http:
        await CrlMirror([URL], put, tmp_path, http).polls[URL].fetch()
    assert threads
    assert threading.get_ident() not in threads


async def test_a_crl_under_the_url_of_another_does_not_push_it_out(ca: FakeAuthority, tmp_path: Path) -> None:
    root = "http://pki.test/crl/root.crl"
    crls, served = CrlStore([ca.root.der, ca.issuing.der]), {root: ca.root_crl(), URL: ca.crl(number=5)}
    async with client(lambda request: httpx.Response(200, content=served[str(request.url)])) as http:
        mirror = CrlMirror([root, URL], crls.put, tmp_path, http)
        await mirror.polls[root].fetch()
        served[root] = ca.crl(number=6)
        await mirror.polls[root].fetch()
        await mirror.polls[URL].fetch()
    again = CrlStore([ca.root.der, ca.issuing.der])
    async with client(serving(b"")) as http:
        CrlMirror([URL], again.put, tmp_path, http).load()
    assert {crl.der for crl in again.held()} == {crl.der for crl in crls.held()}
    assert len(again.held()) == 2


async def test_a_delta_does_not_push_out_the_complete_list(ca: FakeAuthority, tmp_path: Path) -> None:
    delta = "http://pki.test/crl/issuing-delta.crl"
    changes = ca.crl(number=6, extensions=[(x509.DeltaCRLIndicator(5), True)])
    crls, served = CrlStore([ca.root.der, ca.issuing.der]), {URL: ca.crl(number=5), delta: changes}
    async with client(lambda request: httpx.Response(200, content=served[str(request.url)])) as http:
        mirror = CrlMirror([URL, delta], crls.put, tmp_path, http)
        for poll in mirror.polls.values():
            await poll.fetch()
        again = CrlStore([ca.root.der, ca.issuing.der])
        CrlMirror([URL], again.put, tmp_path, http).load()
    assert {crl.der for crl in again.held()} == set(served.values())
