"""The network as data: what it says is well-formed, and its zones say of each domain what they should."""

import json

import pytest

from authz.directory.model import parse_endpoint
from authz.domain.scopes import ScopeSet
from deploy.lab.dns import ZoneState, parse_config
from deploy.lab.network import CIZ, DATASTATIONS, ENROLLED, NORTH, PARTIES, SERVICES, Datastation, Party, Standing
from deploy.lab.register import SCHEMAS
from deploy.lab.zones import zones_json


@pytest.mark.parametrize("station", SERVICES, ids=lambda station: station.key)
def test_an_endpoint_has_the_one_spelling_that_the_address_book_takes(station: Datastation) -> None:
    assert parse_endpoint(station.audience(8443)) == station.agent_host
    assert parse_endpoint(station.resource(8443)) == station.register_host
    assert ScopeSet.parse(" ".join(station.scopes))
    assert station.schema in SCHEMAS


def test_no_two_parties_share_an_identity_a_domain_or_a_key() -> None:
    for values in ([party.identity for party in PARTIES], [party.domain for party in PARTIES]):
        assert len(set(values)) == len(values)


def test_two_datastations_have_different_audiences_and_holders() -> None:
    first, second = DATASTATIONS
    assert first.audience(1) != second.audience(1)
    assert first.party is not second.party


@pytest.mark.parametrize("party", PARTIES, ids=lambda party: party.key)
def test_the_zone_of_a_party_stands_as_the_network_says(party: Party) -> None:
    zones = {str(zone.name): zone for zone in parse_config(zones_json(PARTIES))}
    wanted = {
        Standing.SECURE: ZoneState.SECURE,
        Standing.INSECURE: ZoneState.UNSIGNED,
        Standing.BOGUS: ZoneState.WRONG_DS,
    }
    assert zones[f"{party.domain}."].state is wanted[party.standing]


@pytest.mark.parametrize("party", PARTIES, ids=lambda party: party.key)
def test_every_party_was_taken_up_with_a_domain_that_was_in_order(party: Party) -> None:
    zones = {str(zone.name): zone for zone in parse_config(zones_json(PARTIES, at_onboarding=True))}
    assert zones[f"{party.domain}."].state is ZoneState.SECURE


def test_every_party_with_a_certificate_has_a_secure_domain() -> None:
    assert {party.standing for party in ENROLLED} == {Standing.SECURE}


def test_every_name_of_every_party_leads_to_the_loopback() -> None:
    for zone in json.loads(zones_json(PARTIES))["zones"]:
        assert all(addresses == ["127.0.0.1"] for addresses in zone["records"].values())


def test_a_party_that_must_have_dane_gets_its_records_beside_its_addresses() -> None:
    records = {"_443._tcp.agent": {"TLSA": ["3 1 1 " + "ab" * 32]}}
    assert CIZ.dane
    zones = {str(zone.name): zone for zone in parse_config(zones_json(PARTIES, more={CIZ.domain: records}))}
    assert zones[f"{CIZ.domain}."].records["_443._tcp.agent"] == {"TLSA": ("3 1 1 " + "ab" * 32,)}
    assert zones[f"{CIZ.domain}."].records["agent"] == {"A": ("127.0.0.1",)}
    assert "_443._tcp.agent" not in zones[f"{NORTH.domain}."].records
