"""Counters of one agent; labels are reason codes and names of ours, never a caller's."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from authz.domain.reasons import Reason
from authz.edge.pages import Sample


@dataclass(slots=True)
class Metrics:
    """Counted since the start. Plain numbers, because each decision touches them."""

    permitted: int = 0
    refused: Counter[Reason] = field(default_factory=Counter)

    def samples(self) -> Iterator[Sample]:
        """What was counted, for `authz.edge.pages.exposition`."""
        name = "sluis_agent_decisions_total"
        yield name, {"outcome": "permit", "reason": ""}, self.permitted
        for reason, count in sorted(self.refused.items()):
            yield name, {"outcome": "refuse", "reason": reason.value}, count
