"""How a search is carried out: along one index in the order of the log, so that a page costs a page and not the log.

Every list of positions that the database keeps in that order is a *way*: the entries of a party, an object, a policy, a
kind of event, a source, a refusal, a trace. The sparsest of those that a search names is followed, the others are
looked up entry by entry. A period is no way, because entries stand in the order of their receipt; it leaves out blocks
of entries instead (`authz.store.blocks`). Nothing is sorted and nothing is skipped by counting: the next page begins
below the last index of this one (docs/decisions/0113).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, FromClause, Row, Select, Table, exists, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from authz.audit.search import MAX_INDEX, Criteria, TermKind, to_microseconds
from authz.domain.audit import Outcome
from authz.store.appending import ENTRY, TERM
from authz.store.blocks import Window, windows

SAMPLE: Final = 1_000
"""Positions of each way that are looked at to find the sparsest."""

Conditions = list[ColumnElement[bool]]


@dataclass(frozen=True, slots=True)
class Way:
    """A list of positions in the order of the log.

    Attributes:
        table: `audit_entry` or `audit_term`.
        conditions: what makes an entry one of them, in an alias of that table.
    """

    table: Table
    conditions: Callable[[FromClause], Conditions]


async def search(
    connection: AsyncConnection, criteria: Criteria, columns: Sequence[ColumnElement[Any]]
) -> list[Row[Any]]:
    """Entries that fit, newest first, at most `criteria.limit`.

    Args:
        connection: everything read through it is of one moment.
        criteria: what they must fit.
        columns: of `audit_entry`.
    """
    ways = ways_of(criteria)
    low, high = 0, MAX_INDEX if criteria.below is None else criteria.below
    sparse = False
    if len(ways) > 1:
        samples = [(await connection.execute(sample(way, low, high))).one() for way in ways]
        if any(found.number == 0 for found in samples):
            return []
        # What is older than the newest of each list is where all of them can meet.
        high = min(found.newest for found in samples) + 1
        order = sorted(range(len(ways)), key=lambda place: _reach(samples[place]))
        sparse = samples[order[0]].number < SAMPLE
        ways = [ways[place] for place in order]
    period = criteria.since is not None or criteria.until is not None
    # A short list is walked to its end: that costs less than to find out what could be left out.
    places = await windows(connection, criteria, high) if period and not sparse else [Window(low, high)]
    found: list[Row[Any]] = []
    for place in places:
        statement = page(criteria, ways, place, criteria.limit - len(found), columns)
        found += (await connection.execute(statement)).all()
        if len(found) >= criteria.limit:
            break
    return found


def _reach(sampled: Row[Any]) -> tuple[bool, int]:
    """The shorter a list, or the further back its newest entries reach, the sparser it is."""
    return (True, sampled.oldest) if sampled.number >= SAMPLE else (False, sampled.number)


def sample(way: Way, low: int, high: int) -> Select[int, Any, Any]:
    """The statement that looks at the newest positions of a way."""
    alias = way.table.alias("way")
    newest = _positions(way, alias, low, high).limit(SAMPLE).subquery()
    position = newest.c.entry_index
    return select(
        func.count().label("number"), func.min(position).label("oldest"), func.max(position).label("newest")
    ).select_from(newest)


def page(
    criteria: Criteria, ways: Sequence[Way], place: Window, limit: int, columns: Sequence[ColumnElement[Any]]
) -> Select[Any]:
    """The statement that gives a page.

    Args:
        criteria: what the entries must fit.
        ways: the first is followed, the others are looked up.
        place: where in the log.
        limit: entries at most.
        columns: of `audit_entry`.
    """
    if not ways:
        statement = select(*columns).where(ENTRY.c.entry_index >= place.low, ENTRY.c.entry_index < place.high)
        return statement.where(*_entry_conditions(criteria, ENTRY)).order_by(ENTRY.c.entry_index.desc()).limit(limit)
    alias = ways[0].table.alias("way")
    statement = _positions(ways[0], alias, place.low, place.high)
    for number, way in enumerate(each for each in ways[1:] if each.table is TERM):
        term = TERM.alias(f"term_{number}")
        statement = statement.where(
            exists().where(term.c.entry_index == alias.c.entry_index, *way.conditions(term)).correlate(alias)
        )
    entry = ENTRY.alias("entry")
    conditions = _entry_conditions(criteria, entry)
    if conditions:
        statement = statement.where(
            exists().where(entry.c.entry_index == alias.c.entry_index, *conditions).correlate(alias)
        )
    positions = statement.limit(limit).scalar_subquery()
    return select(*columns).where(ENTRY.c.entry_index.in_(positions)).order_by(ENTRY.c.entry_index.desc())


def _positions(way: Way, alias: FromClause, low: int, high: int) -> Select[Any]:
    position = alias.c.entry_index
    return select(position).where(*way.conditions(alias), position >= low, position < high).order_by(position.desc())


def ways_of(criteria: Criteria) -> list[Way]:
    """The ways that a search names."""
    ways = []
    if criteria.trace_id is not None:
        ways.append(_of_entry("trace_id", criteria.trace_id))
    names = (
        (TermKind.OBJECT, criteria.object_identifier),
        (TermKind.USER, criteria.participant),
        (TermKind.PROTOCOL, criteria.protocol),
    )
    ways += [_of_term(kind, value) for kind, value in names if value is not None]
    # What holds for nearly every entry has no index, and needs none.
    if criteria.reason:
        ways.append(_of_entry("reason", criteria.reason, lambda table: [table.c.reason != literal_column("''")]))
    if criteria.outcome not in {None, Outcome.SUCCESS}:
        ways.append(_of_entry("outcome", criteria.outcome, lambda table: [table.c.outcome > literal_column("1")]))
    if criteria.source is not None:
        ways.append(_of_entry("source", criteria.source))
    if criteria.event_type is not None:
        ways.append(_of_entry("event_type", criteria.event_type.value))
    return ways


def _of_term(kind: TermKind, value: str) -> Way:
    return Way(TERM, lambda table: [table.c.kind == kind.value, table.c.value == value])


def _of_entry(column: str, value: object, index: Callable[[FromClause], Conditions] | None = None) -> Way:
    """A way along a column; `index` says in the words of a partial index that its entries are meant."""
    return Way(ENTRY, lambda table: [table.c[column] == value, *(index(table) if index else [])])


def _entry_conditions(criteria: Criteria, table: FromClause) -> Conditions:
    """Everything that an entry itself must say, whichever way led to it."""
    wanted = {
        "event_type": None if criteria.event_type is None else criteria.event_type.value,
        "outcome": None if criteria.outcome is None else int(criteria.outcome),
        "reason": criteria.reason,
        "trace_id": criteria.trace_id,
        "source": criteria.source,
    }
    conditions: Conditions = [table.c[name] == value for name, value in wanted.items() if value is not None]
    if criteria.since is not None:
        conditions.append(table.c.event_us >= to_microseconds(criteria.since))
    if criteria.until is not None:
        conditions.append(table.c.event_us < to_microseconds(criteria.until))
    return conditions
