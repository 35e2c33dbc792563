"""What a running lab remembers on disk: where it lives, its ports and its processes, so that `lab down` can end it.

The state is written before each process is relied upon, so that a `lab up` that is killed half-way can still be
cleaned up by `lab down`.
"""

import contextlib
import hashlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from deploy.lab.processes import ProcessId

STATE_FILE: Final = "state.json"
_VERSION: Final = 1


class LabBusy(RuntimeError):  # noqa: N818  what happened
    """Another `lab` command is at work in this folder."""


@dataclass(slots=True)
class LabState:
    """The lab in one folder.

    Attributes:
        folder: below which everything of this lab lives, except its sockets.
        sockets: a short folder for Unix sockets, whose paths may not be longer than about 100 characters.
        ports: every listener's port by its name.
        processes: what was started, in order, by component.
        settings: what was asked on the command line and matters later (token lifetime in seconds, ...).
    """

    folder: Path
    sockets: Path
    ports: dict[str, int]
    processes: dict[str, ProcessId] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    def save(self) -> None:
        """Write the state; a reader sees either the old one or the new one."""
        document = {
            "version": _VERSION,
            "sockets": str(self.sockets),
            "ports": self.ports,
            "processes": {name: [process.pid, process.started] for name, process in self.processes.items()},
            "settings": self.settings,
        }
        target = self.folder / STATE_FILE
        draft = target.with_suffix(".new")
        draft.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        draft.replace(target)

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """The state of the lab in `folder`; None when there is none."""
        try:
            document = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return cls(
            folder=folder,
            sockets=Path(document["sockets"]),
            ports=document["ports"],
            processes={name: ProcessId(*pair) for name, pair in document["processes"].items()},
            settings=document["settings"],
        )

    @classmethod
    def create(cls, folder: Path, ports: dict[str, int], settings: dict[str, Any]) -> Self:
        """Begin a lab: its folder, a private folder for sockets, and the first version of its state."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        sockets = Path(tempfile.mkdtemp(prefix="sluis-"))
        state = cls(folder, sockets, ports, settings=settings)
        state.save()
        return state

    def remove(self) -> None:
        """Take away the folder, the sockets, and a parent named `.lab` that is empty now."""
        shutil.rmtree(self.sockets, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.folder.parent.name == ".lab":
            with contextlib.suppress(OSError):  # Another lab lives there, or it is gone already.
                self.folder.parent.rmdir()


@contextmanager
def sole_command(folder: Path) -> Iterator[None]:
    """Hold the folder for one `lab up` or `lab down` at a time.

    The lock is an abstract Unix socket: it is not a file, so it neither stays behind nor has to be removed, and the
    system lets go of it when the command ends in whatever way.

    Raises:
        LabBusy: another command holds it.
    """
    name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:32]
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as lock:
        try:
            lock.bind(f"\0sluis-lab-{os.getuid()}-{name}")
        except OSError as error:
            raise LabBusy(f"another lab command is at work in {folder}") from error
        yield
