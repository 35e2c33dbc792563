"""The lab's processes: started in a session of their own, remembered by pid and start time, stopped by those alone.

A pid by itself is no name: once its process is gone the system gives the number to another. So a process is only ever
signalled when the moment it started is the one that was written down (Linux `/proc/<pid>/stat`, field 22).
"""

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

_POLL: Final = 0.05
"""Seconds between looks at a process that should end."""


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process of this machine since its last start: the pid, and when it began in clock ticks since boot."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """The identity of a running process; None when there is none, or only its remains (a zombie)."""
        fields = _stat(pid)
        return None if fields is None or fields[0] == "Z" else cls(pid, int(fields[19]))

    @property
    def alive(self) -> bool:
        """Whether this very process still runs."""
        return ProcessId.of(self.pid) == self

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it is still this process that has the pid."""
        if self.alive:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return  # It ended between the two looks, which is what a signal here is for.


def _stat(pid: int) -> list[str] | None:
    """The fields of `/proc/<pid>/stat` after the program's name, which itself may hold spaces and brackets."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def descendants(pid: int) -> list[ProcessId]:
    """Every running process below `pid`, children before grandchildren."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))) is not None:
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found: list[ProcessId] = []
    waiting = list(children.get(pid, ()))
    while waiting:
        child = waiting.pop(0)
        if (identity := ProcessId.of(child)) is not None:
            found.append(identity)
        waiting.extend(children.get(child, ()))
    return found


def marked(name: str, value: str) -> list[ProcessId]:
    """Every running process of ours that was started with this environment variable."""
    mark = f"{name}={value}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
        except OSError:  # It ended meanwhile, or it is somebody else's.
            continue
        if mark in environment and (identity := ProcessId.of(int(entry.name))) is not None:
            found.append(identity)
    return found


def start(command: Sequence[str], log: Path, environment: Mapping[str, str], folder: Path) -> ProcessId:
    """Start a program in a session of its own, with its output appended to `log`.

    Raises:
        OSError: the program could not be started.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    # What ended at once is still there as remains until somebody collects them: it gets its identity all the same,
    # and whoever waits for it to be ready tells what it said.
    fields = _stat(process.pid)
    # Nobody waits for a detached process; without this the interpreter warns when the handle is thrown away.
    process.returncode = 0
    if fields is None:
        raise OSError(f"{command[0]} cannot be seen in /proc")
    return ProcessId(process.pid, int(fields[19]))


async def stop(processes: Iterable[ProcessId], grace: float) -> None:
    """Ask every process to end, and kill what has not ended after `grace` seconds; also what it had started."""
    asked = list(processes)
    below = [child for process in asked if process.alive for child in descendants(process.pid)]
    for process in asked:
        process.signal(signal.SIGTERM)
    if not await gone(asked + below, grace):
        for process in asked + below:
            process.signal(signal.SIGKILL)
        await gone(asked + below, grace)


async def gone(processes: Iterable[ProcessId], patience: float) -> bool:
    """Wait until none of the processes runs any more; False when some still does after `patience` seconds."""
    remaining = list(processes)
    deadline = asyncio.get_running_loop().time() + patience
    while remaining:
        for process in remaining:
            _reap(process.pid)
        remaining = [process for process in remaining if process.alive]
        if not remaining or asyncio.get_running_loop().time() >= deadline:
            break
        await asyncio.sleep(_POLL)
    return not remaining


def _reap(pid: int) -> None:
    """Collect the exit of a child of ours, so that it does not stay behind as a zombie."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return  # Not a child of this process: another one started it, or it was collected before.
