"""A log to search in is only worth measuring when its rows are what the product would have written."""

from pathlib import Path
from typing import cast

from authz.audit.commitment import commit, leaf_of
from authz.audit.record_format import decode_record, encode_record
from authz.audit.search import Criteria, terms_of
from authz.domain.clock import SystemClock
from authz.store.audit_log import StoredAuditLog
from authz.store.database import Database
from deploy.bench.filling import fill_sqlite
from deploy.bench.plausible_log import PlausibleLog
from deploy.bench.search import kinds

SIZE = 3_000


def test_each_row_is_what_appending_its_record_would_write() -> None:
    log = PlausibleLog(SIZE)
    entries = [row for batch in log.entries() for row in batch]
    terms = [row for batch in log.terms() for row in batch]
    assert [row[0] for row in entries] == list(range(SIZE))
    assert terms == sorted(terms)
    for row in entries[:: SIZE // 50]:
        index, received, payload, salt, commitment, leaf = cast("tuple[int, int, bytes, bytes, bytes, bytes]", row[:6])
        record = decode_record(payload)
        assert encode_record(record) == payload
        assert (commit(salt, index, received, payload), leaf_of(commitment)) == (commitment, leaf)
        found = terms_of(record)
        assert row[6:] == (
            *(found.record_id, found.source, found.event_type, found.event_us, found.outcome, found.reason),
            found.trace_id,
        )
        assert {(kind, value) for kind, value, at in terms if at == index} == found.names


async def test_the_searches_of_the_bench_have_hits_where_they_should(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/authz.db"
    database = Database(url, SystemClock())
    await database.start()
    await database.close()
    log = PlausibleLog(SIZE)
    fill_sqlite(tmp_path / "authz.db", log)
    database = Database(url, SystemClock())
    await database.start()
    try:
        stored = StoredAuditLog(database)
        for title in ("care client", "token (jti)", "party", "trace id", "source", "refused", "until", "everything"):
            [kind] = [each for each in kinds(log) if each.title == title]
            assert await stored.find(kind.searches[0]), title
        for kind in kinds(log):
            if "none" in kind.title or "nobody" in kind.title:
                assert not await stored.find(kind.searches[0]), kind.title
        assert len(await stored.find(Criteria(limit=SIZE))) == SIZE
    finally:
        await database.close()
