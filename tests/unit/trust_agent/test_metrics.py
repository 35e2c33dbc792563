"""Decisions are counted by reason, and every digit of a count is told."""

from authz.domain.reasons import Reason
from authz.edge.pages import exposition
from trust_agent.metrics import Metrics


def test_decisions_are_counted_by_reason() -> None:
    metrics = Metrics(permitted=123_456_789)
    metrics.refused[Reason.TOKEN_EXPIRED] += 2
    assert exposition([*metrics.samples()]).splitlines() == [
        "# TYPE sluis_agent_decisions_total counter",
        'sluis_agent_decisions_total{outcome="permit",reason=""} 123456789',
        'sluis_agent_decisions_total{outcome="refuse",reason="token_expired"} 2',
    ]
