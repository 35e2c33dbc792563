"""Shipments are read in a short way and a careful one; both say the same, and neither takes what has two readings."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.audit import shipment
from authz.audit.encoded import encode
from authz.audit.record_format import encode_record
from authz.audit.shipment import MAX_BATCH, MAX_BATCH_BYTES, read_shipment
from authz.domain.audit import AuditObject, AuditUser, EventType, Outcome
from authz.domain.errors import InvalidValue
from tests.fakes.records import audit_record


def shipment_of(*payloads: bytes) -> bytes:
    return b'{"records":[' + b",".join(payloads) + b"]}"


PAYLOAD = encode_record(audit_record(event_type=EventType.ACCESS_DECISION, details={"fields": ["a", "b"], "n": 1}))
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
PLAIN = TEXTS | st.booleans() | st.none() | st.integers(-(2**53) + 1, 2**53 - 1)


def test_what_our_own_components_send_takes_the_short_way() -> None:
    with patch.object(shipment, "encode", side_effect=AssertionError("the careful way")):
        (read,) = read_shipment(shipment_of(PAYLOAD))
    assert read.payload == PAYLOAD


@given(
    details=st.dictionaries(TEXTS, PLAIN | st.lists(PLAIN, max_size=3), max_size=4),
    text=TEXTS,
    time=st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(2200, 1, 1)),  # noqa: DTZ001  made UTC below
    outcome=st.sampled_from(Outcome),
    event=st.sampled_from(EventType),
)
def test_both_ways_give_the_same_record(
    details: dict[str, Any], text: str, time: datetime, outcome: Outcome, event: EventType
) -> None:
    record = audit_record(
        users=(AuditUser(text, "CIZ", name=text, responsible_id=text, access_point="::1", access_point_type=2),),
        objects=(AuditObject("audience", text, "p@1", name=text, details=details), AuditObject("jti", "x", "p@1")),
        time=time.replace(tzinfo=timezone(timedelta(0))),
        outcome=outcome,
        reason="" if outcome is Outcome.SUCCESS else "policy_denied",
        event_type=event,
        checks="TFFF",
        request_id=text,
    )
    with patch.object(shipment, "encode", side_effect=AssertionError("the careful way")):
        assert read_shipment(shipment_of(encode_record(record))) == [encode(record)]


@pytest.mark.parametrize(
    "spelled",
    [
        lambda text: text.replace('{"event"', '{ "event"', 1),
        lambda text: json.dumps(dict(reversed(json.loads(text).items()))),
        lambda text: text.replace('"TFFF"', '"\\u0054FFF"'),
    ],
)
def test_another_spelling_is_stored_in_the_encoding_of_the_log(spelled: Callable[[str], str]) -> None:
    payload = encode_record(audit_record(checks="TFFF"))
    other = spelled(payload.decode()).encode()
    assert other != payload
    assert [item.payload for item in read_shipment(shipment_of(payload, other))] == [payload, payload]
    assert [item.payload for item in read_shipment(b" " + shipment_of(other))] == [payload]


def test_a_code_that_is_not_the_event_s_is_replaced_and_not_stored() -> None:
    other = PAYLOAD.replace(b'"code":"110113"', b'"code":"999999"')
    assert other != PAYLOAD
    assert read_shipment(shipment_of(other))[0].payload == PAYLOAD


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"outcome":1', b'"outcome":1,"outcome":1'),
        (b'"source":"sluis/authz"', b'"source":"x","source":"sluis/authz"'),
        (b'"n":1', b'"n":1,"n":1'),
        (b'"n":1', b'"n":1,"\\u006e":1'),
        (b'"n":1', b'"n":9007199254740993'),
        (b'"n":1', b'"n":NaN'),
        (b'"n":1', b'"n":"\xff"'),
        (b'"n":1', b'"n":"\\ud800"'),
        (b'"n":1', b'"n":' + b"[" * 9 + b"]" * 9),
        (b'"outcome":1', b'"outcome":true'),
        (b'"outcome":1', b'"outcome":9'),
        (b'"outcome":1', b'"outcome":2'),
        (b'"reason":""', b'"reason":"policy_denied"'),
        (b'"version":1', b'"version":2'),
        (b'"version":1', b'"version":1,"more":1'),
        (b'"checks":null', b'"checks":"TFFF\\n"'),
        (b'"is_initiator":true', b'"is_initiator":1'),
        (b':00Z"', b':00+01:00"'),
        (b':00Z"', b':00"'),
    ],
)
def test_what_is_not_one_record_with_one_reading_is_refused(old: bytes, new: bytes) -> None:
    with pytest.raises(InvalidValue):
        read_shipment(shipment_of(PAYLOAD, PAYLOAD.replace(old, new, 1)))


@pytest.mark.parametrize(
    "changes",
    [
        {"trace_id": "0" * 32},
        {"trace_id": "A" * 32},
        {"span_id": "0" * 16},
        {"record_id": "a\0b"},
        {"record_id": "a" * 600},
        {"users": []},
        {"objects": []},
        {"request_id": 1},
    ],
)
def test_a_record_that_the_log_can_not_hold_is_refused(changes: dict[str, Any]) -> None:
    bad = json.dumps(json.loads(PAYLOAD) | changes, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(InvalidValue):
        read_shipment(shipment_of(PAYLOAD, bad))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        shipment_of(),
        shipment_of(b"{}"),
        shipment_of(PAYLOAD)[:-1],
        shipment_of(PAYLOAD) + b"x",
        shipment_of(PAYLOAD)[:-1] + b',"records":[]}',
        shipment_of(PAYLOAD)[:-1] + b',"more":1}',
        shipment_of(*[PAYLOAD] * (MAX_BATCH + 1)),
        b'{"records":{}}',
        b" " * (MAX_BATCH_BYTES + 1),
    ],
)
def test_what_is_no_shipment_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidValue):
        read_shipment(body)


def test_the_largest_shipment_is_read() -> None:
    payloads = [encode_record(audit_record()) for _ in range(MAX_BATCH)]
    assert [item.payload for item in read_shipment(shipment_of(*payloads))] == payloads
