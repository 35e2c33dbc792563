"""`lab` as a newcomer uses it: start, paste the commands that it prints, look at it, end it; and when it goes wrong."""

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.lab import up as lab_up
from deploy.lab.components import Component, ComponentFailed
from deploy.lab.layout import DNS, program
from deploy.lab.ports import choose_ports
from deploy.lab.processes import ProcessId, descendants
from deploy.lab.programs import programs
from deploy.lab.running import RunningLab
from deploy.lab.state import LabState
from tests.support import require

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

CHECKOUT = Path(__file__).parents[2]


def lab(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"SLUIS_LAB_DIR": str(folder), "PYTHONPATH": str(CHECKOUT)}
    return subprocess.run(
        [program("lab"), *arguments], env=environment, text=True, capture_output=True, check=False, cwd=CHECKOUT
    )


class Started:
    """A lab that was started by its command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.up = lab("up", folder=folder)
        assert self.up.returncode == 0, self.up.stderr
        self.status: dict[str, Any] = json.loads(lab("status", "--json", folder=folder).stdout)

    def commands(self) -> dict[str, str]:
        """What `up` printed to be pasted, by the comment above it."""
        lines = self.up.stdout.splitlines()
        return {
            comment.removeprefix("# "): command
            for comment, command in itertools.pairwise(lines)
            if comment.startswith("# ")
        }


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    folder = tmp_path_factory.mktemp("commands") / "lab"
    try:
        yield Started(folder)
    finally:
        lab("down", folder=folder)


def sh(script: str) -> str:
    require("curl")
    return subprocess.run(["bash", "-euc", script], text=True, capture_output=True, check=True).stdout


def test_the_printed_commands_work_as_they_are_pasted(started: Started) -> None:
    iwlz, oauth, keep, read = started.commands().values()

    assert json.loads(sh(iwlz))["token_type"] == "Bearer"
    assert json.loads(sh(oauth))["token_type"] == "Bearer"
    answer = json.loads(sh(f"{keep}\n{read}"))

    assert [item["initieelVerantwoordelijkZorgkantoor"] for item in answer["data"]["wlzIndicatie"]] == ["5000"]


def test_the_same_call_without_a_token_is_refused(started: Started) -> None:
    *_, read = started.commands().values()

    assert json.loads(sh(f"TOKEN=; {read}"))["ErrorCode"] == "invalid_token"


def test_status_names_every_file_and_address(started: Started) -> None:
    status = started.status

    for key in ("vertrouwensleverancier", "ciz", "noord", "zuid", "zorgaanbieder"):
        party = status["parties"][key]
        assert Path(party["certificate"]).read_text().count("BEGIN CERTIFICATE") == 2
        assert Path(party["key"]).stat().st_mode & 0o077 == 0
    assert status["parties"]["nieuwkomer"]["certificate"] is None
    assert status["parties"]["onbeveiligd"]["dnssec"] == "insecure"
    assert status["parties"]["gebroken"]["dnssec"] == "bogus"
    assert len(status["datastations"]) == 2
    assert all(component["running"] for component in status["components"].values())
    assert set(status["resolve"].values()) == {"127.0.0.1"}


def test_the_tables_name_what_the_tutorials_need(started: Started) -> None:
    shown = started.up.stdout
    pki, authz = started.status["pki"], started.status["authz"]
    for named in (pki["tls"], pki["settings"], authz["settings"], started.status["dns"]["anchor"]):
        assert named in shown
    for station in started.status["datastations"].values():
        assert station["settings"] in shown


def test_every_listener_is_on_the_loopback(started: Started) -> None:
    ports = set(LabState.load(started.folder).ports.values())  # type: ignore[union-attr]
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        address, state = line.split()[1], line.split()[3]
        host, _, port = address.partition(":")
        if state == "0A" and int(port, 16) in ports:
            found.add(host)
    assert found == {"0100007F"}


def test_a_register_admits_nobody_but_its_trust_agent(started: Started) -> None:
    status = started.status
    resource = status["datastations"]["indicatieregister"]["resource"]
    host, port = resource.removeprefix("https://").partition("/")[0].split(":")
    base = ["curl", "-sS", "--resolve", f"{host}:{port}:127.0.0.1", "--cacert", status["anchors"]]

    def call(party: str) -> subprocess.CompletedProcess[str]:
        own = status["parties"][party]
        command = [*base, "--cert", own["certificate"], "--key", own["key"], "-d", "{}", resource]
        return subprocess.run(command, text=True, capture_output=True, check=False)

    require("curl")
    assert call("noord").returncode != 0  # the handshake fails
    assert call("ciz").returncode == 0  # the agent's own certificate; the register then asks for claims


def test_a_second_up_says_that_there_is_one(started: Started) -> None:
    second = lab("up", folder=started.folder)

    assert second.returncode == 1
    assert "there is a lab" in second.stderr
    assert (
        json.loads(lab("status", "--json", folder=started.folder).stdout)["components"] == started.status["components"]
    )


def test_logs_names_the_components_and_shows_one(started: Started) -> None:
    names = lab("logs", folder=started.folder).stdout.split()

    assert {"authz", "pki", "dns"} <= set(names)
    assert '"event": "ready"' in lab("logs", "authz", folder=started.folder).stdout
    unknown = lab("logs", "nobody", folder=started.folder)
    assert unknown.returncode == 1
    assert "authz" in unknown.stderr


def of_envoy() -> set[Path]:
    """What Envoys left in the memory that processes share; others use that too."""
    return set(Path("/dev/shm").glob("*envoy*"))  # noqa: S108  a real folder of the system


def test_down_leaves_nothing_behind(tmp_path: Path) -> None:
    shared = of_envoy()
    one = Started(tmp_path / ".lab" / "network")
    state = LabState.load(one.folder)
    assert state is not None
    everything = set(state.processes.values()) | {
        child for parent in state.processes.values() for child in descendants(parent.pid)
    }
    assert len(everything) > len(state.processes)

    ended = lab("down", folder=one.folder)

    assert ended.returncode == 0, ended.stderr
    assert [process for process in everything if process.alive] == []
    assert not one.folder.parent.exists()
    assert not state.sockets.exists()
    assert of_envoy() <= shared
    for port in state.ports.values():
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
    again = lab("down", folder=one.folder)
    assert again.returncode == 0
    assert "no lab" in again.stdout


async def test_a_component_that_fails_takes_everything_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "lab"
    seen: list[RunningLab] = []

    async def never() -> str | None:
        return "it never will be"

    def with_a_broken_one(running: RunningLab) -> list[Component]:
        seen.append(running)
        command = (sys.executable, "-c", "raise SystemExit('the disk of this register is on fire')")
        return [*programs(running), Component("broken", command, never, after=(DNS,))]

    monkeypatch.setattr(lab_up, "programs", with_a_broken_one)

    with pytest.raises(ComponentFailed, match=r"(?s)broken ended.*the disk of this register is on fire"):
        await lab_up.up(folder)

    assert not folder.exists()
    assert not seen[0].state.sockets.exists()
    assert [process for process in seen[0].state.processes.values() if process.alive] == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_up_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    folder = tmp_path / "lab"
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    command = [program("lab"), "up", "--dir", str(folder)]
    # Whoever runs these tests in the background may have interrupts ignored, and so would all that is started.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        state = wait_for_processes(folder)
        process.send_signal(number)
        assert process.wait(120) != 0

    assert not folder.exists()
    assert not state.sockets.exists()
    assert [each for each in state.processes.values() if each.alive] == []


def test_a_killed_up_can_be_ended_by_down(tmp_path: Path) -> None:
    folder = tmp_path / "lab"
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    command = [program("lab"), "up", "--dir", str(folder)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        state = wait_for_processes(folder)
        process.kill()

    assert lab("down", folder=folder).returncode == 0

    assert not folder.exists()
    assert [each for each in state.processes.values() if each.alive] == []


def wait_for_processes(folder: Path) -> LabState:
    """The state of a lab that is being started, as soon as something of it runs."""
    end = time.monotonic() + 120
    while (state := LabState.load(folder)) is None or len(state.processes) < 2:
        assert time.monotonic() < end, "nothing was started"
        time.sleep(0.01)
    return state


def test_a_port_that_is_taken_is_named_and_nothing_is_started(tmp_path: Path) -> None:
    first = choose_ports([str(number) for number in range(12)], None)["0"]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first + 3))
        taken.listen()
        refused = lab("up", "--port", str(first), folder=tmp_path / "lab")

    assert refused.returncode == 1
    assert str(first + 3) in refused.stderr
    assert not (tmp_path / "lab").exists()


def test_a_chosen_range_of_ports_is_used(tmp_path: Path) -> None:
    first = choose_ports([str(number) for number in range(12)], None)["0"]
    folder = tmp_path / "lab"
    try:
        assert lab("up", "--port", str(first), folder=folder).returncode == 0
        state = LabState.load(folder)
        assert state is not None
        assert min(state.ports.values()) == first
        assert max(state.ports.values()) == first + len(state.ports) - 1
        assert all(isinstance(process, ProcessId) and process.alive for process in state.processes.values())
    finally:
        lab("down", folder=folder)
