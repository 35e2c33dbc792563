"""To which addresses may this server connect, when somebody else says where?

A name of a deelnemer leads where the deelnemer wants, so also into the network of this server (SSRF, cases/oauth.md
74). Globally routable addresses pass; others only when a setting names their network; some never.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

_UNICAST: Final = IPv6Network("2000::/3")
"""What IPv6 routes globally. Outside lie all that embed or translate to IPv4: mapped, compatible, NAT64."""
_SIX_TO_FOUR: Final = IPv6Network("2002::/16")
"""Embeds any IPv4 address; this Python may count it as global."""
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
        if "%" in text or any(address in never for never in _NEVER):
            return False
        return _is_global(address) or any(address in network for network in self._networks)


def _is_global(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address) and (address not in _UNICAST or address in _SIX_TO_FOUR):
        return False
    return address.is_global and not address.is_multicast
