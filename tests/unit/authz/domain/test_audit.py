"""Audit records: complete by NEN 7513, or not made at all."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from authz.domain.audit import (
    EVENT_CODES,
    Action,
    AuditObject,
    AuditRecord,
    AuditUser,
    EventType,
    ObjectClass,
    Outcome,
)
from authz.domain.errors import InvalidValue
from authz.domain.tracing import TraceContext, parse_trace

TRACE = TraceContext("0123456789abcdef0123456789abcdef", "0123456789abcdef")


def record(**changes: Any) -> AuditRecord:
    values: dict[str, Any] = {
        "record_id": "5f0c7f7e-8a61-4bd8-9d4c-0a52f8f0f1a1",
        "event_type": EventType.TOKEN_REQUEST,
        "action": Action.EXECUTE,
        "time": datetime(2026, 11, 22, 12, 0, tzinfo=UTC),
        "outcome": Outcome.REFUSED,
        "reason": "scope_unknown",
        "source": "sluis/authz",
        "users": (AuditUser("uzovi:5000", "ZORGKANTOOR", access_point="127.0.0.1", access_point_type=2),),
        "objects": (AuditObject("audience", "https://a.nl/", "token/decision@r1", details={"scopes": ["a:read"]}),),
        "trace": TRACE,
    }
    return AuditRecord(**(values | changes))


def test_a_record_survives_storage() -> None:
    assert AuditRecord.from_json(record().to_json()) == record()
    person = AuditObject("wlzindicatieID", "x", "none", ObjectClass.PERSON)
    full = record(objects=(person,), checks="TTFF", request_id="r", outcome=Outcome.SUCCESS, reason="")
    assert AuditRecord.from_json(full.to_json()) == full


@pytest.mark.parametrize(
    "changes",
    [
        {"users": ()},
        {"objects": ()},
        {"reason": ""},
        {"outcome": Outcome.SUCCESS},
        {"time": datetime(2026, 11, 22, 12, 0)},  # noqa: DTZ001  the point of the case
        {"time": datetime(2026, 11, 22, 12, 0, tzinfo=timezone(timedelta(hours=1)))},
    ],
)
def test_an_incomplete_record_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        record(**changes)


@pytest.mark.parametrize(
    "changes", [{"version": 2}, {"event": None}, {"users": [{"id": "x", "role": "r", "surprise": 1}]}, {"objects": []}]
)
def test_a_stored_text_of_another_shape_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        AuditRecord.from_json(record().to_json() | changes)


def test_every_event_type_has_a_code() -> None:
    assert set(EVENT_CODES) == set(EventType)


@pytest.mark.parametrize(
    ("b3_trace", "b3_span", "traceparent"),
    [
        (None, None, None),
        ("0" * 32, "0123456789abcdef", None),
        ("0123456789ABCDEF0123456789ABCDEF", "0123456789abcdef", None),
        ("0123456789abcdef", "0123456789abcdef", None),  # 64-bit trace ids are not allowed in the network
        (None, None, f"00-{'0' * 32}-0123456789abcdef-01"),
        (None, None, "01-0123456789abcdef0123456789abcdef-0123456789abcdef-01"),
        (None, None, "x" * 100_000),
    ],
)
def test_an_invalid_trace_context_is_ignored_not_refused(
    b3_trace: str | None, b3_span: str | None, traceparent: str | None
) -> None:
    assert parse_trace(b3_trace, b3_span, traceparent) is None


def test_b3_comes_before_w3c_and_both_are_read() -> None:
    other = "00-fedcba9876543210fedcba9876543210-fedcba9876543210-01"
    assert parse_trace(TRACE.trace_id, TRACE.span_id, other) == TRACE
    assert parse_trace(None, None, TRACE.traceparent) == TRACE


def replaced(path: str, value: object) -> dict[str, Any]:
    """A well-formed record as JSON with one member, at a dotted path, replaced."""
    data = record().to_json()
    at: Any = data
    *parents, last = path.split(".")
    for name in parents:
        at = at[int(name)] if name.isdigit() else at[name]
    at[last] = value
    return data


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("version", True),
        ("index", 3),
        ("record_id", 5),
        ("record_id", ["a"]),
        ("event.reason", {"a": 1}),
        ("event.reason", ["x"]),
        ("event.outcome", True),
        ("event.outcome", 2.0),
        ("event.checks", "TFF"),
        ("event.severity", 1),
        ("log.source", ["sluis/authz"]),
        ("log.received_at", "2026-11-22T12:00:00Z"),
        ("users", {"id": "uzovi:5000"}),
        ("users.0.id", None),
        ("users.0.role", {"a": 1}),
        ("users.0.is_initiator", "true"),
        ("users.0.access_point_type", "2"),
        ("objects.0.identifier", {"a": 1}),
        ("objects.0.protocol", None),
        ("objects.0.object_class", True),
        ("objects.0.details", "text"),
        ("request_id", {"a": 1}),
    ],
)
def test_a_member_of_a_wrong_type_or_an_unknown_one_is_refused(path: str, value: object) -> None:
    with pytest.raises(InvalidValue):
        AuditRecord.from_json(replaced(path, value))
