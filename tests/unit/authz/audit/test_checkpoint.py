"""What was tampered with is not signed, and the refusal is loud."""

import asyncio
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from authz.audit.checkpoint import Checkpointer, CheckpointRefused
from authz.audit.kept import NAME, KeptNote
from authz.audit.merkle import root_of
from authz.audit.note import Checkpoint
from authz.audit.note_key import FileNoteSigner
from authz.audit.own import OwnRecords
from authz.audit.reading import ReadingDesk
from authz.audit.search import Criteria
from authz.audit.verify import FindingKind
from authz.domain.audit import AuditUser, EventType, Outcome
from authz.store.audit_log import StoredAuditLog
from authz.store.database import Database
from tests.fakes.records import audit_record


def tamper(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


async def grow(database: Database, count: int = 3) -> None:
    await database.record(*(audit_record() for _ in range(count)))


async def test_an_empty_log_is_not_signed(checkpointer: Checkpointer) -> None:
    assert await checkpointer.checkpoint() is None


async def test_a_grown_log_is_signed_once(
    database: Database, log: StoredAuditLog, checkpointer: Checkpointer, signer: FileNoteSigner
) -> None:
    await grow(database)
    stored = await checkpointer.checkpoint()
    assert stored is not None
    opened = Checkpoint.open(stored.note, signer.verifier)
    assert (opened.size, opened.root) == (3, root_of([leaf async for leaf in log.leaf_hashes(3)]))
    assert await checkpointer.checkpoint() is None
    await grow(database)
    assert (await log.last_checkpoint()) == stored


async def test_another_process_continues_from_the_signed_frontier(
    database: Database, log: StoredAuditLog, own: OwnRecords, signer: FileNoteSigner
) -> None:
    for size in (3, 6, 9):
        await grow(database)
        stored = await Checkpointer(store=log, own=own, signer=signer).checkpoint()
        assert stored is not None
        assert Checkpoint.open(stored.note, signer.verifier).root == root_of([x async for x in log.leaf_hashes(size)])


async def test_two_instances_sign_the_same_log_in_turn(
    database: Database, log: StoredAuditLog, own: OwnRecords, signer: FileNoteSigner
) -> None:
    one, other = (Checkpointer(store=log, own=own, signer=signer) for _ in range(2))
    for each in (one, other, other, one):
        await grow(database)
        assert await each.checkpoint() is not None
    assert [each.size for each in await log.checkpoints()] == [3, 6, 9, 12]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (
            "UPDATE audit_entry SET payload = CAST(payload || 'x' AS BLOB) WHERE entry_index = 4",
            (FindingKind.ALTERED, 4),
        ),
        ("UPDATE audit_entry SET salt = zeroblob(16) WHERE entry_index = 5", (FindingKind.ALTERED, 5)),
        ("UPDATE audit_entry SET commitment = zeroblob(32) WHERE entry_index = 3", (FindingKind.ALTERED, 3)),
        ("UPDATE audit_entry SET leaf_hash = zeroblob(32) WHERE entry_index = 3", (FindingKind.ALTERED, 3)),
        ("DELETE FROM audit_entry WHERE entry_index = 4", (FindingKind.MISSING, 4)),
        ("DELETE FROM audit_entry WHERE entry_index >= 2", (FindingKind.MISSING, 2)),
        ("DELETE FROM audit_checkpoint", (FindingKind.CHECKPOINT, 2)),
        ("UPDATE audit_checkpoint SET note = replace(note, 'log', 'lag')", (FindingKind.CHECKPOINT, 3)),
    ],
)
async def test_what_was_tampered_with_is_not_signed(
    database: Database,
    path: Path,
    log: StoredAuditLog,
    checkpointer: Checkpointer,
    *,
    statement: str,
    expected: tuple[FindingKind, int],
) -> None:
    await grow(database)
    await checkpointer.checkpoint()
    before = await log.checkpoints()
    await grow(database)
    tamper(path, statement)
    with pytest.raises(CheckpointRefused) as refused:
        await checkpointer.checkpoint()
    assert (refused.value.finding.kind, refused.value.finding.first) == expected
    assert len(await log.checkpoints()) <= len(before)


async def test_a_forged_frontier_is_not_continued(
    database: Database, path: Path, log: StoredAuditLog, own: OwnRecords, signer: FileNoteSigner
) -> None:
    await grow(database)
    await Checkpointer(store=log, own=own, signer=signer).checkpoint()
    await grow(database)
    tamper(path, "UPDATE audit_checkpoint SET frontier = zeroblob(64)")
    with pytest.raises(CheckpointRefused, match="frontier"):
        await Checkpointer(store=log, own=own, signer=signer).checkpoint()


async def test_a_checkpoint_of_a_former_key_is_continued_and_of_a_stranger_s_is_not(
    database: Database, log: StoredAuditLog, own: OwnRecords, checkpointer: Checkpointer, signer: FileNoteSigner
) -> None:
    await grow(database)
    await checkpointer.checkpoint()
    await grow(database)
    new = FileNoteSigner(signer.verifier.name, Ed25519PrivateKey.generate())
    with pytest.raises(CheckpointRefused):
        await Checkpointer(store=log, own=own, signer=new).checkpoint()
    rotated = Checkpointer(store=log, own=own, signer=new, former_keys=(signer.verifier,))
    assert await rotated.checkpoint() is not None


async def test_running_signs_at_stop_and_alerts_once_for_one_finding(
    database: Database, path: Path, log: StoredAuditLog, own: OwnRecords, signer: FileNoteSigner
) -> None:
    running = Checkpointer(store=log, own=own, signer=signer, interval=timedelta(milliseconds=5))
    await grow(database)
    task = asyncio.create_task(running.run())
    while await log.last_checkpoint() is None:  # noqa: ASYNC110  the condition is in the database
        await asyncio.sleep(0.005)
    before = running.refusal
    assert before is None
    tamper(path, "DELETE FROM audit_entry WHERE entry_index = 2")
    while running.refusal is None:  # noqa: ASYNC110  the condition is another task's
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.03)
    running.stop()
    await task
    alerts = await log.find(Criteria(event_type=EventType.LOG_ALERT, outcome=Outcome.ERROR, reason="audit_tampered"))
    assert len(alerts) == 1


async def test_the_last_records_are_signed_at_stop(
    database: Database, log: StoredAuditLog, own: OwnRecords, signer: FileNoteSigner
) -> None:
    running = Checkpointer(store=log, own=own, signer=signer, interval=timedelta(hours=1))
    task = asyncio.create_task(running.run())
    await asyncio.sleep(0)
    await grow(database)
    running.stop()
    await task
    last = await log.last_checkpoint()
    assert last is not None
    assert last.size == 3


@pytest.mark.parametrize("regrown", [0, 2, 5])
async def test_a_truncated_log_is_not_signed_after_a_restart(
    *,
    database: Database,
    path: Path,
    tmp_path: Path,
    log: StoredAuditLog,
    own: OwnRecords,
    signer: FileNoteSigner,
    regrown: int,
) -> None:
    def started() -> Checkpointer:
        return Checkpointer(store=log, own=own, signer=signer, kept=KeptNote(tmp_path))

    for _ in range(2):
        await grow(database)
        await started().checkpoint()
    tamper(
        path,
        "DELETE FROM audit_entry WHERE entry_index >= 4",
        "DELETE FROM audit_term WHERE entry_index >= 4",
        "DELETE FROM audit_checkpoint WHERE size > 3",
    )
    await grow(database, regrown)
    after = started()
    for _ in range(2):
        with pytest.raises(CheckpointRefused) as caught:
            await after.checkpoint()
        assert caught.value.finding.kind is (FindingKind.MISSING if regrown < 2 else FindingKind.REWRITTEN)
    note = (tmp_path / NAME).read_text()
    assert (tmp_path / NAME).stat().st_mode & 0o077 == 0
    desk = ReadingDesk(reader=log, own=own, keys=(signer.verifier,), user=AuditUser("os:a", "AUDITOR"), kept=note)
    assert not (await desk.verify())[0].intact


async def test_a_restart_with_the_kept_checkpoint_goes_on(
    database: Database, tmp_path: Path, log: StoredAuditLog, own: OwnRecords, signer: FileNoteSigner
) -> None:
    for size in (3, 6, 9):
        await grow(database)
        stored = await Checkpointer(store=log, own=own, signer=signer, kept=KeptNote(tmp_path)).checkpoint()
        assert stored is not None
        assert (stored.size, (tmp_path / NAME).read_text()) == (size, stored.note)


async def test_a_kept_checkpoint_of_somebody_else_stops_the_signing(
    database: Database, tmp_path: Path, log: StoredAuditLog, own: OwnRecords, signer: FileNoteSigner
) -> None:
    await grow(database)
    (tmp_path / NAME).write_text("nonsense")
    with pytest.raises(CheckpointRefused, match="not ours"):
        await Checkpointer(store=log, own=own, signer=signer, kept=KeptNote(tmp_path)).checkpoint()
