"""Envoy's ext_authz messages to and from domain types.

Specification: Envoy ext_authz, HTTP service; shared `spec/enforcement.md`, "Errors at the agent" and "Tracing". A
permit is 200 with the authorized document in a header, which Envoy puts in the place of the body; every other status is
the answer to the caller as it stands. There is no other route on this socket: whatever path a client asks for, it is
the path of an inquiry. Errors are rendered here only.
"""

import re
from typing import Any, Final

import msgspec

from authz.domain.reasons import Reason
from authz.domain.tracing import TraceContext, parse_trace
from authz.edge.client_certificate import EDGE_VERIFIED_HEADER, PEER_ADDRESS_HEADER, RAW_PATH_HEADER, XFCC_HEADER
from authz.edge.envoy import CLAIMS_HEADER, DOCUMENT_HEADER
from authz.edge.envoy_http import UNAVAILABLE_BEHIND_EDGE
from authz.edge.tracing import new_span_id, new_trace
from trust_agent.decision import Decider, Inquiry, Permit, Refusal
from trust_agent.inquiries import Answer, Asked
from trust_agent.metrics import Metrics

_encode: Final = msgspec.json.Encoder().encode
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_GRAPHQL: Final = "application/graphql-response+json"
_STATUS: Final = {
    Reason.NOT_FOUND: 404,
    Reason.METHOD_NOT_ALLOWED: 405,
    Reason.BODY_TOO_LARGE: 413,
    Reason.CONTENT_TYPE: 415,
    Reason.CONTENT_ENCODING: 415,
    Reason.QUERY_PARAMETERS: 400,
    Reason.TOKEN_SCOPE: 400,
    Reason.CREDENTIAL_BLOCKED: 403,
    Reason.CREDENTIAL_REVOKED: 403,
    Reason.CREDENTIAL_UNKNOWN: 403,
    Reason.ADDRESS_NOT_ALLOWED: 403,
    Reason.POLICY_DENIED: 403,
    Reason.CARE_CLIENT_OUTSIDE_GRANT: 403,
    Reason.NEW_DOCUMENTS_LIMITED: 429,
    Reason.POLICY_UNAVAILABLE: 503,
    Reason.POLICY_STALE: 503,
    Reason.CRL_MISSING: 503,
    Reason.CRL_STALE: 503,
    Reason.CRL_INVALID: 503,
    Reason.OCSP_INVALID: 503,
    Reason.OCSP_MISSING: 503,
    Reason.KEYS_STALE: 503,
    Reason.REVOCATIONS_STALE: 503,
    Reason.BUNDLE_STALE: 503,
    Reason.JOURNAL_UNAVAILABLE: 503,
    Reason.INTERNAL_ERROR: 500,
}
_CODES: Final = {
    400: "bad_request",
    401: "invalid_token",
    403: "access_denied",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "unsupported_media_type",
    429: "too_many_requests",
    503: "temporarily_unavailable",
}


def status_of(reason: Reason) -> int:
    """The HTTP status of a refusal; one that no rule knows is an internal error."""
    status = _STATUS.get(reason)
    if status is not None:
        return status
    if reason.value.startswith("token_"):
        return 401
    if reason.value.startswith("certificate_"):
        return 403
    if reason.value.startswith("graphql_"):
        return 400
    return 500


class AnswerWriter:
    """Renders refusals.

    Args:
        sender: how the agent names itself, in every body.
    """

    def __init__(self, sender: str) -> None:
        self._sender = sender

    def render(self, refusal: Refusal, trace: TraceContext) -> tuple[int, list[tuple[str, str]], bytes]:
        """Status, headers and body."""
        reason = refusal.reason
        status = status_of(reason)
        headers = [("cache-control", "no-store"), ("x-b3-traceid", trace.trace_id)]
        tail: dict[str, Any] = {"sender": self._sender, "trace_id": trace.trace_id}
        if reason.value.startswith("graphql_") and reason is not Reason.GRAPHQL_NO_OPERATION:
            headers.append(("content-type", _GRAPHQL))
            error = {"message": refusal.detail, "extensions": {"code": reason.value} | tail}
            return status, headers, _encode({"errors": [error]})
        headers.append(("content-type", "application/json"))
        body = {"ErrorCode": _CODES.get(status, "server_error"), "Error": refusal.detail}
        if reason.value.startswith("certificate_"):
            # One text for every fault: which one it was is for the audit record, not for who tries certificates.
            body = {"ErrorCode": "invalid_client_certificate", "Error": "Invalid Client Certificate"}
        elif status == 401:  # noqa: PLR2004
            headers.append(("www-authenticate", _challenge(reason)))
        elif status == 405:  # noqa: PLR2004
            headers.append(("allow", "POST"))
        elif status == 429:  # noqa: PLR2004
            headers.append(("retry-after", "1"))
            tail = {"reason": reason.value} | tail
        elif status == 500:  # noqa: PLR2004
            body["Error"] = "Internal error"
        elif status == 503:  # noqa: PLR2004
            headers.append(("retry-after", "5"))
            tail = {"reason": reason.value} | tail
        if refusal.policy_reasons:
            tail = {"reasons": list(refusal.policy_reasons)} | tail
        return status, headers, _encode(body | tail)


def _challenge(reason: Reason) -> str:
    # RFC 6750 section 3.1: without a token there is no error code to give.
    return "Bearer" if reason is Reason.TOKEN_MISSING else 'Bearer error="invalid_token"'


def _request_id(value: str | None) -> str | None:
    # Envoy keeps a client's own id in some positions; whatever else a client writes there stays out of the record.
    return value if value and _UUID.fullmatch(value) else None


class ExtAuthz:
    """Answers inquiries.

    Args:
        decider: decides.
        sender: how the agent names itself.
        metrics: counts.
    """

    def __init__(self, decider: Decider, sender: str, metrics: Metrics) -> None:
        self._decider = decider
        self._answers = AnswerWriter(sender)
        self._metrics = metrics

    async def __call__(self, asked: Asked) -> Answer:
        """Answer one inquiry of Envoy."""
        get, get_all = asked.get, asked.get_all
        # The path as the client spelled it: the one in the request line is Envoy's, and might hide a second spelling.
        path, question, query = (get(RAW_PATH_HEADER) or "").partition("?")
        trace = parse_trace(get("x-b3-traceid"), get("x-b3-spanid"), get("traceparent"))
        # The caller's trace goes on under a span of our own.
        trace = TraceContext(trace.trace_id, new_span_id()) if trace else new_trace()
        outcome = await self._decider.decide(
            Inquiry(
                method=asked.method,
                path=path,
                query=question + query,
                content_types=get_all("content-type"),
                content_encodings=get_all("content-encoding"),
                authorization=get_all("authorization"),
                xfcc=get(XFCC_HEADER),
                verified_by_edge=get(EDGE_VERIFIED_HEADER),
                peer_address=get(PEER_ADDRESS_HEADER) or "",
                trace=trace,
                request_id=_request_id(get("x-request-id")),
                body=asked.body,
            )
        )
        if isinstance(outcome, Permit):
            self._metrics.permitted += 1
            headers = (
                (DOCUMENT_HEADER, outcome.document),
                (CLAIMS_HEADER, outcome.claims),
                ("x-b3-traceid", trace.trace_id),
                ("x-b3-spanid", trace.span_id),
                ("x-b3-sampled", "1"),
                ("traceparent", trace.traceparent),
            )
            return 200, headers, b""
        self._metrics.refused[outcome.reason] += 1
        status, answer, content = self._answers.render(outcome, trace)
        return UNAVAILABLE_BEHIND_EDGE if status == 503 else status, answer, content  # noqa: PLR2004
