"""Anchors that follow the zone while a service runs, and the mode that is chosen for checks."""

import asyncio
from pathlib import Path

import pytest

from authz.domain.errors import InvalidValue
from pki.dnssec.anchors import root_anchors
from pki.dnssec.choosing import AnchoredValidator, DnssecMode, choose_validator, is_loopback, parse_address
from pki.dnssec.keeping import AnchorKeeper
from pki.dnssec.model import ChainBroken, DnssecState
from pki.dnssec.resolver_ad import ResolverAdValidator
from tests.fakes.clock import FixedClock
from tests.fakes.dns import NOW, FakeDns

ZONE = {"name": "ciz.nl", "records": {"@": ["127.0.0.1"]}}


async def test_what_changed_is_told_once_and_the_anchors_follow(tmp_path: Path) -> None:
    network = FakeDns(ZONE)
    told: list[str] = []

    async def tell(changes: tuple[str, ...]) -> None:
        told.extend(changes)

    path = tmp_path / "anchors.json"
    keeper = AnchorKeeper(path, network.anchors(), network, FixedClock(NOW), tell=tell)
    assert keeper.anchors() == network.anchors()
    assert len(await keeper.look()) == 1
    assert await keeper.look() == ()
    assert len(told) == 1
    validator = AnchoredValidator(network, keeper.anchors)
    assert (await validator.check("ciz.nl", NOW)).state is DnssecState.SECURE


async def test_another_process_that_wrote_the_file_is_seen_at_the_next_look(tmp_path: Path) -> None:
    network, path = FakeDns(ZONE), tmp_path / "anchors.json"
    first = AnchorKeeper(path, network.anchors(), network, FixedClock(NOW))
    second = AnchorKeeper(path, network.anchors(), network, FixedClock(NOW))
    await first.look()
    assert second.keys == ()
    assert await second.look() == ()
    assert second.keys == first.keys


async def test_keys_of_an_impostor_change_nothing(tmp_path: Path) -> None:
    network, path = FakeDns(ZONE), tmp_path / "anchors.json"
    keeper = AnchorKeeper(path, root_anchors(), network, FixedClock(NOW))
    with pytest.raises(ChainBroken):
        await keeper.look()
    assert not path.exists()
    assert keeper.anchors() == root_anchors()


async def test_a_look_that_fails_is_a_problem_and_not_the_end(tmp_path: Path) -> None:
    network, stop = FakeDns(ZONE), asyncio.Event()
    network.tamper[".", "DNSKEY"] = lambda _message: None
    keeper = AnchorKeeper(tmp_path / "a.json", network.anchors(), network, FixedClock(NOW), every=0.05)
    task = asyncio.create_task(keeper.run(stop))
    async with asyncio.timeout(30):
        while not keeper.problem:  # noqa: ASYNC110  nothing tells
            await asyncio.sleep(0.005)
        network.tamper.clear()
        while not keeper.keys:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    stop.set()
    await task
    assert keeper.problem == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:5353", ("127.0.0.1", 5353)),
        ("[::1]:53", ("::1", 53)),
        ("::1", ("::1", 53)),
        ("192.0.2.1", ("192.0.2.1", 53)),
    ],
)
def test_an_address_is_read(text: str, expected: tuple[str, int]) -> None:
    assert parse_address(text) == expected


@pytest.mark.parametrize("text", ["localhost", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:x", "", "::1:", "1.2.3:53"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        parse_address(text)


def test_the_ad_bit_is_believed_on_the_loopback_only() -> None:
    chosen = choose_validator(DnssecMode.RESOLVER_AD, [("127.0.0.1", 53)], tuple)
    assert isinstance(chosen.validator, ResolverAdValidator)
    with pytest.raises(InvalidValue):
        choose_validator(DnssecMode.RESOLVER_AD, [("127.0.0.1", 53), ("192.0.2.1", 53)], tuple)
    chosen = choose_validator(DnssecMode.VALIDATE, [("192.0.2.1", 53)], tuple)
    assert isinstance(chosen.validator, AnchoredValidator)
    assert is_loopback("[::1]:53")
    assert not is_loopback("192.0.2.1:53")
