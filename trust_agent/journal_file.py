"""The form of the journal on disk: segments of records, each with length and checksum, on preallocated blocks.

A segment is named after the index of its first record. A record is `length (u32) | checksum (8 bytes) | payload`,
little endian; the checksum is the first eight bytes of SHA-256 over index, length and payload, so that neither a torn
write nor an old record in a reused block passes for a record at this place. Zeros after the last record are unused
space: blocks are reserved ahead, so that a full disk shows when a segment is made and not in the middle of a record.
"""

import hashlib
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from authz.domain.files import sync_folder
from trust_agent.material import open_private

MAGIC: Final = b"SLUISJ1\n"
MAX_RECORD: Final = 64 * 1024
"""Bytes of one payload; a decision has about 1.5 kB."""
_HEAD: Final = struct.Struct("<I8s")
_INDEX: Final = struct.Struct("<QI")
OVERHEAD: Final = _HEAD.size
_BLOCK: Final = 256 * 1024


def frame(index: int, payload: bytes) -> bytes:
    """One record as it stands on disk."""
    return _HEAD.pack(len(payload), _checksum(index, payload)) + payload


def _checksum(index: int, payload: bytes) -> bytes:
    return hashlib.sha256(_INDEX.pack(index, len(payload)) + payload).digest()[:8]


@dataclass(frozen=True, slots=True)
class Record:
    """One record, and the offset in its segment where the next one starts."""

    index: int
    payload: bytes
    end: int


@dataclass(frozen=True, slots=True)
class Segment:
    """One file of the journal."""

    path: Path
    first: int

    @classmethod
    def name(cls, folder: Path, first: int) -> "Segment":
        """The segment whose first record is `first`."""
        return cls(folder / f"{first:020d}.journal", first)

    @classmethod
    def all(cls, folder: Path) -> list["Segment"]:
        """Every segment in a folder, in order."""
        return [cls(path, int(path.stem)) for path in sorted(folder.glob("*.journal")) if path.stem.isdigit()]

    def create(self, size: int) -> int:
        """Make the file with `size` bytes reserved, now.

        Returns:
            Its descriptor, open for reading and writing.

        Raises:
            OSError: no room, or the folder is not writable.
        """
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, size)
            os.pwrite(descriptor, MAGIC, 0)
            os.fsync(descriptor)
            sync_folder(self.path.parent)
        except OSError:
            os.close(descriptor)
            self.path.unlink(missing_ok=True)
            raise
        return descriptor

    def adopt(self, spare: Path) -> int:
        """Make the file out of one that `prepare` made.

        Raises:
            OSError: the folder is not writable.
        """
        spare.rename(self.path)
        sync_folder(self.path.parent)
        return os.open(self.path, os.O_RDWR)

    def records(self, start: int = len(MAGIC), index: int | None = None) -> Iterator[Record]:
        """The records from an offset on, up to the first place where there is none.

        Args:
            start: offset of a record.
            index: its index; the first of the segment by default.
        """
        number = self.first if index is None else index
        position = start
        with self.path.open("rb", buffering=0) as file:
            if file.read(len(MAGIC)) != MAGIC:
                return
            file.seek(start)
            # Much at once: each call into the system may hand the interpreter to another thread, and wait for it.
            text, at, more = b"", 0, True
            while True:
                while more and len(text) - at < OVERHEAD + MAX_RECORD:
                    chunk = file.read(_BLOCK)
                    text, at, more = text[at:] + chunk, 0, bool(chunk)
                if len(text) - at < OVERHEAD:
                    return
                length, checksum = _HEAD.unpack_from(text, at)
                if not 0 < length <= MAX_RECORD:
                    return
                payload = text[at + OVERHEAD : at + OVERHEAD + length]
                if len(payload) != length or _checksum(number, payload) != checksum:
                    return
                at += OVERHEAD + length
                position += OVERHEAD + length
                yield Record(number, payload, position)
                number += 1

    def tail(self, end: int) -> bytes:
        """What follows after `end`, without trailing zeros: empty unless a write was torn."""
        with self.path.open("rb") as file:
            file.seek(end)
            return file.read().rstrip(b"\0")


def prepare(path: Path, size: int) -> Path:
    """Make a file that a later segment adopts, its blocks written with zeros: a sync on those takes half the time.

    Args:
        path: of the file.
        size: bytes.

    Returns:
        The path.

    Raises:
        OSError: no room, or the folder is not writable; nothing is left behind.
    """
    try:
        with open_private(path) as file:
            file.write(MAGIC)
            for _ in range(size // _BLOCK):
                file.write(bytes(_BLOCK))
            file.truncate(size)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return path
