"""Where a name of somebody else may lead: outside, or into a network that was named; never to some places."""

import pytest

from authz.edge.addresses import Reachable, check_network

OWN = ("127.0.0.0/8", "10.1.0.0/16", "fd00::/8", "::1/128")


@pytest.mark.parametrize("address", ["9.9.9.9", "93.184.215.14", "2620:fe::9", "2a00::1"])
def test_the_outside_may_be_reached(address: str) -> None:
    assert Reachable().allows(address)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.255.255.254", "10.1.2.3", "fd00::1", "::1"])
def test_the_inside_only_when_it_was_named(address: str) -> None:
    assert not Reachable().allows(address)
    assert Reachable(OWN).allows(address)


@pytest.mark.parametrize(
    "address",
    [
        "10.2.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "240.0.0.1",
        "fc00::1",
        "fec0::1",
        "2001:db8::1",
        "::ffff:127.0.0.1",
        "::ffff:9.9.9.9",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::7f00:1",
        "2002:7f00:1::1",
        "2001:0:7f00:1::1",
    ],
)
def test_another_inside_is_not_reached_in_any_spelling(address: str) -> None:
    assert not Reachable(OWN).allows(address)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",  # noqa: S104  nothing is bound to it
        "0.1.2.3",
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "224.0.0.1",
        "239.1.1.1",
        "255.255.255.255",
        "::",
        "fe80::1",
        "ff02::1",
    ],
)
def test_some_places_are_never_reached_whatever_is_named(address: str) -> None:
    assert not Reachable(("0.0.0.0/0", "::/0")).allows(address)


@pytest.mark.parametrize("text", ["", "localhost", "127.1", "0x7f000001", "2130706433", "fd00::1%1", "9.9.9.9:443"])
def test_what_is_not_an_address_is_not_reached(text: str) -> None:
    assert not Reachable(OWN).allows(text)


def test_a_network_of_which_nothing_may_be_reached_is_a_mistake() -> None:
    for good in ("127.0.0.0/8", "0.0.0.0/0", "::/0", "192.0.2.1/32"):
        assert check_network(good) == good
    for bad in ("169.254.0.0/16", "169.254.169.254/32", "ff02::/16", "::/128", "127.0.0.1/8", "localhost", "0.0.0.0/8"):
        with pytest.raises(ValueError, match="expected"):
            check_network(bad)
