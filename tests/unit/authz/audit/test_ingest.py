"""Shipments: idempotent, each sender for itself, and nothing of a refused one is kept."""

import asyncio
import threading
from datetime import timedelta

import pytest

from authz.audit.encoded import EncodedRecord, encode
from authz.audit.ingest import MAX_NAMED, Ingest, Sender
from authz.audit.own import OwnRecords
from authz.audit.record_format import decode_record
from authz.audit.search import Criteria
from authz.audit.shipment import MAX_BATCH
from authz.domain.audit import EventType
from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from authz.store.audit_log import StoredAuditLog
from authz.store.database import Database
from tests.fakes.clock import FixedClock
from tests.fakes.records import audit_record

SOURCE = "sluis/trust-agent/register-1"
SENDER = Sender("agbcode:01234567", frozenset({SOURCE}))
OTHER = Sender("agbcode:01234568", frozenset({"sluis/trust-agent/register-2"}))


@pytest.fixture
def ingest(database: Database, own: OwnRecords) -> Ingest:
    return Ingest(database, own)


def shipped(**changes: object) -> EncodedRecord:
    values = {"source": SOURCE, "event_type": EventType.ACCESS_DECISION}
    return encode(audit_record(**values | changes))  # type: ignore[arg-type]


async def test_a_shipment_sent_twice_is_stored_once(ingest: Ingest, log: StoredAuditLog) -> None:
    records = [shipped() for _ in range(5)]
    ids = tuple(record.terms.record_id for record in records)
    assert await ingest.ingest(records, SENDER) == ids
    assert await ingest.ingest(records, SENDER) == ids
    assert await log.size() == 5
    more = [*records[3:], shipped()]
    await ingest.ingest(more, SENDER)
    assert await log.size() == 6


async def test_the_same_shipment_twice_at_once_is_stored_once(ingest: Ingest, log: StoredAuditLog) -> None:
    records = [shipped() for _ in range(5)]
    await asyncio.gather(*(ingest.ingest(records, SENDER) for _ in range(4)))
    assert await log.size() == 5


async def test_a_sender_can_not_occupy_the_ids_of_another(ingest: Ingest, log: StoredAuditLog) -> None:
    record = shipped()
    thief = shipped(record_id=record.terms.record_id, source="sluis/trust-agent/register-2")
    await ingest.ingest([thief], OTHER)
    await ingest.ingest([record], SENDER)
    assert await log.size() == 2


async def test_other_content_under_a_known_id_changes_nothing_and_alerts(ingest: Ingest, log: StoredAuditLog) -> None:
    record = shipped()
    await ingest.ingest([record], SENDER)
    changed = shipped(record_id=record.terms.record_id, user="uzovi:5999")
    assert await ingest.ingest([changed, shipped()], SENDER) == (changed.terms.record_id, (await last_id(log)))
    assert await log.find(Criteria(participant="uzovi:5999")) == []
    alerts = await log.find(Criteria(event_type=EventType.LOG_ALERT, reason="record_conflict"))
    assert len(alerts) == 1


async def test_other_content_within_one_shipment_alerts(ingest: Ingest, log: StoredAuditLog) -> None:
    record = shipped()
    await ingest.ingest([record, shipped(record_id=record.terms.record_id, user="uzovi:5999"), record], SENDER)
    assert len(await log.find(Criteria(source=SOURCE))) == 1
    assert len(await log.find(Criteria(event_type=EventType.LOG_ALERT))) == 1


async def test_many_conflicts_in_one_shipment_are_one_alert(ingest: Ingest, log: StoredAuditLog) -> None:
    first = [shipped() for _ in range(MAX_NAMED + 5)]
    await ingest.ingest(first, SENDER)
    size = await log.size()
    altered = [shipped(record_id=record.terms.record_id, user="uzovi:5999") for record in first]
    await ingest.ingest(altered, SENDER)
    assert await log.size() == size + 1
    (alert,) = [entry async for entry in log.entries(size, size + 1)]
    assert alert.payload is not None
    (named,) = decode_record(alert.payload).objects
    assert named.details["conflicts"] == len(first)
    assert named.details["record_ids"] == [record.terms.record_id for record in first[:MAX_NAMED]]


async def last_id(log: StoredAuditLog) -> str:
    terms = await log.terms(1, 2)
    return terms[1].record_id


@pytest.mark.parametrize(
    "bad",
    [
        {"source": "sluis/trust-agent/register-2"},
        {"source": "sluis/authz"},
    ],
)
async def test_a_record_that_is_not_the_sender_s_refuses_the_whole_shipment(
    ingest: Ingest, log: StoredAuditLog, bad: dict[str, object]
) -> None:
    with pytest.raises(Refused) as refused:
        await ingest.ingest([shipped(), shipped(**bad)], SENDER)
    assert refused.value.reason is Reason.RECORD_SOURCE
    assert await log.size() == 0


@pytest.mark.parametrize("event", [EventType.LOG_ERASE, EventType.TOKEN_REQUEST, EventType.CERTIFICATE_REVOKE])
async def test_an_event_that_is_not_shipped_refuses_the_whole_shipment(
    ingest: Ingest, log: StoredAuditLog, event: EventType
) -> None:
    """With a reason about the record, not about the sender: who ships it puts it aside and goes on."""
    with pytest.raises(Refused) as refused:
        await ingest.ingest([shipped(), shipped(event_type=event)], SENDER)
    assert refused.value.reason is Reason.RECORD_EVENT
    assert await log.size() == 0


@pytest.mark.parametrize("count", [0, MAX_BATCH + 1])
async def test_a_shipment_of_no_or_too_many_records_is_refused(ingest: Ingest, count: int) -> None:
    with pytest.raises(Refused, match="body_malformed"):
        await ingest.ingest([shipped()] * count, SENDER)


async def test_the_largest_shipment_is_accepted(ingest: Ingest, log: StoredAuditLog) -> None:
    await ingest.ingest([shipped() for _ in range(MAX_BATCH)], SENDER)
    assert await log.size() == MAX_BATCH


@pytest.mark.parametrize("source", ["sluis/pki", "sluis/pki/2"])
async def test_an_authority_tells_of_certificates_and_not_of_access(
    ingest: Ingest, log: StoredAuditLog, source: str
) -> None:
    authority = Sender("kvk:90000001", frozenset({source}))
    await ingest.ingest([shipped(source=source, event_type=EventType.CERTIFICATE_REVOKE)], authority)
    with pytest.raises(Refused) as refused:
        await ingest.ingest([shipped(source=source)], authority)
    assert refused.value.reason is Reason.RECORD_EVENT
    assert await log.size() == 1


async def test_a_component_without_a_list_of_its_own_tells_that_it_started_and_no_more(
    ingest: Ingest, log: StoredAuditLog
) -> None:
    source = "sluis/gateway"
    sender = Sender("kvk:90000001", frozenset({source}))
    await ingest.ingest([shipped(source=source, event_type=EventType.COMPONENT_START)], sender)
    with pytest.raises(Refused) as refused:
        await ingest.ingest([shipped(source=source)], sender)
    assert refused.value.reason is Reason.RECORD_EVENT
    assert await log.size() == 1


@pytest.mark.parametrize(
    ("distance", "told"),
    [
        (timedelta(minutes=6), 1),
        (timedelta(minutes=4), 0),
        (timedelta(days=-29), 0),
        (timedelta(days=-31), 1),
        (timedelta(days=-700 * 365), 1),
    ],
)
async def test_events_at_times_that_nobody_searches_are_kept_with_an_alert(
    ingest: Ingest, own: OwnRecords, log: StoredAuditLog, distance: timedelta, told: int
) -> None:
    odd = [shipped(time=own.clock.now() + distance) for _ in range(3)]
    await ingest.ingest(odd, SENDER)
    await ingest.ingest([shipped(time=own.clock.now() + distance)], SENDER)
    assert len(await log.find(Criteria(event_type=EventType.LOG_ALERT, reason="record_time"))) == told
    assert await log.size() == 4 + told
    # Another sender's is an alert of its own.
    await ingest.ingest([shipped(time=own.clock.now() + distance, source="sluis/trust-agent/register-2")], OTHER)
    assert len(await log.find(Criteria(event_type=EventType.LOG_ALERT, reason="record_time"))) == 2 * told


async def test_one_harmless_record_hides_none_of_those_that_follow(
    ingest: Ingest, own: OwnRecords, log: StoredAuditLog, clock: FixedClock
) -> None:
    def ahead(number: int) -> list[EncodedRecord]:
        return [shipped(time=own.clock.now() + timedelta(days=1)) for _ in range(number)]

    async def told() -> list[int]:
        found = await log.find(Criteria(event_type=EventType.LOG_ALERT, reason="record_time"))
        payloads = [decode_record(entry.payload) for entry in found if entry.payload is not None]
        return sorted(record.objects[0].details["records"] for record in payloads)

    await ingest.ingest(ahead(1), SENDER)
    for _ in range(3):
        await ingest.ingest(ahead(10), SENDER)
        await ingest.tell()
    assert await told() == [1]
    clock.advance(hours=1, seconds=1)
    await ingest.tell()
    await ingest.tell()
    assert await told() == [1, 30]
    # At a stop the hour is not waited for.
    await ingest.ingest(ahead(2), SENDER)
    await ingest.tell()
    assert await told() == [1, 30]
    await ingest.tell(now=True)
    assert await told() == [1, 2, 30]


async def test_what_is_nested_without_end_is_no_shipment(ingest: Ingest) -> None:
    for body in (
        b'{"records":' + b"[" * 400_000,
        b'{"records":[' + b'{"event":' * 100_000 + b"1" + b"}" * 100_000 + b"]}",
    ):
        with pytest.raises(Refused) as refused:
            await ingest.take(body, SENDER)
        assert refused.value.reason is Reason.BODY_MALFORMED


async def test_the_loop_goes_on_while_a_shipment_is_read(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, reading, may_end = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    at_once: list[int] = []

    def slow(_body: bytes) -> list[EncodedRecord]:
        at_once.append(1)
        assert len(at_once) == 1
        loop.call_soon_threadsafe(reading.set)
        assert may_end.wait(30)
        at_once.pop()
        return [shipped()]

    monkeypatch.setattr("authz.audit.ingest.read_shipment", slow)
    shipments = [asyncio.create_task(ingest.take(b"", SENDER)) for _ in range(3)]
    await asyncio.wait_for(reading.wait(), 30)
    may_end.set()
    assert len(await asyncio.gather(*shipments)) == 3
