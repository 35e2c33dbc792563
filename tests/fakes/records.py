"""Audit records that differ in what a test says and in nothing else, and a log that keeps them in memory."""

import itertools
import uuid
from datetime import UTC, datetime
from typing import Any

from authz.audit.log import AuditUnavailable
from authz.domain.audit import Action, AuditObject, AuditRecord, AuditUser, EventType, Outcome
from authz.domain.tracing import TraceContext

_numbers = itertools.count(1)


def audit_record(
    *,
    user: str = "uzovi:5000",
    identifier: str = "https://register.example.nl/graphql",
    identifier_type: str = "audience",
    details: dict[str, Any] | None = None,
    **changes: Any,
) -> AuditRecord:
    """A record of a permitted token request, with its own id and trace."""
    number = next(_numbers)
    values: dict[str, Any] = {
        "record_id": str(uuid.uuid4()),
        "event_type": EventType.TOKEN_REQUEST,
        "action": Action.EXECUTE,
        "time": datetime(2026, 11, 22, 12, 0, tzinfo=UTC),
        "outcome": Outcome.SUCCESS,
        "source": "sluis/authz",
        "users": (AuditUser(user, "ZORGKANTOOR"),),
        "objects": (AuditObject(identifier_type, identifier, "token@1", details=details or {"number": number}),),
        "trace": TraceContext(f"{number:032x}", f"{number:016x}"),
    }
    return AuditRecord(**values | changes)


class FakeLog:
    """An `authz.audit.log.AuditLog` in memory; `full` refuses, as one without room does."""

    def __init__(self) -> None:
        self.records: list[AuditRecord] = []
        self.full = False

    async def record(self, *records: AuditRecord) -> None:
        """Take them all, or none."""
        if self.full:
            raise AuditUnavailable("full")
        self.records += records
