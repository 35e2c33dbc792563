"""Reason codes: each is explained to the people who meet it."""

import re
from pathlib import Path

from authz.domain.reasons import Reason

PAGE = Path(__file__).parents[4] / "docs" / "reference" / "reasons.md"


def test_every_reason_is_explained_and_no_other() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    explained = [code for row in rows for code in re.findall(r"`([a-z_]+)`", row.split("|")[1])]
    assert sorted(explained) == sorted(reason.value for reason in Reason)
