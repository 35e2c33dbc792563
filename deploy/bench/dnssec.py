"""What a check of a domain costs: the whole chain from the root, and from memory.

The name server is the lab's own, on the loopback, in this process: a real resolver adds its own way.
"""

import asyncio
import json
import statistics
import time
from datetime import UTC, datetime

from deploy.bench.rows import Row
from deploy.lab.dns import Responder, Server, anchor_lines, build_zones, parse_config
from pki.dnssec import CachedStanding, ChainValidator, Resolver, parse_anchors

WARM_BUDGET = 1.0
"""Milliseconds, warm."""
_COLD, _WARM = 20, 2_000
_NAME = "agent.bench.nl"
_ZONES = {"zones": [{"name": "bench.nl", "records": {"agent": ["127.0.0.1"]}}]}


class BenchBroken(Exception):  # noqa: N818
    """What was to be measured did not work."""


def measure() -> list[Row]:
    """Check one secure name cold and warm. Takes about a second."""
    return asyncio.run(_measure())


async def _measure() -> list[Row]:
    zones = build_zones(parse_config(json.dumps(_ZONES)), datetime.now(UTC))
    async with Server(Responder(zones), host="127.0.0.1", port=0) as server:
        validator = ChainValidator(
            resolver=Resolver([("127.0.0.1", server.port)]), anchors=parse_anchors(anchor_lines(zones))
        )
        cold = [await _seconds(validator) for _ in range(_COLD)]
        standing = CachedStanding(validator)
        await _seconds(standing)
        warm = [await _seconds(standing) for _ in range(_WARM)]
    return [
        Row("DNSSEC chain from the root, first time", statistics.median(cold) * 1000, "ms"),
        Row("DNSSEC standing, warm", statistics.median(warm) * 1000, "ms", WARM_BUDGET),
        Row("DNSSEC standing, warm, p99", statistics.quantiles(warm, n=100)[98] * 1000, "ms", WARM_BUDGET),
    ]


async def _seconds(checker: ChainValidator | CachedStanding) -> float:
    at = datetime.now(UTC)
    started = time.perf_counter()
    result = await checker.check(_NAME, at)
    taken = time.perf_counter() - started
    if not result.secure:
        raise BenchBroken(f"the bench's own zone is {result.state}: {result.message}")
    return taken
