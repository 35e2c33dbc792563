"""An export is verified without the database, and a changed one is not."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from authz.audit.checkpoint import Checkpointer
from authz.audit.export import ExportInvalid, verify_export
from authz.audit.log import StoredCheckpoint
from authz.audit.note import Checkpoint, VerifierKey, sign_note
from authz.audit.note_key import FileNoteSigner
from authz.audit.own import OwnRecords
from authz.audit.reading import ReadingDesk
from authz.audit.search import Criteria
from authz.audit.verify import FindingKind, Report, Verdict
from authz.domain.audit import AuditUser
from authz.store.audit_log import StoredAuditLog
from authz.store.database import Database
from tests.fakes.records import audit_record

Line = dict[str, Any]


@pytest.fixture
async def desk(
    database: Database, log: StoredAuditLog, own: OwnRecords, checkpointer: Checkpointer, signer: FileNoteSigner
) -> ReadingDesk:
    for number in range(3):
        await database.record(*(audit_record(user=f"uzovi:500{number}", details={"é": n}) for n in range(4)))
        await checkpointer.checkpoint()
    return ReadingDesk(reader=log, own=own, keys=(signer.verifier,), user=AuditUser("os:auditor", "AUDITOR"))


@pytest.fixture
def key(signer: FileNoteSigner) -> VerifierKey:
    return signer.verifier


async def lines_of(desk: ReadingDesk, criteria: Criteria | None = None) -> list[Line]:
    return [json.loads(line) async for line in desk.export(criteria)]


def verify(lines: list[Line], *keys: VerifierKey) -> Report:
    return verify_export([json.dumps(line).encode() for line in lines], keys)


def named(report: Report) -> tuple[FindingKind, int, int]:
    return report.findings[0].kind, report.findings[0].first, report.findings[0].last


async def test_a_complete_export_is_intact_also_after_its_json_was_reformatted(
    desk: ReadingDesk, key: VerifierKey
) -> None:
    lines = await lines_of(desk)
    assert [line["kind"] for line in lines] == ["header", *["checkpoint"] * 3, *["entry"] * 12]
    assert verify(lines, key) == Report(entries=12, checkpoints=3, covered=12, erased=0, findings=())


@pytest.mark.parametrize("member", ["payload", "salt", "commitment", "leaf_hash"])
async def test_one_changed_character_names_its_record(desk: ReadingDesk, key: VerifierKey, member: str) -> None:
    lines = await lines_of(desk)
    value = lines[4 + 6][member]
    lines[4 + 6][member] = ("A" if value[0] != "A" else "B") + value[1:]
    assert named(verify(lines, key)) == (FindingKind.ALTERED, 6, 6)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda lines: lines.pop(4 + 5), (FindingKind.MISSING, 5, 5)),
        (lambda lines: lines.pop(), (FindingKind.MISSING, 11, 11)),
        (lambda lines: lines.insert(4 + 2, lines[4 + 1]), (FindingKind.REORDERED, 1, 1)),
        (lambda lines: lines[4 + 7].update(received_us=0), (FindingKind.ALTERED, 7, 7)),
        (lambda lines: lines[4 + 7].pop("payload"), (FindingKind.ALTERED, 7, 7)),
        (lambda lines: lines[2].update(note=lines[2]["note"].replace("8", "7", 1)), (FindingKind.CHECKPOINT, 8, 8)),
        (lambda lines: [lines.pop(1) for _ in range(3)], (FindingKind.CHECKPOINT, 0, 11)),
    ],
)
async def test_a_changed_file_is_named(
    desk: ReadingDesk, key: VerifierKey, change: Callable[[list[Line]], object], expected: tuple[FindingKind, int, int]
) -> None:
    lines = await lines_of(desk)
    change(lines)
    assert named(verify(lines, key)) == expected


async def test_swapped_lines_are_named(desk: ReadingDesk, key: VerifierKey) -> None:
    lines = await lines_of(desk)
    lines[4 + 3], lines[4 + 4] = lines[4 + 4], lines[4 + 3]
    assert named(verify(lines, key))[1] == 3


async def test_nothing_is_proven_with_another_key(desk: ReadingDesk) -> None:
    report = verify(await lines_of(desk), VerifierKey("log.example.nl/audit", bytes(32)))
    assert not report.intact
    assert report.covered == 0


async def test_a_selection_carries_its_proofs(desk: ReadingDesk, key: VerifierKey) -> None:
    lines = await lines_of(desk, Criteria(participant="uzovi:5001"))
    assert [line["index"] for line in lines[2:]] == [4, 5, 6, 7]
    assert verify(lines, key).intact
    removed = [*lines[:3], *lines[4:]]
    assert verify(removed, key).intact, "a selection never promises to be whole"


@pytest.mark.parametrize("member", ["payload", "salt", "commitment", "leaf_hash", "proof", "index"])
async def test_a_changed_selection_names_its_record(desk: ReadingDesk, key: VerifierKey, member: str) -> None:
    lines = await lines_of(desk, Criteria(participant="uzovi:5001"))
    lines[3][member] = lines[2][member]
    report = verify(lines, key)
    assert report.findings[0].first in {4, 5}


async def test_a_proof_that_is_left_out_proves_nothing(desk: ReadingDesk, key: VerifierKey) -> None:
    lines = await lines_of(desk, Criteria(participant="uzovi:5001"))
    del lines[3]["proof"]
    assert named(verify(lines, key)) == (FindingKind.REWRITTEN, 5, 5)
    lines = await lines_of(desk, Criteria(participant="uzovi:5001"))
    del lines[1]
    assert named(verify(lines, key))[0] is FindingKind.CHECKPOINT


@pytest.mark.parametrize(
    "data",
    [
        [],
        [b"not json"],
        [b"{}"],
        [b'{"kind":"entry","index":0}'],
        [
            b'{"kind":"header","format":"other/1","origin":"o","verifier_key":"","exported_at":"","size":0,"complete":true}'
        ],
        [b" " * 1_000_001],
        [b"\xff"],
    ],
)
def test_what_is_no_export_is_refused(data: list[bytes], key: VerifierKey) -> None:
    with pytest.raises(ExportInvalid):
        verify_export(data, [key])


async def test_lines_in_the_wrong_place_are_refused(desk: ReadingDesk, key: VerifierKey) -> None:
    lines = await lines_of(desk)
    for wrong in ([*lines, lines[0]], [*lines, lines[1]], [lines[0], *lines], [lines[4], *lines]):
        with pytest.raises(ExportInvalid):
            verify(wrong, key)


@pytest.mark.parametrize("index", [-1, 2**63, 2**64, 2**80])
async def test_an_index_that_no_log_has_is_named(desk: ReadingDesk, key: VerifierKey, index: int) -> None:
    lines = await lines_of(desk)
    lines[7]["index"] = index
    assert not verify(lines, key).intact


async def test_an_export_holds_nothing_that_a_terminal_obeys(
    desk: ReadingDesk, database: Database, checkpointer: Checkpointer, key: VerifierKey
) -> None:
    await database.record(audit_record(user="\x9b31m\u202eabc\x1b[2J"))
    await checkpointer.checkpoint()
    exported = [line async for line in desk.export()]
    assert b"".join(exported).replace(b"\n", b"").decode("ascii").isprintable()
    assert verify_export(exported, [key]).intact


async def grown(desk: ReadingDesk, database: Database, checkpointer: Checkpointer) -> StoredCheckpoint:
    """A checkpoint that the auditor keeps, of a log that goes on after what was exported."""
    await database.record(*(audit_record() for _ in range(4)))
    await checkpointer.checkpoint()
    note = await desk.checkpoint()
    return StoredCheckpoint(int(note.split("\n")[1]), note, ())


def against(lines: list[Line], kept: StoredCheckpoint, key: VerifierKey) -> Report:
    return verify_export([json.dumps(line).encode() for line in lines], [key], [kept])


async def test_a_checkpoint_that_is_newer_than_the_export_is_no_alarm_and_never_green(
    desk: ReadingDesk, database: Database, checkpointer: Checkpointer, key: VerifierKey
) -> None:
    lines = await lines_of(desk)
    kept = await grown(desk, database, checkpointer)
    report = against(lines, kept, key)
    assert (report.verdict, report.uncompared, report.intact) == (Verdict.INCOMPLETE, (kept.size,), False)
    # Near miss: exported again, everything is compared.
    assert against(await lines_of(desk), kept, key).verdict is Verdict.INTACT


@pytest.mark.parametrize("size", [12, 17, 10_000])
async def test_an_export_that_claims_to_reach_the_checkpoint_and_was_cut_off_is_an_alarm(
    desk: ReadingDesk, database: Database, checkpointer: Checkpointer, key: VerifierKey, size: int
) -> None:
    kept = await grown(desk, database, checkpointer)
    cut = [line for line in await lines_of(desk) if line.get("index", 0) < 12 and line.get("size", 0) <= 12]
    whole = await lines_of(desk)
    cut.insert(0, whole[0] | {"size": size})
    report = against(cut, kept, key)
    # Cut off at one of its own checkpoints, with a header that admits it, it is what an older export would be.
    assert report.verdict is (Verdict.INCOMPLETE if size == 12 else Verdict.NOT_INTACT)
    assert not report.intact


async def test_a_cut_between_two_checkpoints_is_an_alarm_whatever_the_header_says(
    desk: ReadingDesk, database: Database, checkpointer: Checkpointer, key: VerifierKey
) -> None:
    lines = await lines_of(desk)
    kept = await grown(desk, database, checkpointer)
    for end in (9, 10, 11):
        cut = [line for line in lines if line.get("index", 0) < end and line.get("size", 0) <= 8]
        report = against([lines[0] | {"size": end}, *cut], kept, key)
        assert report.verdict is Verdict.NOT_INTACT


async def test_a_changed_record_is_an_alarm_also_with_a_newer_checkpoint(
    desk: ReadingDesk, database: Database, checkpointer: Checkpointer, key: VerifierKey
) -> None:
    lines = await lines_of(desk)
    kept = await grown(desk, database, checkpointer)
    lines[4 + 5]["received_us"] += 1
    assert named(against(lines, kept, key)) == (FindingKind.ALTERED, 5, 5)


async def test_a_header_that_admits_fewer_records_than_there_are_is_an_alarm(
    desk: ReadingDesk, database: Database, checkpointer: Checkpointer, key: VerifierKey
) -> None:
    """Otherwise a small size in the header would keep any checkpoint from being compared."""
    lines = await lines_of(desk)
    kept = await grown(desk, database, checkpointer)
    lines[0]["size"] = 3
    assert against(lines, kept, key).verdict is Verdict.NOT_INTACT


async def test_a_file_without_a_record_verifies_nothing(desk: ReadingDesk, key: VerifierKey) -> None:
    header = (await lines_of(desk))[0] | {"size": 0}
    assert not verify([header], key).intact


async def test_a_selection_is_not_green_against_a_checkpoint_that_it_cannot_be_compared_with(
    desk: ReadingDesk, database: Database, checkpointer: Checkpointer, key: VerifierKey, signer: FileNoteSigner
) -> None:
    older = await desk.checkpoint()
    same = StoredCheckpoint(12, older, ())
    lines = await lines_of(desk, Criteria(participant="uzovi:5001"))
    kept = await grown(desk, database, checkpointer)
    assert against(lines, kept, key).verdict is Verdict.INCOMPLETE
    # The one that its proofs lead to is compared, and another one of that size contradicts it.
    assert against(lines, same, key).verdict is Verdict.INTACT
    forked = sign_note(Checkpoint(signer.verifier.name, 12, bytes(32)).text, signer)
    assert named(against(lines, StoredCheckpoint(12, forked, ()), key)) == (FindingKind.REWRITTEN, 0, 11)
