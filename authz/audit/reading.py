"""The reading desk: the only way to read the log, because every act of reading is itself recorded.

Specification: shared `spec/audit.md`, "What is recorded": one record per act of reading, never one for its own write.
The record is durable before anything is handed over; if it cannot be written, nothing is read. Who may read is decided
by whoever opens the desk.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from authz.audit.export import (
    FORMAT,
    Header,
    checkpoint_line,
    encode_line,
    entry_line,
)
from authz.audit.log import AuditUnavailable, LogEntry, LogReader, StoredCheckpoint
from authz.audit.merkle import ProofCollector
from authz.audit.note import Checkpoint, NoteInvalid, VerifierKey
from authz.audit.own import OwnRecords
from authz.audit.search import Criteria, Terms
from authz.audit.verify import LogVerifier, Report
from authz.domain.audit import Action, AuditUser, EventType
from authz.domain.errors import Refused
from authz.domain.reasons import Reason

_WINDOW: Final = 1_000
"""Entries whose searchable copies are read at a time."""


class ReadingDesk:
    """Reads for one user.

    Args:
        reader: the log.
        own: takes the record of the reading.
        keys: public keys of the log; the first is the current one.
        user: who reads.
        kept: the last signed checkpoint as it stands outside the database, if any.
    """

    def __init__(
        self,
        *,
        reader: LogReader,
        own: OwnRecords,
        keys: Sequence[VerifierKey],
        user: AuditUser,
        kept: str | None = None,
    ) -> None:
        self._reader = reader
        self._own = own
        self._keys = tuple(keys)
        self._user = user
        self._kept = () if kept is None else (kept,)

    async def list(self, criteria: Criteria) -> Sequence[LogEntry]:
        """Entries that fit, newest first.

        Raises:
            AuditUnavailable: the reading cannot be recorded.
        """
        found = await self._reader.find(criteria)
        await self._recorded(EventType.LOG_READ, {"search": criteria.described(), "results": len(found)})
        return found

    async def show(self, index: int) -> LogEntry:
        """One entry.

        Raises:
            Refused: there is no such entry. The attempt is recorded.
            AuditUnavailable: the reading cannot be recorded.
        """
        found = [entry async for entry in self._reader.entries(index, index + 1)]
        await self._recorded(EventType.LOG_READ, {"index": index, "results": len(found)})
        if not found:
            raise Refused(Reason.NOT_FOUND, "the log has no record with this index")
        return found[0]

    async def export(self, criteria: Criteria | None = None) -> AsyncIterator[bytes]:
        """The lines of an export (`authz.audit.export`): everything that is signed, or a selection of it.

        Raises:
            Refused: no checkpoint was signed yet, so nothing could be proven.
            AuditUnavailable: the export cannot be recorded.
        """
        checkpoints = await self._reader.checkpoints()
        if not checkpoints:
            raise Refused(Reason.NOT_FOUND, "the log has no signed checkpoint yet; try again in a second")
        size = checkpoints[-1].size
        described = {} if criteria is None else criteria.described()
        await self._recorded(EventType.LOG_EXPORT, {"search": described, "size": size, "format": FORMAT})
        header = Header(
            format=FORMAT,
            origin=self._keys[0].name,
            verifier_key=str(self._keys[0]),
            exported_at=self._own.clock.now().isoformat(),
            size=size,
            complete=criteria is None,
            criteria=dict(described),
        )
        yield encode_line(header)
        if criteria is None:
            for checkpoint in checkpoints:
                yield encode_line(checkpoint_line(checkpoint))
            async for entry in self._reader.entries(0, size):
                yield encode_line(entry_line(entry))
            return
        yield encode_line(checkpoint_line(checkpoints[-1]))
        async for line in self._selection(criteria, size):
            yield line

    async def checkpoint(self) -> str:
        """The newest signed checkpoint, to be kept elsewhere.

        Raises:
            Refused: none was signed yet, or the stored one is not signed by this log or older than what was kept
                outside the database.
            AuditUnavailable: the reading cannot be recorded.
        """
        stored = await self._reader.last_checkpoint()
        if stored is None:
            raise Refused(Reason.NOT_FOUND, "the log has no signed checkpoint yet; try again in a second")
        await self._recorded(EventType.LOG_READ, {"checkpoint": stored.size})
        try:
            size = Checkpoint.open(stored.note, *self._keys).size
        except NoteInvalid as error:
            raise Refused(Reason.AUDIT_TAMPERED, "the stored checkpoint is not one of this log: verify it") from error
        if any(self._external(note).size > size for note in self._kept):
            raise Refused(Reason.AUDIT_TAMPERED, "a newer checkpoint was signed than the log has: verify it")
        return stored.note

    async def verify(self, elsewhere: Sequence[str] = ()) -> tuple[Report, bool]:
        """Verify the whole log against every signed checkpoint.

        A verification shows nothing of what the records say, and it is needed most when the database is damaged: its
        result is returned also when it cannot be recorded.

        Args:
            elsewhere: signed checkpoints that were kept outside this database.

        Returns:
            The report, and whether the verification was recorded.

        Raises:
            AuditUnavailable: the log cannot be read at all.
        """
        kept = [*await self._reader.checkpoints(), *(self._external(note) for note in (*self._kept, *elsewhere))]
        size = await self._reader.size()
        verifier = LogVerifier(self._keys, kept)
        terms: Mapping[int, Terms] = {}
        window = 0
        async for entry in self._reader.entries(0, size):
            if entry.index >= window:
                window = entry.index + _WINDOW
                terms = await self._reader.terms(entry.index, window)
            verifier.feed(entry, terms.get(entry.index))
        report = verifier.finish()
        details: dict[str, Any] = {"entries": report.entries, "covered": report.covered}
        if report.findings:
            details["first"] = str(report.findings[0])
        try:
            await self._recorded(
                EventType.LOG_VERIFY, details, None if report.intact else Reason.AUDIT_TAMPERED, Action.EXECUTE
            )
        except AuditUnavailable:
            return report, False
        return report, True

    async def _selection(self, criteria: Criteria, size: int) -> AsyncIterator[bytes]:
        found = [entry for entry in await self._reader.find(criteria) if entry.index < size]
        collector = ProofCollector(entry.index for entry in found)
        async for leaf in self._reader.leaf_hashes(size):
            collector.append(leaf)
        proofs = collector.finish()[1]
        for entry in reversed(found):
            yield encode_line(entry_line(entry, proofs.get(entry.index, ())))

    def _external(self, note: str) -> StoredCheckpoint:
        try:
            size = Checkpoint.open(note, *self._keys).size
        except NoteInvalid as error:
            raise Refused(Reason.PARAMETER_MALFORMED, "the given checkpoint is not one of this log") from error
        return StoredCheckpoint(size, note, ())

    async def _recorded(
        self,
        event_type: EventType,
        details: Mapping[str, Any],
        reason: Reason | None = None,
        action: Action = Action.READ,
    ) -> None:
        item = ("audit_log", self._keys[0].name)
        await self._own.write(event_type, action, item, user=self._user, reason=reason, details=details)
