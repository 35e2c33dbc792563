"""What anybody can cause as often as he likes, done a few times a minute and counted after that.

An audit record costs a write to the disk and stays for ever. Strangers, who proved nothing yet, get records of their
own as long as they are few, because an honest one among them needs to be found by his trace id; what comes beyond that
is told by number. Nothing of a stranger is kept but his address, of as many as were admitted in this minute.
"""

from collections import Counter
from collections.abc import Hashable
from datetime import datetime
from typing import Generic, TypeVar

_What = TypeVar("_What", bound=Hashable)
WINDOW_SECONDS = 60
"""Length of the windows in which is counted, and what passes between two looks at what was."""
_SHARE = 6


class Restraint(Generic[_What]):
    """Admits a few in each minute.

    Args:
        most: in one minute, of all together.
        most_each: in one minute, of one address; a sixth of `most` when it is not said.
    """

    def __init__(self, most: int, most_each: int | None = None) -> None:
        self._most = most
        self._most_each = max(1, most // _SHARE) if most_each is None else most_each
        self._window = -1
        self._admitted: Counter[str] = Counter()
        self._counted: Counter[_What] = Counter()

    def admits(self, what: _What, address: str | None, at: datetime) -> bool:
        """Whether this one may be done; otherwise it is counted.

        Args:
            what: what is counted together; one of a few, never what somebody wrote.
            address: where it came from; without one, all that have none are one.
            at: now.
        """
        window = int(at.timestamp()) // WINDOW_SECONDS
        if window != self._window:
            self._window = window
            self._admitted.clear()
        source = address or ""
        if self._admitted.total() < self._most and self._admitted[source] < self._most_each:
            self._admitted[source] += 1
            return True
        self._counted[what] += 1
        return False

    def counted(self) -> Counter[_What]:
        """What was counted and not yet told."""
        return self._counted.copy()

    def told(self, counted: Counter[_What]) -> None:
        """So many were told."""
        self._counted -= counted
