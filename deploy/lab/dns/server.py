"""UDP and TCP on one loopback port in front of a `Responder`."""

import asyncio
from typing import Protocol, Self, cast

import dns.exception
import dns.flags
import dns.message

MAX_UDP_WITHOUT_EDNS = 512
MAX_MESSAGE = 65535
_ATTEMPTS = 20
_TCP_IDLE_SECONDS = 5.0


class Answering(Protocol):
    """What answers one query; None leaves the question unanswered."""

    def respond(self, query: dns.message.Message) -> dns.message.Message | None:
        """The answer, or None for silence."""
        ...


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Python 3.11's own datagram transport does not derive from DatagramTransport, so isinstance would say no.
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        try:
            query = dns.message.from_wire(data)
        except dns.exception.DNSException:
            return
        response = self._answering.respond(query)
        if response is not None and self._transport is not None:
            self._transport.sendto(as_datagram(query, response), addr)


def as_datagram(query: dns.message.Message, response: dns.message.Message) -> bytes:
    """The answer in UDP form: emptied and marked truncated when it does not fit what the query allows."""
    limit = max(query.payload, MAX_UDP_WITHOUT_EDNS) if query.edns >= 0 else MAX_UDP_WITHOUT_EDNS
    wire = response.to_wire(max_size=MAX_MESSAGE)
    if len(wire) <= limit:
        return wire
    short = dns.message.make_response(query, our_payload=1232, recursion_available=True)
    short.flags |= dns.flags.AA | dns.flags.TC
    short.set_rcode(response.rcode())
    return short.to_wire()


class Server:
    """The lab's name server.

    Args:
        answering: a `Responder`, or a test's own.
        host: a loopback address.
        port: 0 takes a free one; see `port` after `start`.
    """

    def __init__(self, answering: Answering, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._answering = answering
        self._host = host
        self.port = port
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None

    async def start(self) -> int:
        """Listen on UDP and TCP; returns the port.

        Raises:
            OSError: the configured port is taken, or no port was free for both.
        """
        loop = asyncio.get_running_loop()
        for attempt in range(1, _ATTEMPTS + 1):
            self._tcp = await asyncio.start_server(self._serve_stream, self._host, self.port)
            port = int(self._tcp.sockets[0].getsockname()[1])
            try:
                self._udp, _ = await loop.create_datagram_endpoint(
                    lambda: _Datagrams(self._answering), local_addr=(self._host, port)
                )
            except OSError:
                # A port that is free for TCP may be taken for UDP; with port 0 another one is tried.
                self._tcp.close()
                await self._tcp.wait_closed()
                if self.port or attempt == _ATTEMPTS:
                    raise
                continue
            self.port = port
            break
        return self.port

    async def stop(self) -> None:
        """Stop listening."""
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()
            await self._tcp.wait_closed()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _serve_stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                async with asyncio.timeout(_TCP_IDLE_SECONDS):
                    length = int.from_bytes(await reader.readexactly(2), "big")
                    data = await reader.readexactly(length)
                response = self._answering.respond(dns.message.from_wire(data))
                if response is None:
                    return
                wire = response.to_wire(max_size=MAX_MESSAGE)
                writer.write(len(wire).to_bytes(2, "big") + wire)
                await writer.drain()
        except (asyncio.IncompleteReadError, TimeoutError, ConnectionError, dns.exception.DNSException):
            # The client is done, too slow or not speaking DNS: nothing is owed to it.
            return
        finally:
            writer.close()
