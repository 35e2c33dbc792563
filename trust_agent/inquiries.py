"""The socket on which Envoy asks: HTTP/1.1, served by uvicorn in the event loop itself.

Specification: Envoy ext_authz, HTTP service. Why this is not the server of the other services: docs/decisions/0111.
Only our own Envoy reaches the socket, through a folder that is ours alone. For Envoy, whatever is not a 200 is a
refusal, so nothing that goes wrong here can be a permit.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Self

import msgspec
import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from authz.edge.running import check_socket_path

_LOG: Final = structlog.get_logger(__name__)
_BACKLOG: Final = 1024
_KEEP_ALIVE: Final = 2 * 3600
"""Seconds without a question. Envoy ends what it does not use after an hour; who ends it first must not be us, or a
question is on its way to a socket that is closed."""
_GRACE: Final = 30
"""Seconds for what is being answered when the agent stops."""
_HEAD: Final = "http.response.start"
_BODY: Final = "http.response.body"

Answer = tuple[int, Sequence[tuple[str, str]], bytes]
"""Status, headers and body; the length is added here."""
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


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


class InquirySocket:
    """Answers inquiries while the `async with` block runs; at its end those in progress are answered first.

    Args:
        handler: gives the answer; if it fails, the answer is an empty 500.
        path: of the Unix socket.
        max_body: bytes of a body.

    Raises:
        SocketPathTooLong: the path does not fit.
    """

    def __init__(self, handler: Handler, path: Path, *, max_body: int) -> None:
        self._handler = handler
        self._max_body = max_body
        self._path = check_socket_path(path)
        # What it would log of a defect is a text that may hold what a caller sent; `_answer` says what there is to say.
        logging.getLogger("uvicorn").setLevel(logging.CRITICAL + 1)
        config = uvicorn.Config(
            self._serve,
            uds=str(self._path),
            http=_Protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            backlog=_BACKLOG,
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=_GRACE,
        )
        self._server = _Server(config)
        self._serving: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._path.unlink(missing_ok=True)
        # Owner-only through the folder it lies in.
        self._serving = asyncio.create_task(self._server.serve())
        ready = asyncio.create_task(self._server.ready.wait())
        await asyncio.wait({self._serving, ready}, return_when=asyncio.FIRST_COMPLETED)
        if self._serving.done():
            ready.cancel()
            self._serving.result()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving
        self._path.unlink(missing_ok=True)

    async def _serve(self, scope: Message, receive: Receive, send: Send) -> None:
        status, headers, content = await self._answer(scope, receive)
        length = (b"content-length", str(len(content)).encode())
        await send({"type": _HEAD, "status": status, "headers": [*headers, length]})
        await send({"type": _BODY, "body": content})

    async def _answer(self, scope: Message, receive: Receive) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        try:
            body = await self._whole(receive)
            if body is None:
                return 413, [], b""
            asked = Asked(scope["method"], _by_name(scope["headers"]), body)
            status, headers, content = await self._handler(asked)
            return status, [_on_the_wire(name, value) for name, value in headers], content
        except _GoneError:
            # Of somebody who went away, nothing is wrong here.
            _LOG.info("inquiry_unfinished")
            return 400, [], b""
        except Exception as error:  # noqa: BLE001  the last line: whatever it is, Envoy refuses, and the agent goes on
            # Its text may hold what the caller sent, so only its kind is logged.
            _LOG.error("inquiry_failed", error_kind=type(error).__name__)
            return 500, [], b""

    async def _whole(self, receive: Receive) -> bytes | None:
        """The body, or None when it is over the limit."""
        parts: list[bytes] = []
        size = 0
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                raise _GoneError
            part = message.get("body", b"")
            parts.append(part)
            size += len(part)
            if size > self._max_body:
                return None
            more = message.get("more_body", False)
        return parts[0] if len(parts) == 1 else b"".join(parts)


class _GoneError(Exception):
    """The connection ended before all of the request was said."""


class _Protocol(HttpToolsProtocol):
    """Answers what is no HTTP in our own way: without words, and told in our own log."""

    def send_400_response(self, msg: str) -> None:
        del msg
        _LOG.warning("inquiry_malformed")
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        self.transport.close()


class _Server(uvicorn.Server):
    """Tells when it listens, and leaves signals to the agent, which has more to end than this."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: Any = None) -> None:  # noqa: ANN401  as uvicorn has it
        await super().startup(sockets)
        self.ready.set()


def _by_name(pairs: Sequence[tuple[bytes, bytes]]) -> dict[str, list[str]]:
    # Bytes above 127 may stand in values (RFC 9110 section 5.5); each becomes one character, and fits nothing later.
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1").strip(" \t"))
    return found


def _on_the_wire(name: str, value: str) -> tuple[bytes, bytes]:
    # Bytes of a caller stand in some of these values; nobody may end a header and begin another.
    if "\r" in value or "\n" in value or "\0" in value:
        raise ValueError("a header holds the end of a line")
    return name.encode("ascii"), value.encode("ascii")
