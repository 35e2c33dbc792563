"""What the log holds, and what other parts may ask of it.

The protocols here are implemented by `authz.store`; callers get them by constructor argument from the composition root.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from authz.audit.encoded import EncodedRecord
from authz.audit.search import Criteria, Terms, from_microseconds
from authz.domain.audit import AuditRecord
from authz.domain.errors import Refused
from authz.domain.reasons import Reason


class AuditUnavailable(Refused):
    """A record could not be made durable, so the act it describes is refused (architecture.md, "Failure rules")."""

    def __init__(self, detail: str = "the audit log cannot be written at this moment; try again later") -> None:
        super().__init__(Reason.AUDIT_UNAVAILABLE, detail)


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One entry as stored; nothing in it is verified yet.

    Attributes:
        index: position in the log, from zero.
        received_us: when the log received the record, microseconds since the epoch. The event's own time is in the
            payload; order is by index, never by a clock.
        payload: encoded record (`record_format`), or None once erased by law.
        salt: salt of the commitment, or None once erased.
        commitment: see `authz.audit.commitment`.
        leaf_hash: Merkle leaf over the commitment.
    """

    index: int
    received_us: int
    payload: bytes | None
    salt: bytes | None
    commitment: bytes
    leaf_hash: bytes

    @property
    def received_at(self) -> datetime:
        """When the log received the record, UTC."""
        return from_microseconds(self.received_us)


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A signed checkpoint beside the log.

    Attributes:
        size: number of entries it covers.
        note: the signed note, as text (C2SP tlog-checkpoint).
        frontier: roots of the full subtrees at that size, so that the tree continues without reading everything.
            Not signed: whoever uses it compares its root with the note's.
    """

    size: int
    note: str
    frontier: tuple[bytes, ...]


class AuditLog(Protocol):
    """Takes records."""

    async def record(self, *records: AuditRecord) -> None:
        """Append records; returns when they are durable.

        Raises:
            AuditUnavailable: they are not, and the act they describe must be refused.
        """
        ...


class LogIntake(Protocol):
    """Takes records that others may send more than once."""

    async def append_new(self, records: Sequence[EncodedRecord]) -> tuple[EncodedRecord, ...]:
        """Append those whose (source, record id) the log has not yet; returns when all of them are durable.

        Returns:
            Records that the log has already with *other* content; what was there first stays.

        Raises:
            AuditUnavailable: nothing of the batch is acknowledged.
            InvalidValue: one that the log cannot hold; nothing of the batch is written.
        """
        ...


class LogReader(Protocol):
    """Reads the log. Recording that it was read is the work of `authz.audit.reading`."""

    async def size(self) -> int:
        """Number of entries."""
        ...

    def entries(self, start: int, stop: int) -> AsyncIterator[LogEntry]:
        """Entries with start <= index < stop, in order, as they are stored (gaps included)."""
        ...

    def leaf_hashes(self, stop: int) -> AsyncIterator[bytes]:
        """Stored leaf hashes of the entries below `stop`, in order."""
        ...

    async def find(self, criteria: Criteria) -> Sequence[LogEntry]:
        """Entries that fit, newest first, at most `criteria.limit`."""
        ...

    async def terms(self, start: int, stop: int) -> dict[int, Terms]:
        """The searchable copies of what the payloads say, by index, so that a verifier can compare them."""
        ...

    async def checkpoints(self) -> Sequence[StoredCheckpoint]:
        """Every signed checkpoint, smallest first."""
        ...

    async def last_checkpoint(self) -> StoredCheckpoint | None:
        """The largest signed checkpoint."""
        ...


class CheckpointStore(LogReader, Protocol):
    """What the checkpointer needs beside reading."""

    async def add_checkpoint(self, checkpoint: StoredCheckpoint) -> None:
        """Keep a checkpoint; another instance may have kept one of the same size already, which then stays.

        Raises:
            AuditUnavailable: it could not be stored.
        """
        ...
