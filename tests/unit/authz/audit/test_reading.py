"""Every act of reading is one record, written before anything is handed over."""

from pathlib import Path

import pytest

from authz.audit.checkpoint import Checkpointer
from authz.audit.log import AuditUnavailable
from authz.audit.note import Checkpoint, VerifierKey, sign_note
from authz.audit.note_key import FileNoteSigner
from authz.audit.own import OwnRecords
from authz.audit.reading import ReadingDesk
from authz.audit.record_format import decode_record
from authz.audit.search import Criteria
from authz.domain.audit import AuditRecord, AuditUser, EventType
from authz.domain.errors import Refused
from authz.store.audit_log import StoredAuditLog
from authz.store.database import Database
from tests.fakes.records import audit_record

AUDITOR = AuditUser("os:auditor", "AUDITOR")


class FullLog:
    """A log that cannot be written."""

    async def record(self, *_records: AuditRecord) -> None:
        raise AuditUnavailable


@pytest.fixture
async def desk(
    database: Database, log: StoredAuditLog, own: OwnRecords, checkpointer: Checkpointer, signer: FileNoteSigner
) -> ReadingDesk:
    await database.record(*(audit_record() for _ in range(3)))
    await checkpointer.checkpoint()
    return ReadingDesk(reader=log, own=own, keys=(signer.verifier,), user=AUDITOR)


async def added(log: StoredAuditLog) -> list[AuditRecord]:
    return [decode_record(entry.payload) async for entry in log.entries(3, 1000) if entry.payload is not None]


async def test_a_listing_is_one_record_with_its_search(desk: ReadingDesk, log: StoredAuditLog) -> None:
    found = await desk.list(Criteria(participant="uzovi:5000", limit=2))
    assert [entry.index for entry in found] == [2, 1]
    (record,) = await added(log)
    assert (record.event_type, record.users) == (EventType.LOG_READ, (AUDITOR,))
    assert record.objects[0].details == {"search": {"participant": "uzovi:5000", "limit": 2}, "results": 2}


async def test_showing_is_one_record_also_when_there_is_nothing_to_show(desk: ReadingDesk, log: StoredAuditLog) -> None:
    assert (await desk.show(1)).index == 1
    with pytest.raises(Refused, match="not_found"):
        await desk.show(99)
    assert [record.event_type for record in await added(log)] == [EventType.LOG_READ] * 2


async def test_an_export_and_a_verification_are_one_record_each(desk: ReadingDesk, log: StoredAuditLog) -> None:
    assert len([line async for line in desk.export()]) == 5
    assert (await desk.verify())[1]
    assert [record.event_type for record in await added(log)] == [EventType.LOG_EXPORT, EventType.LOG_VERIFY]


async def test_nothing_is_read_when_the_reading_can_not_be_recorded(
    desk: ReadingDesk, log: StoredAuditLog, own: OwnRecords, signer: FileNoteSigner
) -> None:
    closed = ReadingDesk(
        reader=log, own=OwnRecords(FullLog(), own.clock, own.source), keys=(signer.verifier,), user=AUDITOR
    )
    with pytest.raises(AuditUnavailable):
        await closed.list(Criteria())
    with pytest.raises(AuditUnavailable):
        await closed.show(1)
    with pytest.raises(AuditUnavailable):
        await anext(closed.export())
    report, recorded = await closed.verify()
    assert (report.intact, recorded) == (True, False)


async def test_an_unsigned_log_is_not_exported(
    tmp_path: Path, database: Database, log: StoredAuditLog, own: OwnRecords, signer: FileNoteSigner
) -> None:
    await database.record(audit_record())
    desk = ReadingDesk(reader=log, own=own, keys=(signer.verifier,), user=AUDITOR)
    with pytest.raises(Refused, match="not_found"):
        await anext(desk.export())


async def test_a_checkpoint_of_another_log_is_refused(desk: ReadingDesk) -> None:
    with pytest.raises(Refused, match="parameter_malformed"):
        await desk.verify(["other\n1\nAA==\n\n— other AAAAAAAAAAAA\n"])


async def test_the_newest_checkpoint_is_handed_out_with_a_record(
    desk: ReadingDesk, log: StoredAuditLog, signer: FileNoteSigner
) -> None:
    assert Checkpoint.open(await desk.checkpoint(), signer.verifier).size == 3
    (record,) = await added(log)
    assert (record.event_type, record.objects[0].details) == (EventType.LOG_READ, {"checkpoint": 3})


async def test_a_checkpoint_is_refused_when_a_newer_one_was_kept(
    log: StoredAuditLog, own: OwnRecords, signer: FileNoteSigner, desk: ReadingDesk
) -> None:
    """An auditor who keeps what is left after records were removed would vouch for the removal."""
    newer = sign_note(Checkpoint(signer.verifier.name, 4, bytes(32)).text, signer)
    robbed = ReadingDesk(reader=log, own=own, keys=(signer.verifier,), user=AUDITOR, kept=newer)
    with pytest.raises(Refused, match="audit_tampered"):
        await robbed.checkpoint()


async def test_a_checkpoint_of_another_key_is_not_handed_out(
    log: StoredAuditLog, own: OwnRecords, desk: ReadingDesk
) -> None:
    stranger = VerifierKey("log.example.nl/audit", bytes(32))
    with pytest.raises(Refused, match="audit_tampered"):
        await ReadingDesk(reader=log, own=own, keys=(stranger,), user=AUDITOR).checkpoint()
