"""Deelnemers and credentials as values; the source-address allow-list."""

from typing import Any

import pytest

from authz.domain.errors import InvalidValue
from authz.domain.identifiers import Identifier
from authz.participants.model import Credential, Environment, Participant

ZK = Identifier.parse_subject("uzovi:5000")
KEY = "ab" * 32


def participant(**changes: Any) -> Participant:
    values: dict[str, Any] = {
        "id": ZK,
        "name": "Zorgkantoor",
        "organization_type": "ZORGKANTOOR",
        "environment": Environment.TST,
    }
    return Participant(**(values | changes))


@pytest.mark.parametrize("issuer_key", ["", KEY.upper(), KEY[:-1], KEY + "0", "CN=Sluis issuing", KEY + "\n"])
def test_a_credential_is_pinned_to_a_key_and_nothing_else(issuer_key: str) -> None:
    assert Credential(KEY, ZK).issuer_key == KEY
    with pytest.raises(InvalidValue):
        Credential(issuer_key, ZK)


@pytest.mark.parametrize("network", ["192.0.2.1/24", "192.0.2.0/33", "host.nl", "", "192.0.2.0/24 ", "0x7f.1"])
def test_an_allow_list_of_something_else_than_networks(network: str) -> None:
    with pytest.raises(InvalidValue):
        Credential(KEY, ZK, (network,))


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("192.0.2.0", True),
        ("192.0.2.255", True),
        ("192.0.3.0", False),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
        ("::ffff:192.0.2.1", False),
        ("192.0.2.1, 10.0.0.1", False),
        ("localhost", False),
        ("", False),
        (None, False),
    ],
)
def test_an_address_outside_the_list(address: str | None, *, allowed: bool) -> None:
    credential = Credential(KEY, ZK, ("192.0.2.0/24", "2001:db8::/32"))
    assert credential.allows(address) is allowed
    assert Credential(KEY, ZK).allows(address)


def test_too_long_a_list() -> None:
    Credential(KEY, ZK, tuple(f"10.0.{n}.0/24" for n in range(64)))
    with pytest.raises(InvalidValue):
        Credential(KEY, ZK, tuple(f"10.0.{n}.0/24" for n in range(65)))


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"name": "x" * 201},
        {"name": "a\nb"},
        {"organization_type": "zorgkantoor"},
        {"roles": ("BRONHOUDER", "x y")},
        {"identifiers": (Identifier.parse_subject("uzovi:5001"),)},
        {"log_sources": ("sluis",)},
        {"log_sources": ("sluis/authz",)},
        {"log_sources": ("sluis/authz/2",)},
        {"log_sources": ("sluis/pki/../x y",)},
    ],
)
def test_a_malformed_deelnemer(changes: dict[str, Any]) -> None:
    assert participant().identifiers == (ZK,)
    with pytest.raises(InvalidValue):
        participant(**changes)
