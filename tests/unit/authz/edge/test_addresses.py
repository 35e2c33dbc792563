"""Where a name of somebody else may lead: outside, or into a network that was named; never to some places."""

import pytest

from authz.edge.addresses import Reachable, check_network

OWN = ("127.0.0.0/8", "10.1.0.0/16", "fd00::/8", "::1/128")


@pytest.mark.parametrize("address", ["9.9.9.9", "93.184.215.14", "192.88.98.255", "2620:fe::9", "2a00::1", "3ffe::1"])
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
        "192.88.99.1",
        "3fff::1",
        "3fff:fff:ffff::1",
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


EVERYTHING = ("0.0.0.0/0", "::/0")
PREFIXES = ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96")


@pytest.mark.parametrize("networks", [EVERYTHING, PREFIXES], ids=["everything", "translated"])
@pytest.mark.parametrize(
    ("attack", "near_miss"),
    [
        ("64:ff9b::169.254.169.254", "64:ff9b::9.9.9.9"),
        ("64:ff9b:1::169.254.169.254", "64:ff9b:1::9.9.9.9"),
        ("64:ff9b:1:a9fe:a9:fe00::", "64:ff9b:1:909:9:900::"),
        ("64:ff9b:1:a9:fe:a9fe::", "64:ff9b:1:9:9:909::"),
        ("64:ff9b:1::a9:fea9:fe00:0", "64:ff9b:1::9:909:900:0"),
        ("2002:a9fe:a9fe::1", "2002:909:909::1"),
        ("2001:0:a9fe:a9fe::1", "2001:0:909:909::f6f6:f6f6"),
        ("2001:0:909:909::5601:5601", "2001:0:909:909::f6f6:f6f6"),
        ("::169.254.169.254", "::9.9.9.9"),
        ("64:ff9b::224.0.0.1", "64:ff9b::9.9.9.9"),
    ],
)
def test_what_is_never_reached_is_not_reached_through_ipv6_either(
    attack: str, near_miss: str, networks: tuple[str, ...]
) -> None:
    reachable = Reachable(networks)
    assert not reachable.allows(attack)
    assert reachable.allows(near_miss)


def test_the_inside_is_reached_through_ipv6_only_when_it_was_named_too() -> None:
    assert not Reachable(PREFIXES).allows("64:ff9b::10.1.2.3")
    assert Reachable((*PREFIXES, "10.1.0.0/16")).allows("64:ff9b::10.1.2.3")
    assert Reachable(("::/0",)).allows("::1")


@pytest.mark.parametrize("text", ["", "localhost", "127.1", "0x7f000001", "2130706433", "fd00::1%1", "9.9.9.9:443"])
def test_what_is_not_an_address_is_not_reached(text: str) -> None:
    assert not Reachable(OWN).allows(text)


def test_a_network_of_which_nothing_may_be_reached_is_a_mistake() -> None:
    for good in ("127.0.0.0/8", "0.0.0.0/0", "::/0", "192.0.2.1/32"):
        assert check_network(good) == good
    for bad in ("169.254.0.0/16", "169.254.169.254/32", "ff02::/16", "::/128", "127.0.0.1/8", "localhost", "0.0.0.0/8"):
        with pytest.raises(ValueError, match="expected"):
            check_network(bad)
