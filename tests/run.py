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
    for what, number in sorted(counts.items()):
        print(f"{number:>8}  {what}")


if __name__ == "__main__":
    sys.exit(main())
