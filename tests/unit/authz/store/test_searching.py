"""A search finds exactly what fits, whichever way it goes, and never reads the log to find a page."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from authz.audit.encoded import EncodedRecord, encode
from authz.audit.log import StoredCheckpoint
from authz.audit.search import Criteria
from authz.audit.verify import FindingKind, LogVerifier
from authz.domain.audit import EventType, Outcome
from authz.store import blocks, searching
from authz.store.audit_log import StoredAuditLog
from authz.store.blocks import ENTRIES
from authz.store.database import Database
from tests.fakes.records import audit_record

BEGIN = datetime(2026, 11, 22, tzinfo=UTC)
LATE = range(2 * ENTRIES + 100, 2 * ENTRIES + 110)
"""Entries of the third block whose events belong to the first."""
SIZE = 3 * ENTRIES + 5
SEARCHES: list[dict[str, Any]] = [
    {},
    {"participant": "uzovi:5001"},
    {"object_identifier": "record-3"},
    {"protocol": "token@1"},
    {"event_type": EventType.LOG_READ},
    {"outcome": Outcome.SUCCESS},
    {"outcome": Outcome.REFUSED},
    {"outcome": Outcome.ERROR},
    {"reason": "scope_unknown"},
    {"source": "sluis/other"},
    {"trace_id": f"{7:032x}"},
]


def at(number: int) -> datetime:
    return BEGIN + timedelta(seconds=number)


def records(size: int) -> list[EncodedRecord]:
    """Parties, records, sources and refusals that meet now and then."""
    made = []
    for number in range(size):
        refused = number % 7 == 3
        record = audit_record(
            user=f"uzovi:{5000 + number % 3}",
            identifier=f"record-{number % 5}",
            source="sluis/other" if number % 4 == 1 else "sluis/authz",
            event_type=EventType.LOG_READ if number % 11 == 0 else EventType.TOKEN_REQUEST,
            outcome=Outcome.REFUSED if refused else Outcome.SUCCESS,
            reason="scope_unknown" if refused else "",
            time=at(number - 2 * ENTRIES if number in LATE else number),
        )
        made.append(encode(record))
    return made


def fits(criteria: Criteria, record: EncodedRecord) -> bool:
    terms = record.terms
    named = {value for _, value in terms.names}
    since, until = (
        None if each is None else (each - BEGIN) // timedelta(seconds=1) for each in (criteria.since, criteria.until)
    )
    second = (terms.event_us - encode(audit_record(time=BEGIN)).terms.event_us) // 1_000_000
    pairs: list[tuple[object, object]] = [
        (criteria.event_type, terms.event_type),
        (criteria.outcome, terms.outcome),
        (criteria.reason, terms.reason),
        (criteria.source, terms.source),
        (criteria.trace_id, terms.trace_id),
    ]
    return (
        all(wanted is None or wanted == found for wanted, found in pairs)
        and all(name in named for name in (criteria.participant, criteria.object_identifier, criteria.protocol) if name)
        and (since is None or second >= since)
        and (until is None or second < until)
    )


@pytest.mark.parametrize("sampled", [1, 10, 1_000])
async def test_every_two_criteria_together_find_what_fits_both(
    database: Database, monkeypatch: pytest.MonkeyPatch, sampled: int
) -> None:
    monkeypatch.setattr(searching, "SAMPLE", sampled)
    made = records(120)
    await database.append_new(made)
    log = StoredAuditLog(database)
    for one, other in itertools.combinations(SEARCHES, 2):
        if one.keys() & other.keys():
            continue
        for below, limit in ((None, 50), (60, 3)):
            criteria = Criteria(**one | other, below=below, limit=limit)
            expected = [
                index
                for index, record in enumerate(made)
                if fits(criteria, record) and (below is None or index < below)
            ]
            found = [entry.index for entry in await log.find(criteria)]
            assert found == expected[::-1][:limit], criteria


async def test_a_period_finds_late_events_and_what_is_not_summarised_yet(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "_WORTH", 1)
    made = records(SIZE)
    await database.append_new(made)
    log = StoredAuditLog(database)
    await log.add_checkpoint(StoredCheckpoint(SIZE, "note", ()))
    assert await _summaries(database) == [0, 1, 2]
    for since, until in ((0, 50), (100, 105), (500, 1_500), (ENTRIES, 2 * ENTRIES), (SIZE - 3, SIZE), (SIZE, SIZE + 9)):
        for more in ({}, {"participant": "uzovi:5001"}, {"outcome": Outcome.REFUSED, "source": "sluis/other"}):
            criteria = Criteria(since=at(since), until=at(until), limit=30, **more)
            expected = [index for index, record in enumerate(made) if fits(criteria, record)]
            assert [entry.index for entry in await log.find(criteria)] == expected[::-1][:30], criteria
    # The near miss: without the late ones the third block would have been left out.
    assert [entry.index for entry in await log.find(Criteria(since=at(100), until=at(101)))] == [LATE[0], 100]


async def test_a_block_with_a_gap_is_never_summarised_and_always_searched(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "_WORTH", 1)
    await database.append_new(records(2 * ENTRIES))
    await _run(database, "DELETE FROM audit_entry WHERE entry_index = 5")
    log = StoredAuditLog(database)
    await log.add_checkpoint(StoredCheckpoint(2 * ENTRIES, "note", ()))
    assert await _summaries(database) == [1]
    assert [entry.index for entry in await log.find(Criteria(until=at(3)))] == [2, 1, 0]


async def test_few_blocks_are_summarised_at_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    await database.append_new(records(2 * ENTRIES))
    for size, expected in ((ENTRIES - 1, []), (2 * ENTRIES, [0]), (2 * ENTRIES + 1, [0, 1])):

        async def act(connection: AsyncConnection, size: int = size) -> None:
            await blocks.summarise(connection, size, at_once=1)

        await database.write(act)
        assert await _summaries(database) == expected


@pytest.mark.parametrize("change", ["newest_us = newest_us - 1", "oldest_us = oldest_us + 1"])
async def test_a_summary_that_hides_an_entry_is_named_by_the_verifier(database: Database, change: str) -> None:
    await _altered_summary_is_named(database, change)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)  # PostgreSQL holds numbers only
async def test_a_summary_that_is_no_number_is_named_by_the_verifier(database: Database) -> None:
    await _altered_summary_is_named(database, "oldest_us = 'text'")


async def _altered_summary_is_named(database: Database, change: str) -> None:
    await database.append_new(records(ENTRIES))
    log = StoredAuditLog(database)
    await log.add_checkpoint(StoredCheckpoint(ENTRIES, "note", ()))

    async def findings() -> set[FindingKind]:
        verifier = LogVerifier([], [])
        terms = await log.terms(0, ENTRIES)
        async for entry in log.entries(0, ENTRIES):
            verifier.feed(entry, terms[entry.index])
        return {finding.kind for finding in verifier.finish().findings if "search" in finding.detail}

    assert await findings() == set()
    await _run(database, f"UPDATE audit_block SET {change}")  # noqa: S608  a text of this test
    assert await findings() == {FindingKind.ALTERED}


async def _summaries(database: Database) -> list[int]:
    async with database.read() as connection:
        return list(await connection.scalars(text("SELECT block FROM audit_block ORDER BY block")))


async def _run(database: Database, statement: str) -> None:
    await database.write(lambda connection: connection.execute(text(statement)))
