"""One question to one address: the datagram or the stream, in bounded time and memory.

Specification: RFC 5452 section 9 (an answer fits the question in id, question, addresses and ports), RFC 7766 (TCP),
DNS flag day 2020 (no fragments). The source address and port of the answer are the kernel's to check: the socket is
connected. Letters of a name are not mixed at random (0x20): records are signed, and the only thing that a forger who
hits id and port can win is a check that fails.
"""

import asyncio
from typing import Final

from authz.domain.errors import SluisError

EDNS_PAYLOAD: Final = 1232
"""Bytes of UDP payload that we accept; avoids IP fragmentation."""
MAX_STREAM: Final = 32 * 1024
"""Bytes of an answer over TCP. Sixteen RSA keys of 4096 bits with their signatures are half of that."""
MAX_STRAYS: Final = 16
"""Datagrams that are no answer before TCP is used, where nobody can guess their way in (RFC 5452 section 9.3)."""
_HEADER: Final = 12
_QUESTION_TAIL: Final = 4
_RESPONSE, _OPCODE, _TRUNCATED, _RCODE = 0x8000, 0x7800, 0x0200, 0x000F
_ERRORS_WITHOUT_QUESTION: Final = frozenset({1, 2, 4, 5})
"""FORMERR, SERVFAIL, NOTIMP, REFUSED: some servers send them with the header only."""


class Unfit(SluisError):  # noqa: N818  says what the answer is
    """Something answered, and it cannot be used; the text says why."""


async def exchange(query: bytes, address: tuple[str, int], seconds: float) -> bytes:
    """Ask over UDP, and over TCP when the answer is truncated, too long for a datagram, or lost among forgeries.

    Args:
        query: with exactly one question.
        address: IP address and port.
        seconds: for each of the two.

    Raises:
        TimeoutError, OSError, EOFError: no answer.
        Unfit: an answer over TCP that does not fit.
    """
    async with asyncio.timeout(seconds):
        data = await _by_datagram(query, address)
    if data is not None:
        return data
    async with asyncio.timeout(seconds):
        return await _by_stream(query, address)


def answers(query: bytes, data: bytes) -> bool:
    """Whether a message is a response to a query: same id, same opcode, same question; letters may differ in case."""
    if len(data) < _HEADER or data[:2] != query[:2]:
        return False
    flags = _number(data, 2)
    if not flags & _RESPONSE or flags & _OPCODE != _number(query, 2) & _OPCODE:
        return False
    if _number(data, 4) == 0:
        return flags & _RCODE in _ERRORS_WITHOUT_QUESTION
    asked = _question(query)
    echoed = data[_HEADER : _HEADER + len(asked)]
    name, tail = asked[:-_QUESTION_TAIL], asked[-_QUESTION_TAIL:]
    # Lengths of labels are below 64, so no length is mistaken for a letter.
    return _number(data, 4) == 1 and echoed[: len(name)].lower() == name.lower() and echoed[len(name) :] == tail


def _question(query: bytes) -> bytes:
    end = _HEADER
    while query[end]:
        end += query[end] + 1
    return query[_HEADER : end + 1 + _QUESTION_TAIL]


def _number(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big")


class _Listening(asyncio.DatagramProtocol):
    """Waits for the one datagram that answers; the others are counted, and nothing of them is kept or parsed."""

    def __init__(self, query: bytes, answer: asyncio.Future[bytes | None]) -> None:
        self._query = query
        self._answer = answer
        self._strays = 0

    def datagram_received(self, data: bytes, _addr: tuple[str, int]) -> None:
        """Take it, or count it."""
        if self._answer.done():
            return
        if not answers(self._query, data):
            self._strays += 1
            if self._strays > MAX_STRAYS:
                self._answer.set_result(None)
        elif len(data) > EDNS_PAYLOAD or _number(data, 2) & _TRUNCATED:
            self._answer.set_result(None)
        else:
            self._answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        """The other side is not there (ICMP)."""
        if not self._answer.done():
            self._answer.set_exception(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        """Closed by us, or broken."""
        if not self._answer.done():
            self._answer.set_exception(exc or EOFError())


async def _by_datagram(query: bytes, address: tuple[str, int]) -> bytes | None:
    """The answer; None when datagrams will not do."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[bytes | None] = loop.create_future()
    # A new socket for each question, and so a new port that the kernel draws.
    transport, _ = await loop.create_datagram_endpoint(lambda: _Listening(query, answer), remote_addr=address)
    try:
        transport.sendto(query)
        return await answer
    finally:
        answer.cancel()
        transport.abort()


async def _by_stream(query: bytes, address: tuple[str, int]) -> bytes:
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(len(query).to_bytes(2, "big") + query)
        await writer.drain()
        length = _number(await reader.readexactly(2), 0)
        if not _HEADER <= length <= MAX_STREAM:
            raise Unfit(f"an answer of {length} bytes; expected {_HEADER} to {MAX_STREAM}")
        data = await reader.readexactly(length)
    finally:
        # Whatever else it sends is not waited for.
        writer.transport.abort()
    if not answers(query, data):
        raise Unfit("an answer to another question")
    return data
