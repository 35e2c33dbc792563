"""Records arrive in order, at least once, whatever authz does; one that can never arrive does not stop the rest."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from trust_agent.journal import Journal
from trust_agent.shipping import Shipper


class Authz:
    """Implements what `Shipper` needs of `AuthzClient`, over a transport that a test controls."""

    url = "https://authz.test"

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.status = 200
        self.taken = asyncio.Event()
        self.poison: Any = None
        self.most = 10**6
        self.extensions: dict[str, Any] = {}
        self._client = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))

    def current(self) -> httpx.AsyncClient:
        return self._client

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if self.status == 0:
            raise httpx.ConnectError("away")
        records = json.loads(request.content)["records"]
        if len(request.content) > self.most:
            return httpx.Response(413)
        if self.poison is not None and self.poison in records:
            return httpx.Response(400, json={"error": "body_malformed"})
        if self.status == 200:
            self.batches.append(records)
            self.taken.set()
        return httpx.Response(self.status)

    @property
    def arrived(self) -> list[Any]:
        return [record for batch in self.batches for record in batch]


@pytest.fixture
async def journal(tmp_path: Path) -> Journal:
    made = Journal(tmp_path / "journal")
    made.open()
    for number in range(20):
        await made.append(json.dumps(number).encode())
    return made


def shipper(journal: Journal, authz: Authz, tmp_path: Path, **options: Any) -> Shipper:
    return Shipper(journal, authz, tmp_path / "refused", **options)  # type: ignore[arg-type]


async def test_everything_arrives_in_order_and_once(journal: Journal, tmp_path: Path) -> None:
    authz = Authz()
    ship = shipper(journal, authz, tmp_path, batch=6)
    while await ship.ship_once():
        pass
    assert authz.arrived == list(range(20))
    assert [len(batch) for batch in authz.batches] == [6, 6, 6, 2]
    assert journal.shipped == 20


@pytest.mark.parametrize("status", [0, 302, 400, 401, 403, 404, 405, 429, 500, 502, 503])
async def test_an_authz_that_does_not_take_them_now_gets_them_later(
    journal: Journal, tmp_path: Path, status: int
) -> None:
    authz = Authz()
    authz.status = status
    ship = shipper(journal, authz, tmp_path)
    with pytest.raises(httpx.HTTPError):
        await ship.ship_once()
    assert journal.shipped == 0
    assert ship.put_aside == 0
    authz.status = 200
    await ship.ship_once()
    assert authz.arrived == list(range(20))


async def test_what_nobody_thought_of_does_not_end_the_shipping(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authz = Authz()
    monkeypatch.setattr("trust_agent.shipping._PAUSE_FIRST", 0.001)
    current, failing = authz.current, iter(range(3))

    def odd() -> httpx.AsyncClient:
        if next(failing, None) is not None:
            raise RuntimeError("nobody thought of this")
        return current()

    monkeypatch.setattr(authz, "current", odd)
    async with shipper(journal, authz, tmp_path, linger=0.001):
        await asyncio.wait_for(authz.taken.wait(), 60)
    assert authz.arrived[:20] == list(range(20))


async def test_a_lost_confirmation_ships_again(journal: Journal, tmp_path: Path) -> None:
    authz = Authz()
    await shipper(journal, authz, tmp_path).ship_once()
    (tmp_path / "journal" / "shipped").unlink()
    await journal.close()
    again = Journal(tmp_path / "journal")
    again.open()
    await shipper(again, authz, tmp_path).ship_once()
    assert authz.arrived == [*range(20), *range(20)]


async def test_a_record_refused_for_good_is_put_aside(journal: Journal, tmp_path: Path) -> None:
    authz = Authz()
    authz.poison = 7
    ship = shipper(journal, authz, tmp_path)
    while await ship.ship_once():
        pass
    assert authz.arrived == [number for number in range(20) if number != 7]
    assert ship.put_aside == 1
    assert json.loads((tmp_path / "refused" / f"{7:020d}.json").read_text()) == 7


async def test_a_batch_that_is_too_large_for_authz_is_made_smaller(journal: Journal, tmp_path: Path) -> None:
    authz = Authz()
    authz.most = 30
    ship = shipper(journal, authz, tmp_path)
    while await ship.ship_once():
        pass
    assert authz.arrived == list(range(20))
    assert ship.put_aside == 0


async def test_a_stopping_agent_brings_what_is_left(journal: Journal, tmp_path: Path) -> None:
    authz = Authz()
    async with shipper(journal, authz, tmp_path, linger=10):
        await journal.append(b'"last"')
    assert authz.arrived[-1] == "last"


async def test_records_wait_for_company_and_go_as_soon_as_a_shipment_is_full(journal: Journal, tmp_path: Path) -> None:
    authz = Authz()
    async with shipper(journal, authz, tmp_path, batch=21, linger=600):
        await asyncio.sleep(0)
        assert authz.batches == []
    assert [len(batch) for batch in authz.batches] == [20]
    authz.batches.clear()
    authz.taken.clear()
    for number in range(21):
        await journal.append(json.dumps(number).encode())
    async with shipper(journal, authz, tmp_path, batch=21, linger=600), asyncio.timeout(60):
        await authz.taken.wait()
    # Stopped before the confirmation was written down, it may have been sent a second time.
    assert len(authz.batches[0]) == 21


async def test_a_shipment_goes_out_in_pieces_and_nothing_of_it_stays_behind(journal: Journal, tmp_path: Path) -> None:
    # Request and answer of httpx refer to each other: what hangs on them stays until the collector comes by.
    authz = Authz()
    seen: list[httpx.Request] = []
    streams: list[Any] = []
    pieces: list[bytes] = []

    class Wire(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            seen.append(request)
            streams.append(request.stream)
            assert isinstance(request.stream, httpx.AsyncByteStream)
            pieces.extend([piece async for piece in request.stream])
            return httpx.Response(200)

    authz._client = httpx.AsyncClient(transport=Wire())
    for number in range(20, 100):
        await journal.append(json.dumps(number).encode())
    await shipper(journal, authz, tmp_path).ship_once()
    body = b"".join(pieces)
    assert json.loads(body)["records"] == list(range(100))
    assert int(seen[0].headers["content-length"]) == len(body)
    assert "transfer-encoding" not in seen[0].headers
    assert max(piece.count(b",") for piece in pieces) <= 32
    assert not hasattr(seen[0], "_content")
    assert streams[0]._stream.ag_frame is None  # ended: it holds no records
