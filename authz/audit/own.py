"""Records that the log writes about itself: that it was read, exported, verified, or found altered."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

from authz.audit.log import AuditLog
from authz.domain.audit import Action, AuditObject, AuditRecord, AuditUser, EventType, Outcome
from authz.domain.clock import Clock
from authz.domain.reasons import Reason
from authz.domain.tracing import TraceContext

_IDS = RandomIdGenerator()


@dataclass(frozen=True, slots=True)
class OwnRecords:
    """Writes records about the log to the log.

    Attributes:
        log: takes them.
        clock: time of the event.
        source: `bron`, for example `sluis/authz`.
    """

    log: AuditLog
    clock: Clock
    source: str

    async def write(
        self,
        event_type: EventType,
        action: Action,
        item: tuple[str, str],
        *,
        user: AuditUser | None = None,
        reason: Reason | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """Write one record, see `make`; returns when it is durable.

        Raises:
            AuditUnavailable: it is not durable.
        """
        await self.log.record(self.make(event_type, action, item, user=user, reason=reason, details=details))

    def make(
        self,
        event_type: EventType,
        action: Action,
        item: tuple[str, str],
        *,
        user: AuditUser | None = None,
        reason: Reason | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> AuditRecord:
        """One record, for a transaction that writes it.

        Args:
            event_type: what happened.
            action: actie.
            item: identifier type and identifier of what was read or found.
            user: who did it; the component itself if None.
            reason: why it is an error; None for success.
            details: small coded facts.
        """
        identifier_type, identifier = item
        return AuditRecord(
            record_id=str(uuid.uuid4()),
            event_type=event_type,
            action=action,
            time=self.clock.now(),
            outcome=Outcome.SUCCESS if reason is None else Outcome.ERROR,
            reason="" if reason is None else reason.value,
            source=self.source,
            users=(user or AuditUser(self.source, "COMPONENT"),),
            objects=(AuditObject(identifier_type, identifier, "none", details=details or {}),),
            trace=TraceContext(f"{_IDS.generate_trace_id():032x}", f"{_IDS.generate_span_id():016x}"),
        )
