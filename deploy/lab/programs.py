"""The programs of the lab: how each is started, in which order, and how to see that it does its work."""

import asyncio
import signal
import sys
from pathlib import Path
from time import monotonic
from typing import Final

import httpx

from authz.edge.supervise import envoy_binary
from deploy.lab import fronts, processes
from deploy.lab.client import Caller
from deploy.lab.components import START_PATIENCE, Component, Ready, start
from deploy.lab.layout import (
    AUTHZ,
    CERTIFICATES,
    DNS,
    DNS_PORT,
    PKI,
    PKI_PORT,
    SCHEME,
    agent_component,
    agent_port,
    environment,
    front_component,
    health_port,
    program,
    register_component,
    register_port,
)
from deploy.lab.network import DATASTATIONS, TRUST_PROVIDER, Datastation
from deploy.lab.ports import LOOPBACK
from deploy.lab.running import RunningLab

_ASK: Final = 5.0
"""Seconds for one question whether a program is ready."""
_OK: Final = 200


def programs(lab: RunningLab) -> list[Component]:
    """Every program of the lab, those without conditions first."""
    return [
        dns(lab),
        pki(lab),
        authz(lab),
        *(register(lab, station) for station in DATASTATIONS),
        *(front(lab, station) for station in DATASTATIONS),
        *(agent(lab, station) for station in DATASTATIONS),
    ]


def named(lab: RunningLab, name: str) -> Component:
    """One program by its name.

    Raises:
        KeyError: there is none of that name.
    """
    return {component.name: component for component in programs(lab)}[name]


async def kill(lab: RunningLab, name: str) -> None:
    """End one program without warning, as a power cut would; what it started goes with it.

    Raises:
        TimeoutError: something of it still runs.
    """
    process = lab.state.processes[name]
    everything = [process, *processes.descendants(process.pid)]
    process.signal(signal.SIGKILL)
    if not await processes.gone(everything, START_PATIENCE):
        raise TimeoutError(f"{name} was killed, but something of it still runs")


async def start_again(lab: RunningLab, name: str) -> float:
    """Start one program that ended; returns the seconds until it was ready.

    Raises:
        ComponentFailed: it did not become ready.
    """
    begun = monotonic()
    await start(lab.state, named(lab, name), START_PATIENCE)
    return monotonic() - begun


def dns(lab: RunningLab) -> Component:
    """The name server. It writes the anchor of its root when it listens, so the anchor says that it does."""
    anchor = lab.layout.dns_anchor

    async def ready() -> str | None:
        return None if anchor.exists() else "it has not written the anchor of its root"

    arguments = ("--config", str(lab.layout.zones), "--port", str(lab.state.ports[DNS_PORT]))
    command = (sys.executable, "-m", "deploy.lab.dns", *arguments, "--anchor-out", str(anchor))
    return Component(DNS, command, ready, environment=environment())


def pki(lab: RunningLab) -> Component:
    """The certificate authority."""
    url = f"http://{LOOPBACK}:{lab.state.ports[PKI_PORT]}/health"
    return Component(
        PKI,
        (program("pki"), "serve", "--config", str(lab.layout.pki_settings)),
        _answers(url),
        after=(CERTIFICATES,),
        environment=environment(),
    )


def authz(lab: RunningLab) -> Component:
    """The authorization server."""

    async def ready() -> str | None:
        try:
            async with Caller(lab.credentials(TRUST_PROVIDER), lab.layout.anchors) as caller:
                answer = await caller.send("GET", f"{lab.authz_url}/health")
        except httpx.TransportError as error:
            return f"no answer from {lab.authz_url} ({type(error).__name__})"
        return None if answer.status == _OK else f"it says {answer.text}"

    command = (program("authz"), "serve", "--config", str(lab.layout.authz_settings))
    return Component(AUTHZ, command, ready, after=(SCHEME,), environment=environment())


def register(lab: RunningLab, station: Datastation) -> Component:
    """A resource server with synthetic clients, on a Unix socket."""
    socket = lab.register_socket(station)
    arguments = ("--schema", station.schema, "--uds", str(socket), "--holder", station.party.identity.value)
    return Component(
        register_component(station.key),
        (sys.executable, "-m", "deploy.lab.register", *arguments),
        _listens(socket),
        environment=environment(),
    )


def front(lab: RunningLab, station: Datastation) -> Component:
    """The TLS end of a resource server, which admits its trust agent only."""
    folder = lab.layout.register(station.key)
    admin = lab.state.sockets / f"{station.key}-front.sock"
    own = lab.credentials(station.party)
    config = fronts.service_behind(
        admin=admin,
        port=lab.state.ports[register_port(station.key)],
        tls=fronts.Tls(own, lab.layout.anchors, station.agent_host),
        service=lab.register_socket(station),
    )
    command = fronts.command(envoy_binary(), fronts.write(config, folder / "front.json"))
    return Component(front_component(station.key), command, _listens(admin), after=(CERTIFICATES,))


def agent(lab: RunningLab, station: Datastation) -> Component:
    """A trust agent: ready when it has verified keys, revocations, CRLs and policies, and its register is there."""
    ports = lab.state.ports
    healthy = _answers(f"http://{LOOPBACK}:{ports[health_port(station.key)]}/health")
    # Its decision service tells of its health before its Envoy listens.
    listening = takes_connections(ports[agent_port(station.key)])

    async def ready() -> str | None:
        return await healthy() or await listening()

    return Component(
        agent_component(station.key),
        (program("trust-agent"), "run", "--config", str(lab.layout.agent_settings(station.key))),
        ready,
        after=(SCHEME,),
        environment=environment(),
    )


def takes_connections(port: int) -> Ready:
    """A port of the loopback on which somebody listens."""

    async def ready() -> str | None:
        try:
            _, writer = await asyncio.open_connection(LOOPBACK, port)
        except OSError as error:
            return f"nobody listens on port {port} ({error.strerror})"
        writer.close()
        return None

    return ready


def _listens(path: Path) -> Ready:
    """A Unix socket that takes connections."""

    async def ready() -> str | None:
        try:
            _, writer = await asyncio.open_unix_connection(path)
        except OSError as error:
            return f"nobody listens on its socket ({error.strerror})"
        writer.close()
        return None

    return ready


def _answers(url: str) -> Ready:
    async def ready() -> str | None:
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=_ASK) as http:
                answer = await http.get(url)
        except httpx.TransportError as error:
            return f"no answer from {url} ({type(error).__name__})"
        return None if answer.status_code == _OK else f"it says {answer.text[:300]}"

    return ready
