"""CRLs are fetched ahead of time, believed only when verified, and kept for the next start."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from authz.domain.errors import Refused
from authz.participants import crl_mirror
from authz.participants.crl_mirror import CrlMirror
from pki.crl_store import CrlStore
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
        mirror = CrlMirror([URL], crls.put, tmp_path, http)
        etag = await mirror.fetch(URL, None)
        assert await mirror.fetch(URL, etag) == etag
    assert len(crls.held()) == 2
    again = ca.crl_store(ca.root_crl())
    async with client(serving(b"")) as http:
        CrlMirror([URL], again.put, tmp_path, http).load()
    assert len(again.held()) == 2


async def test_a_crl_of_a_rogue_ca_is_not_kept(ca: FakeAuthority, tmp_path: Path) -> None:
    crls = ca.crl_store(ca.root_crl())
    async with client(serving(ca.rogue().crl())) as http:
        mirror = CrlMirror([URL], crls.put, tmp_path, http)
        with pytest.raises(Refused):
            await mirror.fetch(URL, None)
    assert kept(tmp_path) == []


async def test_a_replayed_older_crl_changes_nothing(ca: FakeAuthority, tmp_path: Path) -> None:
    crls = ca.crl_store(ca.root_crl(), ca.crl(number=5, revoked=[7]))
    before = crls.version
    async with client(serving(ca.crl(number=4))) as http:
        await CrlMirror([URL], crls.put, tmp_path, http).fetch(URL, None)
    assert crls.version == before
    assert kept(tmp_path) == []


async def test_an_endless_crl_is_given_up(ca: FakeAuthority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crl_mirror, "MAX_CRL_BYTES", 1000)
    async with client(serving(b"x" * 1001)) as http:
        with pytest.raises(httpx.DecodingError):
            await CrlMirror([URL], ca.crl_store().put, tmp_path, http).fetch(URL, None)


async def test_a_redirect_is_not_followed(ca: FakeAuthority, tmp_path: Path) -> None:
    def elsewhere(_: httpx.Request) -> httpx.Response:
        return httpx.Response(302, headers={"location": "http://169.254.169.254/"})

    async with client(elsewhere) as http:
        with pytest.raises(httpx.HTTPStatusError):
            await CrlMirror([URL], ca.crl_store().put, tmp_path, http).fetch(URL, None)


async def test_a_damaged_file_does_not_stop_the_start(ca: FakeAuthority, tmp_path: Path) -> None:
    (tmp_path / "a.crl").write_bytes(b"damaged")
    (tmp_path / "b.crl").write_bytes(ca.crl())
    crls = ca.crl_store(ca.root_crl())
    async with client(serving(b"")) as http:
        CrlMirror([URL], crls.put, tmp_path, http).load()
    assert len(crls.held()) == 2


async def test_it_goes_on_after_an_error(ca: FakeAuthority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crl_mirror, "_FIRST_BACKOFF", 0.001)
    taken, failures = asyncio.Event(), iter([500, 404])

    def recovering(_: httpx.Request) -> httpx.Response:
        status = next(failures, 200)
        return httpx.Response(status, content=ca.crl(), headers={"etag": '"1"'})

    crls = ca.crl_store(ca.root_crl())

    def put(der: bytes) -> bool:
        taken.set()
        return crls.put(der)

    async with client(recovering) as http:
        running = asyncio.create_task(CrlMirror([URL], put, tmp_path, http).run())
        await asyncio.wait_for(taken.wait(), 5)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert len(crls.held()) == 2


async def test_an_entity_tag_that_no_header_can_hold_is_not_sent_back(ca: FakeAuthority, tmp_path: Path) -> None:
    answer = httpx.Response(200, content=ca.crl(), headers=[(b"etag", b'"\xe9"')])
    async with client(lambda _: answer) as http:
        assert await CrlMirror([URL], ca.crl_store().put, tmp_path, http).fetch(URL, None) is None


async def test_a_crl_under_the_url_of_another_does_not_push_it_out(ca: FakeAuthority, tmp_path: Path) -> None:
    root = "http://pki.test/crl/root.crl"
    crls, served = CrlStore([ca.root.der, ca.issuing.der]), {root: ca.root_crl(), URL: ca.crl(number=5)}
    async with client(lambda request: httpx.Response(200, content=served[str(request.url)])) as http:
        mirror = CrlMirror([root, URL], crls.put, tmp_path, http)
        await mirror.fetch(root, None)
        served[root] = ca.crl(number=6)
        await mirror.fetch(root, None)
        await mirror.fetch(URL, None)
    again = CrlStore([ca.root.der, ca.issuing.der])
    async with client(serving(b"")) as http:
        CrlMirror([URL], again.put, tmp_path, http).load()
    assert {crl.der for crl in again.held()} == {crl.der for crl in crls.held()}
    assert len(again.held()) == 2
