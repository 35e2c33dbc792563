"""One measurement: what is sent, how hard, and what came of it, whichever load generator does the work.

`oha` is used where it is found (`SLUIS_OHA`, else PATH). Without it our own client in `deploy.bench.python_client`
takes its place; it uses as much processor as the servers it measures, and the report says so.
"""

import asyncio
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx

from deploy.lab.client import Credentials
from deploy.lab.ports import LOOPBACK

_GRACE: Final = 30.0
"""Seconds a generator may take beyond the time it was given."""


class LoadFailed(RuntimeError):  # noqa: N818  what happened
    """The generator could not do its work, or no answer was the wanted one."""


@dataclass(frozen=True, slots=True)
class Load:
    """What to send.

    Attributes:
        url: where to; the name in it is looked up on the loopback.
        content: file with the body of each request.
        headers: besides those that HTTP itself needs.
        credentials: certificate and key of the caller.
        anchors: PEM file with the lab's root.
        connections: how many requests are under way at once.
        seconds: for how long.
        keep_alive: False makes a new TCP and TLS connection for each request.
        rate: requests a second in an open loop, each latency counted from the moment it should have been sent; None
            is a closed loop: the next request goes out when an answer came in.
    """

    url: str
    content: Path
    headers: Mapping[str, str]
    credentials: Credentials
    anchors: Path
    connections: int
    seconds: float
    keep_alive: bool = True
    rate: int | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of it; latencies in milliseconds.

    Attributes:
        statuses: answers by HTTP status.
        errors: requests without an answer, by what went wrong.
        cpu_us: processor time that each program spent on one request, in microseconds; unlike the other figures it
            hardly depends on what else the machine does.
    """

    per_second: float
    p50: float
    p99: float
    statuses: Mapping[int, int]
    errors: Mapping[str, int] = field(default_factory=dict)
    cpu_us: Mapping[str, float] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """Whether every request was answered with 200: a refusal is cheaper and may not be counted as work done."""
        return not self.errors and set(self.statuses) == {200}


def find_oha() -> str | None:
    """The `oha` to use, or None."""
    named = os.environ.get("SLUIS_OHA")
    return shutil.which(named) if named else shutil.which("oha")


async def run_oha(program: str, load: Load) -> Measured:
    """Measure with oha.

    Raises:
        LoadFailed: oha failed, or said something else than its JSON report.
    """
    url = httpx.URL(load.url)
    command = [program, "--no-tui", "--no-color", "--output-format", "json", "-m", "POST", "-D", str(load.content)]
    command += ["-c", str(load.connections), "-z", f"{load.seconds:g}s", "-w", "-t", "10s"]
    command += ["--cacert", str(load.anchors)]
    command += ["--cert", str(load.credentials.chain), "--key", str(load.credentials.key)]
    command += ["--connect-to", f"{url.host}:{url.port}:{LOOPBACK}:{url.port}"]
    for name, value in load.headers.items():
        command += ["-H", f"{name}: {value}"]
    if not load.keep_alive:
        command.append("--disable-keepalive")
    if load.rate is not None:
        command += ["-q", str(load.rate), "--latency-correction"]
    process = await asyncio.create_subprocess_exec(
        *command, load.url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(load.seconds + _GRACE):
            output, problem = await process.communicate()
    except TimeoutError as error:
        process.kill()
        await process.wait()
        raise LoadFailed("oha did not end in time") from error
    if process.returncode:
        raise LoadFailed(f"oha failed: {problem.decode(errors='replace').strip()[-500:]}")
    return read_oha(output)


def read_oha(output: bytes) -> Measured:
    """What oha's JSON report says.

    Raises:
        LoadFailed: not such a report, or nothing was answered.
    """
    try:
        report = json.loads(output)
        statuses = {int(status): count for status, count in report["statusCodeDistribution"].items()}
        if not statuses:
            raise LoadFailed(f"no request was answered: {report['errorDistribution']}")
        return Measured(
            per_second=report["summary"]["requestsPerSec"],
            p50=report["latencyPercentiles"]["p50"] * 1000,
            p99=report["latencyPercentiles"]["p99"] * 1000,
            statuses=statuses,
            errors=report["errorDistribution"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise LoadFailed("oha wrote something else than its JSON report") from error
