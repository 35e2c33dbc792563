"""Health says what keeps readers from a CRL that counts: too old, unreadable, or nobody who makes it any more."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from sqlalchemy.exc import TimeoutError as PoolTimeout

from authz.edge.background import Loop
from pki.app import OpenAuthority
from pki.http.application import create_application
from pki.http.health import SILENT, Health
from pki.http.published import Published
from tests.fakes.clock import FixedClock

pytestmark = pytest.mark.parametrize("config", ["sqlite"], indirect=True)


class Monotonic:
    """Moves when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def published(pki: OpenAuthority) -> AsyncIterator[Published]:
    await pki.withdrawal.sweep()
    found = Published(pki)
    await found.load()
    yield found
    found.close()


async def asked(published: Published, health: Health | None = None) -> tuple[int, list[str]]:
    transport = httpx.ASGITransport(create_application(published, health=health))
    async with httpx.AsyncClient(transport=transport, base_url="http://pki.test") as client:
        answer = await client.get("/health")
    return answer.status_code, answer.json()["problems"]


async def test_a_crl_that_relying_parties_do_not_take_any_more(
    pki: OpenAuthority, clock: FixedClock, published: Published
) -> None:
    clock.advance(hours=1)
    assert await asked(published) == (200, [])
    clock.advance(seconds=1)
    assert await asked(published) == (503, ["crl_stale"])
    await pki.withdrawal.sweep()
    assert await asked(published) == (200, [])
    clock.advance(hours=2)
    assert await asked(published) == (503, ["crl_ended"])


async def test_a_loop_that_has_not_succeeded_for_long(published: Published) -> None:
    clock = Monotonic()

    async def fails() -> None:
        raise RuntimeError

    sweep = Loop("sweep", fails, 0.001, clock)
    stop = asyncio.Event()
    running = asyncio.create_task(sweep.run(stop))
    health = Health(published, {sweep: SILENT})
    clock.now = SILENT
    assert await asked(published, health) == (200, [])
    clock.now = SILENT + 1
    assert await asked(published, health) == (503, ["sweep_stopped"])
    assert not running.done()
    stop.set()
    await running


@pytest.mark.parametrize("error", [RuntimeError("x"), PoolTimeout("all connections are in use")])
async def test_a_watch_that_meets_what_nobody_thought_of_goes_on(
    published: Published, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(published.watching, "_every", 0.001)
    refresh, calls, enough = published.watching._act, 0, asyncio.Event()

    async def fails_at_first() -> None:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise error
        await refresh()
        enough.set()

    monkeypatch.setattr(published.watching, "_act", fails_at_first)
    watching = asyncio.create_task(published.watch())
    async with asyncio.timeout(30):
        await enough.wait()
    assert not watching.done()
    published.close()
    await watching


async def test_health_tells_that_the_database_is_away_instead_of_failing(
    pki: OpenAuthority, clock: FixedClock, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away() -> None:
        raise RuntimeError

    monkeypatch.setattr(published, "_refresh", away)
    clock.advance(hours=1, seconds=1)
    assert await asked(published) == (503, ["database_unavailable", "crl_stale"])
    assert pki.cas
