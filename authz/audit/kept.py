"""The last signed checkpoint, kept in a file beside the log's key: what the database cannot take back.

Specification: shared `spec/audit.md`, "Tamper evidence"; docs/threat-model.md, "An insider with the database". Whoever
removes the newest records together with their checkpoints leaves a log that fits by itself; it does not fit this note.
Whoever can also write here can sign, and is caught by a checkpoint that somebody else has kept only.
"""

from pathlib import Path
from typing import Final

import structlog

from authz.audit.note import MAX_NOTE_BYTES
from authz.domain.files import write_whole

NAME: Final = "checkpoint.note"

_log = structlog.get_logger(__name__)


class KeptNote:
    """One file.

    Args:
        folder: of the log's key.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME

    def read(self) -> str | None:
        """The note as it was kept, not verified; None when there is none yet.

        Raises:
            OSError: there is one that cannot be read.
        """
        try:
            with self._path.open("rb") as file:
                return file.read(MAX_NOTE_BYTES + 1).decode(errors="replace")
        except FileNotFoundError:
            return None

    def write(self, note: str) -> None:
        """Keep a newer note. A folder that cannot be written costs this evidence, not the signing."""
        try:
            write_whole(self._path, note.encode())
        except OSError as error:
            _log.warning("checkpoint_not_kept", why=error.strerror)
