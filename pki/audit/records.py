"""Audit records of the certificate authority.

Specification: shared `spec/audit.md`; style rule 15: the intent is recorded before signing, the outcome after. A record
names the certificate by issuer and serial number, and the party; it never holds a key, a request or a passphrase.
"""

import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from authz.domain.audit import Action, AuditObject, AuditRecord, AuditUser, EventType, ObjectClass, Outcome
from authz.domain.reasons import Reason
from authz.domain.tracing import TraceContext

_ACTIONS = {
    EventType.CERTIFICATE_INTENT: Action.CREATE,
    EventType.CERTIFICATE_ISSUE: Action.CREATE,
    EventType.CERTIFICATE_RENEW: Action.CREATE,
    EventType.CERTIFICATE_REVOKE: Action.UPDATE,
    EventType.CODE_CREATE: Action.CREATE,
    EventType.CODE_APPROVE: Action.UPDATE,
    EventType.CODE_WITHDRAW: Action.UPDATE,
    EventType.CODE_USE: Action.EXECUTE,
    EventType.KEY_BLOCK: Action.CREATE,
    EventType.KEY_ROTATE: Action.UPDATE,
    EventType.CERTIFICATE_EXPIRES: Action.READ,
    EventType.AUTHORITY_EXPIRES: Action.READ,
    EventType.DOMAIN_STANDING: Action.UPDATE,
    EventType.ANCHOR_CHANGE: Action.UPDATE,
    EventType.WEBHOOK_GIVEN_UP: Action.DELETE,
    EventType.COMPONENT_GAP: Action.UPDATE,
    EventType.RECORD_RESEND: Action.UPDATE,
    EventType.RULES_IN_FORCE: Action.EXECUTE,
}


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asked the authority to act.

    Attributes:
        id: `operator:<login>` for a person at the command line, `operator-key:<name>` for one who signed with his key,
            `sluis/pki` for the authority itself.
        role: for the audit record.
        trace: under which it was asked.
    """

    id: str
    role: str
    trace: TraceContext


def operator(login: str) -> Actor:
    """A person at the command line; each command is a trace of its own."""
    return Actor(f"operator:{login}", "CA_OPERATOR", new_trace())


def keyed(name: str, typed: Actor) -> Actor:
    """An operator who proved himself with his key, whatever account typed it.

    Args:
        name: of the operator in the settings.
        typed: who is at the command line.
    """
    return Actor(f"operator-key:{name}", typed.role, typed.trace)


def itself() -> Actor:
    """The authority, doing what falls due."""
    return Actor("sluis/pki", "CERTIFICATE_AUTHORITY", new_trace())


def new_trace() -> TraceContext:
    """A new trace. Random in its own right: importing the OpenTelemetry SDK would slow every command down."""
    return TraceContext(secrets.token_hex(15) + "01", secrets.token_hex(7) + "01")


class RecordMaker:
    """Makes the records of one installation.

    Args:
        source: bron of the records, as the audit store knows this sender.
    """

    def __init__(self, source: str) -> None:
        self._source = source

    def make(
        self,
        event: EventType,
        actor: Actor,
        at: datetime,
        *,
        subject: str,
        certificate: str | None = None,
        refused: Reason | None = None,
        failed: bool = False,
        details: Mapping[str, Any] | None = None,
    ) -> AuditRecord:
        """One record.

        Args:
            event: what happened.
            actor: who asked.
            at: moment, UTC.
            subject: wire form of the party, or `unknown`.
            certificate: `<issuer>/<serial number in hex>`, when there is one.
            refused: why not; None when it was done.
            failed: it came to nothing by a fault of ours.
            details: small coded facts.
        """
        objects = [AuditObject("subject", subject, "none", ObjectClass.ORGANIZATION, details=dict(details or {}))]
        if certificate is not None:
            objects.append(AuditObject("certificate", certificate, "none"))
        return AuditRecord(
            record_id=str(uuid.uuid4()),
            event_type=event,
            action=_ACTIONS[event],
            time=at,
            outcome=Outcome.ERROR if failed else Outcome.SUCCESS if refused is None else Outcome.REFUSED,
            reason=Reason.INTERNAL_ERROR.value if failed else "" if refused is None else refused.value,
            source=self._source,
            users=(AuditUser(actor.id, actor.role),),
            objects=tuple(objects),
            trace=actor.trace,
        )
