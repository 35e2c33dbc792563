"""A hostile resolver or a forger on the way: on real sockets, in bounded time, and with nothing kept of it."""

import asyncio
import contextlib
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from dns.rdatatype import RdataType

from pki.dnssec import ChainValidator, DnssecState, Resolver, ResolverUnreachable
from pki.dnssec.exchange import MAX_STRAYS, MAX_STREAM, answers
from pki.dnssec.transport import question
from tests.fakes.dns import NOW, FakeDns, name

HOST = {"name": "ciz.nl", "records": {"register": ["127.0.0.1"]}}
REGISTER = "register.ciz.nl."
PATIENCE = 30.0
"""Seconds for who answers, however busy the machine is."""
TIMEOUT = 0.3
"""Seconds for who never does."""

Datagrams = Callable[[bytes], list[bytes]]
Stream = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Hostile(asyncio.DatagramProtocol):
    def __init__(self, reply: Datagrams) -> None:
        self._reply = reply

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        for wire in self._reply(data):
            self._transport.sendto(wire, addr)  # type: ignore[attr-defined]


@asynccontextmanager
async def hostile(reply: Datagrams, stream: Stream | None = None) -> AsyncIterator[int]:
    """A name server that answers datagrams by `reply` and connections by `stream`; none of those without it."""
    loop = asyncio.get_running_loop()
    open_: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_.add(asyncio.current_task())
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await (stream or _hang_up)(reader, writer)
        finally:
            open_.discard(asyncio.current_task())
            writer.close()

    while True:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = int(server.sockets[0].getsockname()[1])
        try:
            transport, _ = await loop.create_datagram_endpoint(lambda: Hostile(reply), local_addr=("127.0.0.1", port))
        except OSError:  # free for TCP, and taken for UDP
            server.close()
            await server.wait_closed()
        else:
            break
    try:
        yield port
    finally:
        transport.close()
        server.close()
        serving = [task for task in open_ if task is not None]
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving)
        await server.wait_closed()


async def _hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


def nothing(_: bytes) -> list[bytes]:
    return []


def truncated(data: bytes) -> list[bytes]:
    reply = dns.message.make_response(dns.message.from_wire(data))
    reply.flags |= dns.flags.TC
    return [reply.to_wire()]


def honest(network: FakeDns) -> Stream:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            length = int.from_bytes(await reader.readexactly(2), "big")
            query = dns.message.from_wire(await reader.readexactly(length))
            wire = network.responder.respond(query).to_wire(max_size=65535)
            writer.write(len(wire).to_bytes(2, "big") + wire)
            await writer.drain()
        writer.close()

    return serve


async def ask(port: int, rounds: int = 1, timeout: float = PATIENCE) -> dns.message.Message:  # noqa: ASYNC109  theirs
    return await Resolver([("127.0.0.1", port)], timeout=timeout, rounds=rounds).ask(name(REGISTER), RdataType.A)


def forged(data: bytes, address: str = "127.6.6.6") -> dns.message.Message:
    reply = dns.message.make_response(dns.message.from_wire(data))
    reply.answer.append(dns.rrset.from_text(REGISTER, 60, "IN", "A", address))
    return reply


async def test_a_forger_who_does_not_know_id_or_question_only_makes_us_use_tcp() -> None:
    network = FakeDns(HOST)

    def guess(data: bytes) -> list[bytes]:
        wire = forged(data).to_wire()
        return [((int.from_bytes(wire[:2], "big") + 1 + n) % 65536).to_bytes(2, "big") + wire[2:] for n in range(40)]

    async with hostile(guess, honest(network)) as port:
        answer = await ask(port)
        assert [record.to_text() for record in answer.answer[0]] == ["127.0.0.1"]
        resolver = Resolver([("127.0.0.1", port)], timeout=PATIENCE)
        result = await ChainValidator(resolver=resolver, anchors=network.anchors()).check(REGISTER, NOW)
        assert result.state is DnssecState.SECURE


@pytest.mark.parametrize("strays", [MAX_STRAYS, MAX_STRAYS + 1])
async def test_some_strays_are_passed_over_and_more_end_the_datagrams(strays: int) -> None:
    connections = 0

    async def count(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.close()

    def crowd(data: bytes) -> list[bytes]:
        return [b"\x00\x00"] * strays + [forged(data, "127.0.0.1").to_wire()]

    async with hostile(crowd, count) as port:
        if strays <= MAX_STRAYS:
            assert (await ask(port)).answer
        else:
            with pytest.raises(ResolverUnreachable):
                await ask(port)
    assert connections == int(strays > MAX_STRAYS)


async def test_the_right_answer_from_another_port_is_not_heard() -> None:
    loop = asyncio.get_running_loop()

    class Elsewhere(Hostile):
        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            other.sendto(forged(data).to_wire(), addr)

    other, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
    transport, _ = await loop.create_datagram_endpoint(lambda: Elsewhere(nothing), local_addr=("127.0.0.1", 0))
    try:
        with pytest.raises(ResolverUnreachable):
            await ask(transport.get_extra_info("sockname")[1], timeout=TIMEOUT)
    finally:
        transport.close()
        other.close()


async def test_an_answer_to_an_earlier_question_that_comes_late_is_not_heard() -> None:
    held: list[bytes] = []

    def late(data: bytes) -> list[bytes]:
        held.append(data)
        return [] if len(held) == 1 else [forged(held[0]).to_wire(), forged(data, "127.0.0.1").to_wire()]

    async with hostile(late) as port:
        answer = await ask(port, rounds=20, timeout=TIMEOUT)  # each question after the first is answered
    assert [record.to_text() for record in answer.answer[0]] == ["127.0.0.1"]


async def test_a_datagram_larger_than_was_asked_for_is_fetched_over_tcp() -> None:
    """It would have come in fragments, of which a forger needs to guess less."""
    network = FakeDns(HOST)

    def large(data: bytes) -> list[bytes]:
        reply = forged(data)
        reply.answer.append(dns.rrset.from_text(f"x.{REGISTER}", 60, "IN", "TXT", *[f'"{"x" * 250}"'] * 1, '"y"'))
        return [reply.to_wire() + b"\x00" * 1300]

    async with hostile(large, honest(network)) as port:
        answer = await ask(port)
    assert [record.to_text() for record in answer.answer[0]] == ["127.0.0.1"]


def promising(length: int, body: bytes) -> Stream:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(length.to_bytes(2, "big") + body)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
            await reader.read()
        writer.close()

    return serve


async def _drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A long answer, an octet at a time, for as long as anybody listens."""
    await reader.read(100)
    with contextlib.suppress(ConnectionError):
        for octet in (4000).to_bytes(2, "big") + b"\x00" * 4000:
            writer.write(bytes([octet]))
            await writer.drain()
            await asyncio.sleep(0.01)
    writer.close()


async def _flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """More than was promised, without end."""
    await reader.read(100)
    with contextlib.suppress(ConnectionError):
        while True:
            writer.write(b"\x0f\xa0" * 8192)
            await writer.drain()
    writer.close()


@pytest.mark.parametrize(
    "stream",
    [
        promising(0, b""),
        promising(11, b"\x00" * 11),
        promising(65535, b"\x00" * 65535),
        promising(MAX_STREAM + 1, b"\x00" * 100),
        promising(2000, b"\x00" * 10),
        promising(100, b"\x00" * 100),
        _drip,
        _flood,
        _hang_up,
    ],
    ids=["no octets", "no header", "most", "too long", "short", "another question", "drip", "flood", "hang up"],
)
async def test_lies_over_tcp_end_in_time(stream: Stream) -> None:
    async with hostile(truncated, stream) as port:
        started = time.monotonic()
        with pytest.raises(ResolverUnreachable):
            await ask(port, timeout=TIMEOUT)
        # The drip alone takes 40 seconds, the flood never ends.
        assert time.monotonic() - started < 20


async def test_a_flood_of_datagrams_is_not_kept() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Flood(Hostile):
        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:  # noqa: ARG002
            self._addr = addr
            self._more()

        def _more(self) -> None:
            if not stop.is_set():
                for _ in range(50):
                    self._transport.sendto(b"\xff" * 8000, self._addr)  # type: ignore[attr-defined]
                loop.call_soon(self._more)

    transport, _ = await loop.create_datagram_endpoint(lambda: Flood(nothing), local_addr=("127.0.0.1", 0))
    tracemalloc.start()
    try:
        with pytest.raises(ResolverUnreachable):
            await ask(transport.get_extra_info("sockname")[1], timeout=TIMEOUT)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        stop.set()
        transport.close()
    assert peak < 4_000_000


async def test_an_error_without_a_question_is_told_and_a_lie_with_a_wrong_one_is_not() -> None:
    def refuse(data: bytes) -> list[bytes]:
        return [data[:2] + b"\x81\x01" + b"\x00" * 8]

    async with hostile(refuse) as port:
        assert (await ask(port)).rcode() is dns.rcode.FORMERR
        resolver = Resolver([("127.0.0.1", port)], timeout=PATIENCE)
        result = await ChainValidator(resolver=resolver, anchors=FakeDns(HOST).anchors()).check(REGISTER, NOW)
    assert result.state is DnssecState.UNREACHABLE
    assert "the resolver answers FORMERR" in result.message


QUERY = question(name("a.nl."), RdataType.HTTPS).to_wire()
GOOD = dns.message.make_response(dns.message.from_wire(QUERY)).to_wire()
END = 12 + len(b"\x01a\x02nl\x00")


@pytest.mark.parametrize(
    ("data", "fits"),
    [
        (GOOD, True),
        (GOOD[:12] + GOOD[12:END].upper() + GOOD[END:], True),
        (b"", False),
        (GOOD[:11], False),
        (QUERY, False),  # our own question, sent back
        (bytes([GOOD[0] ^ 1]) + GOOD[1:], False),
        (GOOD[:2] + bytes([GOOD[2] | 0x08]) + GOOD[3:], False),  # another opcode
        (GOOD[:4] + b"\x00\x02" + GOOD[6:], False),
        (GOOD[:4] + b"\x00\x00" + GOOD[6:], False),  # no question, and no error
        (GOOD[: END - 3] + b"ml\x00" + GOOD[END:], False),
        (GOOD[:END] + b"\x00\x61" + GOOD[END + 2 :], False),  # type 97 is `a` where 65 is `A`
        (GOOD[: END + 2] + b"\x00\x03" + GOOD[END + 4 :], False),  # class CH
        (GOOD[: END + 3], False),
    ],
    ids=range(13),  # the octets hold a random id, and names of tests must be the same in each process
)
def test_what_counts_as_the_answer_to_a_question(data: bytes, fits: bool) -> None:  # noqa: FBT001
    assert answers(QUERY, data) is fits
