"""Verifies a log offline: entry by entry, and against every signed checkpoint. Names the first record that is wrong.

Specification: shared `spec/audit.md`, "Tamper evidence". Three kinds of proof, from exact to coarse:

1. each entry by itself: payload, salt, place and time of receipt give the commitment, the commitment gives the leaf;
2. the entries together: the root over them is the one in every signed checkpoint, so that a database whose hashes were
   all made to fit again is caught, and the range between two checkpoints is named;
3. the checkpoints: signed by a known key.

Does not find that the newest entries *and* their checkpoints are gone together: give it a checkpoint that was kept
elsewhere for that. Does not judge whether what a record says is true.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from authz.audit.commitment import commit, leaf_of
from authz.audit.log import LogEntry, StoredCheckpoint
from authz.audit.merkle import CompactTree, ProofInvalid
from authz.audit.note import Checkpoint, NoteInvalid, VerifierKey
from authz.audit.record_format import decode_record
from authz.audit.search import Terms, terms_of
from authz.domain.audit import EventType
from authz.domain.errors import InvalidValue

MAX_FINDINGS: Final = 100
"""Findings in one report; the first is what matters."""
SEARCH_WINDOW: Final = 10_000
"""How many places up and down are tried to say where a moved record came from."""
ERASED_ENTRY: Final = "audit_index"
"""Identifier type of the objects of a `log.erase` record: the entries whose payload was erased by law."""

_CONTENT: Final = "payload, salt or time of receipt does not fit the commitment"


class FindingKind(StrEnum):
    """What is wrong."""

    ALTERED = "altered"
    MISSING = "missing"
    REORDERED = "reordered"
    REWRITTEN = "rewritten"
    CHECKPOINT = "checkpoint"


class Verdict(StrEnum):
    """Outcome of a verification."""

    INTACT = "intact"
    NOT_INTACT = "not_intact"
    INCOMPLETE = "incomplete"
    """Nothing is wrong in what was given, and a checkpoint that was given could not be compared with it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        kind: what.
        first: index of the first record concerned.
        last: index of the last one; equal to `first` when the record is known exactly.
        detail: one sentence, without anything from a payload.
    """

    kind: FindingKind
    first: int
    last: int
    detail: str

    def __str__(self) -> str:
        which = f"record {self.first}" if self.first == self.last else f"records {self.first} to {self.last}"
        return f"{which}: {self.kind}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Report:
    """Result of a verification.

    Attributes:
        entries: entries that were read.
        checkpoints: signed checkpoints that were compared.
        covered: entries below this index are covered by a signed checkpoint that fits.
        erased: entries whose payload was erased, with a record of it.
        findings: what is wrong, first record first.
        uncompared: sizes of checkpoints that were given and that say nothing about these entries: the entries end
            before them, or are a selection with proofs to another checkpoint. A log of which the newest records were
            removed looks the same.
    """

    entries: int
    checkpoints: int
    covered: int
    erased: int
    findings: tuple[Finding, ...]
    uncompared: tuple[int, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The outcome; what is wrong outweighs what could not be compared."""
        if self.findings:
            return Verdict.NOT_INTACT
        return Verdict.INCOMPLETE if self.uncompared else Verdict.INTACT

    @property
    def intact(self) -> bool:
        """Whether nothing is wrong and everything that was given was compared."""
        return self.verdict is Verdict.INTACT


def inspect(entry: LogEntry) -> Finding | None:
    """Check one entry by itself.

    Does not check that it belongs to the log: an entry that somebody made up consistently passes here, and fails
    against the checkpoints.
    """
    at = entry.index
    detail = _disagreement(entry)
    if detail is None:
        return None
    if detail == _CONTENT:
        for place in _around(at):
            if _commitment(entry, place) == entry.commitment:
                return Finding(FindingKind.REORDERED, at, at, f"this record was written as record {place}")
    return Finding(FindingKind.ALTERED, at, at, detail)


def _disagreement(entry: LogEntry) -> str | None:
    """Which two parts of an entry do not belong together."""
    if (entry.payload is None) != (entry.salt is None):
        return "payload and salt are erased together or not at all"
    computed = entry.commitment if entry.payload is None else _commitment(entry, entry.index)
    if computed == entry.commitment:
        return None if leaf_of(computed) == entry.leaf_hash else "the leaf hash is not that of the commitment"
    return "the commitment is not that of the payload" if leaf_of(computed) == entry.leaf_hash else _CONTENT


class LogVerifier:
    """Takes the entries of a log in order and then reports.

    Args:
        keys: keys that may have signed the checkpoints. Without a key nothing can be verified.
        checkpoints: every checkpoint that was kept, in any order.
    """

    def __init__(self, keys: Sequence[VerifierKey], checkpoints: Iterable[StoredCheckpoint]) -> None:
        self._findings: list[Finding] = []
        self._tree: CompactTree | None = CompactTree()
        self._next = 0
        self._entries = self._compared = self._covered = 0
        self._erased: set[int] = set()
        self._erasures: set[int] = set()
        self._due: list[tuple[Checkpoint, StoredCheckpoint]] = []
        for stored in checkpoints:
            try:
                opened = Checkpoint.open(stored.note, *keys)
            except NoteInvalid as error:
                self._find(
                    FindingKind.CHECKPOINT, stored.size, stored.size, f"the checkpoint there does not hold: {error}"
                )
                continue
            if opened.size != stored.size:
                self._find(FindingKind.CHECKPOINT, stored.size, stored.size, "the checkpoint there states another size")
            self._due.append((opened, stored))
        self._due.sort(key=lambda pair: pair[0].size, reverse=True)
        self._none_given = not self._due
        self._compare()

    def feed(self, entry: LogEntry, terms: Terms | None = None) -> None:
        """Check the next entry.

        Args:
            entry: as stored.
            terms: the searchable copies beside it, if there are any to compare.
        """
        if entry.index < self._next:
            self._find(FindingKind.REORDERED, entry.index, entry.index, "this record comes a second time or too late")
            return
        if entry.index > self._next:
            self._find(FindingKind.MISSING, self._next, entry.index - 1, "not there")
            self._tree = None
        self._next = entry.index + 1
        self._entries += 1
        finding = inspect(entry)
        if finding is not None:
            self._add(finding)
        elif entry.payload is None:
            self._erased.add(entry.index)
        else:
            self._read(entry.index, entry.payload, terms)
        if self._tree is not None:
            # From the content where there is content: what is stored beside it proves nothing.
            known = entry.payload is not None and entry.salt is not None
            self._tree.append(leaf_of(_commitment(entry, entry.index) if known else entry.commitment))
        self._compare()

    def finish(self) -> Report:
        """The report; nothing can be fed afterwards."""
        for index in sorted(self._erased - self._erasures):
            self._find(FindingKind.ALTERED, index, index, "the payload is gone and no record says that it was erased")
        if self._due:
            largest = self._due[0][0].size
            detail = f"signed as {largest} records, but the log ends here; no record from {self._covered} on is proven"
            self._find(FindingKind.MISSING, self._next, largest - 1, detail)
        if self._none_given and self._entries:
            self._find(FindingKind.CHECKPOINT, 0, self._next - 1, "no signed checkpoint covers any record")
        self._findings.sort(key=lambda finding: (finding.first, finding.last - finding.first))
        return Report(
            entries=self._entries,
            checkpoints=self._compared,
            covered=self._covered,
            erased=len(self._erased & self._erasures),
            findings=tuple(self._findings[:MAX_FINDINGS]),
        )

    def _compare(self) -> None:
        """Compare the tree with the checkpoints of its size, and pick it up again behind a break."""
        while self._due and self._due[-1][0].size <= self._next:
            opened, stored = self._due.pop()
            before, self._covered = self._covered, opened.size
            self._compared += 1
            fits = self._tree is not None and self._tree.size == opened.size and self._tree.root() == opened.root
            if fits:
                continue
            if not any(finding.first < opened.size and finding.last >= before for finding in self._findings):
                self._find(
                    FindingKind.REWRITTEN,
                    before,
                    max(before, opened.size - 1),
                    f"the records are not those of the signed checkpoint of {opened.size} records",
                )
            self._tree = _continued(opened, stored) if opened.size == self._next else None

    def _read(self, index: int, payload: bytes, terms: Terms | None) -> None:
        try:
            record = decode_record(payload)
            found = terms_of(record)
        except InvalidValue:
            self._find(FindingKind.ALTERED, index, index, "the payload is not an audit record")
            return
        if terms is not None and terms != found:
            self._find(FindingKind.ALTERED, index, index, "what is searched for is not what the payload says")
        if record.event_type is EventType.LOG_ERASE:
            self._erasures.update(
                int(item.identifier)
                for item in record.objects
                if item.identifier_type == ERASED_ENTRY and item.identifier.isdecimal()
            )

    def _find(self, kind: FindingKind, first: int, last: int, detail: str) -> None:
        self._add(Finding(kind, first, last, detail))

    def _add(self, finding: Finding) -> None:
        # A damaged file must not fill the memory; the first findings of a forward pass are the ones that matter.
        if len(self._findings) < 10 * MAX_FINDINGS:
            self._findings.append(finding)


def _commitment(entry: LogEntry, index: int) -> bytes:
    # A database or a file can hold any number where a time or an index should be; one that does not fit never gave
    # this commitment.
    fits = -(2**63) <= entry.received_us < 2**63 and 0 <= index < 2**64
    if entry.payload is None or entry.salt is None or not fits:
        return b""
    return commit(entry.salt, index, entry.received_us, entry.payload)


def _around(index: int) -> Iterator[int]:
    for distance in range(1, SEARCH_WINDOW):
        yield index + distance
        if index >= distance:
            yield index - distance


def _continued(opened: Checkpoint, stored: StoredCheckpoint) -> CompactTree | None:
    """The tree behind a checkpoint whose entries do not fit, if its frontier is the signed one."""
    try:
        tree = CompactTree.from_frontier(opened.size, stored.frontier)
    except ProofInvalid:
        return None
    return tree if tree.root() == opened.root else None
