"""The audit records of the token endpoint: one for each token, one for each refusal.

Specification: shared `spec/audit.md`, "Fields". A refused request is recorded with what was established about it and
nothing else: texts of the caller are never copied, because nothing says that they are not a BSN or a secret.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from authz.domain.audit import Action, AuditObject, AuditRecord, AuditUser, EventType, Outcome
from authz.domain.claims import AccessTokenClaims
from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from authz.domain.tracing import TraceContext
from authz.grants.request import TokenRequest
from authz.grants.steps import Permit, PolicyRefused
from authz.participants.authentication import AuthenticatedClient
from authz.policy.engine import Decision

SOURCE: Final = "sluis/authz"
_ERRORS: Final = frozenset(
    {Reason.POLICY_UNAVAILABLE, Reason.AUDIT_UNAVAILABLE, Reason.REVOCATIONS_STALE, Reason.INTERNAL_ERROR}
)
_IP_ADDRESS: Final = 2


@dataclass(frozen=True, slots=True)
class RequestContext:
    """Of one request: its moment, its trace and where it came from.

    Attributes:
        at: the one moment of every decision about this request. UTC.
        trace: trace and span.
        address: the peer's own address, or None.
        request_id: request id of the edge, or None.
        verified_by_edge: Envoy verified the certificate of the connection.
    """

    at: datetime
    trace: TraceContext
    address: str | None = None
    request_id: str | None = None
    verified_by_edge: bool = False


def issued(permit: Permit, claims: AccessTokenClaims, context: RequestContext) -> AuditRecord:
    """The record of a token that is about to leave."""
    protocol = _protocol(permit.decision)
    token = AuditObject(
        "jti", claims.token_id, protocol, details={"scopes": claims.scope.values, "exp": claims.expires_at}
    )
    audience = AuditObject("audience", claims.audience, protocol)
    return _record(
        EventType.TOKEN_REQUEST,
        outcome=Outcome.SUCCESS,
        reason="",
        objects=(token, audience),
        client=permit.party.client,
        context=context,
        checks="TFFF",
    )


def refused(
    refusal: Refused, client: AuthenticatedClient | None, request: TokenRequest | None, context: RequestContext
) -> AuditRecord:
    """The record of a token request that is refused.

    Args:
        refusal: why.
        client: who asked, if that was established.
        request: what was asked, if it was well-formed.
        context: of the request.
    """
    details: dict[str, Any] = {}
    protocol = "none"
    if isinstance(refusal, PolicyRefused):
        protocol = _protocol(refusal.decision)
        details["policy_reasons"] = refusal.decision.reasons
    if request is not None:
        details["scopes"] = [value for value in request.scope.values if _harmless(value)]
        details["on_behalf"] = request.subject is not None
    outcome = Outcome.ERROR if refusal.reason in _ERRORS else Outcome.REFUSED
    endpoint = AuditObject("endpoint", "token", protocol, details=details)
    return _record(
        EventType.TOKEN_REQUEST,
        outcome=outcome,
        reason=refusal.reason.value,
        objects=(endpoint,),
        client=client,
        context=context,
        checks="FFFF",
    )


def endpoint_refused(
    refusal: Refused, endpoint: str, client: AuthenticatedClient | None, context: RequestContext
) -> AuditRecord:
    """The record of a refusal at another endpoint.

    Args:
        refusal: why.
        endpoint: our own name of the endpoint, never the path as sent.
        client: who asked, if that was established.
        context: of the request.
    """
    outcome = Outcome.ERROR if refusal.reason in _ERRORS else Outcome.REFUSED
    target = AuditObject("endpoint", endpoint, "none")
    return _record(
        EventType.ENDPOINT_REFUSED,
        outcome=outcome,
        reason=refusal.reason.value,
        objects=(target,),
        client=client,
        context=context,
        checks=None,
    )


def counted_refusals(event: EventType, reason: str, number: int, context: RequestContext) -> AuditRecord:
    """The record of refusals of strangers that got no record each (`authz.grants.refusals`).

    Args:
        event: what they were refused.
        reason: why, the same for all of them.
        number: how many.
        context: of the counting.
    """
    target = AuditObject("endpoint", "counted", "none", details={"count": number})
    return _record(
        event,
        outcome=Outcome.ERROR if reason in _ERRORS else Outcome.REFUSED,
        reason=reason,
        objects=(target,),
        client=None,
        context=context,
        checks="FFFF" if event is EventType.TOKEN_REQUEST else None,
    )


def _record(
    event: EventType,
    *,
    outcome: Outcome,
    reason: str,
    objects: tuple[AuditObject, ...],
    client: AuthenticatedClient | None,
    context: RequestContext,
    checks: str | None,
) -> AuditRecord:
    return AuditRecord(
        record_id=str(uuid.uuid4()),
        event_type=event,
        action=Action.EXECUTE,
        time=context.at,
        outcome=outcome,
        reason=reason,
        checks=checks,
        source=SOURCE,
        users=(_user(client, context),),
        objects=objects,
        trace=context.trace,
        request_id=context.request_id,
    )


def _user(client: AuthenticatedClient | None, context: RequestContext) -> AuditUser:
    access_point_type = None if context.address is None else _IP_ADDRESS
    if client is None:
        return AuditUser("unknown", "unknown", access_point=context.address, access_point_type=access_point_type)
    participant = client.participant
    return AuditUser(
        participant.id.subject,
        participant.organization_type,
        name=participant.name,
        access_point=context.address,
        access_point_type=access_point_type,
    )


def _protocol(decision: Decision) -> str:
    return f"{decision.policy_id or 'none'}@{decision.revision}"


def _harmless(scope: str) -> bool:
    """Whether a well-formed scope may be copied into a record: no digit, so that no number can hide in it.

    Every scope of the catalogue is without digits; one with them was never going to be permitted.
    """
    return not any(character.isdigit() for character in scope)
