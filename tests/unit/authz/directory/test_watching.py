"""Domains of the address book on a schedule: a change is recorded once; metrics tell how many stand how."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from authz.audit.log import AuditUnavailable
from authz.audit.own import OwnRecords
from authz.directory.endpoints import EndpointWatch
from authz.directory.watching import DomainWatch
from authz.dnssec import ANCHOR_STATE, DomainCare, open_dnssec
from authz.edge.settings import SettingsError, check_settings
from authz.grants.audience import DomainState
from authz.settings import AuthzSettings, DomainSettings
from pki.dnssec.model import DnssecState
from tests.fakes.authorization_server import Eye
from tests.fakes.clock import FixedClock
from tests.fakes.records import FakeLog


class Log(FakeLog):
    def told(self) -> list[tuple[str, str, str]]:
        objects = [record.objects[0] for record in self.records]
        return [(item.identifier, item.details["before"], item.details["state"]) for item in objects]


class Standing:
    def __init__(self) -> None:
        self.states: dict[str, DomainState] = {}

    async def check(self, host: str, at: datetime) -> DomainState:
        assert at
        return self.states.get(host, DomainState.SECURE)


@dataclass
class Watched:
    watch: DomainWatch
    standing: Standing
    log: Log
    book: Any


@pytest.fixture
def watched() -> Watched:
    book = SimpleNamespace(services=[SimpleNamespace(host=host) for host in ("a.nl", "b.nl", "a.nl")])
    standing, log, clock = Standing(), Log(), FixedClock()
    own = OwnRecords(cast("Any", log), clock, "sluis/authz")
    watch = DomainWatch(cast("Any", book), standing, own, clock, every=0.01)
    return Watched(watch, standing, log, book)


async def test_a_change_is_recorded_once_and_good_news_at_the_start_is_none(watched: Watched) -> None:
    assert await watched.watch.look() == 0
    watched.standing.states["b.nl"] = DomainState.BOGUS
    assert await watched.watch.look() == 1
    assert await watched.watch.look() == 0
    watched.standing.states.clear()
    assert await watched.watch.look() == 1
    assert watched.log.told() == [("b.nl", "secure", "bogus"), ("b.nl", "bogus", "secure")]


async def test_what_is_not_in_order_at_the_start_is_recorded(watched: Watched) -> None:
    watched.standing.states["a.nl"] = DomainState.INSECURE
    assert await watched.watch.look() == 1
    assert watched.log.told() == [("a.nl", "unknown", "insecure")]


async def test_a_change_that_could_not_be_recorded_is_found_again(watched: Watched) -> None:
    watched.standing.states["a.nl"] = DomainState.UNREACHABLE
    watched.log.full = True
    with pytest.raises(AuditUnavailable):
        await watched.watch.look()
    watched.log.full = False
    assert await watched.watch.look() == 1


async def test_a_host_that_left_the_address_book_is_forgotten(watched: Watched) -> None:
    await watched.watch.look()
    watched.book.services = watched.book.services[1:2]
    await watched.watch.look()
    assert list(watched.watch.states) == ["b.nl"]


async def test_it_runs_until_it_is_stopped_and_metrics_tell_the_counts(watched: Watched) -> None:
    stop = asyncio.Event()
    watched.standing.states["b.nl"] = DomainState.BOGUS
    nothing = SimpleNamespace(services=[], version=0)
    endpoints = EndpointWatch(cast("Any", nothing), cast("Any", nothing), Eye(), cast("Any", None), every=1)
    care = DomainCare(watched.watch, endpoints, None, None)
    running = [asyncio.create_task(work) for work in care.work(stop)]
    async with asyncio.timeout(50):
        while not watched.log.records:  # noqa: ASYNC110  nothing tells
            await asyncio.sleep(0.005)
    stop.set()
    await asyncio.gather(*running)
    _, _, body = await care.page()
    assert b'sluis_authz_domains{state="secure"} 1\n' in body
    assert b'sluis_authz_domain_not_secure{domain="b.nl",state="bogus"} 1\n' in body


@pytest.mark.parametrize("resolver", ["127.0.0.1", "127.0.0.1:53", "::1", "[::1]", "[::1]:53"])
def test_a_resolver_is_an_address_with_or_without_a_port(resolver: str) -> None:
    assert check_settings(DomainSettings, {"resolvers": [resolver]}, Path()).resolvers == (resolver,)


@pytest.mark.parametrize("resolver", ["", "localhost", "localhost:53", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:x"])
def test_what_is_no_address_is_no_resolver(resolver: str) -> None:
    with pytest.raises(SettingsError, match="resolvers"):
        check_settings(DomainSettings, {"resolvers": [resolver]}, Path())


def test_resolver_ad_is_for_the_loopback_only() -> None:
    assert DomainSettings(mode="resolver-ad", resolvers=("127.0.0.1:53", "[::1]:53")).mode == "resolver-ad"
    assert DomainSettings(resolvers=("192.0.2.1:53",)).mode == "validate"
    with pytest.raises(SettingsError, match="loopback"):
        check_settings(DomainSettings, {"mode": "resolver-ad", "resolvers": ["127.0.0.1:53", "192.0.2.1:53"]}, Path())
    with pytest.raises(SettingsError, match="mode"):
        check_settings(DomainSettings, {"mode": "trust", "resolvers": ["127.0.0.1:53"]}, Path())


@pytest.mark.parametrize(
    ("mode", "anchored", "followed"),
    [("validate", False, True), ("validate", True, False), ("resolver-ad", False, False)],
)
async def test_anchors_are_followed_only_with_the_public_root_and_own_validation(
    tmp_path: Path, mode: str, *, anchored: bool, followed: bool
) -> None:
    anchors = tmp_path / "anchors.txt"
    anchors.write_text(f". IN DS 1 13 2 {'ab' * 32}\n")
    chosen = DomainSettings(mode=cast("Any", mode), resolvers=("127.0.0.1:1",), anchors=anchors if anchored else None)
    settings = SimpleNamespace(dnssec=chosen, state_dir=tmp_path)
    own = OwnRecords(cast("Any", Log()), FixedClock(), "sluis/authz")
    opened = open_dnssec(cast("AuthzSettings", settings), FixedClock(), own)
    assert (opened.keeper is not None) == followed
    assert not (tmp_path / ANCHOR_STATE).exists()
    # Nobody answers on that port, which is an outcome and not an error.
    state = await opened.standing.check("a.nl", FixedClock().now() + timedelta(0))
    assert state.value == DnssecState.UNREACHABLE.value
