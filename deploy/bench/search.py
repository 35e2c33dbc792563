"""Searching an audit log of millions of records: how long each kind of search takes, cold and warm.

    make bench-search, or
    nice python -m deploy.bench.search [--records 10000000] [--database postgresql+asyncpg://...]

A log of its own (`deploy.bench.plausible_log`) on SQLite, in a temporary folder that is removed afterwards, or in an
empty database on PostgreSQL. Ten million records take 23 GB of disk and six minutes of one core to make. Searches
are the product's own, from the criteria to the entries. *Cold*: nobody asked for this value before, and on SQLite the
file was dropped from the system's memory first. *Warm*: the same searches again.
"""

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from authz.audit.search import Criteria
from authz.domain.audit import EventType, Outcome
from authz.domain.clock import SystemClock
from authz.store.audit_log import StoredAuditLog
from authz.store.blocks import summarise
from authz.store.database import Database
from deploy.bench.filling import fill_postgresql, fill_sqlite
from deploy.bench.plausible_log import PlausibleLog
from deploy.bench.rows import Row

RECORDS: Final = 10_000_000
SMALL: Final = 50_000
"""Records in a log for `make bench`."""
CARE_CLIENT: Final = "care client"
BUDGET: Final = 200.0
"""Milliseconds at p95 (architecture.md, "Budgets")."""
ROUNDS: Final = 20
"""Values of each kind of search."""
_DISK: Final = 2_600
"""Bytes for one record, with room to spare."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of search, with different values each time."""

    title: str
    searches: Sequence[Criteria]


@dataclass(frozen=True, slots=True)
class Timed:
    """What one kind of search came to, in milliseconds at p95, and the median of the entries that were found.

    The processor's time is this process's: on SQLite all of it, and it hardly depends on what else the machine does.
    """

    title: str
    searches: int
    cold: float
    warm: float
    cold_processor: float
    warm_processor: float
    hits: int


def kinds(log: PlausibleLog, rounds: int = ROUNDS) -> list[Kind]:
    """What is asked of a log."""
    size, span = log.number, log.end - log.begin
    starts = [log.begin + span * (number + 1) / (rounds + 2) for number in range(rounds)]
    parties = [log.participants[number % len(log.participants)] for number in range(rounds)]
    later = size // 3
    day, month = timedelta(days=1), timedelta(days=30)
    kinds = {
        CARE_CLIENT: [Criteria(object_identifier=name) for name in log.care_clients],
        "care client, nobody": [Criteria(object_identifier=f"nobody-{number}") for number in range(rounds)],
        "token (jti)": [Criteria(object_identifier=name) for name in log.tokens],
        "party": [Criteria(participant=name) for name in parties],
        "party, none": [Criteria(participant=f"uzovi:{number}") for number in range(rounds)],
        "audience": [Criteria(object_identifier=name) for name in log.audiences],
        "policy revision": [Criteria(protocol=name) for name in log.protocols],
        "trace id": [Criteria(trace_id=name) for name in log.traces],
        "source": [Criteria(source=name) for name in log.sources],
        "source, none": [Criteria(source=f"sluis/trust-agent/none-{number}") for number in range(rounds)],
        "kind of event": [Criteria(event_type=kind) for kind in (EventType.TOKEN_REQUEST, EventType.ACCESS_DECISION)],
        "kind of event, none": [Criteria(event_type=EventType.KEY_BLOCK)],
        "refused": [Criteria(outcome=Outcome.REFUSED)],
        "error, none": [Criteria(outcome=Outcome.ERROR)],
        "reason": [Criteria(reason=name) for name in log.reasons],
        "reason, none": [Criteria(reason="certificate_revoked")],
        "everything": [Criteria()],
        "a day": [Criteria(since=start, until=start + day) for start in starts],
        "a month": [Criteria(since=start, until=start + month) for start in starts],
        "since": [Criteria(since=start) for start in starts],
        "until": [Criteria(until=start) for start in starts],
        "a period before the log": [Criteria(until=log.begin)],
        "a period after the log": [Criteria(since=log.end + day)],
        "party and a month": [
            Criteria(participant=name, since=start, until=start + month)
            for name, start in zip(parties, starts, strict=True)
        ],
        "party and refused": [Criteria(participant=name, outcome=Outcome.REFUSED) for name in parties],
        "party and error, none": [Criteria(participant=name, outcome=Outcome.ERROR) for name in parties],
        "party and kind of event": [Criteria(participant=name, event_type=EventType.TOKEN_REQUEST) for name in parties],
        "party and policy revision": [
            Criteria(participant=name, protocol=log.protocols[number % len(log.protocols)])
            for number, name in enumerate(parties)
        ],
        "party and care client": [
            Criteria(participant=name, object_identifier=item)
            for name, item in zip(parties, log.care_clients, strict=False)
        ],
        "source and refused in a month": [
            Criteria(
                source=log.sources[number % len(log.sources)], outcome=Outcome.REFUSED, since=start, until=start + month
            )
            for number, start in enumerate(starts)
        ],
    }
    paged = (
        "party",
        "audience",
        "policy revision",
        "source",
        "kind of event",
        "refused",
        "reason",
        "everything",
        "until",
    )
    found = [Kind(title, searches[:rounds]) for title, searches in kinds.items()]
    return found + [
        Kind(f"{title}, a later page", [replace(each, below=later) for each in kinds[title][:rounds]])
        for title in paged
    ]


async def measure(records: int = RECORDS, url: str | None = None, folder: Path | None = None) -> list[Timed]:
    """Fill a log and search it.

    Args:
        records: in the log.
        url: an empty database on PostgreSQL; on SQLite when None.
        folder: for the SQLite file; a temporary one when None.

    Raises:
        RuntimeError: there is not enough disk.
    """
    with tempfile.TemporaryDirectory(prefix="sluis-search-bench", dir=folder) as made:
        file = Path(made) / "authz.db"
        if shutil.disk_usage(made).free < records * _DISK:
            raise RuntimeError(f"{records:,} records need {records * _DISK / 1e9:.0f} GB of free disk")
        log = PlausibleLog(records)
        chosen = url or f"sqlite+aiosqlite:///{file}"
        database = Database(chosen, SystemClock())
        await database.start()
        await database.close()
        if url is None:
            fill_sqlite(file, log)
        else:
            await fill_postgresql(url, log)
        return await timed(log, chosen, file)


async def timed(log: PlausibleLog, url: str, file: Path) -> list[Timed]:
    """Search a filled log, every kind cold and then warm.

    Args:
        log: what was filled in.
        url: of the database.
        file: of the database on SQLite.
    """
    database = Database(url, SystemClock())
    await database.start()
    try:
        # As checkpoints would have done while the log grew.
        await database.write(lambda connection: summarise(connection, log.number, at_once=log.number))
        stored, found = StoredAuditLog(database), []
        for kind in kinds(log):
            _forget(file)
            cold = [await _search(stored, criteria) for criteria in kind.searches]
            warm = [await _search(stored, criteria) for criteria in kind.searches]
            hits = sorted(each.hits for each in warm)[len(warm) // 2]
            found.append(
                Timed(
                    kind.title,
                    len(warm),
                    cold=_p95([each.taken for each in cold]),
                    warm=_p95([each.taken for each in warm]),
                    cold_processor=_p95([each.processor for each in cold]),
                    warm_processor=_p95([each.processor for each in warm]),
                    hits=hits,
                )
            )
        return found
    finally:
        await database.close()


def rows(records: int = SMALL) -> list[Row]:
    """The budget's own search, by care client, and the slowest of all kinds, in a log that is made in seconds."""
    found = asyncio.run(measure(records))
    slowest = max(found, key=lambda each: each.warm)
    budget = next(each for each in found if each.title == CARE_CLIENT)
    size = f"{records:,} records"
    return [
        Row(f"audit: search by care client, {size}, cold, p95", budget.cold, "ms", BUDGET),
        Row(f"audit: search by care client, {size}, warm, p95", budget.warm, "ms", BUDGET),
        Row(
            f"audit: slowest of {len(found)} kinds of search ({slowest.title}), {size}, p95", slowest.warm, "ms", BUDGET
        ),
    ]


@dataclass(frozen=True, slots=True)
class _One:
    taken: float
    processor: float
    hits: int


async def _search(stored: StoredAuditLog, criteria: Criteria) -> _One:
    started, used = time.perf_counter(), time.process_time()
    hits = len(await stored.find(criteria))
    return _One((time.perf_counter() - started) * 1000, (time.process_time() - used) * 1000, hits)


def _p95(measured: Sequence[float]) -> float:
    return sorted(measured)[min(len(measured) - 1, int(len(measured) * 0.95))]


def _forget(file: Path) -> None:
    """Have the system drop the file from its memory, as far as nobody changes it."""
    if file.exists():
        # Closing the descriptor drops the locks of this process on the file; nobody writes to it now.
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def _table(found: Sequence[Timed], records: int) -> Table:
    table = Table(title=f"Audit search over {records:,} records, milliseconds at p95", title_justify="left")
    table.add_column("search")
    for heading in ("searches", "entries", "cold", "warm", "processor, cold", "warm", "at most", "met"):
        table.add_column(heading, justify="right")
    for each in found:
        met = "[green]yes[/]" if max(each.cold, each.warm) <= BUDGET else "[red]no[/]"
        times = (each.cold, each.warm, each.cold_processor, each.warm_processor, BUDGET)
        table.add_row(each.title, str(each.searches), str(each.hits), *(f"{time:,.1f}" for time in times), met)
    return table


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m deploy.bench.search", description="Searching the audit log.")
    parser.add_argument("--records", type=int, default=RECORDS, help="in the log")
    parser.add_argument("--database", metavar="URL", help="an empty database on PostgreSQL; on SQLite when left out")
    parser.add_argument("--folder", type=Path, help="for the SQLite file; the usual temporary folder when left out")
    given = parser.parse_args()
    found = asyncio.run(measure(given.records, given.database, given.folder))
    Console(width=None if sys.stdout.isatty() else 120, highlight=False).print(_table(found, given.records))


if __name__ == "__main__":
    main()
