"""What a search reads: indexes in the order of the log, whichever of its criteria leads; never the log, never a sort.

Plans instead of times: a plan says the same on every machine. What the times are with ten million records tells
`python -m deploy.bench.search`.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Select
from sqlalchemy.dialects import sqlite

from authz.audit.search import Criteria
from authz.domain.audit import EventType, Outcome
from authz.store.appending import ENTRY
from authz.store.blocks import Window, outside
from authz.store.database import Database
from authz.store.searching import page, sample, ways_of
from tests.fakes.clock import FixedClock

DAY = datetime(2026, 11, 22, tzinfo=UTC)
ENTRY_ITSELF = "INTEGER PRIMARY KEY"
WAYS: dict[str, tuple[Any, str]] = {
    "trace_id": ("1" * 32, "COVERING INDEX ix_audit_entry_trace_id (trace_id=?"),
    "object_identifier": ("record-1", "PRIMARY KEY (kind=? AND value=? AND entry_index"),
    "participant": ("uzovi:5000", "PRIMARY KEY (kind=? AND value=? AND entry_index"),
    "protocol": ("token@1", "PRIMARY KEY (kind=? AND value=? AND entry_index"),
    "reason": ("scope_unknown", "COVERING INDEX ix_audit_entry_reason_entry_index (reason=?"),
    "outcome": (Outcome.ERROR, "COVERING INDEX ix_audit_entry_outcome_entry_index (outcome=?"),
    "source": ("sluis/other", "COVERING INDEX ix_audit_entry_source_entry_index (source=?"),
    "event_type": (EventType.LOG_READ, "COVERING INDEX ix_audit_entry_event_type_entry_index (event_type=?"),
}


@pytest.fixture
async def database(tmp_path: Path, clock: FixedClock) -> Any:
    opened = Database(f"sqlite+aiosqlite:///{tmp_path}/authz.db", clock)
    await opened.start()
    yield opened
    await opened.close()


async def plan(database: Database, statement: Select[*tuple[Any, ...]]) -> list[str]:
    compiled = statement.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    async with database.read() as connection:
        rows = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}")
        return [str(row.detail) for row in rows]


@pytest.mark.parametrize("name", WAYS)
async def test_each_criterion_leads_along_its_own_index(database: Database, name: str) -> None:
    value, index = WAYS[name]
    criteria = Criteria(**{name: value})
    [way] = ways_of(criteria)
    for statement in (page(criteria, [way], Window(0, 9), 50, [ENTRY.c.payload]), sample(way, 0, 9)):
        steps = await plan(database, statement)
        assert any(step.startswith("SEARCH way ") and index in step for step in steps), steps
        assert not _reads_or_sorts(steps), steps


@pytest.mark.parametrize("first", range(len(WAYS)))
async def test_whichever_leads_the_others_are_looked_up_by_position(database: Database, first: int) -> None:
    criteria = Criteria(**{name: value for name, (value, _) in WAYS.items()}, since=DAY, until=DAY)
    ways = ways_of(criteria)
    assert len(ways) == len(WAYS)
    steps = await plan(
        database, page(criteria, [ways[first], *ways[:first], *ways[first + 1 :]], Window(0, 9), 50, [ENTRY.c.payload])
    )
    assert not _reads_or_sorts(steps), steps
    assert any(step.startswith("SEARCH entry ") and ENTRY_ITSELF in step for step in steps), steps
    for step in steps:
        assert not step.startswith("SEARCH term_") or "entry_index=?" in step, steps


@pytest.mark.parametrize("given", [{}, {"since": DAY}, {"outcome": Outcome.SUCCESS}])
async def test_without_a_list_the_log_itself_is_followed_from_its_end(
    database: Database, given: dict[str, Any]
) -> None:
    criteria = Criteria(**given)
    assert ways_of(criteria) == []
    steps = await plan(database, page(criteria, [], Window(5, 9), 50, [ENTRY.c.payload]))
    assert steps == [f"SEARCH audit_entry USING {ENTRY_ITSELF} (rowid>? AND rowid<?)"]


async def test_a_period_reads_summaries_and_no_entries(database: Database) -> None:
    steps = await plan(database, outside(Criteria(since=DAY, until=DAY)))
    assert not [step for step in steps if "audit_entry" in step], steps


def _reads_or_sorts(steps: list[str]) -> list[str]:
    return [
        step for step in steps if "TEMP B-TREE" in step or step.startswith(("SCAN audit", "SCAN way", "SCAN entry"))
    ]
