"""Signs what the log is, each second that it grew and at stop.

Specification: C2SP tlog-checkpoint; shared `spec/audit.md`: "Recompute from stored entries before signing a checkpoint:
a bit flip must not be signed." Every entry since the last checkpoint is read back and recomputed; entries before it are
`verify`'s work. Several instances may sign the same log with the same key: they state the same root.
"""

import asyncio
from datetime import timedelta
from typing import Final

import structlog

from authz.audit.kept import KeptNote
from authz.audit.log import AuditUnavailable, CheckpointStore, StoredCheckpoint
from authz.audit.merkle import CompactTree, ProofInvalid
from authz.audit.note import Checkpoint, NoteInvalid, NoteSigner, VerifierKey, sign_note
from authz.audit.own import OwnRecords
from authz.audit.verify import Finding, FindingKind, inspect
from authz.domain.audit import Action, EventType
from authz.domain.errors import SluisError
from authz.domain.reasons import Reason

DEFAULT_INTERVAL: Final = timedelta(seconds=1)

_log = structlog.get_logger(__name__)


class CheckpointRefused(SluisError):  # noqa: N818  names what happened, like `Refused`
    """The stored log is not what was written, so it is not signed.

    Args:
        finding: the first record that is wrong.
    """

    def __init__(self, finding: Finding) -> None:
        super().__init__(str(finding))
        self.finding = finding


class Checkpointer:
    """Signs checkpoints of one log.

    Args:
        store: reads entries back and keeps checkpoints.
        own: takes the alert when signing is refused.
        signer: signs; its name is the log's origin.
        former_keys: keys that signed earlier checkpoints of this log.
        kept: where the last note is kept outside the database.
        interval: time between two looks at the log.
    """

    def __init__(
        self,
        *,
        store: CheckpointStore,
        own: OwnRecords,
        signer: NoteSigner,
        former_keys: tuple[VerifierKey, ...] = (),
        kept: KeptNote | None = None,
        interval: timedelta = DEFAULT_INTERVAL,
    ) -> None:
        self._store = store
        self._own = own
        self._signer = signer
        self._keys = (signer.verifier, *former_keys)
        self._kept = kept
        self._unread = True
        self._before: Checkpoint | None = None
        self._interval = interval.total_seconds()
        self._tree = CompactTree()
        self._stopping = asyncio.Event()
        self._alerted: Finding | None = None

    @property
    def refusal(self) -> Finding | None:
        """Why the log is not being signed, or None when it is. For `/health` and metrics."""
        return self._alerted

    async def run(self) -> None:
        """Sign until `stop` is called, and then once more."""
        while not self._stopping.is_set():
            await self._round()
            try:
                await asyncio.wait_for(self._stopping.wait(), self._interval)
            except TimeoutError:
                continue
        await self._round()

    def stop(self) -> None:
        """Have `run` sign a last time and return."""
        self._stopping.set()

    async def checkpoint(self) -> StoredCheckpoint | None:
        """Sign the log as it is now, if it grew.

        Raises:
            CheckpointRefused: a stored entry or checkpoint is not what was written.
            AuditUnavailable: the database cannot be read or written.
        """
        # 1. Where the last checkpoint stands, by us or by another instance.
        last = await self._store.last_checkpoint()
        signed = self._opened(last)
        kept = self._remembered()
        if signed is not None and last is not None and self._tree.size == 0:
            self._tree = self._resumed(signed, last)
        if (0 if signed is None else signed.size) < self._tree.size:
            raise CheckpointRefused(
                Finding(FindingKind.CHECKPOINT, self._tree.size - 1, self._tree.size - 1, "its checkpoint is gone")
            )
        size = await self._store.size()
        known = max(self._tree.size, *(0 if each is None else each.size for each in (signed, kept)))
        if size < known:
            raise CheckpointRefused(Finding(FindingKind.MISSING, size, known - 1, "records that were signed are gone"))
        if size == self._tree.size:
            return None
        # 2. Every entry since then, recomputed from what is stored.
        tree = await self._grown(size, signed, kept)
        # 3. Only now the signature.
        text = Checkpoint(self._signer.verifier.name, tree.size, tree.root()).text
        stored = StoredCheckpoint(tree.size, sign_note(text, self._signer), tree.frontier)
        await self._store.add_checkpoint(stored)
        self._tree = tree
        if self._kept is not None:
            self._kept.write(stored.note)
        return stored

    async def _round(self) -> None:
        try:
            await self.checkpoint()
        except CheckpointRefused as refused:
            await self._alert(refused.finding)
        except AuditUnavailable as error:
            _log.error("checkpoint_unavailable", reason=error.reason)
        except Exception as error:  # noqa: BLE001  a full disk under the kept note, say: the next round tries again
            _log.error("checkpoint_failed", error_kind=type(error).__name__)
        else:
            self._alerted = None

    def _opened(self, stored: StoredCheckpoint | None) -> Checkpoint | None:
        if stored is None:
            return None
        try:
            signed = Checkpoint.open(stored.note, *self._keys)
        except NoteInvalid:
            signed = None
        if signed is None or signed.size != stored.size:
            raise CheckpointRefused(
                Finding(FindingKind.CHECKPOINT, stored.size, stored.size, "the stored checkpoint is not ours")
            )
        return signed

    def _remembered(self) -> Checkpoint | None:
        """What was signed before this process, from outside the database; None once the tree is past it."""
        if self._kept is not None and self._unread:
            try:
                note = self._kept.read()
                self._before = None if note is None else Checkpoint.open(note, *self._keys)
            except (NoteInvalid, OSError):
                finding = Finding(FindingKind.CHECKPOINT, 0, 0, "the checkpoint beside the key is not ours")
                raise CheckpointRefused(finding) from None
            self._unread = False
        return self._before if self._before is not None and self._before.size > self._tree.size else None

    def _resumed(self, signed: Checkpoint, stored: StoredCheckpoint) -> CompactTree:
        try:
            tree = CompactTree.from_frontier(stored.size, stored.frontier)
        except ProofInvalid:
            tree = CompactTree()
        if tree.size != signed.size or tree.root() != signed.root:
            raise CheckpointRefused(
                Finding(FindingKind.CHECKPOINT, stored.size, stored.size, "its frontier does not give the signed root")
            )
        return tree

    async def _grown(self, size: int, signed: Checkpoint | None, kept: Checkpoint | None) -> CompactTree:
        tree = CompactTree.from_frontier(self._tree.size, self._tree.frontier)
        async for entry in self._store.entries(tree.size, size):
            if entry.index != tree.size:
                raise CheckpointRefused(Finding(FindingKind.MISSING, tree.size, entry.index - 1, "not there"))
            finding = inspect(entry)
            if finding is not None:
                raise CheckpointRefused(finding)
            tree.append(entry.leaf_hash)
            if signed is not None and tree.size == signed.size and tree.root() != signed.root:
                raise CheckpointRefused(
                    Finding(FindingKind.REWRITTEN, self._tree.size, size - 1, "another instance signed other records")
                )
            if kept is not None and tree.size == kept.size and tree.root() != kept.root:
                raise CheckpointRefused(
                    Finding(FindingKind.REWRITTEN, self._tree.size, kept.size - 1, "other records were signed before")
                )
        if tree.size != size:
            raise CheckpointRefused(Finding(FindingKind.MISSING, tree.size, size - 1, "not there"))
        return tree

    async def _alert(self, finding: Finding) -> None:
        _log.critical("audit_log_tampered", finding=str(finding))
        if self._alerted == finding:
            return  # the log line repeats each round; one record for each finding is enough
        try:
            await self._own.write(
                EventType.LOG_ALERT,
                Action.EXECUTE,
                ("audit_index", str(finding.first)),
                reason=Reason.AUDIT_TAMPERED,
                details={"finding": str(finding)},
            )
        except AuditUnavailable as error:
            _log.error("audit_alert_unavailable", reason=error.reason)
            return
        self._alerted = finding
