"""Reading the audit log of a lab the way an auditor does: by `authz audit`."""

import json
from collections.abc import Iterable
from typing import Any

from authz.audit.search import MAX_RESULTS
from authz.domain.audit import AuditRecord
from deploy.lab.running import RunningLab


class AuditUnreadable(RuntimeError):  # noqa: N818  what happened
    """`authz audit` did not answer."""


async def list_records(lab: RunningLab, *criteria: str) -> list[AuditRecord]:
    """The records that fit, newest first.

    Args:
        lab: whose log.
        criteria: options of `authz audit list`.

    Raises:
        AuditUnreadable: the command failed.
    """
    finished = await lab.command("authz", "audit", "list", "--json", "--limit", str(MAX_RESULTS), *criteria)
    if finished.status:
        raise AuditUnreadable(finished.problem.strip()[-500:])
    entries: list[dict[str, Any]] = json.loads(finished.output)
    return [AuditRecord.from_json(entry["record"]) for entry in entries if entry["record"]]


async def records_of(lab: RunningLab, traces: Iterable[str], *criteria: str) -> dict[str, list[AuditRecord]]:
    """The records of some traces, by trace; a trace without records is absent.

    Raises:
        AuditUnreadable: the command failed.
    """
    wanted = set(traces)
    found: dict[str, list[AuditRecord]] = {}
    for record in await list_records(lab, *criteria):
        if record.trace.trace_id in wanted:
            found.setdefault(record.trace.trace_id, []).append(record)
    return found
