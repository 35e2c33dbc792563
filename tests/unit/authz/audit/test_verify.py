"""Somebody with write access to the database changes the past: each way is found, and the record is named."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from authz.audit.checkpoint import Checkpointer
from authz.audit.commitment import commit, leaf_of
from authz.audit.merkle import CompactTree
from authz.audit.note import Checkpoint, sign_note
from authz.audit.note_key import FileNoteSigner
from authz.audit.own import OwnRecords
from authz.audit.reading import ReadingDesk
from authz.audit.verify import ERASED_ENTRY, Finding, FindingKind, LogVerifier, Report
from authz.domain.audit import Action, AuditUser, EventType
from authz.store.audit_log import StoredAuditLog
from authz.store.database import Database
from tests.fakes.records import audit_record

AUDITOR = AuditUser("os:auditor", "AUDITOR")
ROUNDS = 4
EACH = 5
"""Four checkpoints, each after five records: sizes 5, 10, 15 and 20."""


@pytest.fixture
async def desk(
    database: Database, log: StoredAuditLog, own: OwnRecords, checkpointer: Checkpointer, signer: FileNoteSigner
) -> ReadingDesk:
    for _ in range(ROUNDS):
        await database.record(*(audit_record() for _ in range(EACH)))
        await checkpointer.checkpoint()
    return ReadingDesk(reader=log, own=own, keys=(signer.verifier,), user=AUDITOR)


@pytest.fixture
def tamper(path: Path) -> Callable[..., None]:
    """Write to the file behind the back of the service."""

    def act(*statements: str) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.create_function("commitment", 4, commit)
            connection.create_function("leaf", 1, leaf_of)
            for statement in statements:
                connection.execute(statement)

    return act


def change(setting: str, where: str, table: str = "audit_entry") -> str:
    return f"UPDATE {table} SET {setting} WHERE {where}"  # noqa: S608  this is the attack


def flipped(column: str, index: int) -> str:
    """SQL that changes the third byte of a stored value."""
    other = f"CASE substr({column}, 3, 1) WHEN x'41' THEN x'42' ELSE x'41' END"
    value = f"CAST(substr({column}, 1, 2) || {other} || substr({column}, 4) AS BLOB)"
    return change(f"{column} = {value}", f"entry_index = {index}")


async def verified(desk: ReadingDesk) -> Report:
    report, recorded = await desk.verify()
    assert recorded
    return report


def first(report: Report) -> tuple[FindingKind, int, int]:
    finding = report.findings[0]
    return finding.kind, finding.first, finding.last


async def test_an_untouched_log_is_intact(desk: ReadingDesk) -> None:
    report = await verified(desk)
    assert report == Report(entries=20, checkpoints=4, covered=20, erased=0, findings=())
    # The verification itself is one record, found by the next one.
    assert (await verified(desk)).entries == 21


@pytest.mark.parametrize("column", ["payload", "salt", "commitment", "leaf_hash"])
@pytest.mark.parametrize("index", [0, 7, 19])
async def test_one_altered_byte_names_its_record(
    desk: ReadingDesk, tamper: Callable[..., None], column: str, index: int
) -> None:
    tamper(flipped(column, index))
    report = await verified(desk)
    assert first(report) == (FindingKind.ALTERED, index, index)
    assert len(report.findings) == 1


@pytest.mark.parametrize(
    "setting",
    [
        "received_us = received_us + 1",
        "received_us = 9223372036854775807",
        "received_us = 'noon'",
        "payload = 'text'",
        "payload = 7",
        "payload = NULL",
        "salt = NULL",
        "payload = NULL, salt = NULL",
        "payload = x'ff'",
        "commitment = x''",
        "event_type = 'token.revoke'",
        "outcome = 2",
        "reason = 'scope_unknown'",
        "source = 'sluis/other'",
        "record_id = 'other'",
        "trace_id = 'other'",
        "event_us = 0",
    ],
)
async def test_every_column_is_part_of_the_evidence(
    desk: ReadingDesk, tamper: Callable[..., None], setting: str
) -> None:
    tamper(change(setting, "entry_index = 11"))
    assert first(await verified(desk)) == (FindingKind.ALTERED, 11, 11)


async def test_a_record_hidden_from_the_search_is_named(desk: ReadingDesk, tamper: Callable[..., None]) -> None:
    tamper("DELETE FROM audit_term WHERE entry_index = 6 AND kind = 'user'")
    assert first(await verified(desk)) == (FindingKind.ALTERED, 6, 6)


async def test_a_deleted_record_is_named(desk: ReadingDesk, tamper: Callable[..., None]) -> None:
    tamper("DELETE FROM audit_entry WHERE entry_index = 8")
    report = await verified(desk)
    assert [first(report), len(report.findings)] == [(FindingKind.MISSING, 8, 8), 1]


async def test_a_deleted_range_across_a_checkpoint_is_named(desk: ReadingDesk, tamper: Callable[..., None]) -> None:
    tamper("DELETE FROM audit_entry WHERE entry_index BETWEEN 8 AND 11")
    report = await verified(desk)
    assert [first(report), len(report.findings)] == [(FindingKind.MISSING, 8, 11), 1]


async def test_a_deleted_record_whose_followers_moved_up_is_named(
    desk: ReadingDesk, tamper: Callable[..., None]
) -> None:
    tamper(
        "DELETE FROM audit_entry WHERE entry_index = 8",
        "UPDATE audit_entry SET entry_index = -entry_index WHERE entry_index > 8",
        "UPDATE audit_entry SET entry_index = -entry_index - 1 WHERE entry_index < 0",
    )
    report = await verified(desk)
    assert first(report) == (FindingKind.REORDERED, 8, 8)
    assert "as record 9" in report.findings[0].detail


async def test_terms_left_behind_by_deleted_records_do_not_stop_the_log(
    desk: ReadingDesk, database: Database, tamper: Callable[..., None]
) -> None:
    tamper("DELETE FROM audit_entry WHERE entry_index >= 15")
    await database.record(audit_record())
    report = await verified(desk)
    assert first(report) == (FindingKind.MISSING, 16, 19)
    assert "no record from 15 on is proven" in report.findings[0].detail


async def test_two_swapped_records_are_both_named(desk: ReadingDesk, tamper: Callable[..., None]) -> None:
    tamper(
        "UPDATE audit_entry SET entry_index = -1 WHERE entry_index = 6",
        "UPDATE audit_entry SET entry_index = 6 WHERE entry_index = 12",
        "UPDATE audit_entry SET entry_index = 12 WHERE entry_index = -1",
    )
    found = [(finding.kind, finding.first, finding.detail) for finding in (await verified(desk)).findings]
    assert found == [
        (FindingKind.REORDERED, 6, "this record was written as record 12"),
        (FindingKind.REORDERED, 12, "this record was written as record 6"),
    ]


async def test_a_truncated_tail_is_named(desk: ReadingDesk, tamper: Callable[..., None]) -> None:
    tamper("DELETE FROM audit_entry WHERE entry_index >= 17")
    report = (await desk.verify())[0]
    assert first(report) == (FindingKind.MISSING, 17, 19)


CONSISTENT = (
    "UPDATE audit_entry SET commitment = commitment(salt, entry_index, received_us, payload) WHERE {where}",
    "UPDATE audit_entry SET leaf_hash = leaf(commitment) WHERE {where}",
)


@pytest.mark.parametrize(("index", "between"), [(2, (0, 4)), (12, (10, 14)), (19, (15, 19))])
async def test_a_consistently_rewritten_record_is_caught_by_its_checkpoint_and_the_range_is_named(
    desk: ReadingDesk, tamper: Callable[..., None], index: int, between: tuple[int, int]
) -> None:
    where = f"entry_index = {index}"
    tamper(
        change("payload = CAST(replace(CAST(payload AS TEXT), 'uzovi:5000', 'uzovi:5001') AS BLOB)", where),
        change("value = 'uzovi:5001'", f"kind = 'user' AND {where}", "audit_term"),
        *(each.format(where=where) for each in CONSISTENT),
    )
    report = await verified(desk)
    assert [first(report), len(report.findings)] == [(FindingKind.REWRITTEN, *between), 1]


async def test_a_rewritten_tail_is_caught(desk: ReadingDesk, tamper: Callable[..., None]) -> None:
    tamper(
        "DELETE FROM audit_entry WHERE entry_index = 13",
        "DELETE FROM audit_term WHERE entry_index = 13",
        "UPDATE audit_entry SET entry_index = -entry_index WHERE entry_index > 13",
        "UPDATE audit_entry SET entry_index = -entry_index - 1 WHERE entry_index < 0",
        "UPDATE audit_term SET entry_index = -entry_index WHERE entry_index > 13",
        "UPDATE audit_term SET entry_index = -entry_index - 1 WHERE entry_index < 0",
        *(each.format(where="entry_index >= 13") for each in CONSISTENT),
    )
    assert first(await verified(desk)) == (FindingKind.REWRITTEN, 10, 14)


async def test_a_rewritten_past_with_a_checkpoint_of_another_key_is_caught(
    desk: ReadingDesk, log: StoredAuditLog, tamper: Callable[..., None]
) -> None:
    forger = FileNoteSigner("log.example.nl/audit", Ed25519PrivateKey.generate())
    tree = CompactTree()
    async for leaf in log.leaf_hashes(20):
        tree.append(leaf)
    note = sign_note(Checkpoint("log.example.nl/audit", 20, tree.root()).text, forger)
    tamper(change(f"note = '{note}'", "size = 20", "audit_checkpoint"))
    report = await verified(desk)
    assert first(report) == (FindingKind.CHECKPOINT, 20, 20)
    assert report.covered == 15


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("UPDATE audit_checkpoint SET note = x'ff' WHERE size = 20", FindingKind.CHECKPOINT),
        ("UPDATE audit_checkpoint SET note = CAST(x'ff' AS TEXT) WHERE size = 20", FindingKind.CHECKPOINT),
        ("UPDATE audit_checkpoint SET note = 5, frontier = 5 WHERE size = 20", FindingKind.CHECKPOINT),
        ("UPDATE audit_entry SET record_id = CAST(x'ff' AS TEXT) WHERE entry_index = 7", FindingKind.ALTERED),
        ("UPDATE audit_term SET value = CAST(x'ff' AS TEXT) WHERE entry_index = 7", FindingKind.ALTERED),
        ("UPDATE audit_entry SET entry_index = 9223372036854775807 WHERE entry_index = 7", FindingKind.MISSING),
        ("UPDATE audit_entry SET entry_index = 9223372036854775800 WHERE entry_index = 7", FindingKind.MISSING),
    ],
)
async def test_what_no_column_should_hold_is_named_and_stops_nothing(
    desk: ReadingDesk, tamper: Callable[..., None], statement: str, kind: FindingKind
) -> None:
    tamper(statement)
    report = (await desk.verify())[0]
    assert report.findings[0].kind is kind
    assert report.findings[0].first in {7, 20}


async def test_a_log_without_any_checkpoint_is_not_called_intact(
    desk: ReadingDesk, tamper: Callable[..., None]
) -> None:
    tamper("DELETE FROM audit_checkpoint")
    assert first(await verified(desk)) == (FindingKind.CHECKPOINT, 0, 19)


async def test_a_truncated_tail_with_its_checkpoints_is_found_with_a_checkpoint_kept_elsewhere(
    desk: ReadingDesk, log: StoredAuditLog, tamper: Callable[..., None]
) -> None:
    kept = await log.last_checkpoint()
    assert kept is not None
    tamper(
        "DELETE FROM audit_entry WHERE entry_index >= 15",
        "DELETE FROM audit_term WHERE entry_index >= 15",
        "DELETE FROM audit_checkpoint WHERE size > 15",
    )
    assert (await desk.verify())[0].intact
    report = (await desk.verify([kept.note]))[0]
    # The verification before wrote a record of its own in the place of the first one that is gone.
    assert first(report) == (FindingKind.MISSING, 16, 19)


async def test_an_erasure_is_accepted_with_its_record_and_not_without(
    desk: ReadingDesk, database: Database, tamper: Callable[..., None]
) -> None:
    erase = [
        "UPDATE audit_entry SET payload = NULL, salt = NULL WHERE entry_index = {0}",
        "DELETE FROM audit_term WHERE entry_index = {0}",
    ]
    tamper(*(each.format(4) for each in erase))
    await database.record(
        audit_record(event_type=EventType.LOG_ERASE, action=Action.DELETE, identifier="4", identifier_type=ERASED_ENTRY)
    )
    report = await verified(desk)
    assert (report.intact, report.erased) == (True, 1)
    tamper(*(each.format(5) for each in erase))
    report = await verified(desk)
    assert first(report) == (FindingKind.ALTERED, 5, 5)
    assert len(report.findings) == 1


def test_nothing_at_all_is_intact_only_when_nothing_was_promised() -> None:
    assert LogVerifier((), ()).finish().intact


def test_a_finding_says_which_records() -> None:
    assert str(Finding(FindingKind.MISSING, 3, 3, "not there")) == "record 3: missing: not there"
    assert str(Finding(FindingKind.MISSING, 3, 5, "not there")) == "records 3 to 5: missing: not there"
