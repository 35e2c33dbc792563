"""The clock as a dependency: UTC, injected, read once per decision (so that one decision has one moment)."""

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time; tests bring their own."""

    def now(self) -> datetime:
        """The current moment, timezone-aware, in UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The current moment of this machine, in UTC."""
        return datetime.now(UTC)
