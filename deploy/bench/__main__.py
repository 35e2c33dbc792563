"""`python -m deploy.bench`: measure, print the machine, a table and the distance to each budget, keep JSON results."""

import argparse
import asyncio
import json
import os
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from deploy.bench import certificates, crl, dnssec, ocsp, search
from deploy.bench.budgets import Budget, Outcome, budgets
from deploy.bench.load import LoadFailed, Measured, find_oha
from deploy.bench.machine import describe
from deploy.bench.rows import Row
from deploy.bench.run import CONNECTIONS, Planned, bench
from deploy.lab.components import ComponentFailed
from deploy.lab.queries import published_or_own
from deploy.lab.story.session import StoryBroken

RESULTS: Final = Path(".bench")
_PIPE_WIDTH: Final = 140
_BUSY: Final = 0.5
"""Load average above which the machine is not ours alone."""
_MOST_SECONDS: Final = 60.0


def main() -> int:
    """Run the bench; the exit status is 0 when everything could be measured, whatever the figures are."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.bench", description="Tokens and enforced requests a second."
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="for each load (1 to 60)")
    parser.add_argument(
        "--only",
        choices=("tokens", "enforcement"),
        help="these loads alone (enforcement with plain Envoy beside it), and no certificates, DNSSEC or searching",
    )
    chosen = parser.parse_args()
    seconds = min(max(chosen.seconds, 1.0), _MOST_SECONDS)
    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False)
    machine = describe() | {"query": published_or_own()[1], "load generator": _generator()}
    for name, value in machine.items():
        console.print(f"{name:>16}  {value}", markup=False)
    busy = os.getloadavg()[0]
    if busy > _BUSY:
        console.print(f"\nThis machine is doing other work (load average {busy:.1f}): every figure is a lower bound.")
    console.print(f"\n{seconds:g} s for each load, {CONNECTIONS} connections, everything on the loopback\n")

    def tell(planned: Planned, measured: Measured) -> None:
        console.print(f"{planned.title:<36} {measured.per_second:>9,.0f}/s", markup=False)

    try:
        outcome = asyncio.run(bench(seconds, tell, chosen.only))
    except (LoadFailed, ComponentFailed, StoryBroken, TimeoutError) as problem:
        console.print(f"The bench broke off: {problem}", markup=False)
        return 1
    found = budgets(outcome)
    console.print(_loads(outcome), _processor(outcome), _budgets(found))
    parts: list[Row] = []
    if chosen.only is None:
        console.print("\nCertificates, 100,000 revocations, OCSP, DNSSEC and searching, one after the other ...")
        parts = [*certificates.measure(), *dnssec.measure(), *crl.measure(), *ocsp.measure(), *search.rows()]
        console.print(_parts(parts))
    console.print(f"Results: {_keep(machine, outcome, found, parts)}", markup=False)
    return 0


def _generator() -> str:
    oha = find_oha()
    if oha:
        return oha
    return "our own Python client; it uses as much processor as the servers, so it LIMITS every figure below"


def _loads(outcome: Outcome) -> Table:
    table = Table(title="Measured", title_justify="left")
    table.add_column("load")
    for heading in ("per second", "p50 ms", "p99 ms"):
        table.add_column(heading, justify="right")
    for name, measured in outcome.loads.items():
        table.add_row(name, f"{measured.per_second:,.0f}", f"{measured.p50:.2f}", f"{measured.p99:.2f}")
    return table


def _processor(outcome: Outcome) -> Table:
    """Where the processor's time went."""
    programs = list(next(iter(outcome.loads.values())).cpu_us)
    table = Table(title="Processor time for one request, microseconds", title_justify="left")
    table.add_column("load")
    for program in programs:
        table.add_column(program, justify="right")
    for name, measured in outcome.loads.items():
        table.add_row(name, *(f"{measured.cpu_us[program]:,.0f}" for program in programs))
    return table


def _budgets(found: list[Budget]) -> Table:
    table = Table(title="Budgets (architecture.md)", title_justify="left")
    table.add_column("budget")
    for heading in ("wanted", "measured", "distance"):
        table.add_column(heading, justify="right")
    for budget in found:
        sign = "<=" if budget.at_most else ">="
        measured = "" if budget.measured is None else f"{budget.measured:,.2f} {budget.unit}"
        colour = {True: "green", False: "red", None: "dim"}[budget.met]
        table.add_row(
            budget.what, f"{sign} {budget.wanted:,.2f} {budget.unit}", measured, f"[{colour}]{budget.distance}[/]"
        )
    return table


def _parts(rows: list[Row]) -> Table:
    table = Table(title="Certificates, DNSSEC and searching", title_justify="left")
    table.add_column("what")
    for heading in ("measured", "at most", "met"):
        table.add_column(heading, justify="right")
    for row in rows:
        budget = "" if row.budget is None else f"{row.budget:,.3g} {row.unit}"
        met = {True: "[green]yes[/]", False: "[red]no[/]", None: ""}[row.met]
        table.add_row(row.what, f"{row.measured:,.3g} {row.unit}", budget, met)
    return table


def _keep(machine: dict[str, str], outcome: Outcome, found: list[Budget], parts: list[Row]) -> Path:
    """Write the results, one file a run, outside the repository's history."""
    RESULTS.mkdir(exist_ok=True)
    at = datetime.now(UTC)
    document: dict[str, Any] = {
        "at": at.isoformat(),
        "machine": machine,
        "outcome": asdict(outcome) | {"added_p99_ms": outcome.added_p99},
        "budgets": [asdict(budget) | {"met": budget.met} for budget in found],
        "parts": [asdict(row) | {"met": row.met} for row in parts],
    }
    path = RESULTS / f"{at:%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return path


if __name__ == "__main__":
    sys.exit(main())
