"""One small HTTP request over a Unix socket, for the supervisor and its health checks.

Not a general client: HTTP/1.1 without chunks from our own programs, read until they close the connection.
"""

import asyncio
from pathlib import Path
from typing import Final

MAX_ANSWER: Final = 1024 * 1024
"""Bytes; Envoy's statistics are the largest thing asked for."""


async def uds_request(socket: Path, method: str, target: str) -> tuple[int, bytes]:
    """Ask once.

    Args:
        socket: the Unix socket.
        method: GET or POST.
        target: path and query.

    Returns:
        Status and body.

    Raises:
        OSError: nobody listens.
        ValueError: the answer is not HTTP or is too long.
    """
    reader, writer = await asyncio.open_unix_connection(str(socket))
    try:
        head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        writer.write(head.encode("ascii"))
        await writer.drain()
        answer = bytearray()
        while data := await reader.read(64 * 1024):
            answer += data
            if len(answer) > MAX_ANSWER:
                raise ValueError("the answer is too long")
    finally:
        writer.close()
    head_bytes, separator, body = bytes(answer).partition(b"\r\n\r\n")
    parts = head_bytes.split(b" ", 2)
    if not separator or not parts[0].startswith(b"HTTP/1."):
        raise ValueError("not an HTTP answer")
    if b"transfer-encoding: chunked" in head_bytes.lower():
        body = _unchunk(body)
    return int(parts[1]), body


def _unchunk(data: bytes) -> bytes:
    found = bytearray()
    while data:
        size, _, rest = data.partition(b"\r\n")
        length = int(size, 16)
        found += rest[:length]
        data = rest[length + 2 :] if length else b""
    return bytes(found)
