"""Starting the programs of the lab, as many at once as their order allows, and saying which one failed and why."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Final

from authz.domain.errors import SluisError
from deploy.lab import processes
from deploy.lab.processes import ProcessId
from deploy.lab.state import LabState

_POLL: Final = 0.05
"""Seconds between questions whether a program is ready."""
_TAIL: Final = 30
"""Lines of its log that a failed program is shown with."""
START_PATIENCE: Final = 120.0
"""Seconds that one program may take to start on a slow machine; ten for the whole lab is what it should take."""
STOP_GRACE: Final = 5.0
"""Seconds in which a program ends by itself after SIGTERM."""

Ready = Callable[[], Awaitable[str | None]]
"""Answers None when the program is ready, else in words what is still missing."""


class ComponentFailed(RuntimeError):  # noqa: N818  what happened
    """A program of the lab ended or was not ready in time; the text ends with the tail of its log."""


_MARK: Final = "SLUIS_LAB_SOCKETS"
"""Environment variable of every process of a lab; its value, a fresh folder, is no other lab's."""


@dataclass(frozen=True, slots=True)
class Component:
    """One program of the lab.

    Attributes:
        name: as in the state, the logs and `lab status`.
        command: program and arguments.
        ready: how to find out that it does its work.
        after: the components that must be ready before it is started.
        environment: variables beyond those of the lab itself.
    """

    name: str
    command: tuple[str, ...]
    ready: Ready
    after: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Job:
    """Work of the lab itself that has its place in the order: it makes something that programs need.

    Attributes:
        name: to be named in the `after` of others.
        act: the work; runs in a thread, beside the programs that start meanwhile.
        after: what must be done or ready before it.
    """

    name: str
    act: Callable[[], object]
    after: tuple[str, ...] = ()


def log_of(state: LabState, name: str) -> Path:
    """The file with a component's output."""
    return state.folder / "logs" / f"{name}.log"


async def bring_up(state: LabState, parts: Sequence[Component | Job], patience: float) -> dict[str, float]:
    """Start all components and do all jobs in their order, and wait until each is ready.

    Args:
        state: remembers each process as soon as it exists.
        parts: what to start and do; every name in `after` is one of them.
        patience: seconds that one component may take.

    Returns:
        Seconds from the beginning until each part was ready.

    Raises:
        ComponentFailed: one ended, or was not ready in time. What was started keeps running: the caller cleans up.
    """
    begun = monotonic()
    ready = {part.name: asyncio.Event() for part in parts}
    times: dict[str, float] = {}

    async def one(part: Component | Job) -> None:
        for name in part.after:
            await ready[name].wait()
        if isinstance(part, Job):
            await _do(part)
        else:
            await start(state, part, patience)
        times[part.name] = monotonic() - begun
        ready[part.name].set()

    try:
        async with asyncio.TaskGroup() as group:
            for part in parts:
                group.create_task(one(part))
    except BaseExceptionGroup as failures:
        # Not `except*`: Python before 3.11.4 would wrap what is raised there in a group again.
        failed = failures.subgroup(ComponentFailed)
        if failed is None:
            raise
        raise failed.exceptions[0] from None
    return times


async def _do(job: Job) -> None:
    work = asyncio.create_task(asyncio.to_thread(job.act))
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        # A thread cannot be interrupted; what it still writes must not come after the clean-up.
        await asyncio.wait([work])
        raise
    except (SluisError, OSError) as error:
        raise ComponentFailed(f"{job.name} failed: {error}") from error


async def start(state: LabState, component: Component, patience: float) -> None:
    """Start one component and wait until it is ready.

    Raises:
        ComponentFailed: it ended, or was not ready in time.
    """
    log = log_of(state, component.name)
    log.parent.mkdir(exist_ok=True)
    try:
        environment = {**component.environment, _MARK: str(state.sockets)}
        process = processes.start(component.command, log, environment, state.folder)
    except OSError as error:
        raise ComponentFailed(f"{component.name} could not be started: {error.strerror or error}") from error
    state.processes[component.name] = process
    state.save()
    deadline = monotonic() + patience
    while (missing := await component.ready()) is not None:
        if not process.alive:
            raise ComponentFailed(f"{component.name} ended while it was starting\n{tail(log)}")
        if monotonic() > deadline:
            raise ComponentFailed(f"{component.name} was not ready in {patience:g} s: {missing}\n{tail(log)}")
        await asyncio.sleep(_POLL)


async def stop(state: LabState, name: str) -> None:
    """Stop one component, and all that it had started."""
    process = state.processes.pop(name)
    await processes.stop([process], STOP_GRACE)
    state.save()


async def stop_all(state: LabState) -> list[ProcessId]:
    """Stop every component, the last started first asked.

    Returns:
        What still runs; empty unless a process could not even be killed.
    """
    recorded = list(reversed(state.processes.values()))
    everything = recorded + [child for process in recorded if process.alive for child in _below(process)]
    await processes.stop(recorded, STOP_GRACE)
    # What was started, but not yet written down when `lab up` was killed: it carries the lab's own mark.
    strays = processes.marked(_MARK, str(state.sockets))
    await processes.stop(strays, STOP_GRACE)
    everything += strays
    return [process for process in everything if process.alive]


def _below(process: ProcessId) -> list[ProcessId]:
    return processes.descendants(process.pid)


def tail(log: Path) -> str:
    """The last lines of a log, indented, for an error message."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    return "\n".join(f"    {line}" for line in lines[-_TAIL:]) or "    (its log is empty)"
