"""What a ceremony leaves behind: files that are written all or not at all, and never over others."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from authz.domain.errors import SluisError
from authz.domain.files import PRIVATE, PUBLIC, write_new


class CeremonyError(SluisError):
    """The ceremony cannot be held like this. No file was written."""


class Kind(StrEnum):
    """What a file is, and so what may become of it afterwards."""

    KEY = "key"  # goes to another place: may be absent
    CERTIFICATE = "certificate"
    CRL = "crl"
    SETTINGS = "settings"  # the operator edits them
    TRANSCRIPT = "transcript"


@dataclass(frozen=True, slots=True)
class Made:
    """One file that is to be written."""

    content: bytes
    kind: Kind


def refuse_existing(folder: Path, names: Iterable[str]) -> None:
    """See, before any key is made, that nothing is in the way.

    Raises:
        CeremonyError: a file exists already.
    """
    existing = [name for name in names if (folder / name).exists()]
    if existing:
        raise CeremonyError(f"{folder}: {', '.join(existing)} exist already; a ceremony overwrites nothing")


def write_all(folder: Path, files: Mapping[str, Made]) -> Mapping[str, Path]:
    """Write all files, or none.

    Returns:
        Name -> path.

    Raises:
        CeremonyError: a file exists already, or one cannot be written.
    """
    written: list[Path] = []
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        refuse_existing(folder, files)
        for name, made in files.items():
            mode = PRIVATE if made.kind is Kind.KEY else PUBLIC
            write_new(folder / name, made.content, mode)
            written.append(folder / name)
    except OSError as error:
        for path in written:  # ours alone: each was new
            path.unlink(missing_ok=True)
        raise CeremonyError(f"{error.filename or folder}: the files cannot be written ({error.strerror})") from error
    return {name: folder / name for name in files}
