"""How the command line shows entries and reports: tables for people, JSON for programs.

What stands in a record may come from a caller, so nothing of it is interpreted: no markup, no control characters.
"""

import json
import sys
from collections.abc import Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from authz.audit.log import LogEntry
from authz.audit.verify import Finding, Report

_OUTCOMES = {1: ("success", "green"), 2: ("refused", "yellow"), 3: ("error", "red")}
_PIPE_WIDTH = 200
"""Columns when the output is not a terminal, so that a table in a file is not cut at 80."""


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
        "entries": report.entries,
        "checkpoints": report.checkpoints,
        "covered": report.covered,
        "erased": report.erased,
        "findings": [
            {"kind": finding.kind.value, "first": finding.first, "last": finding.last, "detail": finding.detail}
            for finding in report.findings
        ],
    }


def print_json(document: object) -> None:
    """Write one JSON document to standard output."""
    sys.stdout.write(json.dumps(document, ensure_ascii=True, indent=2) + "\n")


def print_entries(entries: Sequence[LogEntry]) -> None:
    """Write a table, newest first."""
    table = Table(title="Audit log", title_justify="left", caption=f"{len(entries)} records, newest first")
    table.add_column("index", justify="right", no_wrap=True)
    for heading in ("time (UTC)", "event", "result", "reason", "who", "what", "under", "source"):
        table.add_column(heading, overflow="fold")
    for entry in entries:
        table.add_row(str(entry.index), *_cells(entry))
    _console().print(table)


def print_entry(entry: LogEntry) -> None:
    """Write one entry, whole."""
    console = _console()
    table = Table(title=f"Audit record {entry.index}", title_justify="left", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    record = _record(entry)
    rows: list[tuple[str, object]] = [("received", _received(entry))]
    rows += _flat("", record) if record else [("record", "erased" if entry.payload is None else "unreadable")]
    rows += [("commitment", entry.commitment.hex()), ("leaf hash", entry.leaf_hash.hex())]
    for name, value in rows:
        table.add_row(_safe(name), _safe(value))
    console.print(table)


def print_report(report: Report) -> None:
    """Write the result of a verification."""
    console = _console()
    if report.intact:
        console.print(Text("The log is intact.", style="bold green"))
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
    return Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False, markup=False, emoji=False)


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
