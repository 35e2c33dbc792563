"""The JSON lines form of the log: lossless, and verifiable without the database.

One header, then the signed checkpoints, then the entries in the order of their indexes. The payload stands there as the
exact text that was committed to, so that no re-encoding on the way can break a proof. A complete export holds every
entry below its largest checkpoint and is verified as a whole; a selection carries an inclusion proof with each entry.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec

from authz.audit.log import LogEntry, StoredCheckpoint
from authz.audit.merkle import ProofInvalid, verify_inclusion
from authz.audit.note import Checkpoint, NoteInvalid, VerifierKey
from authz.audit.verify import Finding, FindingKind, LogVerifier, Report, inspect
from authz.domain.errors import SluisError

FORMAT: Final = "sluis-audit-export/1"
MAX_LINE_BYTES: Final = 1_000_000
"""Bytes of one line; the longest possible entry stays under a quarter of it."""


class ExportInvalid(SluisError):  # noqa: N818  names what happened, like `Refused`
    """A file is not an export of this format."""


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="header"):
    """The first line. Nothing in it is signed; the checkpoints are.

    Attributes:
        format: always `FORMAT`.
        origin: name of the log.
        verifier_key: public key of the log, for the reader's convenience; verify with a key known from elsewhere.
        exported_at: when, RFC 3339.
        size: entries in the log at its largest checkpoint here.
        complete: whether all of them follow.
        criteria: what was asked for, in a selection.
    """

    format: str
    origin: str
    verifier_key: str
    exported_at: str
    size: int
    complete: bool
    criteria: dict[str, Any] = {}


class CheckpointLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="checkpoint"):
    """A signed checkpoint."""

    size: int
    note: str
    frontier: list[bytes]


class EntryLine(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="entry", omit_defaults=True
):
    """An entry.

    Attributes:
        index: position in the log.
        received_us: time of receipt, microseconds since the epoch.
        commitment: 32 bytes.
        leaf_hash: 32 bytes.
        payload: the record's exact text, or absent once erased.
        payload_bytes: instead of `payload` when what is stored is not UTF-8, which only damage can cause.
        salt: 16 bytes, or absent once erased.
        proof: inclusion proof to the checkpoint, in a selection.
    """

    index: int
    received_us: int
    commitment: bytes
    leaf_hash: bytes
    payload: str | None = None
    payload_bytes: bytes | None = None
    salt: bytes | None = None
    proof: list[bytes] | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Header | CheckpointLine | EntryLine)


def encode_line(line: Header | CheckpointLine | EntryLine) -> bytes:
    """One line, with its newline. ASCII: what a record says may reach a terminal, which obeys more than ASCII's."""
    encoded = _encoder.encode(line)
    if not encoded.isascii():
        encoded = json.dumps(msgspec.json.decode(encoded), separators=(",", ":")).encode("ascii")
    return encoded + b"\n"


def checkpoint_line(checkpoint: StoredCheckpoint) -> CheckpointLine:
    """A checkpoint as a line."""
    return CheckpointLine(checkpoint.size, checkpoint.note, list(checkpoint.frontier))


def entry_line(entry: LogEntry, proof: Sequence[bytes] | None = None) -> EntryLine:
    """An entry as a line."""
    text, damaged = None, None
    if entry.payload is not None:
        try:
            text = entry.payload.decode()
        except UnicodeDecodeError:
            damaged = entry.payload
    return EntryLine(
        index=entry.index,
        received_us=entry.received_us,
        commitment=entry.commitment,
        leaf_hash=entry.leaf_hash,
        payload=text,
        payload_bytes=damaged,
        salt=entry.salt,
        proof=None if proof is None else list(proof),
    )


def verify_export(
    lines: Iterable[bytes], keys: Sequence[VerifierKey], checkpoints: Iterable[StoredCheckpoint] = ()
) -> Report:
    """Verify an export offline.

    Args:
        lines: of the file, in order.
        keys: public keys of the log, known from elsewhere than the file.
        checkpoints: further checkpoints that were kept elsewhere. One that is newer than the file can prove nothing
            about it: the outcome is then `INCOMPLETE`, never intact, because a file that was cut off looks the same. A
            file that says it reaches as far as the checkpoint, and does not, is not intact.

    Raises:
        ExportInvalid: not an export, or damaged so that it cannot be read as one.
    """
    parsed = _parse(lines)
    header = next(parsed, None)
    if not isinstance(header, Header) or header.format != FORMAT:
        raise ExportInvalid(f"the first line is not the header of a {FORMAT} file")
    own: list[StoredCheckpoint] = []
    first: EntryLine | None = None
    for line in parsed:
        if isinstance(line, CheckpointLine):
            own.append(StoredCheckpoint(line.size, line.note, tuple(line.frontier)))
        elif isinstance(line, EntryLine):
            first = line
            break
        else:
            raise ExportInvalid("the file has two headers")
    entries = _entries(first, parsed)
    verify = _verify_complete if header.complete else _verify_selection
    return verify(entries, keys, own, list(checkpoints), header.size)


def _parse(lines: Iterable[bytes]) -> Iterator[Header | CheckpointLine | EntryLine]:
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_LINE_BYTES:
            raise ExportInvalid(f"line {number} is longer than {MAX_LINE_BYTES} bytes")
        try:
            yield _decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise ExportInvalid(f"line {number} is not a line of a {FORMAT} file") from None


def _entries(
    first: EntryLine | None, rest: Iterator[Header | CheckpointLine | EntryLine]
) -> Iterator[tuple[LogEntry, list[bytes] | None]]:
    line: Header | CheckpointLine | EntryLine | None = first
    while line is not None:
        if not isinstance(line, EntryLine):
            raise ExportInvalid("only entries follow the first entry")
        payload = line.payload_bytes if line.payload is None else line.payload.encode()
        yield LogEntry(line.index, line.received_us, payload, line.salt, line.commitment, line.leaf_hash), line.proof
        line = next(rest, None)


def _verify_complete(
    entries: Iterator[tuple[LogEntry, list[bytes] | None]],
    keys: Sequence[VerifierKey],
    own: list[StoredCheckpoint],
    elsewhere: list[StoredCheckpoint],
    claimed: int,
) -> Report:
    newer = [stored for stored in elsewhere if stored.size > claimed and _opened(stored, keys) is not None]
    verifier = LogVerifier(keys, [*own, *(stored for stored in elsewhere if stored not in newer)])
    end = 0
    for entry, _ in entries:
        verifier.feed(entry)
        end = entry.index + 1
    report = verifier.finish()
    if not report.findings and not end == claimed == report.covered:
        # The header is not signed, so it is held against what is: a file that was cut off anywhere but at one of its
        # own checkpoints, or whose header was not changed with it, ends here.
        detail = (
            f"the file says that it holds {claimed} records, has {end}, and {report.covered} are covered by a signature"
        )
        kind = FindingKind.MISSING if end < claimed else FindingKind.CHECKPOINT
        first = min(end, claimed, report.covered)
        return replace(report, findings=(Finding(kind, first, max(first, end - 1, claimed - 1), detail),))
    if not end:
        nothing = Finding(FindingKind.MISSING, 0, 0, "the file holds no record, so nothing was verified")
        return replace(report, findings=(*report.findings, nothing))
    return replace(report, uncompared=_sizes(newer))


def _verify_selection(
    entries: Iterator[tuple[LogEntry, list[bytes] | None]],
    keys: Sequence[VerifierKey],
    own: list[StoredCheckpoint],
    elsewhere: list[StoredCheckpoint],
    _claimed: int,
) -> Report:
    opened: list[Checkpoint] = []
    findings: list[Finding] = []
    for stored in (*own, *elsewhere):
        try:
            checkpoint = Checkpoint.open(stored.note, *keys)
        except NoteInvalid as error:
            findings.append(
                Finding(
                    FindingKind.CHECKPOINT, stored.size, stored.size, f"the checkpoint there does not hold: {error}"
                )
            )
        else:
            opened.append(checkpoint)
    count = 0
    # The proofs lead to the checkpoint that came with them. Any other is of another tree: of the same size it must be
    # equal, and of another size nothing here connects the two.
    proven = max(
        (found for stored in own if (found := _opened(stored, keys)) is not None),
        key=lambda each: each.size,
        default=None,
    )
    for entry, proof in entries:
        count += 1
        finding = inspect(entry)
        if finding is None and proven is not None:
            finding = _unproven(entry, proof, proven)
        if finding is not None:
            findings.append(finding)
    if proven is None:
        findings.append(Finding(FindingKind.CHECKPOINT, 0, 0, "no signed checkpoint covers any record"))
    else:
        findings += [
            Finding(FindingKind.REWRITTEN, 0, each.size - 1, f"two signed checkpoints of {each.size} records differ")
            for each in opened
            if each.size == proven.size and each.root != proven.root
        ]
    findings.sort(key=lambda finding: finding.first)
    apart = [stored for stored in elsewhere if _opened(stored, keys) is not None]
    others = [] if proven is None else [stored for stored in apart if stored.size != proven.size]
    return Report(
        entries=count,
        checkpoints=len(opened) - len(others),
        covered=0 if proven is None else proven.size,
        erased=0,
        findings=tuple(findings),
        uncompared=_sizes(others),
    )


def _opened(stored: StoredCheckpoint, keys: Sequence[VerifierKey]) -> Checkpoint | None:
    try:
        return Checkpoint.open(stored.note, *keys)
    except NoteInvalid:
        return None


def _sizes(checkpoints: Iterable[StoredCheckpoint]) -> tuple[int, ...]:
    return tuple(sorted({stored.size for stored in checkpoints}))


def _unproven(entry: LogEntry, proof: list[bytes] | None, checkpoint: Checkpoint) -> Finding | None:
    try:
        verify_inclusion(
            leaf=entry.leaf_hash,
            index=entry.index,
            size=checkpoint.size,
            proof=() if proof is None else proof,
            root=checkpoint.root,
        )
    except ProofInvalid as error:
        return Finding(FindingKind.REWRITTEN, entry.index, entry.index, str(error))
    return None
