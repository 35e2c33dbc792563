"""A clock that stands still until a test moves it."""

from datetime import UTC, datetime, timedelta


class FixedClock:
    """Implements `authz.domain.clock.Clock`."""

    def __init__(self, moment: datetime = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)) -> None:
        self.moment = moment

    def now(self) -> datetime:
        return self.moment

    def advance(self, **delta: float) -> None:
        """Move forward by `timedelta(**delta)`."""
        self.moment += timedelta(**delta)
