"""The load generator for machines without oha: plain asyncio streams, HTTP/1.1, one process.

It shares the processor with what it measures and spends as much of it, so a figure made with it is a lower bound.
"""

import asyncio
import ssl
from collections import Counter
from time import perf_counter
from typing import Final

import httpx

from deploy.bench.load import Load, LoadFailed, Measured
from deploy.lab.ports import LOOPBACK

_ANSWER_TIMEOUT: Final = 10.0
_PERCENT: Final = 100


class _Connection:
    """One TLS connection at a time; opened when it is needed."""

    def __init__(self, load: Load, context: ssl.SSLContext) -> None:
        self._url = httpx.URL(load.url)
        self._context = context
        self._keep_alive = load.keep_alive
        body = load.content.read_bytes()
        lines = [f"POST {self._url.raw_path.decode()} HTTP/1.1", f"host: {self._url.netloc.decode()}"]
        lines += [f"{name}: {value}" for name, value in load.headers.items()]
        lines += [f"content-length: {len(body)}", f"connection: {'keep-alive' if load.keep_alive else 'close'}"]
        self._request = ("\r\n".join(lines) + "\r\n\r\n").encode() + body
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def exchange(self) -> int:
        """Send the request once and read its answer; returns the status."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(
                LOOPBACK, self._url.port, ssl=self._context, server_hostname=self._url.host
            )
        reader, writer = self._streams
        writer.write(self._request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        status = int(head.split(" ", 2)[1])
        await _read_body(reader, head)
        if not self._keep_alive or "\r\nconnection: close" in head:
            self.close()
        return status

    def close(self) -> None:
        """Drop the connection, if there is one."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def _read_body(reader: asyncio.StreamReader, head: str) -> None:
    headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
    if headers.get("transfer-encoding") == "chunked":
        while size := int((await reader.readline()).split(b";")[0], 16):
            await reader.readexactly(size + 2)
        await reader.readline()
    else:
        await reader.readexactly(int(headers.get("content-length", "0")))


async def run_python(load: Load) -> Measured:
    """Measure with this client.

    Raises:
        LoadFailed: no request was answered at all.
    """
    context = ssl.create_default_context(cafile=str(load.anchors))
    context.load_cert_chain(load.credentials.chain, load.credentials.key)
    latencies: list[float] = []
    statuses: Counter[int] = Counter()
    errors: Counter[str] = Counter()
    begun = perf_counter()
    end = begun + load.seconds
    due = _schedule(load, begun)

    async def work() -> None:
        connection = _Connection(load, context)
        while (moment := next(due)) < end:
            if moment > (now := perf_counter()):
                await asyncio.sleep(moment - now)
            sent = moment if load.rate else perf_counter()
            if sent >= end:
                break
            try:
                async with asyncio.timeout(_ANSWER_TIMEOUT):
                    statuses[await connection.exchange()] += 1
            except (OSError, EOFError, TimeoutError, ValueError) as error:
                errors[type(error).__name__] += 1
                connection.close()
            else:
                latencies.append(perf_counter() - sent)
        connection.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(load.connections):
            group.create_task(work())
    if not latencies:
        raise LoadFailed(f"no request was answered: {dict(errors)}")
    elapsed = perf_counter() - begun
    return Measured(len(latencies) / elapsed, _at(latencies, 50), _at(latencies, 99), dict(statuses), dict(errors))


class _schedule:  # noqa: N801  reads as the function that it stands for
    """When each next request is due: evenly spaced in an open loop, at once in a closed one."""

    def __init__(self, load: Load, begun: float) -> None:
        self._step = 1 / load.rate if load.rate else 0.0
        self._next = begun

    def __next__(self) -> float:
        moment = self._next
        self._next += self._step
        return moment


def _at(latencies: list[float], percent: int) -> float:
    """A percentile in milliseconds (nearest rank)."""
    ranked = sorted(latencies)
    return ranked[min(len(ranked) - 1, len(ranked) * percent // _PERCENT)] * 1000
