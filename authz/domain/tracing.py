"""Trace context of a request: B3 (mandatory in the network, RFC0022a) and W3C `traceparent`.

Only the value and its parsing; ids are generated at the edge with the OpenTelemetry SDK.
"""

import re
from dataclasses import dataclass

from authz.domain.errors import InvalidValue

_TRACE_ID = re.compile(r"[0-9a-f]{32}")
_SPAN_ID = re.compile(r"[0-9a-f]{16}")
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A trace id (32 lower-case hex digits, not all zero) and a span id (16, not all zero)."""

    trace_id: str
    span_id: str

    def __post_init__(self) -> None:
        if not _TRACE_ID.fullmatch(self.trace_id) or not self.trace_id.strip("0"):
            raise InvalidValue("not a trace id: 32 lower-case hex digits, not all zero")
        if not _SPAN_ID.fullmatch(self.span_id) or not self.span_id.strip("0"):
            raise InvalidValue("not a span id: 16 lower-case hex digits, not all zero")

    @property
    def traceparent(self) -> str:
        """W3C form."""
        return f"00-{self.trace_id}-{self.span_id}-01"

    def b3_headers(self) -> dict[str, str]:
        """The B3 multi-header form that the network prescribes."""
        return {"x-b3-traceid": self.trace_id, "x-b3-spanid": self.span_id, "x-b3-sampled": "1"}


def parse_trace(b3_trace_id: str | None, b3_span_id: str | None, traceparent: str | None) -> TraceContext | None:
    """The context that a request carries, B3 before W3C, or None when it has none that is valid.

    RFC0022a: missing or invalid starts a new trace; it never refuses the request.
    """
    try:
        if b3_trace_id and b3_span_id:
            return TraceContext(b3_trace_id, b3_span_id)
        if traceparent and (match := _TRACEPARENT.fullmatch(traceparent)):
            return TraceContext(match[1], match[2])
    except InvalidValue:
        return None
    return None
