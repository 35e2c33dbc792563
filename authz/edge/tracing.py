"""Trace ids at the edge: the context that a request carries, or a new one.

Specification: shared `spec/enforcement.md`, "Tracing"; RFC0022a. Ids are made with the OpenTelemetry SDK.
"""

from typing import Final, Protocol

from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

from authz.domain.tracing import TraceContext, parse_trace

_GENERATOR: Final = RandomIdGenerator()


class Headers(Protocol):
    """Anything that looks up a header by its lower-case name."""

    def get(self, key: str, /) -> str | None:
        """The header's value, or None."""
        ...


def new_trace() -> TraceContext:
    """A new trace with its first span."""
    return TraceContext(f"{_GENERATOR.generate_trace_id():032x}", new_span_id())


def new_span_id() -> str:
    """A new span id of 16 hex digits."""
    return f"{_GENERATOR.generate_span_id():016x}"


def trace_of(headers: Headers) -> TraceContext:
    """The trace that a request carries; a missing or invalid one starts a new trace and never refuses the request."""
    found = parse_trace(headers.get("x-b3-traceid"), headers.get("x-b3-spanid"), headers.get("traceparent"))
    return found or new_trace()
