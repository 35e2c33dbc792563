"""A plain mutator for machines without atheris, and for a moment's run among the unit tests."""

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.fuzz.targets import Target

SLOW = 2.0
"""Seconds of processor time after which one input counts as a failure."""
MAX_LENGTH = 64 * 1024
_TELLING = (0, 1, 0x7F, 0x80, 0x81, 0x82, 0x84, 0xFF, 0x30, 0x31, 0xC0)


@dataclass(frozen=True)
class Found:
    """An input with which something came out that must not."""

    data: bytes
    why: str


def mutations(seeds: Sequence[bytes], chance: random.Random) -> Iterator[bytes]:
    """Endless variations of the seeds."""
    while True:
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
            _mutate(data, seeds, chance)
        yield bytes(data[:MAX_LENGTH])


def _mutate(data: bytearray, seeds: Sequence[bytes], chance: random.Random) -> None:
    at = chance.randrange(len(data) + 1)
    upto = min(len(data), at + chance.choice((1, 2, 4, 8, 64)))
    match chance.randrange(7):
        case 0 if at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        case 1 if at < len(data):
            data[at] = chance.choice(_TELLING)
        case 2:
            del data[at:upto]
        case 3:
            data[at:at] = data[at:upto]
        case 4:
            data[at:upto] = chance.randbytes(upto - at)
        case 5:
            other = chance.choice(seeds)
            begin = chance.randrange(len(other) + 1)
            data[at:upto] = other[begin : begin + chance.choice((4, 32, 256))]
        case _:
            del data[at:]


def search(target: Target, *, seconds: float, seed: int, stop_at: int = 1) -> tuple[int, list[Found]]:
    """Feed variations for a while; returns how many, and what was found."""
    chance = random.Random(seed)  # noqa: S311  repeatable, not secret
    seeds = list(target.seeds())
    end, runs, found = time.monotonic() + seconds, 0, []
    for data in mutations(seeds, chance):
        begin = time.process_time()
        try:
            target.run(data)
        except Exception as error:  # noqa: BLE001  that is what is looked for
            found.append(Found(data, f"{type(error).__name__}: {error}"))
        if (took := time.process_time() - begin) > SLOW:
            found.append(Found(data, f"took {took:.1f} s"))
        runs += 1
        if len(found) >= stop_at or time.monotonic() > end:
            break
    return runs, found
