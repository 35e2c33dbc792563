"""How one asks for records, and which terms of a record can be asked for.

Specification: shared `spec/audit.md`, "Reading". Values of care data are never searchable because they are never in a
record; a care client is found by pseudonym or record id, which are object identifiers like any other.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from authz.domain.audit import AuditRecord, EventType, Outcome
from authz.domain.errors import InvalidValue

MAX_RESULTS: Final = 10_000
"""Entries one search returns at most; more is an export."""
MAX_INDEX: Final = 2**63 - 1
"""What a database can count to."""
MAX_TERM_LENGTH: Final = 512
"""Characters; the longest is an audience. PostgreSQL indexes at most 2,704 bytes."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def to_microseconds(moment: datetime) -> int:
    """Microseconds since the epoch: the form in which the log stores and commits to a time."""
    return (moment - _EPOCH) // _MICROSECOND


def from_microseconds(value: int) -> datetime:
    """The reverse of `to_microseconds`.

    Raises:
        OverflowError: beyond what a datetime can say.
    """
    return _EPOCH + timedelta(microseconds=value)


@dataclass(frozen=True, slots=True)
class Criteria:
    """What an entry must fit; every criterion that is given counts.

    Attributes:
        participant: subject identifier of a user of the record, as in `uzovi:5000`.
        event_type: kind of event.
        outcome: success, refused or error.
        reason: stable reason code.
        object_identifier: identifier of an object: an audience, a record id, a `jti`, a pseudonym.
        protocol: policy id and revision that decided, as the record's objects name it.
        trace_id: 32 hex digits.
        source: the component that recorded.
        since: event time at or after.
        until: event time before.
        below: only entries with a smaller index (the next page of a listing).
        limit: entries at most.
    """

    participant: str | None = None
    event_type: EventType | None = None
    outcome: Outcome | None = None
    reason: str | None = None
    object_identifier: str | None = None
    protocol: str | None = None
    trace_id: str | None = None
    source: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    below: int | None = None
    limit: int = 50

    def __post_init__(self) -> None:
        if not 0 < self.limit <= MAX_RESULTS:
            raise InvalidValue(f"a search returns between 1 and {MAX_RESULTS} entries")
        if self.below is not None and not 0 <= self.below <= MAX_INDEX:
            raise InvalidValue("no record has such an index")
        for moment in (self.since, self.until):
            if moment is not None and moment.utcoffset() is None:
                raise InvalidValue("a time in a search says its offset from UTC")

    def described(self) -> dict[str, str | int]:
        """The criteria that are given, for the record of the search itself."""
        given: dict[str, str | int] = {}
        for name in self.__slots__:
            value = getattr(self, name)
            if value is not None:
                given[name] = value if isinstance(value, int) else str(value)
        return given


class TermKind(StrEnum):
    """What a searchable name of a record is."""

    USER = "user"
    OBJECT = "object"
    PROTOCOL = "protocol"


@dataclass(frozen=True, slots=True)
class Terms:
    """The searchable terms of one record: copies of what its payload says, kept beside it in indexed columns.

    Attributes:
        record_id: idempotency key, unique within its source.
        source: the component that recorded.
        event_type: kind of event.
        event_us: time of the event, microseconds since the epoch.
        outcome: resultaat.
        reason: stable reason code, or empty.
        trace_id: 32 hex digits.
        names: users, objects and protocols that the record names.
    """

    record_id: str
    source: str
    event_type: str
    event_us: int
    outcome: int
    reason: str
    trace_id: str
    names: frozenset[tuple[TermKind, str]]


def terms_of(record: AuditRecord) -> Terms:
    """The terms of a record.

    Raises:
        InvalidValue: a term that no database could index: longer than `MAX_TERM_LENGTH`, or with a NUL in it.
    """
    names: set[tuple[TermKind, str]] = {(TermKind.USER, user.id) for user in record.users}
    for item in record.objects:
        names.add((TermKind.OBJECT, item.identifier))
        names.add((TermKind.PROTOCOL, item.protocol))
    for text in (record.record_id, record.source, record.reason, *(value for _, value in names)):
        if len(text) > MAX_TERM_LENGTH or "\x00" in text:
            raise InvalidValue(
                f"a searchable text of an audit record has at most {MAX_TERM_LENGTH} characters, none NUL"
            )
    return Terms(
        record_id=record.record_id,
        source=record.source,
        event_type=record.event_type.value,
        event_us=to_microseconds(record.time),
        outcome=int(record.outcome),
        reason=record.reason,
        trace_id=record.trace.trace_id,
        names=frozenset(names),
    )
