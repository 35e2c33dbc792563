"""The lab ends what it started and nothing else, also after a crash half-way."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.lab import components, processes
from deploy.lab.components import Component, ComponentFailed, bring_up, stop_all
from deploy.lab.ports import PortsTaken, choose_ports
from deploy.lab.processes import ProcessId
from deploy.lab.state import LabBusy, LabState, sole_command

pytestmark = pytest.mark.integration

SLEEPER = (sys.executable, "-c", "import time; time.sleep(300)")
DEAF_SOURCE = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(300)
"""
PARENT_SOURCE = """
import subprocess, sys, time
print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"]).pid, flush=True)
time.sleep(300)
"""
HOLDER_SOURCE = """
import sys, time
from pathlib import Path
from deploy.lab.state import sole_command
with sole_command(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(300)
"""


@pytest.fixture
def state(tmp_path: Path) -> Iterator[LabState]:
    made = LabState.create(tmp_path / ".lab" / "network", {}, {})
    yield made
    asyncio.run(stop_all(made))
    made.remove()


async def at_once() -> str | None:
    return None


async def never() -> str | None:
    return "nobody answers"


async def said(log: Path) -> str:
    """What a process wrote, as soon as it wrote something."""
    async with asyncio.timeout(60):
        while not (text := log.read_text()).strip():  # noqa: ASYNC110, ASYNC240  nothing tells of a write to a file
            await asyncio.sleep(0.02)
    return text


async def test_a_process_with_the_pid_of_another_is_not_signalled(state: LabState) -> None:
    process = processes.start(SLEEPER, state.folder / "log", {}, state.folder)
    state.processes["sleeper"] = process
    impostor = ProcessId(process.pid, process.started + 1)

    await processes.stop([impostor], 0.1)

    assert not impostor.alive
    assert process.alive
    await processes.stop([process], 5)
    assert not process.alive


async def test_a_process_that_ignores_the_request_is_killed(state: LabState) -> None:
    process = processes.start((sys.executable, "-c", DEAF_SOURCE), state.folder / "log", {}, state.folder)
    state.processes["deaf"] = process
    await said(state.folder / "log")

    await processes.stop([process], 0.3)

    assert not process.alive


async def test_what_a_stopped_process_had_started_ends_with_it(state: LabState) -> None:
    log = state.folder / "log"
    process = processes.start((sys.executable, "-c", PARENT_SOURCE), log, {}, state.folder)
    state.processes["parent"] = process
    child = ProcessId.of(int(await said(log)))
    assert child is not None
    assert child in processes.descendants(process.pid)

    await processes.stop([process], 0.5)

    assert not child.alive


def test_a_program_that_ends_before_anybody_looks_has_an_identity(
    state: LabState, monkeypatch: pytest.MonkeyPatch
) -> None:
    popen = subprocess.Popen

    def ended(*arguments: object, **options: object) -> "subprocess.Popen[bytes]":
        process: subprocess.Popen[bytes] = popen(*arguments, **options)  # type: ignore[call-overload]
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        return process

    monkeypatch.setattr(subprocess, "Popen", ended)
    process = processes.start((sys.executable, "-c", "pass"), state.folder / "log", {}, state.folder)
    assert process.started > 0
    assert not process.alive


async def test_a_component_that_ends_is_named_with_its_log(state: LabState) -> None:
    failing = Component("broken", (sys.executable, "-c", "raise SystemExit('no such key: audience')"), never)

    with pytest.raises(ComponentFailed, match=r"(?s)broken ended.*no such key: audience"):
        await bring_up(state, [failing], patience=60)


async def test_a_component_that_is_not_ready_in_time_is_named_with_what_is_missing(state: LabState) -> None:
    with pytest.raises(ComponentFailed, match=r"slow was not ready in 0\.2 s: nobody answers"):
        await bring_up(state, [Component("slow", SLEEPER, never)], patience=0.2)

    assert state.processes["slow"].alive  # the caller cleans up, and knows of it


async def test_a_program_that_does_not_exist_is_named(state: LabState) -> None:
    with pytest.raises(ComponentFailed, match="absent could not be started"):
        await bring_up(state, [Component("absent", ("/nonexistent/program",), at_once)], patience=1)


async def test_components_start_in_their_order(state: LabState) -> None:
    order: list[str] = []

    def noting(name: str) -> components.Ready:
        async def ready() -> str | None:
            order.append(name)
            return None

        return ready

    await bring_up(
        state,
        [
            Component("third", SLEEPER, noting("third"), after=("second",)),
            Component("second", SLEEPER, noting("second"), after=("first",)),
            Component("first", SLEEPER, noting("first")),
        ],
        patience=60,
    )

    assert order == ["first", "second", "third"]


async def test_the_state_on_disk_is_enough_to_end_everything(state: LabState) -> None:
    await bring_up(state, [Component("sleeper", SLEEPER, at_once)], patience=60)
    again = LabState.load(state.folder)
    assert again is not None
    sleeper = again.processes["sleeper"]
    assert sleeper.alive

    assert await stop_all(again) == []

    assert not sleeper.alive
    again.remove()
    assert not again.folder.exists()
    assert not again.folder.parent.exists()  # `.lab`, which was empty
    assert not again.sockets.exists()


def test_a_parent_that_is_not_ours_or_not_empty_stays(tmp_path: Path) -> None:
    ours = LabState.create(tmp_path / ".lab" / "one", {}, {})
    other = LabState.create(tmp_path / ".lab" / "two", {}, {})
    elsewhere = LabState.create(tmp_path / "elsewhere" / "lab", {}, {})

    ours.remove()
    elsewhere.remove()

    assert other.folder.is_dir()
    assert (tmp_path / "elsewhere").is_dir()
    other.remove()


def test_two_commands_do_not_work_on_one_lab_at_once(tmp_path: Path) -> None:
    with sole_command(tmp_path / "lab"), pytest.raises(LabBusy), sole_command(tmp_path / "lab"):
        raise AssertionError
    with sole_command(tmp_path / "lab"), sole_command(tmp_path / "other"):
        pass


def test_a_lock_ends_with_a_killed_command(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER_SOURCE, str(tmp_path / "lab")],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert holder.stdout is not None
    with holder.stdout:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LabBusy), sole_command(tmp_path / "lab"):
            raise AssertionError
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    with sole_command(tmp_path / "lab"):
        pass


def test_a_port_in_use_is_named_and_none_other_is_taken() -> None:
    first = choose_ports(["one", "two"], None)

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first["two"]))
        taken.listen()
        with pytest.raises(PortsTaken, match=str(first["two"])):
            choose_ports(["one", "two"], first["one"])
    assert choose_ports(["one", "two"], first["one"]) == first


async def test_what_was_started_but_not_written_down_is_ended_and_another_labs_is_not(state: LabState) -> None:
    """`lab up` may be killed between starting a program and writing down its pid."""
    await bring_up(state, [Component("lost", SLEEPER, at_once)], patience=60)
    lost = state.processes.pop("lost")
    # A program that was just started shows its environment a moment after it is there.
    async with asyncio.timeout(60):
        while lost not in processes.marked(components._MARK, str(state.sockets)):  # noqa: ASYNC110  the kernel
            await asyncio.sleep(0.02)
    other = {components._MARK: f"{state.sockets}-of-another-lab"}
    stranger = processes.start(SLEEPER, state.folder / "other.log", other, state.folder)

    assert await stop_all(state) == []

    assert not lost.alive
    assert stranger.alive
    await processes.stop([stranger], 5)
