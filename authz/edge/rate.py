"""How often somebody may try: a bucket of tokens for each key, refilled with time, in bounded memory.

One process counts for itself; what must hold over several instances (attempts on one code) is counted in the register.
"""

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

MAX_KEYS: Final = 10_000
"""Buckets that are kept; the one unused longest is forgotten, and would be nearly full again."""


class RateLimiter:
    """At most `burst` at once, and `burst` per `seconds` from then on.

    Args:
        burst: tokens in a full bucket.
        seconds: in which an empty bucket fills.
        monotonic: clock in seconds that only moves forward.
    """

    def __init__(self, burst: int, seconds: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._burst = float(burst)
        self._rate = burst / seconds
        self._monotonic = monotonic
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> float:
        """Take a token.

        Returns:
            0 when there was one, else the seconds until there is.
        """
        now = self._monotonic()
        tokens, since = self._buckets.pop(key, (self._burst, now))
        tokens = min(self._burst, tokens + (now - since) * self._rate)
        wait = 0.0 if tokens >= 1 else (1 - tokens) / self._rate
        self._buckets[key] = (tokens - 1 if not wait else tokens, now)
        if len(self._buckets) > MAX_KEYS:
            self._buckets.popitem(last=False)
        return wait

    def give_back(self, key: str) -> None:
        """The attempt was an honest one: it does not count."""
        if key in self._buckets:
            tokens, since = self._buckets[key]
            self._buckets[key] = (min(self._burst, tokens + 1), since)


def network_of(address: str | None) -> str:
    """What counts as one source: an IPv4 address, or an IPv6 /64, of which one subscriber has them all."""
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)
