"""Step 7: the audit log shows every step, proves that it is whole, and names a record in which one byte was altered."""

import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from authz.domain.audit import AuditRecord, EventType, Outcome
from authz.domain.reasons import Reason
from deploy.lab.records import list_records
from deploy.lab.running import RunningLab
from deploy.lab.settings import authz_settings
from deploy.lab.story.model import PERMITTED, Exchange, Step
from deploy.lab.story.session import Session
from deploy.lab.toml import to_toml

DATABASE: Final = "authz.sqlite3"
_NOT_INTACT: Final = 3
"""Exit status of `authz audit verify` for a log that was tampered with."""
_MUST_SHOW: Final = (
    ("1", EventType.CERTIFICATE_ISSUE, PERMITTED),
    ("1", EventType.CERTIFICATE_ISSUE, Reason.IDENTITY_HAS_CERTIFICATE),
    ("1", EventType.CERTIFICATE_RENEW, PERMITTED),
    ("2", EventType.TOKEN_REQUEST, PERMITTED),
    ("2", EventType.TOKEN_REQUEST, Reason.DOMAIN_INSECURE),
    ("2", EventType.TOKEN_REQUEST, Reason.DOMAIN_BOGUS),
    ("3, 6", EventType.ACCESS_DECISION, PERMITTED),
    ("4, 6", EventType.ACCESS_DECISION, Reason.POLICY_DENIED),
    ("4", EventType.ACCESS_DECISION, Reason.TOKEN_BINDING),
    ("4", EventType.ACCESS_DECISION, Reason.TOKEN_AUDIENCE),
    ("4", EventType.ACCESS_DECISION, Reason.TOKEN_EXPIRED),
    ("5", EventType.CERTIFICATE_REVOKE, PERMITTED),
    ("5", EventType.TOKEN_REQUEST, Reason.CERTIFICATE_REVOKED),
    ("5", EventType.ACCESS_DECISION, Reason.CERTIFICATE_REVOKED),
    ("6", EventType.COMPONENT_START, PERMITTED),
)
"""What the steps must have left in the log: step, kind of event, reason."""


async def audit(session: Session) -> Step:
    """Count what the steps left, verify the log, and verify a copy with one altered byte."""
    lab = session.lab
    records = await list_records(lab)
    intact = await lab.command("authz", "audit", "verify")
    copy, altered = alter_one_byte(lab, records)
    broken = await lab.command("authz", "audit", "verify", settings={"SLUIS_AUTHZ_CONFIG": str(copy)})
    named = f"record {altered}:"
    exchanges = (
        *shown(records),
        Exchange(
            asked="auditor: authz audit verify",
            wanted="intact",
            answered=_last_line(intact.output),
            as_wanted=intact.status == 0,
        ),
        Exchange(
            asked=f"auditor: the same on a copy of the database in which one byte of record {altered} was altered",
            wanted=f"not intact, naming record {altered}",
            answered=_naming(broken.output + broken.problem, named),
            as_wanted=broken.status == _NOT_INTACT and named in broken.output + broken.problem,
        ),
    )
    return Step(7, "The audit log shows every step, and cannot be altered unnoticed", exchanges)


def shown(records: Sequence[AuditRecord]) -> tuple[Exchange, ...]:
    """One line for each kind of event that must be in the log."""
    counts = Counter((record.event_type, record.reason) for record in records)
    return tuple(
        Exchange(
            asked=f"auditor: {event.value} of step {step}",
            wanted="at least one record",
            answered=f"{counts[event, str(reason)]} x {reason or 'success'}",
            as_wanted=counts[event, str(reason)] > 0,
        )
        for step, event, reason in _MUST_SHOW
    )


def alter_one_byte(lab: RunningLab, records: Sequence[AuditRecord]) -> tuple[Path, int]:
    """Copy the database and alter one byte of the record of a permitted consultation.

    Returns:
        Settings of authz that use the copy, and the index of the altered record.
    """
    victim = next(
        record
        for record in records
        if record.event_type is EventType.ACCESS_DECISION and record.outcome is Outcome.SUCCESS
    )
    state = lab.layout.authz / "altered"
    state.mkdir(mode=0o700, exist_ok=True)
    original = lab.layout.authz / "state" / DATABASE
    with closing(sqlite3.connect(original)) as source, closing(sqlite3.connect(state / DATABASE)) as copy:
        source.backup(copy)
        query = "SELECT entry_index, payload FROM audit_entry WHERE record_id = ?"
        index, payload = copy.execute(query, (victim.record_id,)).fetchone()
        # A refusal would look like a permit, or another party's, with as little as this.
        position = payload.rindex(b":") + 1
        changed = payload[:position] + bytes([payload[position] ^ 1]) + payload[position + 1 :]
        copy.execute("UPDATE audit_entry SET payload = ? WHERE entry_index = ?", (changed, index))
        copy.commit()
    settings = authz_settings(lab, None) | {"state_dir": state}
    file = state / "authz.toml"
    file.write_text(to_toml(settings), encoding="utf-8")
    return file, index


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else "(nothing)"


def _naming(text: str, named: str) -> str:
    return next((line.strip() for line in text.splitlines() if named in line), _last_line(text))
