"""What a ceremony leaves behind: files that are written all or not at all, and never over others."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from authz.domain.errors import SluisError

_SECRET: Final = 0o600
_PUBLIC: Final = 0o644


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
            mode = _SECRET if made.kind is Kind.KEY else _PUBLIC
            descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            written.append(folder / name)
            with os.fdopen(descriptor, "wb") as target:
                target.write(made.content)
                target.flush()
                os.fsync(target.fileno())
    except OSError as error:
        for path in written:  # ours alone: each was made with O_EXCL
            path.unlink(missing_ok=True)
        raise CeremonyError(f"{folder}: the files cannot be written ({error.strerror})") from error
    return {name: folder / name for name in files}
