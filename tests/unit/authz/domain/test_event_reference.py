"""The reference of audit events names every one of them with its code, and nothing else."""

import re
from pathlib import Path

from authz.domain.audit import EVENT_CODES

PAGE = Path(__file__).parents[4] / "docs" / "reference" / "events.md"


def test_every_event_is_documented_with_its_code() -> None:
    rows = re.findall(r"^\| `([a-z._]+)` \| [^|]{5,} \| ([0-9]+) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert dict(rows) == {event.value: code.code for event, code in EVENT_CODES.items()}
