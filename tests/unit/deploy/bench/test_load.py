"""What a load generator reports, read strictly: a figure without answers, or with refusals in it, is no figure."""

import json
from pathlib import Path
from typing import Any

import pytest

from deploy.bench.budgets import Outcome, budgets
from deploy.bench.load import LoadFailed, Measured, find_oha, read_oha

REPORT: dict[str, Any] = {
    "summary": {"requestsPerSec": 1234.5},
    "latencyPercentiles": {"p50": 0.001, "p99": 0.01},
    "statusCodeDistribution": {"200": 10},
    "errorDistribution": {},
}


def test_a_report_is_read_in_milliseconds() -> None:
    measured = read_oha(json.dumps(REPORT).encode())
    assert (measured.per_second, measured.p50, measured.p99) == (1234.5, 1.0, 10.0)
    assert measured.clean


@pytest.mark.parametrize(
    "changed", [{"statusCodeDistribution": {"200": 9, "403": 1}}, {"errorDistribution": {"timeout": 1}}]
)
def test_a_load_with_a_refusal_or_an_error_is_not_clean(changed: dict[str, Any]) -> None:
    assert not read_oha(json.dumps(REPORT | changed).encode()).clean


@pytest.mark.parametrize("output", [b"", b"[]", b"{}", json.dumps(REPORT | {"statusCodeDistribution": {}}).encode()])
def test_another_report_or_one_without_answers_is_refused(output: bytes) -> None:
    with pytest.raises(LoadFailed):
        read_oha(output)


def test_a_named_oha_that_is_not_there_is_not_replaced_by_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SLUIS_OHA", str(tmp_path / "oha"))
    assert find_oha() is None


def outcome(*, open_rate: float = 500.0, plain_p99: float = 1.0) -> Outcome:
    names = ("token-kept", "token-new", "plain-kept", "plain-new", "enforcement-kept", "enforcement-new")
    loads = {name: Measured(1000.0, 1.0, 5.0, {200: 1000}) for name in names}
    loads |= {
        "plain-open": Measured(open_rate, 0.5, plain_p99, {200: 500}),
        "enforcement-open": Measured(open_rate, 1.0, 2.5, {200: 500}),
    }
    return Outcome(loads, 6.0, 0.4, {"authz service": 100.0, "decision service": 160.0})


def test_what_is_met_and_what_is_not_is_said_plainly() -> None:
    found = {budget.what: budget for budget in budgets(outcome())}
    assert found["start of a whole lab"].met
    assert not found["memory of the decision service"].met
    assert found["memory of the decision service"].distance == "107% of what it may be"
    assert found["enforcement: p99 added at 500 requests/s"].measured == 1.5
    assert found["audit: search over 10 million records, p95"].met is None


@pytest.mark.parametrize(("kept", "measured"), [("token", 4), ("plain", 0), ("enforcement", 1)])
def test_a_part_of_the_bench_says_nothing_of_the_others(kept: str, measured: int) -> None:
    whole = outcome()
    loads = {name: load for name, load in whole.loads.items() if name.startswith(kept)}
    part = Outcome(loads, whole.start_seconds, whole.revocation_seconds, whole.memory_mb)
    found = [budget for budget in budgets(part) if budget.what.startswith(("tokens", "enforcement"))]
    assert sum(budget.met is not None for budget in found) == measured
    assert part.added_p99 is None


def test_latency_is_not_reported_when_the_machine_could_not_keep_the_rate() -> None:
    assert outcome(open_rate=480.0).added_p99 is None


def test_less_latency_than_the_yardstick_is_none_added() -> None:
    assert outcome(plain_p99=9.0).added_p99 == 0.0
