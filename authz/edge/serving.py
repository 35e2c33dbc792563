"""A service on a Unix socket, inside an event loop of our own, with a clean stop.

Granian's embedded server runs in the caller's loop, so the background tasks of a service (fetching, shipping, group
commits) live in the same loop and end in the right order.
"""

import asyncio
import contextlib
import gc
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import uvloop
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from authz.domain.errors import SluisError

MAX_SOCKET_PATH: Final = 100
"""Characters; Linux allows 107 bytes in `sun_path`, other systems 103."""
_BACKLOG: Final = 1024
_MAX_CONNECTIONS: Final = 4096
"""Of our own Envoy, which keeps count itself for each listener (`authz.edge.envoy.MAX_REQUESTS`)."""
_YOUNG_OBJECTS: Final = 10_000
"""Objects made before the collector looks at them; some twenty requests' worth, about 1 MB."""


class SocketPathTooLong(SluisError):  # noqa: N818
    """A Unix socket path does not fit in the system's address structure."""


def check_socket_path(path: Path) -> Path:
    """Return `path` when a Unix socket can be bound there.

    Raises:
        SocketPathTooLong: more than `MAX_SOCKET_PATH` characters.
    """
    if len(str(path)) > MAX_SOCKET_PATH:
        raise SocketPathTooLong(
            f"the socket path has {len(str(path))} characters, at most {MAX_SOCKET_PATH} fit: choose a shorter run_dir"
        )
    return path


async def serve_uds(
    app: Any,  # noqa: ANN401  an RSGI or ASGI application
    uds_path: Path,
    interface: Interfaces = Interfaces.ASGI,
    *,
    stop: asyncio.Event | None = None,
) -> None:
    """Serve `app` until SIGTERM, SIGINT or `stop`, then let the requests in progress end.

    Args:
        app: the application.
        uds_path: the socket; only its owner may connect, so only our own Envoy reaches the service.
        interface: ASGI for Litestar, RSGI for the trust agent's decision path.
        stop: set by the caller to stop; signals set it too.
    """
    check_socket_path(uds_path)
    _remove(uds_path)
    _settle_memory()
    stop = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # Owner-only through the folder it lies in; the embedded server has no mode of its own for the socket.
    server = Server(
        app,
        uds=uds_path,
        interface=interface,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=30_000, keep_alive=True, max_buffer_size=1024 * 1024),
        backlog=_BACKLOG,
        backpressure=_MAX_CONNECTIONS,
        websockets=False,
        log_enabled=False,
    )
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()  # a server that ends by itself failed: show why
            raise SluisError("the server stopped by itself")
        server.stop()  # type: ignore[no-untyped-call]
        await serving
    finally:
        stopping.cancel()
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(ValueError):
                loop.remove_signal_handler(number)
        _remove(uds_path)


def _settle_memory() -> None:
    """Tell the garbage collector that what is loaded now stays.

    Schema, policies, modules and tables live as long as the process: walking through them again and again finds
    nothing. Requests hardly make cycles, so the young generation is looked at less often than after 700 objects, of
    which one request makes hundreds.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 20, 20)


def _remove(socket: Path) -> None:
    socket.unlink(missing_ok=True)


def run(main: Callable[[], Awaitable[int]]) -> int:
    """Run an async main function under uvloop and give its exit status."""

    async def wrapped() -> int:
        return await main()

    return uvloop.run(wrapped())
