"""Counters of one agent, in the Prometheus text format. Labels are reason codes and names of ours, never a caller's."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from authz.domain.reasons import Reason


@dataclass(slots=True)
class Metrics:
    """Counted since the start. Plain numbers, because each decision touches them."""

    permitted: int = 0
    refused: Counter[Reason] = field(default_factory=Counter)


def exposition(metrics: Metrics, gauges: Iterable[tuple[str, dict[str, str], float]]) -> str:
    """The text of `/metrics`.

    Args:
        metrics: counters.
        gauges: name, labels and value of what is measured at this moment.
    """
    lines = [
        "# TYPE sluis_agent_decisions_total counter",
        f'sluis_agent_decisions_total{{outcome="permit",reason=""}} {metrics.permitted}',
    ]
    lines += [
        f'sluis_agent_decisions_total{{outcome="refuse",reason="{reason.value}"}} {count}'
        for reason, count in sorted(metrics.refused.items())
    ]
    seen = set()
    for name, labels, value in gauges:
        if name not in seen:
            seen.add(name)
            lines.append(f"# TYPE {name} gauge")
        text = ",".join(f'{key}="{item}"' for key, item in labels.items())
        lines.append(f"{name}{{{text}}} {value:g}" if text else f"{name} {value:g}")
    return "\n".join(lines) + "\n"
