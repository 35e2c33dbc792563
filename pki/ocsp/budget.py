"""How many answers are signed for the one who asks: anybody may ask, and each costs a look and a signature.

Answers that were signed ahead cost neither and are given to everybody. One bucket for each address (an IPv6 /64 is one)
and one for all together, so that many addresses do not take the processor from those who wait for a revocation.
"""

import time
from collections.abc import Callable
from typing import Final

from authz.edge.rate import RateLimiter

BURST_EACH: Final = 20
SECONDS_EACH: Final = 10.0
"""An address that used up its burst gets one every half second."""
BURST_ALL: Final = 100
SECONDS_ALL: Final = 5.0
"""All together: 20 a second, which is some two hundredths of a processor."""


class SigningBudget:
    """Counts, in one process.

    Args:
        monotonic: clock in seconds that only moves forward.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._each = RateLimiter(BURST_EACH, SECONDS_EACH, monotonic)
        self._all = RateLimiter(BURST_ALL, SECONDS_ALL, monotonic)

    def take(self, source: str) -> bool:
        """Whether an answer may be signed for this source now.

        Args:
            source: as `authz.edge.rate.network_of` names it.
        """
        return not self._each.take(source) and not self._all.take("")
