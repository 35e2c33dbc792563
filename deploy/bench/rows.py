"""One measured figure of a part, beside its budget."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One measured figure.

    Attributes:
        what: in words.
        measured: the figure.
        unit: of both.
        budget: at most this; None when nobody set one.
    """

    what: str
    measured: float
    unit: str
    budget: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether it is within its budget; None without one."""
        return None if self.budget is None else self.measured <= self.budget
