"""How the command line shows entries and reports: text for people, JSON for programs.

A table of nine columns needs room. A terminal that is narrow gets each record as a few lines instead, and so does a
pipe or a file, where nobody knows the width: unless COLUMNS says it.

What stands in a record may come from a caller, so nothing of it is interpreted: no markup, no control characters.
"""

import json
import os
import sys
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from authz.audit.log import LogEntry
from authz.audit.verify import Finding, Report, Verdict

_OUTCOMES = {1: ("success", "green"), 2: ("refused", "yellow"), 3: ("error", "red")}
_TABLE_WIDTH: Final = 140
"""Columns below which a table of nine columns would be one of words cut into pieces."""
_ENDLESS: Final = 1_000_000
"""Columns of a pipe: nothing is wrapped, so that a line stays what a program or a person searches for."""
_HEADINGS: Final = ("time (UTC)", "event", "result", "reason", "who", "what", "under", "source")


def entry_json(entry: LogEntry) -> dict[str, Any]:
    """An entry as JSON values; `record` is None once erased, or when damage made it unreadable."""
    return {
        "index": entry.index,
        "received_at": _received(entry),
        "record": _record(entry) or None,
        "commitment": entry.commitment.hex(),
        "leaf_hash": entry.leaf_hash.hex(),
    }


def report_json(report: Report) -> dict[str, Any]:
    """A report as JSON values."""
    return {
        "intact": report.intact,
        "verdict": report.verdict.value,
        "entries": report.entries,
        "checkpoints": report.checkpoints,
        "covered": report.covered,
        "erased": report.erased,
        "findings": [
            {"kind": finding.kind.value, "first": finding.first, "last": finding.last, "detail": finding.detail}
            for finding in report.findings
        ],
        "uncompared": list(report.uncompared),
    }


def print_json(document: object) -> None:
    """Write one JSON document to standard output."""
    sys.stdout.write(json.dumps(document, ensure_ascii=True, indent=2) + "\n")


def print_entries(entries: Sequence[LogEntry]) -> None:
    """Write what was found, newest first: a table where there is room, a list elsewhere."""
    console, caption = _console(), f"{len(entries)} records, newest first"
    if not _TABLE_WIDTH <= console.width < _ENDLESS:
        for entry in entries:
            _print_as_list(console, entry)
        console.print(Text(caption, style="italic"))
        return
    table = Table(title="Audit log", title_justify="left", caption=caption)
    table.add_column("index", justify="right", no_wrap=True)
    for heading in _HEADINGS:
        table.add_column(heading, overflow="fold")
    for entry in entries:
        table.add_row(str(entry.index), *_cells(entry))
    console.print(table)


def _print_as_list(console: Console, entry: LogEntry) -> None:
    first, *rest = _cells(entry)
    head = [Text(f"{entry.index}", style="bold"), first, *(cell for cell in rest[:3] if cell.plain)]
    console.print(Text("  ").join(head), soft_wrap=True)
    for heading, cell in zip(_HEADINGS[4:], rest[3:], strict=False):
        if cell.plain:
            console.print(Text.assemble((f"    {heading}: ", "dim"), cell), soft_wrap=True)


def print_entry(entry: LogEntry) -> None:
    """Write one entry, whole."""
    console = _console()
    record = _record(entry)
    rows: list[tuple[str, object]] = [("received", _received(entry))]
    rows += _flat("", record) if record else [("record", "erased" if entry.payload is None else "unreadable")]
    rows += [("commitment", entry.commitment.hex()), ("leaf hash", entry.leaf_hash.hex())]
    if not _TABLE_WIDTH <= console.width < _ENDLESS:
        for name, value in (("Audit record", entry.index), *rows):
            console.print(Text.assemble((f"{_safe(name)}: ", "dim"), _safe(value)), soft_wrap=True)
        return
    table = Table(title=f"Audit record {entry.index}", title_justify="left", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(_safe(name), _safe(value))
    console.print(table)


def print_report(report: Report) -> None:
    """Write the result of a verification."""
    console = _console()
    if report.verdict is Verdict.INTACT:
        console.print(Text("The log is intact.", style="bold green"))
    elif report.verdict is Verdict.INCOMPLETE:
        sizes = ", ".join(str(size) for size in report.uncompared)
        console.print(Text("INCOMPLETE: the log could not be verified against every checkpoint.", style="bold yellow"))
        console.print(
            Text(
                f"The export fits its own signatures up to record {report.covered}, and cannot be compared with the "
                f"checkpoint of {sizes} records: it is newer than this export, or the export is a selection. "
                "Export everything again, or verify with an older checkpoint. If a whole new export ends before that "
                "checkpoint too, records are missing."
            )
        )
    else:
        console.print(Text("THE LOG IS NOT INTACT.", style="bold red"))
        console.print(_finding("first: ", report.findings[0]))
        for finding in report.findings[1:]:
            console.print(_finding("also: ", finding))
    console.print(
        Text(
            f"{report.entries} records read, {report.erased} of them erased by law; {report.checkpoints} signed "
            f"checkpoints compared; records below {report.covered} are covered by a signature."
        )
    )


def _finding(label: str, finding: Finding) -> Text:
    return Text.assemble((label, "bold"), _safe(finding))


def _console() -> Console:
    known = sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdecimal()
    return Console(width=None if known else _ENDLESS, highlight=False, markup=False, emoji=False)


def _received(entry: LogEntry) -> str | None:
    try:
        return entry.received_at.isoformat().replace("+00:00", "Z")
    except OverflowError:  # a damaged number that no date can say
        return None


def _record(entry: LogEntry) -> dict[str, Any]:
    if entry.payload is None:
        return {}
    try:
        return msgspec.json.decode(entry.payload, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return {}


def _cells(entry: LogEntry) -> list[Text]:
    record = _record(entry)
    event = record.get("event")
    if not isinstance(event, dict):
        return [Text("erased" if entry.payload is None else "unreadable", style="dim")]
    name, style = _OUTCOMES.get(event.get("outcome", 0), ("?", "red"))
    objects = [item for item in record.get("objects", ()) if isinstance(item, dict)]
    users = [user for user in record.get("users", ()) if isinstance(user, dict)]
    return [
        _safe(str(event.get("time", ""))[:23]),
        _safe(event.get("type")),
        Text(name, style=style),
        _safe(event.get("reason")),
        _safe(", ".join(str(user.get("id")) for user in users)),
        _safe(", ".join(f"{item.get('identifier_type')} {item.get('identifier')}" for item in objects)),
        _safe(", ".join(dict.fromkeys(str(item.get("protocol")) for item in objects))),
        _safe((record.get("log") or {}).get("source")),
    ]


def _flat(path: str, value: object) -> list[tuple[str, object]]:
    if isinstance(value, dict) and value:
        return [row for key, item in value.items() for row in _flat(f"{path}.{key}" if path else str(key), item)]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [row for place, item in enumerate(value) for row in _flat(f"{path}[{place}]", item)]
    return [] if value in (None, {}, []) else [(path, value)]


def _safe(value: object) -> Text:
    text = "" if value is None else str(value)
    return Text("".join(each if each.isprintable() else "�" for each in text))
