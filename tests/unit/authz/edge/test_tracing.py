"""A valid trace is carried on; a missing or invalid one starts a new trace (RFC0022a), never a refusal."""

import pytest

from authz.edge.tracing import new_trace, trace_of

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def test_b3_goes_before_w3c() -> None:
    other = f"00-{TRACE[::-1]}-{SPAN}-01"
    assert trace_of({"x-b3-traceid": TRACE, "x-b3-spanid": SPAN, "traceparent": other}).trace_id == TRACE
    assert trace_of({"traceparent": other}).trace_id == TRACE[::-1]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-b3-traceid": "0" * 32, "x-b3-spanid": SPAN},
        {"x-b3-traceid": TRACE.upper(), "x-b3-spanid": SPAN},
        {"x-b3-traceid": TRACE},
        {"traceparent": "x"},
    ],
)
def test_an_invalid_trace_starts_a_new_one(headers: dict[str, str]) -> None:
    assert trace_of(headers).trace_id not in {TRACE, "0" * 32}


def test_new_traces_differ() -> None:
    assert len({new_trace().trace_id for _ in range(100)}) == 100
