"""OCSP answers signed ahead of time: how fast, how much memory, and what giving one costs.

    python -m deploy.bench.ocsp

A register of its own on SQLite, in a temporary folder; responder, rounds and transactions are the product's own. What
is served is measured without HTTP: from the bytes of the question to the bytes of the answer.
"""

import asyncio
import statistics
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from deploy.bench import crl
from deploy.bench.rows import Row
from pki.app import OpenAuthority
from pki.ocsp.ahead import Wanted
from pki.ocsp.key import issuer_hashes
from pki.ocsp.messages import GOOD
from pki.ocsp.responder import Responder
from pki.ocsp.rounds import PAGE, Rounds

CERTIFICATES: Final = 4_000
ASKED: Final = 300


def measure(number: int = CERTIFICATES, asked: int = ASKED) -> list[Row]:
    """Measure everything; takes a few seconds.

    Args:
        number: certificates in the register.
        asked: questions that are asked one by one, in each situation.
    """
    with tempfile.TemporaryDirectory(prefix="sluis-ocsp-bench") as folder:
        return asyncio.run(_measure(Path(folder), number, asked))


async def _measure(folder: Path, number: int, asked: int) -> list[Row]:
    async with crl.authority(folder) as (_, pki):
        await crl.fill(pki, number, "active")
        signing, size = await _signing(pki)
        responder = Responder(pki.database, pki.cas, pki.clock)
        some = [item.serial_number for item in await pki.find(status="active", limit=asked)]
        questions = [_question(pki, int(serial, 16)) for serial in some]
        await responder.refresh()
        first = [await _ask(responder, der) for der in questions]
        rounds = Rounds(pki.database, responder, pki.clock)
        started = time.perf_counter()
        await rounds.round()
        took = time.perf_counter() - started
        kept = [await _ask(responder, der) for der in questions]
        if responder.given != {"asked": asked, "ahead": asked} or len(responder.ahead[pki.cas[0].name]) != number:
            raise RuntimeError("an answer was not signed ahead")
    return [
        Row("OCSP: certificates signed ahead, two answers each, one core", signing, "/s"),
        Row("OCSP: the same in the background, with its pauses", number / took, "/s"),
        Row("OCSP: memory of answers signed ahead, each certificate", size, "bytes"),
        Row("OCSP: an answer signed ahead is given, median", statistics.median(kept), "ms"),
        Row("OCSP: an answer that is signed when asked for, median", statistics.median(first), "ms"),
    ]


async def _signing(pki: OpenAuthority) -> tuple[float, float]:
    """Certificates a second without reading and pauses, and bytes of memory for each."""
    responder = Responder(pki.database, pki.cas, pki.clock)
    ahead, key = responder.ahead[pki.cas[0].name], await responder.key(pki.cas[0].name)
    at = pki.clock.now().replace(microsecond=0)
    started = time.perf_counter()
    for first in range(0, CERTIFICATES, PAGE):
        wanted = [Wanted(1 << 158 | number, GOOD) for number in range(first, first + PAGE)]
        ahead.keep(ahead.sign(key, wanted, 1, at))
    took = time.perf_counter() - started
    weighed = Responder(pki.database, pki.cas, pki.clock).ahead[pki.cas[0].name]
    tracemalloc.start()
    try:
        weighed.keep(ahead.sign(key, [Wanted(1 << 158 | number, GOOD) for number in range(PAGE * 10)], 1, at))
        size = tracemalloc.get_traced_memory()[0] / (PAGE * 10)
    finally:
        tracemalloc.stop()
    return CERTIFICATES / took, size


def _question(pki: OpenAuthority, serial_number: int) -> bytes:
    kind, name, key = issuer_hashes(pki.cas[0])[1]
    if kind != "sha256":
        raise RuntimeError("expected SHA-256")
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(name, key, serial_number, hashes.SHA256())
    return builder.build().public_bytes(Encoding.DER)


async def _ask(responder: Responder, der: bytes) -> float:
    """Milliseconds until the answer is there."""
    started = time.perf_counter()
    answer = await responder.answer("issuing-tst", der)
    if answer.window is None:
        raise RuntimeError("there is no answer")
    return (time.perf_counter() - started) * 1000


if __name__ == "__main__":
    for row in measure():
        print(f"{row.what:60} {row.measured:10,.3f} {row.unit}")
