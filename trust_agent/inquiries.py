"""The socket on which Envoy asks about requests: HTTP/1.1 as our own Envoy speaks it, read in the event loop itself.

Specification: RFC 9112; Envoy ext_authz, HTTP service. Why this is not the server of the other services:
docs/decisions/0111. Only our own Envoy reaches the socket, through a folder that is ours alone, so there is one dialect
to read, and whatever differs from it ends the connection without an answer. For Envoy that is a refusal: nothing that
goes wrong here can be a permit.

Not for anything else: no paths, no uploads, no chunked bodies, no second request before the first one was answered.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Final, Self, cast

import msgspec
import structlog

from authz.edge.running import check_socket_path

_LOG: Final = structlog.get_logger(__name__)
MAX_HEAD: Final = 256 * 1024
"""Bytes of a request's head. Envoy takes 32 kB from a client, and adds the certificates, of which 64 kB are read."""
_MAX_CONNECTIONS: Final = 4096
"""Of our own Envoy, which keeps count itself (`authz.edge.envoy.MAX_REQUESTS`)."""
_BACKLOG: Final = 1024
_END: Final = b"\r\n\r\n"
_LINE: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}) [^\x00-\x20\x7f]+ HTTP/1\.1")
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_LENGTH: Final = re.compile(r"0|[1-9][0-9]{0,8}")

Answer = tuple[int, Sequence[tuple[str, str]], bytes]
"""Status, headers and body; the length is added here."""


class Malformed(Exception):  # noqa: N818  never told to anybody: the connection ends
    """Not what our own Envoy would have sent."""


class Asked(msgspec.Struct, frozen=True):
    """One request, complete.

    Attributes:
        method: as written.
        headers: by name in lower case; every value in its order.
        body: whole.
    """

    method: str
    headers: dict[str, list[str]]
    body: bytes

    def get(self, name: str) -> str | None:
        """The first value under a name, or None."""
        values = self.headers.get(name)
        return values[0] if values else None

    def get_all(self, name: str) -> list[str]:
        """Every value under a name."""
        return self.headers.get(name) or []


Handler = Callable[[Asked], Awaitable[Answer]]


def read(data: bytes, max_body: int) -> Asked | None:
    """Read one request.

    Args:
        data: everything that has come in since the last answer.
        max_body: bytes of a body.

    Returns:
        The request, or None while it is incomplete.

    Raises:
        Malformed: no request of our own Envoy, too large, or more than one.
    """
    end = data.find(_END, 0, MAX_HEAD)
    if end < 0:
        if len(data) >= MAX_HEAD:
            raise Malformed
        return None
    # Bytes above 127 may stand in values (RFC 9110 section 5.5); each becomes one character, and fits nothing later.
    head = data[:end].decode("latin-1")
    lines = head.split("\r\n")
    first = _LINE.fullmatch(lines[0])
    ends = len(lines) - 1
    if first is None or head.count("\n") != ends or head.count("\r") != ends or "\0" in head:
        raise Malformed
    headers: dict[str, list[str]] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not _NAME.fullmatch(name):
            raise Malformed
        value = value.strip(" \t")
        known = headers.get(name)
        if known is None:
            headers[name] = [value]
        else:
            known.append(value)
    lengths = headers.get("content-length", ["0"])
    if len(lengths) != 1 or not _LENGTH.fullmatch(lengths[0]) or "transfer-encoding" in headers:
        raise Malformed
    whole = end + len(_END) + (length := int(lengths[0]))
    if length > max_body or len(data) > whole:
        raise Malformed
    return Asked(first[1], headers, data[whole - length :]) if len(data) == whole else None


def write(answer: Answer, *, with_body: bool = True) -> bytes:
    """An answer as it stands on the wire.

    Args:
        answer: what to say.
        with_body: false for an answer to HEAD (RFC 9110 section 9.3.2).

    Raises:
        ValueError: a header would end its line, or is not ASCII.
    """
    status, headers, content = answer
    body = content if with_body else b""
    lines = [f"HTTP/1.1 {status} {_phrase(status)}", *[f"{name}: {value}" for name, value in headers]]
    head = "\r\n".join(lines)
    # Bytes of a caller stand in some of these values; nobody may end a header and begin another.
    if head.count("\n") != len(headers) or head.count("\r") != len(headers):
        raise ValueError("a header holds the end of a line")
    return f"{head}\r\ncontent-length: {len(body)}\r\n\r\n".encode("ascii") + body


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


class InquirySocket:
    """Answers inquiries while the `async with` block runs; at its end those in progress are answered first.

    Args:
        handler: gives the answer; if it fails, the connection ends.
        path: of the Unix socket.
        max_body: bytes of a body.
    """

    def __init__(self, handler: Handler, path: Path, *, max_body: int) -> None:
        self.handler = handler
        self.max_body = max_body
        self.connections: set[_Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.stopping = False
        self._path = check_socket_path(path)
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._path.unlink(missing_ok=True)
        # Owner-only through the folder it lies in.
        self._server = await asyncio.get_running_loop().create_unix_server(
            lambda: _Connection(self), self._path, backlog=_BACKLOG
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stopping = True
        if self._server is not None:
            self._server.close()
        while self.tasks:
            await asyncio.wait(self.tasks)
        for connection in tuple(self.connections):
            connection.close()
        self._path.unlink(missing_ok=True)


class _Connection(asyncio.Protocol):
    """One connection of Envoy, which asks one thing at a time."""

    __slots__ = ("_held", "_socket", "_transport", "_working")

    def __init__(self, socket: InquirySocket) -> None:
        self._socket = socket
        self._transport: asyncio.Transport | None = None
        self._held = b""
        self._working = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Those of uvloop are no subclasses.
        self._transport = cast("asyncio.Transport", transport)
        if self._socket.stopping or len(self._socket.connections) >= _MAX_CONNECTIONS:
            self._transport.abort()
        self._socket.connections.add(self)

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        self._held = b""
        self._socket.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        self._held = self._held + data if self._held else data
        try:
            asked = None if self._working else read(self._held, self._socket.max_body)
        except Malformed:
            asked, self._working = None, True
        if self._working:
            # Unreadable, or another request before the answer: not our Envoy, or one that we do not understand.
            _LOG.warning("inquiry_malformed")
            self._end()
        elif asked is not None:
            self._held, self._working = b"", True
            task = asyncio.get_running_loop().create_task(self._answer(asked))
            self._socket.tasks.add(task)
            task.add_done_callback(self._socket.tasks.discard)

    async def _answer(self, asked: Asked) -> None:
        try:
            answer = write(await self._socket.handler(asked), with_body=asked.method != "HEAD")
        except Exception as error:  # noqa: BLE001  the last line: whatever it is, Envoy refuses, and the agent goes on
            _LOG.error("inquiry_failed", error=type(error).__name__, exc_info=error)
            self._end()
            return
        # Who has gone away meanwhile gets none; the record of the decision stands all the same.
        if self._transport is not None:
            self._transport.write(answer)
            self._working = False
            if self._socket.stopping:
                self._transport.close()

    def _end(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """End the connection after what was written."""
        if self._transport is not None:
            self._transport.close()
