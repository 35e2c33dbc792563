"""How many readers may wait at the same time for something newer (RFC 7240, `Prefer: wait`).

A reader that waits holds a connection between Envoy and the service, and one client can have a hundred of them over one
connection of its own. Whoever finds no place is answered at once, as by a server that does not know long polls: it asks
again in half a second, and learns of a revocation a little later than others.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

MOST: Final = 512
"""Readers that wait at one service; half of what Envoy opens towards it (`envoy.MAX_REQUESTS`)."""
MOST_EACH: Final = 32
"""Of one address, or one certificate: three for each agent, and several agents may be behind one address."""


class Waiters:
    """Places to wait.

    Args:
        most: of all together.
        most_each: of one source.
    """

    def __init__(self, most: int = MOST, most_each: int = MOST_EACH) -> None:
        self._most = most
        self._most_each = most_each
        self._waiting: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._waiting.total()

    @contextmanager
    def place(self, source: str) -> Iterator[bool]:
        """Take a place, if there is one.

        Args:
            source: who counts as one: an address or a certificate.

        Yields:
            Whether there was one.
        """
        if len(self) >= self._most or self._waiting[source] >= self._most_each:
            yield False
            return
        self._waiting[source] += 1
        try:
            yield True
        finally:
            self._waiting[source] -= 1
            if not self._waiting[source]:
                del self._waiting[source]
