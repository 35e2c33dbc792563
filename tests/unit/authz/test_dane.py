"""A look at an endpoint has an end, whatever DNS does. The whole path is in tests/integration/test_dane_required.py."""

import asyncio
from datetime import datetime
from pathlib import Path

import pytest

from authz import dane
from authz.dane import EndpointEye
from authz.edge.settings import SettingsError, check_settings
from authz.grants.audience import DaneState
from authz.settings import DomainSettings
from pki.dnssec.dane import tlsa_for
from pki.dnssec.model import DnssecResult
from tests.fakes.certificates import FakeAuthority
from tests.fakes.clock import FixedClock
from tests.fakes.dns import FakeDns
from tests.fakes.tls import tls_endpoint

HOST = "pep.ciz.nl"
LEAF, OTHER = (FakeAuthority().issue("uzovi:5000", dns=(HOST,)) for _ in range(2))


class Validator:
    """Never comes back, or fails in a way that nobody thought of."""

    def __init__(self, problem: Exception | None = None) -> None:
        self.problem = problem

    async def check(self, name: str, at: datetime, rdtype: str = "A") -> DnssecResult:
        if self.problem is not None:
            raise self.problem
        await asyncio.Event().wait()
        raise AssertionError((name, at, rdtype))


async def test_a_look_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dane, "LOOK_SECONDS", 0.01)
    assert await EndpointEye(Validator(), FixedClock()).look(HOST, 443) is DaneState.UNREACHABLE


async def test_a_mistake_of_ours_is_no_match_and_no_end_of_the_watch() -> None:
    assert await EndpointEye(Validator(ValueError()), FixedClock()).look(HOST, 443) is DaneState.UNREACHABLE


async def test_every_address_is_connected_to_and_who_has_too_many_is_not_looked_at() -> None:
    others = [f"127.0.0.{number}" for number in range(6, 22)]
    with (
        tls_endpoint(LEAF, address=("127.0.0.5", 0)) as endpoint,
        tls_endpoint(OTHER, address=(others[-1], endpoint.port)) as last,
    ):
        for addresses, state in (
            (["127.0.0.5"], DaneState.MATCHED),
            (["127.0.0.5", *others[:15]], DaneState.MATCHED),
            # The one that does not fit is the sixteenth; and the seventeenth.
            (["127.0.0.5", *others[1:]], DaneState.MISMATCHED),
            (["127.0.0.5", *others], DaneState.FAILED),
        ):
            records = {"pep": addresses, f"_{endpoint.port}._tcp.pep": {"TLSA": [tlsa_for(LEAF.der)]}}
            network = FakeDns({"name": "ciz.nl", "records": records})
            eye = EndpointEye(network.validator(), FixedClock(), ("127.0.0.0/8",))
            assert await eye.look(HOST, endpoint.port) is state
    assert (endpoint.connections, last.connections) == (3, 1)


async def test_an_address_of_the_other_family_counts_as_well() -> None:
    records = {"_443._tcp.pep": {"TLSA": [tlsa_for(LEAF.der)]}}
    for pep, state in (
        ({"AAAA": ["::1"]}, DaneState.ADDRESS),
        ({"AAAA": ["2001:db8::1"], "A": ["9.9.9.9"]}, DaneState.ADDRESS),
        ({"TXT": ["nothing"]}, DaneState.UNREACHABLE),
    ):
        network = FakeDns({"name": "ciz.nl", "records": records | {"pep": pep}})
        assert await EndpointEye(network.validator(), FixedClock()).look(HOST, 443) is state


def test_networks_of_endpoints_are_checked_at_the_start() -> None:
    given = {"resolvers": ["127.0.0.1:53"]}
    assert DomainSettings(resolvers=("127.0.0.1:53",)).dane_networks == ()
    good = check_settings(DomainSettings, given | {"dane_networks": ["10.0.0.0/8", "fd00::/8"]}, Path())
    assert good.dane_networks == ("10.0.0.0/8", "fd00::/8")
    for bad in ("169.254.0.0/16", "10.0.0.1/8", "lab"):
        with pytest.raises(SettingsError, match=r"dane_networks\.0: expected a network"):
            check_settings(DomainSettings, given | {"dane_networks": [bad]}, Path())
