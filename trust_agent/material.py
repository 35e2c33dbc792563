"""One file of trust material on disk, with when it was last confirmed; a crash leaves the old content or the new.

Specification: shared `spec/enforcement.md`, "Offline". What is read back is verified again by its owner as if it had
come over the network: the disk is not trusted more than the wire.
"""

import hashlib
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from authz.domain.errors import SluisError
from authz.domain.files import write_whole

MAX_BYTES: Final = 80 * 1024 * 1024
"""Largest material that is read back; a CRL of 100,000 entries has about 4 MiB."""


class MaterialRefused(SluisError):  # noqa: N818
    """Fetched or kept material did not pass its checks; what is in use stays in use."""


class _Note(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sha256: str
    confirmed_at: datetime
    etag: str = ""


@dataclass(frozen=True, slots=True)
class Kept:
    """What was kept.

    Attributes:
        content: the bytes, unverified.
        confirmed_at: when the source last said that this is current.
        etag: of the answer that brought it.
    """

    content: bytes
    confirmed_at: datetime
    etag: str


class MaterialFile:
    """Keeps one material.

    Args:
        path: of its content; the note about it stands beside, as `<name>.note`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._note = path.with_name(path.name + ".note")

    def write(self, kept: Kept) -> None:
        """Keep content and note.

        Raises:
            OSError: the disk does not take it; what was there stays.
        """
        write_durably(self._path, kept.content)
        self.confirm(kept)

    def confirm(self, kept: Kept) -> None:
        """Keep the note only: the same content was confirmed again.

        Raises:
            OSError: as `write`.
        """
        note = _Note(hashlib.sha256(kept.content).hexdigest(), kept.confirmed_at, kept.etag)
        write_durably(self._note, msgspec.json.encode(note))

    def read(self) -> Kept | None:
        """What was kept, or None when there is nothing, or when content and note do not belong together."""
        try:
            if self._path.stat().st_size > MAX_BYTES:
                return None
            content = self._path.read_bytes()
            note = msgspec.json.decode(self._note.read_bytes(), type=_Note)
        except (OSError, msgspec.DecodeError):
            return None
        if note.sha256 != hashlib.sha256(content).hexdigest() or note.confirmed_at.tzinfo is None:
            return None
        return Kept(content, note.confirmed_at, note.etag)


def write_durably(path: Path, content: bytes) -> None:
    """Write a file so that after a crash it holds the old content or the new, never a part; its owner reads it only.

    Raises:
        OSError: the disk does not take it.
    """
    make_private_folder(path.parent)
    write_whole(path, content)


def make_private_folder(folder: Path) -> None:
    """Make a folder, and what is missing above it, for the owner only; what is there already stays as it is.

    Raises:
        OSError: it cannot be made.
    """
    # `mkdir(parents=True)` gives the mode to the last folder only.
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)


def open_private(path: Path) -> BinaryIO:
    """Open a file for writing, new and empty, that only its owner may read, whatever the umask is.

    Raises:
        OSError: it cannot be made.
    """
    # One that was left behind by a crash may have another mode: that of a file is given once.
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
