"""To which addresses may this server connect, when somebody else says where?

A name of a deelnemer leads where the deelnemer wants, so also into the network of this server (SSRF, cases/oauth.md
74). Globally routable addresses pass; others only when a setting names their network; some never.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

_UNICAST: Final = IPv6Network("2000::/3")
"""What IPv6 routes globally. Outside lie all that embed or translate to IPv4: mapped, compatible, NAT64."""
_SIX_TO_FOUR: Final = IPv6Network("2002::/16")
"""Embeds any IPv4 address; this Python may count it as global."""
_COMPATIBLE: Final = IPv6Network("::/96")
_LOOPBACK: Final = IPv6Address("::1")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_LOCAL_NAT64: Final = IPv6Network("64:ff9b:1::/48")
"""RFC 8215: a network chooses a prefix in it, of which the length is not known here."""
_NOT_GLOBAL: Final = (IPv4Network("192.88.99.0/24"), IPv6Network("3fff::/20"))
"""6to4 relays that are no more (RFC 7526), documentation (RFC 9637); this Python may count them as global."""
_NEVER: Final = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",
        "169.254.0.0/16",
        "224.0.0.0/4",
        "255.255.255.255/32",
        "::/128",
        "::ffff:0:0/96",
        "fe80::/10",
        "ff00::/8",
    )
)
"""This host, link-local (where clouds answer with credentials), multicast, broadcast, and IPv4 in disguise."""


def check_network(text: str) -> str:
    """Check a network that a setting names.

    Raises:
        ValueError: not a network in CIDR form, or nothing in it may ever be connected to.
    """
    try:
        network = ip_network(text)
    except ValueError:
        raise ValueError("expected a network in CIDR form, for example 127.0.0.0/8") from None
    if any(network.version == never.version and network.subnet_of(never) for never in _NEVER):  # type: ignore[arg-type]
        raise ValueError("expected a network of hosts: link-local, multicast and unspecified are never connected to")
    return text


class Reachable:
    """The addresses that may be connected to.

    Args:
        networks: in CIDR form, beyond what is globally routable.
    """

    def __init__(self, networks: Sequence[str] = ()) -> None:
        self._networks = tuple(ip_network(text) for text in networks)

    def allows(self, text: str) -> bool:
        """Whether this may be connected to; not for a name, nor for an address with a zone."""
        try:
            address = ip_address(text)
        except ValueError:
            return False
        return "%" not in text and self._allows(address)

    def _allows(self, address: IPv4Address | IPv6Address) -> bool:
        if _is_never(address):
            return False
        if isinstance(address, IPv6Address):
            # Whoever names a network that leads to IPv4 did not name what must not be reached over IPv4.
            if not all(self._allows(inner) for inner in _embedded(address)):
                return False
            if address in _LOCAL_NAT64 and any(_is_never(inner) for inner in _perhaps_embedded(address)):
                return False
        return _is_global(address) or any(address in network for network in self._networks)


def _is_never(address: IPv4Address | IPv6Address) -> bool:
    return any(address in never for never in _NEVER)


def _embedded(address: IPv6Address) -> list[IPv4Address]:
    """The IPv4 addresses to which a packet to this address goes, or may go, in the end."""
    if address.sixtofour is not None:
        return [address.sixtofour]
    if address.teredo is not None:
        return list(address.teredo)
    if address in _NAT64 or (address in _COMPATIBLE and address != _LOOPBACK):
        return [IPv4Address(int(address) & 0xFFFF_FFFF)]
    return []


def _perhaps_embedded(address: IPv6Address) -> list[IPv4Address]:
    """What an address stands for with each length of the prefix (RFC 6052 section 2.2: bits 64 to 71 are left out)."""
    bits = int(address)
    joined = (bits >> 64 << 56) | (bits & ((1 << 56) - 1))
    found = [bits & 0xFFFF_FFFF, *(joined >> (120 - length - 32) & 0xFFFF_FFFF for length in (48, 56, 64))]
    # Nothing stands where another length has its zeros; 0.0.0.0/8 leads nowhere through a translator.
    return [IPv4Address(value) for value in found if value >> 24]


def _is_global(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address) and (address not in _UNICAST or address in _SIX_TO_FOUR):
        return False
    if any(address in network for network in _NOT_GLOBAL):
        return False
    return address.is_global and not address.is_multicast
