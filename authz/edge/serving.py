"""A service on a Unix socket, inside an event loop of our own, with a clean stop.

Granian's embedded server runs in the caller's loop, so the background tasks of a service (fetching, shipping, group
commits) live in the same loop and end in the right order.
"""

import asyncio
from pathlib import Path
from typing import Any, Final

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from authz.domain.errors import SluisError
from authz.edge.running import check_socket_path, run, set_by_signals, settle_memory

__all__ = ["run", "serve_uds"]

_BACKLOG: Final = 1024
_MAX_CONNECTIONS: Final = 4096
"""Of our own Envoy, which keeps count itself for each listener (`authz.edge.envoy.MAX_REQUESTS`)."""


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
    settle_memory()
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
    with set_by_signals(stop or asyncio.Event()) as stopped:
        serving = asyncio.create_task(server.serve())
        stopping = asyncio.create_task(stopped.wait())
        try:
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                serving.result()  # a server that ends by itself failed: show why
                raise SluisError("the server stopped by itself")
            server.stop()  # type: ignore[no-untyped-call]
            await serving
        finally:
            stopping.cancel()
            _remove(uds_path)


def _remove(socket: Path) -> None:
    socket.unlink(missing_ok=True)
