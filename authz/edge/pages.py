"""A few fixed pages, such as `/metrics`, for the operator of this machine: plain HTTP on a listener of its own.

Not behind Envoy and never on the listener of a service, where every path is a client's, and at a trust agent an answer
200 is a permit. Meant for the loopback or a closed network: what stands there is not secret and not for everybody.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Self

import structlog

_LOG: Final = structlog.get_logger(__name__)
_MAX_REQUEST: Final = 8 * 1024
_TIMEOUT: Final = 10.0
_WORDS: Final = 3
_WRONG_METHOD: Final = 405
METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""Prometheus text format."""

Page = Callable[[], Awaitable[tuple[int, str, bytes]]]
"""Gives status, content type and body."""


class PageServer:
    """Serves `pages` by path while the `async with` block runs.

    Args:
        pages: by path.
        address: IP address and port to listen on.
        socket: Unix socket to listen on as well, for the supervisor; one that was left behind is taken over.
    """

    def __init__(self, pages: Mapping[str, Page], address: tuple[str, int], socket: Path | None = None) -> None:
        self._pages = dict(pages)
        self._address = address
        self._socket = socket
        self._server: asyncio.Server | None = None
        self._local: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The port that is listened on; of use when 0 was asked for."""
        if self._server is None:
            raise ValueError("the pages are not served yet")
        return int(self._server.sockets[0].getsockname()[1])

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, *self._address, limit=_MAX_REQUEST)
        if self._socket is not None:
            self._socket.unlink(missing_ok=True)
            # Last: who gets an answer here takes it for readiness.
            self._local = await asyncio.start_unix_server(self._serve, str(self._socket), limit=_MAX_REQUEST)
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in (self._local, self._server):
            if server is not None:
                server.close()
        if self._socket is not None:
            self._socket.unlink(missing_ok=True)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`. A listener that cannot be had is said in the log; the service goes on without it."""
        try:
            async with self:
                await stop.wait()
        except OSError as error:
            _LOG.error("pages_not_served", why=error.strerror)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Whoever goes away, or sends no request, gets no answer.
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(_TIMEOUT):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(await self._answer(head))
                await writer.drain()
        writer.close()

    async def _answer(self, head: bytes) -> bytes:
        words = head.split(b"\r\n", 1)[0].split(b" ")
        page = self._pages.get(words[1].decode("latin-1").partition("?")[0]) if len(words) == _WORDS else None
        if page is None:
            status, kind, body = 404, "text/plain", b"not found\n"
        elif words[0] not in {b"GET", b"HEAD"}:
            status, kind, body = _WRONG_METHOD, "text/plain", b"GET and HEAD only\n"
        else:
            status, kind, body = await page()
        allow = "allow: GET, HEAD\r\n" if status == _WRONG_METHOD else ""
        start = (
            f"HTTP/1.1 {status} -\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n"
            f"{allow}cache-control: no-store\r\nconnection: close\r\n\r\n"
        )
        return start.encode("ascii") + (b"" if words[0] == b"HEAD" else body)


Sample = tuple[str, Mapping[str, str], float]
"""Name, labels and value of one measurement."""


def exposition(samples: Sequence[Sample]) -> str:
    """Measurements in the Prometheus text format; samples of one name stand together, names ending in `_total` count.

    Args:
        samples: labels are names and codes of ours; their values are escaped all the same.
    """
    lines: list[str] = []
    names = list(dict.fromkeys(name for name, _, _ in samples))
    for wanted in names:
        lines.append(f"# TYPE {wanted} {'counter' if wanted.endswith('_total') else 'gauge'}")
        for name, labels, value in samples:
            if name == wanted:
                text = ",".join(f'{key}="{_escaped(item)}"' for key, item in labels.items())
                # All digits of a counter: rounded, it would seem to stand still.
                lines.append(f"{name}{{{text}}} {value:.15g}" if text else f"{name} {value:.15g}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
