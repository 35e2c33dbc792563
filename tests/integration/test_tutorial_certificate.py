"""docs/tutorial/first-certificate.md, as it is written: every command of it, in a lab of its own."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.lab.layout import program
from tests.support import require

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

CHECKOUT = Path(__file__).parents[2]
TUTORIAL = CHECKOUT / "docs" / "tutorial" / "first-certificate.md"


@pytest.fixture
def said(tmp_path: Path) -> Iterator[str]:
    """What the commands print, one after the other."""
    require("bash")
    blocks = re.findall(r"^```\n(.*?)^```$", TUTORIAL.read_text(), re.DOTALL | re.MULTILINE)
    script = "\n".join(blocks).replace("make lab", "lab up")
    assert script.count("lab down") == 1
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(CHECKOUT)}
    environment.pop("SLUIS_LAB_DIR", None)
    try:
        yield subprocess.run(
            ["bash", "-uc", script],
            cwd=tmp_path,
            env=environment,
            check=False,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ).stdout
    finally:
        subprocess.run([program("lab"), "down"], cwd=tmp_path, env=environment, check=False, capture_output=True)


def test_the_tutorial_leads_to_what_it_says(said: str, tmp_path: Path) -> None:
    steps = (
        "Code in code.txt",
        "enrolled",
        "in order",
        "not due yet",
        "superseding",
        "active",
        "cessationOfOperation: ",
        "crl.own.revoked",
        "ocsp.revoked",
        "refused (certificate_revoked)",
    )
    found = -1
    for step in steps:
        assert step in said[found + 1 :], f"{step!r} is missing in\n{said}"
        if step not in {"superseding", "active"}:  # two rows of one table
            found = said.index(step, found + 1)
    assert "defect" not in said
    assert not (tmp_path / ".lab" / "network").exists()
    assert (tmp_path / "wilg" / "current" / "key.pem").stat().st_mode & 0o077 == 0
