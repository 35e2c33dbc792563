"""Health and metrics for the operator and the supervisor: two fixed paths, on their own sockets.

Not on the socket of the decision service: there, every path is a client's, and an answer 200 is a permit.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

_MAX_REQUEST: Final = 8 * 1024
_TIMEOUT: Final = 5.0

Page = Callable[[], tuple[int, str, bytes]]
"""Gives status, content type and body."""


class HealthServer:
    """Serves `pages` by path while the `async with` block runs.

    Args:
        pages: by path.
        socket: Unix socket for the supervisor.
        address: address and port for the operator.
    """

    def __init__(self, pages: dict[str, Page], socket: Path, address: tuple[str, int]) -> None:
        self._pages = pages
        self._socket = socket
        self._address = address
        self._servers: list[asyncio.Server] = []

    async def __aenter__(self) -> Self:
        self._socket.unlink(missing_ok=True)
        host, port = self._address
        self._servers = [
            await asyncio.start_unix_server(self._serve, str(self._socket), limit=_MAX_REQUEST),
            await asyncio.start_server(self._serve, host, port, limit=_MAX_REQUEST),
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers:
            server.close()
        self._socket.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._answer(head))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            # Whoever asks for health and goes away, or sends no request, gets no answer.
            return
        finally:
            writer.close()

    def _answer(self, head: bytes) -> bytes:
        words = head.split(b"\r\n", 1)[0].split(b" ")
        page = self._pages.get(words[1].decode("latin-1")) if len(words) == 3 else None  # noqa: PLR2004  method, path, version
        if page is None:
            status, kind, body = 404, "text/plain", b"not found\n"
        elif words[0] != b"GET":
            status, kind, body = 405, "text/plain", b"GET only\n"
        else:
            status, kind, body = page()
        start = (
            f"HTTP/1.1 {status} -\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        return start.encode("ascii") + body
