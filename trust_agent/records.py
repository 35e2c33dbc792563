"""The audit record of one decision, as JSON bytes, in microseconds.

Specification: shared `spec/audit.md`, "Fields"; the form is that of `authz.domain.audit.AuditRecord.to_json`, and its
`from_json` reads back what is written here (a test holds the two together). Written by hand because this runs for every
request.

What is never in it: the query text, tokens, and values of filters, but for those of `record_fields`, which are UUIDs.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import msgspec

from authz.audit.record_format import encode_record
from authz.domain.audit import (
    EVENT_CODES,
    RECORD_VERSION,
    Action,
    AuditObject,
    AuditRecord,
    AuditUser,
    EventType,
    ObjectClass,
    Outcome,
)
from authz.domain.claims import AccessTokenClaims
from authz.domain.reasons import Reason
from authz.domain.tracing import TraceContext
from authz.policy.engine import Decision
from pki.validation.validator import ValidatedCertificate
from trust_agent.graphql import CanonicalRequest

# The encoding of the log: authz takes a record in exactly these bytes by a short way (`authz.audit.shipment`).
_encode: Final = msgspec.json.Encoder(order="deterministic").encode
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_UNKNOWN: Final = "unknown"
_CODE: Final = EVENT_CODES[EventType.ACCESS_DECISION].code
_ERRORS: Final = frozenset({Reason.INTERNAL_ERROR, Reason.UPSTREAM_UNAVAILABLE})
_MAX_RECORDS: Final = 10
"""Record ids in one audit record; a request has at most ten root fields."""


@dataclass(slots=True)
class Facts:
    """What became known about a request on its way through the checks; each stays None until its check passed."""

    at: datetime
    trace: TraceContext
    peer_address: str = ""
    request_id: str | None = None
    certificate: ValidatedCertificate | None = None
    """One that counts, or that counted until authz blocked it."""
    stranger: bool = True
    """Nothing says that this is a deelnemer: Envoy did not verify the certificate, or it was found to be no good."""
    claims: AccessTokenClaims | None = None
    refused_claims: AccessTokenClaims | None = None
    """Of a token that authz signed and that does not count here: an object of the record, never its user."""
    request: CanonicalRequest | None = None
    decision: Decision | None = None
    notes: dict[str, Any] = field(default_factory=dict)


class DecisionRecords:
    """Writes decisions.

    Args:
        source: bron, for example `sluis/trust-agent/ciz`.
        service: the service that is guarded.
        audience: the audience of this agent.
        record_fields: filter fields whose values name records.
    """

    def __init__(self, source: str, service: str, audience: str, record_fields: Sequence[str]) -> None:
        self._source = source
        self._service = service
        self._audience = audience
        self._record_fields = frozenset(record_fields)

    def encode(self, facts: Facts, reason: Reason | None) -> bytes:
        """The record.

        Args:
            facts: what is known.
            reason: None for a permit.
        """
        outcome = Outcome.SUCCESS if reason is None else Outcome.ERROR if reason in _ERRORS else Outcome.REFUSED
        request = facts.request
        return _encode(
            {
                "version": RECORD_VERSION,
                "record_id": new_record_id(),
                "event": {
                    "type": EventType.ACCESS_DECISION.value,
                    "code": _CODE,
                    "action": _action(request),
                    "time": facts.at.isoformat().replace("+00:00", "Z"),
                    "outcome": int(outcome),
                    "reason": reason.value if reason else "",
                    # Authorization was found or not; care relation, consent and emergency play no part here.
                    "checks": "TFFF" if reason is None else "FFFF",
                },
                "users": self._users(facts),
                "objects": self._objects(facts),
                "log": {"source": self._source},
                "trace_id": facts.trace.trace_id,
                "span_id": facts.trace.span_id,
                "request_id": facts.request_id,
            }
        )

    def _users(self, facts: Facts) -> list[dict[str, Any]]:
        claims, certificate = facts.claims, facts.certificate
        address = facts.peer_address.rpartition(":")[0] or None
        identity = certificate.identity.subject if certificate else _UNKNOWN
        user = {
            "id": identity,
            "role": _UNKNOWN,
            "is_initiator": True,
            "name": certificate.organization if certificate else None,
            "responsible_id": None,
            "access_point": address,
            "access_point_type": 2 if address else None,
        }
        if claims is not None:
            user["id"] = (claims.actor or claims.subject).subject
            user["role"] = claims.organization_type
            user["responsible_id"] = claims.subject.subject if claims.actor else None
        return [user]

    def _objects(self, facts: Facts) -> list[dict[str, Any]]:
        decision, request, claims = facts.decision, facts.request, facts.claims
        protocol = f"{decision.policy_id or 'no_rule'}@{decision.revision}" if decision else "none"
        details = facts.notes
        if request is not None:
            details = details | {
                "document": request.digest,
                "fields": request.coordinates or sorted({item.coordinate for item in request.occurrences}),
            }
        if decision is not None and decision.reasons:
            details = details | {"policy_reasons": list(decision.reasons)}
        if facts.certificate is not None:
            details = details | {"credential": facts.certificate.thumbprint}
        objects = [_object("audience", self._audience, protocol, details, name=self._service)]
        if claims is not None:
            token = {"scopes": list(claims.scope.values), "policy": claims.policy}
            objects.append(_object("jti", claims.token_id, protocol, token))
        elif (refused := facts.refused_claims) is not None:
            # Whoever used it may have stolen it, so nothing else of the token stands in the record.
            objects.append(_object("jti", refused.token_id, protocol, {"refused": True}))
        if request is not None:
            objects += [_object(name, value, protocol, {}) for name, value in self._record_ids(request)[:_MAX_RECORDS]]
        return objects

    def _record_ids(self, request: CanonicalRequest) -> list[tuple[str, str]]:
        found: dict[tuple[str, str], None] = {}
        for occurrence in request.occurrences:
            for condition in occurrence.query_filter.get("and", ()):
                name, value = condition.get("field"), condition.get("value")
                # Only what has the form of a record id: a caller could put anything into a text.
                if name in self._record_fields and isinstance(value, str) and _UUID.fullmatch(value):
                    found[(name, value.lower())] = None
        return list(found)


def counted_record(source: str, reason: Reason, number: int, at: datetime, trace: TraceContext) -> bytes:
    """The record of refusals of strangers that got no record each (`trust_agent.strangers`).

    Args:
        source: of the records.
        reason: why, the same for all of them.
        number: how many.
        at: of the counting.
        trace: of the counting.
    """
    return encode_record(
        AuditRecord(
            record_id=new_record_id(),
            event_type=EventType.ACCESS_DECISION,
            action=Action.EXECUTE,
            time=at,
            outcome=Outcome.ERROR if reason in _ERRORS else Outcome.REFUSED,
            reason=reason.value,
            checks="FFFF",
            source=source,
            users=(AuditUser(_UNKNOWN, _UNKNOWN),),
            objects=(AuditObject("endpoint", "counted", "none", details={"count": number}),),
            trace=trace,
        )
    )


def _action(request: CanonicalRequest | None) -> str:
    if request is None:
        return Action.EXECUTE.value
    return Action.READ.value if request.operation == "QUERY" else Action.EXECUTE.value


def _object(
    kind: str, identifier: str, protocol: str, details: dict[str, Any], *, name: str | None = None
) -> dict[str, Any]:
    return {
        "identifier_type": kind,
        "identifier": identifier,
        "protocol": protocol,
        "object_class": int(ObjectClass.SYSTEM_OBJECT if kind == "audience" else ObjectClass.OTHER),
        "name": name,
        "details": details,
    }


def new_record_id() -> str:
    """A random UUID (version 4), as text."""
    digits = os.urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def component_record(
    event: EventType, source: str, at: datetime, *, trace: TraceContext, details: dict[str, Any], reason: str = ""
) -> bytes:
    """The record of a start, stop or gap of this component."""
    return encode_record(
        AuditRecord(
            record_id=new_record_id(),
            event_type=event,
            action=Action.EXECUTE,
            time=at,
            outcome=Outcome.ERROR if reason else Outcome.SUCCESS,
            reason=reason,
            source=source,
            users=(AuditUser(source, "component"),),
            objects=(AuditObject("component", source, "none", ObjectClass.SYSTEM_OBJECT, None, details),),
            trace=trace,
        )
    )
