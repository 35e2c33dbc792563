"""The whole test run behind `make test`: fast tests side by side, then the ones that start servers, then the counts.

Two steps, because tests that start real servers on two cores must not compete with a parallel unit run. Further
arguments go to pytest (`python -m tests.run -k dnssec`).
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

STEPS = (
    ("unit, contract and conformance tests", ["tests/unit", "tests/contract", "tests/conformance", "-n", "auto"]),
    ("integration tests", ["tests/integration"]),
)
NO_TESTS_COLLECTED = 5
"""pytest's exit code when `-k` left nothing in one of the steps."""


def main() -> int:
    """Run the steps; the exit code is the first failure's, or 0."""
    with tempfile.TemporaryDirectory(prefix="sluis-counts-") as folder:
        environment = os.environ | {"SLUIS_COUNTS": folder}
        codes = []
        for name, arguments in STEPS:
            print(f"== {name}", flush=True)
            command = [sys.executable, "-m", "pytest", *arguments, *sys.argv[1:]]
            codes.append(subprocess.run(command, env=environment, check=False).returncode)
        _print_counts(Path(folder))
    if sys.argv[1:] and set(codes) <= {0, NO_TESTS_COLLECTED}:
        codes = [] if 0 in codes else codes
    return next((code for code in codes if code), 0)


def _print_counts(folder: Path) -> None:
    """What the suites counted for the reader: scenarios, vectors, interleavings (`tests.support.count`)."""
    counts: Counter[str] = Counter()
    for file in folder.iterdir():
        for line in file.read_text().splitlines():
            counts.update(json.loads(line))
    if counts:
        print("== counted")
    for line in shown(counts):
        print(line)


def shown(counts: Mapping[str, int]) -> list[str]:
    """A line for each figure; those named `<table> | <row> | <column>` in tables behind them, with their sums."""
    tables: dict[str, dict[str, dict[str, int]]] = {}
    lines = []
    for what, number in sorted(counts.items()):
        title, row, column = (*what.split(" | "), "", "")[:3]
        if column:
            tables.setdefault(title, {}).setdefault(row, {})[column] = number
        else:
            lines.append(f"{number:>8}  {what}")
    for title, rows in tables.items():
        lines += _table(title, rows)
    return lines


def _table(title: str, rows: dict[str, dict[str, int]]) -> list[str]:
    # The columns in the order in which a case comes to them.
    order = ("cases", "passed")
    columns = sorted({column for row in rows.values() for column in row}, key=lambda name: (name not in order, name))
    sums = {column: sum(row.get(column, 0) for row in rows.values()) for column in columns}
    width = max(len(name) for name in (title, *rows))
    lines = ["", " | ".join([title.ljust(width), *columns])]
    for name, row in (*rows.items(), ("all", sums)):
        lines.append(" | ".join([name.ljust(width), *(f"{row.get(column, 0):>{len(column)}}" for column in columns)]))
    return lines


if __name__ == "__main__":
    sys.exit(main())
