"""Searching and paging the log on both databases."""

from datetime import timedelta

import pytest

from authz.audit.search import Criteria
from authz.domain.audit import EventType, Outcome
from authz.domain.errors import InvalidValue
from authz.store import audit_log
from authz.store.audit_log import StoredAuditLog
from authz.store.database import Database
from tests.fakes.clock import FixedClock
from tests.fakes.records import audit_record


@pytest.fixture
async def log(database: Database, clock: FixedClock) -> StoredAuditLog:
    now = clock.now()
    await database.record(
        audit_record(user="uzovi:5000", identifier="record-1", time=now),
        audit_record(user="uzovi:5001", identifier="record-1", time=now + timedelta(seconds=1)),
        audit_record(user="uzovi:5000", event_type=EventType.LOG_READ, source="sluis/other", time=now),
        audit_record(user="uzovi:5000", outcome=Outcome.REFUSED, reason="scope_unknown", time=now),
    )
    return StoredAuditLog(database)


@pytest.mark.parametrize(
    ("criteria", "expected"),
    [
        ({}, [3, 2, 1, 0]),
        ({"limit": 2}, [3, 2]),
        ({"limit": 2, "below": 2}, [1, 0]),
        ({"participant": "uzovi:5000"}, [3, 2, 0]),
        ({"participant": "uzovi:5000", "below": 3, "limit": 1}, [2]),
        ({"participant": "uzovi:50"}, []),
        ({"object_identifier": "record-1"}, [1, 0]),
        ({"object_identifier": "record-1", "participant": "uzovi:5001"}, [1]),
        ({"object_identifier": "uzovi:5000"}, []),
        ({"protocol": "token@1", "event_type": EventType.LOG_READ}, [2]),
        ({"outcome": Outcome.REFUSED}, [3]),
        ({"reason": "scope_unknown"}, [3]),
        ({"reason": "scope_unknown' OR 1=1 --"}, []),
        ({"source": "sluis/other"}, [2]),
        ({"trace_id": "f" * 32}, []),
    ],
)
async def test_a_search_finds_exactly_what_fits(
    log: StoredAuditLog, criteria: dict[str, object], expected: list[int]
) -> None:
    assert [entry.index for entry in await log.find(Criteria(**criteria))] == expected  # type: ignore[arg-type]


async def test_a_search_by_time_includes_its_start_and_not_its_end(log: StoredAuditLog, clock: FixedClock) -> None:
    now = clock.now()
    assert [each.index for each in await log.find(Criteria(since=now + timedelta(seconds=1)))] == [1]
    assert [each.index for each in await log.find(Criteria(until=now + timedelta(seconds=1)))] == [3, 2, 0]


async def test_reading_goes_on_over_batches(
    log: StoredAuditLog, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_log, "BATCH", 3)
    await database.record(*(audit_record() for _ in range(5)))
    assert [entry.index async for entry in log.entries(0, 100)] == list(range(9))
    assert [entry.index async for entry in log.entries(2, 8)] == list(range(2, 8))
    assert len([leaf async for leaf in log.leaf_hashes(7)]) == 7


async def test_the_time_of_receipt_is_the_log_s_clock(log: StoredAuditLog, clock: FixedClock) -> None:
    assert {entry.received_at async for entry in log.entries(0, 10)} == {clock.now()}


@pytest.mark.parametrize("bad", [{"limit": 0}, {"limit": 10_001}])
def test_a_search_without_bounds_is_refused(bad: dict[str, int]) -> None:
    with pytest.raises(InvalidValue):
        Criteria(**bad)  # type: ignore[arg-type]
