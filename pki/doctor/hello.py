"""Asking a server which TLS versions and suites it would take, one ClientHello at a time.

Specification: RFC 8446 and RFC 5246 (ClientHello, ServerHello), RFC 8446 section 4.1.4 (an empty key share asks for a
HelloRetryRequest, which names the suite without any key being made). Written out byte by byte because the local TLS
library cannot offer what it was built without, and exactly the old and the weak is what must be refused.

Sends no data, proves nothing about certificates, and reads at most one record of the answer.
"""

import asyncio
import os
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from pki.dnssec.handshake import TIMEOUT, NotReached

_HANDSHAKE, _ALERT = 22, 21
_CLIENT_HELLO, _SERVER_HELLO = 1, 2
_SUPPORTED_VERSIONS = 43
_MAX_RECORD: Final = 16_640
_MIN_SERVER_HELLO: Final = 38
_GROUPS: Final = (29, 23, 24, 25, 30, 256, 257)
_SIGNATURES: Final = (0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0203, 0x0201, 0x0807)


class TlsVersion(IntEnum):
    """Versions by their number on the wire."""

    SSL_3 = 0x0300
    TLS_1_0 = 0x0301
    TLS_1_1 = 0x0302
    TLS_1_2 = 0x0303
    TLS_1_3 = 0x0304

    @property
    def label(self) -> str:
        """As people write it."""
        return "SSL 3.0" if self is TlsVersion.SSL_3 else f"TLS 1.{self - TlsVersion.TLS_1_0}"


@dataclass(frozen=True, slots=True)
class ServerChoice:
    """What the server chose."""

    version: int
    suite: int


async def choose(
    address: tuple[str, int], host: str, version: TlsVersion, suites: tuple[int, ...]
) -> ServerChoice | None:
    """What the server chooses of an offer; None when it refuses all of it.

    Args:
        address: where to connect.
        host: sent as SNI.
        version: the only version that is offered.
        suites: the suites that are offered.

    Raises:
        NotReached: no connection at all.
    """
    try:
        async with asyncio.timeout(TIMEOUT):
            reader, writer = await asyncio.open_connection(*address)
    except (OSError, TimeoutError) as error:
        raise NotReached(f"no connection to {address[0]} port {address[1]}") from error
    try:
        async with asyncio.timeout(TIMEOUT):
            writer.write(client_hello(host, version, suites))
            await writer.drain()
            kind, _, length = struct.unpack("!BHH", await reader.readexactly(5))
            body = await reader.readexactly(length) if length <= _MAX_RECORD else b""
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        # A server that hangs up on an offer refuses it.
        return None
    finally:
        writer.close()
    return server_choice(kind, body, version, suites)


def client_hello(host: str, version: TlsVersion, suites: tuple[int, ...]) -> bytes:
    """One ClientHello in one record."""
    modern = version >= TlsVersion.TLS_1_2
    extensions = [
        _extension(0, _vector(2, b"\x00" + _vector(2, host.encode("ascii")))),
        _extension(10, _vector(2, b"".join(struct.pack("!H", group) for group in _GROUPS))),
        _extension(11, _vector(1, b"\x00")),
        _extension(0xFF01, b"\x00"),
    ]
    if modern:
        extensions.append(_extension(13, _vector(2, b"".join(struct.pack("!H", code) for code in _SIGNATURES))))
    if version is TlsVersion.TLS_1_3:
        extensions.append(_extension(_SUPPORTED_VERSIONS, _vector(1, struct.pack("!H", version))))
        extensions.append(_extension(51, _vector(2, b"")))
    body = (
        struct.pack("!H", min(version, TlsVersion.TLS_1_2))
        + os.urandom(32)
        + _vector(1, os.urandom(32) if version is TlsVersion.TLS_1_3 else b"")
        + _vector(2, b"".join(struct.pack("!H", suite) for suite in suites))
        + _vector(1, b"\x00")
        + (_vector(2, b"".join(extensions)) if version > TlsVersion.SSL_3 else b"")
    )
    message = bytes([_CLIENT_HELLO]) + struct.pack("!I", len(body))[1:] + body
    return struct.pack("!BHH", _HANDSHAKE, min(version, TlsVersion.TLS_1_0), len(message)) + message


def server_choice(kind: int, body: bytes, offered: TlsVersion, suites: tuple[int, ...]) -> ServerChoice | None:
    """Read the first record of the answer; None for a refusal and for anything that is no answer to the offer."""
    if kind != _HANDSHAKE or len(body) < 4 + _MIN_SERVER_HELLO or body[0] != _SERVER_HELLO:
        return None
    try:
        session = body[38]
        position = 39 + session
        (suite,) = struct.unpack_from("!H", body, position)
        version = _selected_version(body, position + 3, struct.unpack_from("!H", body, 4)[0])
    except (struct.error, IndexError):
        return None
    # A server that answers an offer with another version or suite does not take the offer.
    return ServerChoice(version, suite) if version == offered and suite in suites else None


def _selected_version(body: bytes, position: int, legacy: int) -> int:
    end = 4 + int.from_bytes(body[1:4], "big")
    if position + 2 > end:
        return legacy
    position += 2
    while position + 4 <= min(end, len(body)):
        number, length = struct.unpack_from("!HH", body, position)
        if number == _SUPPORTED_VERSIONS:
            return int(struct.unpack_from("!H", body, position + 4)[0])
        position += 4 + length
    return legacy


def _vector(size: int, content: bytes) -> bytes:
    return len(content).to_bytes(size, "big") + content


def _extension(number: int, content: bytes) -> bytes:
    return struct.pack("!H", number) + _vector(2, content)
