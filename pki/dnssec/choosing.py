"""Choosing how names are checked: by own validation, or by the word of a validating resolver on the loopback."""

import ipaddress
from collections.abc import Callable, Sequence
from datetime import datetime
from enum import StrEnum

import dns.name

from authz.domain.errors import InvalidValue
from pki.dnssec.anchors import TrustAnchor
from pki.dnssec.apart import ApartValidator
from pki.dnssec.chain import ChainValidator
from pki.dnssec.model import DnssecResult, Limits
from pki.dnssec.resolver_ad import ResolverAdValidator
from pki.dnssec.transport import DnsTransport, Resolver

_PORTS = range(1, 65536)
_PORT_DIGITS = 5


class DnssecMode(StrEnum):
    """Who validates."""

    VALIDATE = "validate"
    RESOLVER_AD = "resolver-ad"


def parse_address(text: str) -> tuple[str, int]:
    """`127.0.0.1:53` or `[::1]:53` as address and port; the port may be left out.

    Raises:
        InvalidValue: not an IP address with a port. A name is refused: it would have to be resolved first.
    """
    try:
        return str(ipaddress.ip_address(text.strip("[]"))), 53
    except ValueError:
        host, _, port = text.rpartition(":")
    try:
        address = str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        raise InvalidValue("expected <IP address>[:<port>], for example 127.0.0.1:53 or [::1]:53") from None
    if not port.isascii() or not port.isdigit() or len(port) > _PORT_DIGITS or int(port) not in _PORTS:
        raise InvalidValue("expected a port from 1 to 65535 after the address")
    return address, int(port)


def is_loopback(text: str) -> bool:
    """Whether an address as `parse_address` reads it is of this machine itself."""
    return ipaddress.ip_address(parse_address(text)[0]).is_loopback


class AnchoredValidator:
    """Own validation with the anchors of this moment, which may change while it runs.

    Args:
        resolver: carries the questions.
        anchors: gives what is trusted now.
        limits: caps on the work of one check.
    """

    def __init__(
        self,
        resolver: DnsTransport,
        anchors: Callable[[], Sequence[TrustAnchor]],
        limits: Limits = Limits(),  # noqa: B008  frozen
    ) -> None:
        self._resolver = resolver
        self._anchors = anchors
        self._limits = limits

    async def check(self, name: str, at: datetime, rdtype: str = "A") -> DnssecResult:
        """See `ChainValidator.check`."""
        validator = ChainValidator(resolver=self._resolver, anchors=self._anchors(), limits=self._limits)
        return await validator.check(name, at, rdtype)


def choose_validator(
    mode: DnssecMode,
    addresses: Sequence[tuple[str, int]],
    anchors: Callable[[], Sequence[TrustAnchor]],
    *,
    zones: Sequence[dns.name.Name] = (dns.name.root,),
) -> ApartValidator:
    """The validator for a mode. Its checks run in a thread of their own.

    Args:
        mode: who validates.
        addresses: resolvers.
        anchors: what is trusted now, called in that thread; not used in the mode `resolver-ad`.
        zones: that have an anchor; in the mode `resolver-ad` they show whether the resolver validates.

    Raises:
        InvalidValue: the mode `resolver-ad` with a resolver that is not on the loopback.
    """
    if mode is DnssecMode.RESOLVER_AD:
        try:
            return ApartValidator(ResolverAdValidator(addresses, anchored=zones))
        except ValueError as error:
            raise InvalidValue(str(error)) from error
    return ApartValidator(AnchoredValidator(Resolver(addresses), anchors))
