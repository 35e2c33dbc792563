"""Reads a shipment: `{"records": [...]}` as agents and the certificate authority send it, hundreds of records at once.

Specification: shared `spec/audit.md`, "Writing without losing or blocking". What two parsers could read differently is
refused, as everywhere (`authz.domain.strict_json`). Agents send each record in the log's own encoding, and
those bytes are worth a short way: a typed reading in one go, and the proof that encoding what was read gives the very
same bytes. That proof leaves no room for a second reading: no member twice, no other spelling, no unknown member. A
record that does not pass it is not refused for that; it is read by `strict_json` and `AuditRecord.from_json`, the
careful way, which alone says what is a record. Whether a sender may send a record is `authz.audit.ingest`'s.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from authz.audit.encoded import EncodedRecord, encode
from authz.audit.record_format import MAX_RECORD_BYTES
from authz.audit.search import MAX_TERM_LENGTH, TermKind, Terms, to_microseconds
from authz.domain import strict_json
from authz.domain.audit import EVENT_CODES, RECORD_VERSION, Action, AuditRecord, EventType, ObjectClass, Outcome
from authz.domain.errors import InvalidValue

MAX_BATCH: Final = 500
"""Records in one shipment."""
MAX_BATCH_BYTES: Final = 1024 * 1024
"""Bytes of one shipment."""
_DEPTH: Final = 12
_HEAD: Final = b'{"records":['
_TAIL: Final = b"]}"

# What the short way takes. Members stand in the order of the alphabet, which is the order of the log's encoding. It
# may be narrower than `AuditRecord.from_json`, never wider: a test reads the same records in both ways.
_Term = Annotated[str, Meta(max_length=MAX_TERM_LENGTH)]
_Whole = Annotated[int, Meta(ge=-strict_json.MAX_INTEGER, le=strict_json.MAX_INTEGER)]
_Plain = str | bool | _Whole | None


class _Strict(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    pass


class _Event(_Strict, frozen=True):
    action: Action
    checks: Annotated[str, Meta(pattern=r"^[TF]{4}\Z")] | None
    code: str
    outcome: Outcome
    reason: _Term
    time: Annotated[datetime, Meta(tz=True)]
    type: EventType


class _Log(_Strict, frozen=True):
    source: _Term


class _Object(_Strict, frozen=True):
    details: dict[str, _Plain | list[_Plain]]
    identifier: _Term
    identifier_type: str
    name: str | None
    object_class: ObjectClass
    protocol: _Term


class _User(_Strict, frozen=True):
    access_point: str | None
    access_point_type: _Whole | None
    id: _Term
    is_initiator: bool
    name: str | None
    responsible_id: str | None
    role: str


class _Record(_Strict, frozen=True):
    event: _Event
    log: _Log
    objects: Annotated[list[_Object], Meta(min_length=1)]
    record_id: _Term
    request_id: str | None
    span_id: Annotated[str, Meta(pattern=r"^(?!0{16})[0-9a-f]{16}\Z")]
    trace_id: Annotated[str, Meta(pattern=r"^(?!0{32})[0-9a-f]{32}\Z")]
    users: Annotated[list[_User], Meta(min_length=1)]
    version: int


class _Shipment(_Strict, frozen=True):
    records: list[msgspec.Raw]


_outer: Final = msgspec.json.Decoder(_Shipment).decode
_typed: Final = msgspec.json.Decoder(_Record).decode
_encoded: Final = msgspec.json.Encoder(order="deterministic").encode
_CODES: Final = {event: code.code for event, code in EVENT_CODES.items()}


def read_shipment(body: bytes) -> list[EncodedRecord]:
    """The records of a shipment, in order.

    Raises:
        InvalidValue: too long, not a shipment, or one of its records is none or cannot be stored.
    """
    if len(body) > MAX_BATCH_BYTES:
        raise InvalidValue(f"a shipment has at most {MAX_BATCH_BYTES} bytes")
    try:
        parts = [bytes(part) for part in _outer(body).records]
    except (msgspec.MsgspecError, ValueError, RecursionError):
        parts = []
    # Put together again it is the shipment, byte for byte: nothing stands between the records or around them.
    if not parts or _HEAD + b",".join(parts) + _TAIL != body:
        return _read_carefully(body)
    _require_count(len(parts))
    return [_read_short(part) or _read_record(part) for part in parts]


def _read_short(payload: bytes) -> EncodedRecord | None:
    """A record in the log's own encoding; None when the careful way has to say what it is."""
    if len(payload) > MAX_RECORD_BYTES or b"\\u0000" in payload:
        return None
    try:
        record = _typed(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    event = record.event
    if (
        _encoded(record) != payload
        or record.version != RECORD_VERSION
        or event.code != _CODES[event.type]
        or event.time.tzinfo is not UTC
        or (event.outcome is Outcome.SUCCESS) == bool(event.reason)
    ):
        return None
    names = {(TermKind.USER, user.id) for user in record.users}
    for item in record.objects:
        names.add((TermKind.OBJECT, item.identifier))
        names.add((TermKind.PROTOCOL, item.protocol))
    return EncodedRecord(
        payload,
        Terms(
            record_id=record.record_id,
            source=record.log.source,
            event_type=event.type.value,
            event_us=to_microseconds(event.time),
            outcome=int(event.outcome),
            reason=event.reason,
            trace_id=record.trace_id,
            names=frozenset(names),
        ),
    )


def _read_record(payload: bytes) -> EncodedRecord:
    # It stands two levels deep in the shipment.
    return _encoded_again(strict_json.parse_object(payload, max_bytes=MAX_BATCH_BYTES, max_depth=_DEPTH - 2))


def _read_carefully(body: bytes) -> list[EncodedRecord]:
    document = strict_json.parse_object(body, max_bytes=MAX_BATCH_BYTES, max_depth=_DEPTH)
    items = document["records"] if document.keys() == {"records"} else None
    if not isinstance(items, list):
        raise InvalidValue("a shipment is {records: [...]}")
    _require_count(len(items))
    return [_encoded_again(item) for item in items]


def _encoded_again(item: Any) -> EncodedRecord:  # noqa: ANN401  any JSON value, until it turns out to be a record
    try:
        return encode(AuditRecord.from_json(item))
    except (ValueError, TypeError, AttributeError) as error:
        raise InvalidValue("not an audit record") from error


def _require_count(count: int) -> None:
    if not 0 < count <= MAX_BATCH:
        raise InvalidValue(f"a shipment has 1 to {MAX_BATCH} records")
