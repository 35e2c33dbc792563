"""The input of policy `access/decision`: an AuthZEN evaluations request in the profile of the network.

Specification: shared `spec/enforcement.md`, "AuthZEN request"; `spec/policy.md`, "Two engines, one answer". Subject and
context are the same for all evaluations and stand once, beside them. There is one evaluation for each annotation of
each occurrence of an annotated field; nothing is inherited from parent to child. Only verified claims enter, never a
token.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from authz.domain.claims import AccessTokenClaims
from authz.domain.errors import InvalidValue
from authz.domain.tracing import TraceContext
from trust_agent.graphql import CanonicalRequest
from trust_agent.graphql.binding import encode, evaluation_parts

_encode: Final = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class RequestContext:
    """What the agent knows about a request besides caller and query.

    Attributes:
        service: the service that this agent guards, for example `wlzindicatieregister`.
        purpose_of_use: WLZ_UITVOERING, TOEZICHT, ONDERZOEK or ADMINISTRATIE.
        time: the one moment of this decision, UTC.
        trace: trace under which the request is handled.
        register_owner: subject identifier of who holds the register (`uzovi:5001`), where policies ask for it.
    """

    service: str
    purpose_of_use: str
    time: datetime
    trace: TraceContext
    register_owner: str | None = None

    def __post_init__(self) -> None:
        # A policy compares times as texts: another offset would shift every limit.
        if self.time.tzinfo is not UTC and (self.time.utcoffset() is None or self.time.utcoffset().total_seconds()):  # type: ignore[union-attr]
            raise InvalidValue("the time of a decision is UTC")


def access_input(request: CanonicalRequest, claims: AccessTokenClaims, context: RequestContext) -> bytes:
    """The policy input for one request.

    Args:
        request: as `Register.canonicalize` made it.
        claims: of a token that has passed every check.
        context: of this request.

    Returns:
        One JSON object, UTF-8.
    """
    shared = _encode({"subject": _subject(claims), "token": _token(claims), "context": _context(context)})
    evaluations = request.evaluations or _evaluations(request)
    return b"".join((shared[:-1], b',"evaluations":', evaluations.encode("ascii"), b"}"))


def _subject(claims: AccessTokenClaims) -> dict[str, Any]:
    identifiers = {}
    if claims.uzovi is not None:
        identifiers["uzovi_code"] = claims.uzovi
    if claims.agb is not None:
        identifiers["agb_code"] = claims.agb
    return {
        "type": "organization",
        "id": claims.subject.subject,
        "properties": {
            "organization_type": claims.organization_type,
            "roles": [],
            "identifiers": identifiers,
            "actor": claims.actor.subject if claims.actor else None,
        },
    }


def _token(claims: AccessTokenClaims) -> dict[str, Any]:
    return {
        "scopes": claims.scope.values,
        "authorization_details": [dict(detail) for detail in claims.authorization_details],
    }


def _context(context: RequestContext) -> dict[str, str]:
    members = {
        "service": context.service,
        "purpose_of_use": context.purpose_of_use,
        "time": context.time.isoformat().replace("+00:00", "Z"),
        "traceparent": context.trace.traceparent,
    }
    if context.register_owner is not None:
        members["register_owner"] = context.register_owner
    return members


def _evaluations(request: CanonicalRequest) -> str:
    # Slower than what the register prepared, and the same: for requests that were put together by hand.
    texts = [
        encode(occurrence.query_filter).join(evaluation_parts(request.operation, occurrence, directive))
        for occurrence in request.occurrences
        for directive in occurrence.directives
    ]
    return f"[{','.join(texts)}]"
