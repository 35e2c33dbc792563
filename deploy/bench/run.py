"""One run of the bench: a lab of its own, every load one after the other, and what each came to."""

import asyncio
import resource
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import httpx

from authz.edge.supervise import envoy_binary
from deploy.bench.budgets import AUTHZ_SERVICE, DECISION_SERVICE, OPEN_RATE, Outcome
from deploy.bench.load import Load, LoadFailed, Measured, find_oha, run_oha
from deploy.bench.machine import cpu_seconds, program_of, resident_mb
from deploy.bench.python_client import run_python
from deploy.lab import components, fronts, processes
from deploy.lab.components import START_PATIENCE, Component
from deploy.lab.layout import AUTHZ, agent_component, front_component, health_port, register_port
from deploy.lab.network import CIZ, INDICATIONS, NORTH
from deploy.lab.ports import LOOPBACK, choose_ports
from deploy.lab.programs import takes_connections
from deploy.lab.running import RunningLab
from deploy.lab.story.revocation import revoke_under_traffic
from deploy.lab.story.session import Session, StoryBroken
from deploy.lab.up import down, up

FOLDER: Final = Path(".lab") / "bench"
CONNECTIONS: Final = 32
WARM_UP: Final = 1.0
"""Seconds of the same load before each measurement."""
_QUIET: Final = 60.0
"""Seconds that shipping the records of the load before may take before the next one starts."""
_PLAIN: Final = "plain"
_RECORDED: Final = "recorded"


@dataclass(frozen=True, slots=True)
class Planned:
    """A load by its name, and how it is shown."""

    name: str
    title: str
    load: Load


Telling = Callable[[Planned, Measured], None]


_PARTS: Final[Mapping[str | None, tuple[str, ...]]] = {
    None: ("token", _PLAIN, "enforcement"),
    "tokens": ("token",),
    "enforcement": (_PLAIN, "enforcement"),
}
"""How the names of the loads begin that belong to a part of the bench."""


async def bench(seconds: float, tell: Telling, only: str | None = None) -> Outcome:
    """Measure everything, or one part.

    Args:
        seconds: for each load.
        tell: told each result as soon as it is there.
        only: `tokens` or `enforcement`.

    Raises:
        LoadFailed: a load was not answered with 200 throughout, so its figure would mean nothing.
        ComponentFailed: the lab did not start.
    """
    await down(FOLDER)
    try:
        lab = await up(FOLDER)
        session = Session(lab)
        # The real register answers once; from then on its answer comes from memory (`deploy.lab.fronts`).
        answer = await session.consult(NORTH, INDICATIONS, lab.layout.query.read_bytes())
        if answer.status != httpx.codes.OK:
            raise StoryBroken(f"the consultation to be measured is not answered: {answer.status} {answer.text}")
        plain_port = await _replace_register(lab, answer.content)
        token = await session.token(NORTH, INDICATIONS)
        loads = {}
        for planned in plan(lab, token, plain_port, seconds):
            if not planned.name.startswith(_PARTS[only]):
                continue
            await _quiet(lab)
            loads[planned.name] = await _measure(lab, planned)
            tell(planned, loads[planned.name])
        await _quiet(lab)
        memory = memory_of(lab)
        revoked = await revoke_under_traffic(session)
        return Outcome(loads, lab.state.settings["seconds"], revoked.reached, memory)
    finally:
        await down(FOLDER)


def plan(lab: RunningLab, token: str, plain_port: int, seconds: float) -> list[Planned]:
    """The loads in their order."""
    credentials, anchors = lab.credentials(NORTH), lab.layout.anchors
    json_type = {"content-type": "application/json"}
    bearer = json_type | {"authorization": f"Bearer {token}"}
    plain_url = INDICATIONS.audience(plain_port)

    def load(
        url: str, content: Path, headers: Mapping[str, str], *, kept: bool = True, rate: int | None = None
    ) -> Load:
        return Load(url, content, headers, credentials, anchors, CONNECTIONS, seconds, kept, rate)

    request, query, agent = lab.layout.token_request, lab.layout.query, lab.audience(INDICATIONS)
    return [
        Planned("token-kept", "tokens, keep-alive", load(lab.iwlz_token, request, json_type)),
        Planned("token-new", "tokens, new connection", load(lab.iwlz_token, request, json_type, kept=False)),
        Planned("plain-kept", "plain Envoy, keep-alive", load(plain_url, query, bearer)),
        Planned("plain-new", "plain Envoy, new connection", load(plain_url, query, bearer, kept=False)),
        Planned("enforcement-kept", "enforced requests, keep-alive", load(agent, query, bearer)),
        Planned("enforcement-new", "enforced requests, new connection", load(agent, query, bearer, kept=False)),
        Planned("plain-open", f"plain Envoy at {OPEN_RATE}/s", load(plain_url, query, bearer, rate=OPEN_RATE)),
        Planned("enforcement-open", f"enforced at {OPEN_RATE}/s", load(agent, query, bearer, rate=OPEN_RATE)),
    ]


async def _measure(lab: RunningLab, planned: Planned) -> Measured:
    program = find_oha()

    def run(load: Load) -> Awaitable[Measured]:
        return run_oha(program, load) if program else run_python(load)

    load = planned.load
    await run(replace(load, seconds=WARM_UP))
    await _quiet(lab)
    before = _processor_time(lab)
    measured = await run(load)
    # What the load left to be shipped is work of this load.
    await _quiet(lab)
    after = _processor_time(lab)
    if not measured.clean:
        raise LoadFailed(f"{planned.title}: not only 200: {dict(measured.statuses)} {dict(measured.errors)}")
    answered = measured.statuses[httpx.codes.OK]
    spent = {name: (seconds - before[name]) * 1_000_000 / answered for name, seconds in after.items()}
    return replace(measured, cpu_us=spent)


async def _replace_register(lab: RunningLab, answer: bytes) -> int:
    """Put an Envoy with a recorded answer in the place of the register, and a plain Envoy beside the trust agent.

    Returns:
        The port of the plain Envoy.
    """
    folder, ports = lab.layout.register(INDICATIONS.key), lab.state.ports
    (folder / "answer.json").write_bytes(answer)
    own, anchors = lab.credentials(CIZ), lab.layout.anchors
    await components.stop(lab.state, front_component(INDICATIONS.key))
    recorded_port = ports[register_port(INDICATIONS.key)]
    recorded = fronts.recorded_answer(
        admin=lab.state.sockets / "recorded.sock",
        port=recorded_port,
        tls=fronts.Tls(own, anchors, INDICATIONS.agent_host),
        answer=folder / "answer.json",
    )
    await _start_envoy(lab, _RECORDED, recorded, recorded_port)
    plain_port = choose_ports([_PLAIN], None)[_PLAIN]
    plain = fronts.plain_proxy(
        admin=lab.state.sockets / "plain.sock",
        port=plain_port,
        tls=fronts.Tls(own, anchors),
        upstream_port=recorded_port,
        upstream=fronts.Tls(own, anchors, INDICATIONS.register_host),
    )
    await _start_envoy(lab, _PLAIN, plain, plain_port)
    return plain_port


async def _start_envoy(lab: RunningLab, name: str, config: fronts.Json, port: int) -> None:
    file = fronts.write(config, lab.layout.register(INDICATIONS.key) / f"{name}.json")
    component = Component(name, fronts.command(envoy_binary(), file), takes_connections(port))
    await components.start(lab.state, component, START_PATIENCE)


async def _quiet(lab: RunningLab) -> None:
    """Wait until the agent has shipped the records of the load before: their work belongs to that load."""
    url = f"http://{LOOPBACK}:{lab.state.ports[health_port(INDICATIONS.key)]}/metrics"
    async with asyncio.timeout(_QUIET), httpx.AsyncClient(trust_env=False) as http:
        while True:
            text = (await http.get(url)).text
            waiting = [line for line in text.splitlines() if line.startswith("sluis_agent_journal_unshipped")]
            if waiting and all(float(line.split()[-1]) == 0 for line in waiting):
                return
            await asyncio.sleep(0.2)


def memory_of(lab: RunningLab) -> dict[str, float]:
    """Resident memory in MB of authz and of the measured agent, their Envoys apart."""
    return {name: resident_mb(pids) for name, pids in _measured_programs(lab).items()}


def _measured_programs(lab: RunningLab) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for component, service in ((AUTHZ, AUTHZ_SERVICE), (agent_component(INDICATIONS.key), DECISION_SERVICE)):
        below = [child.pid for child in processes.descendants(lab.state.processes[component].pid)]
        envoys = [pid for pid in below if program_of(pid) == "envoy"]
        found[service] = [pid for pid in below if pid not in envoys]
        found[f"Envoy of {component}"] = envoys
    return found


def _processor_time(lab: RunningLab) -> dict[str, float]:
    """Seconds by program, the load generator among them (as what we waited for, or as ourselves)."""
    spent = {name: cpu_seconds(pids) for name, pids in _measured_programs(lab).items()}
    for name in (_RECORDED, _PLAIN):
        spent[f"Envoy, {name}"] = cpu_seconds([lab.state.processes[name].pid])
    waited, ourselves = resource.getrusage(resource.RUSAGE_CHILDREN), resource.getrusage(resource.RUSAGE_SELF)
    spent["load generator"] = sum((waited.ru_utime, waited.ru_stime, ourselves.ru_utime, ourselves.ru_stime))
    return spent
