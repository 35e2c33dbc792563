"""A hundred deelnemers whose endpoints hang delay the look at an honest one by seconds, at a restart as at any time."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from authz.audit.own import OwnRecords
from authz.directory.endpoints import (
    LONGEST_RETRY,
    QUICK_LOOK,
    QUICK_OF_ONE_HOLDER,
    QUICK_ROOM,
    SLOW_ROOM,
    EndpointWatch,
)
from authz.grants.audience import DaneState
from authz.participants.model import DaneRule
from tests.fakes.clock import FixedClock
from tests.fakes.virtual_time import run_virtually
from tests.unit.authz.directory.test_endpoints import Log, service

MATCHED, MISMATCHED, UNREACHABLE = DaneState.MATCHED, DaneState.MISMATCHED, DaneState.UNREACHABLE
UNCHECKED = DaneState.UNCHECKED
EVERY = 3600.0
HOSTILE = 100
FULL_TURN = -(-HOSTILE // QUICK_ROOM) * QUICK_LOOK
"""Seconds until every one of them had its look and was cut off."""
Answer = Callable[[int], Awaitable[DaneState]]


async def hang(_look: int) -> DaneState:
    await asyncio.Event().wait()
    raise AssertionError


def after(seconds: float, *states: DaneState) -> Answer:
    async def answer(look: int) -> DaneState:
        await asyncio.sleep(seconds)
        return states[min(look, len(states) - 1)]

    return answer


class World:
    """Endpoints by host, what each does, and a watch in virtual time."""

    def __init__(self, endpoints: dict[str, tuple[str, Answer]]) -> None:
        self.began: dict[str, list[float]] = {host: [] for host in endpoints}
        self.most: Counter[str] = Counter()
        self.most_slow = 0
        self._endpoints = endpoints
        self._open: Counter[str] = Counter()
        self._slow = 0
        self.log = Log()
        self.book = SimpleNamespace(
            services=[service(holder, host) for host, (holder, _) in endpoints.items()], version=1
        )
        registry = SimpleNamespace(by_identifier=lambda who: SimpleNamespace(id=who, dane=DaneRule.REQUIRED), version=1)
        own = OwnRecords(cast("Any", self.log), FixedClock(), "sluis/authz")
        self.watch = EndpointWatch(
            cast("Any", self.book), cast("Any", registry), self, own, EVERY,
            pause=1.0, monotonic=lambda: asyncio.get_running_loop().time(),
        )  # fmt: skip

    async def look(self, host: str, _port: int) -> DaneState:
        holder, answer = self._endpoints[host]
        looks, now = self.began[host], asyncio.get_running_loop().time()
        looks.append(now)
        self._open[holder] += 1
        self._open["everybody"] += 1
        self.most |= self._open
        try:
            return await answer(len(looks) - 1)
        finally:
            self._open[holder] -= 1
            self._open["everybody"] -= 1

    def state(self, host: str) -> DaneState | None:
        return self.watch.dane(f"https://{host}:443/x")

    async def run(self, seconds: float, *, until: Callable[[], bool] | None = None) -> float:
        """Watch until something is so, at most so long; the moment when it ended."""
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        ends, running = loop.time() + seconds, asyncio.create_task(self.watch.run(stop))
        if until is None:
            await asyncio.sleep(seconds)
        else:
            while loop.time() < ends and not until():  # noqa: ASYNC110  what is waited for has no event
                await asyncio.sleep(0.25)
        found = loop.time()
        stop.set()
        await running
        return found


def world(honest: dict[str, tuple[str, Answer]], each: int = 1, evil: Answer = hang) -> World:
    """Hostile deelnemers, all of whom stand in the address book before the honest ones."""
    hostile = {f"evil{n}-{k}.nl": (f"evil{n}", evil) for n in range(HOSTILE) for k in range(each)}
    return World(hostile | honest)


@pytest.mark.parametrize("each", [1, 5, 20])
def test_an_honest_endpoint_waits_one_turn_however_many_endpoints_a_hostile_deelnemer_has(each: int) -> None:
    async def work() -> None:
        found = world({"honest.nl": ("honest", after(0.1, MATCHED))}, each)
        moment = await found.run(600, until=lambda: found.state("honest.nl") is MATCHED)
        assert found.began["honest.nl"][0] <= FULL_TURN - QUICK_LOOK
        assert moment <= FULL_TURN
        # Everybody but the one holder keeps within his part, and all of them within the room.
        assert found.most["everybody"] <= QUICK_ROOM + SLOW_ROOM
        assert max(count for name, count in found.most.items() if name != "everybody") <= QUICK_OF_ONE_HOLDER + 1

    run_virtually(work())


def test_a_deelnemer_with_one_endpoint_that_hangs_waits_no_longer_for_the_others() -> None:
    async def work() -> None:
        mine = {"dead.nl": ("honest", hang)} | {f"a{n}.nl": ("honest", after(0.1, MATCHED)) for n in range(4)}
        found = world(mine, each=5)
        moment = await found.run(600, until=lambda: all(found.state(f"a{n}.nl") is MATCHED for n in range(4)))
        assert moment <= FULL_TURN + 2 * QUICK_LOOK

    run_virtually(work())


@pytest.mark.parametrize("seconds", [2.5, 3.9, 7.5])
def test_who_is_slow_and_honest_gets_the_time_that_he_needs(seconds: float) -> None:
    async def work() -> None:
        found = world({"slow.nl": ("honest", after(seconds, MATCHED))})
        moment = await found.run(900, until=lambda: found.state("slow.nl") is MATCHED)
        assert found.state("slow.nl") is MATCHED
        # Through the lane of the slow ones, in which each of the hundred hangs as long as it may.
        assert moment <= 200

    run_virtually(work())


def test_a_newcomer_is_looked_at_while_hundreds_of_others_hang() -> None:
    async def work() -> None:
        found = world({"late.nl": ("late", after(0.1, MATCHED))}, each=4)
        late = found.book.services.pop()
        await found.run(100)
        assert found.began["late.nl"] == []
        found.book.services.append(late)
        found.book.version = 2
        begun = asyncio.get_running_loop().time()
        moment = await found.run(60, until=lambda: found.state("late.nl") is MATCHED)
        assert moment - begun <= QUICK_LOOK

    run_virtually(work())


def test_those_who_answer_at_the_last_moment_hold_up_nobody_either() -> None:
    """Not a look that is cut off, but one that is never wrong to wait for: it ends just in time, with a refusal."""

    async def work() -> None:
        evil = after(QUICK_LOOK - 0.01, MISMATCHED)
        found = world({"honest.nl": ("honest", after(0.1, MISMATCHED, MATCHED))}, each=5, evil=evil)
        moment = await found.run(600, until=lambda: found.state("honest.nl") is MATCHED)
        # The second look is of one that did not match once, among five hundred that did not either.
        assert moment <= 2 * FULL_TURN

    run_virtually(work())


def test_who_hangs_for_ever_is_told_once_and_looked_at_once_a_minute() -> None:
    async def work() -> None:
        found = World({"dead.nl": ("dead", hang), "slow.nl": ("slow", after(3, MATCHED))})
        await found.run(QUICK_LOOK + 0.5)
        # Nothing was found out yet, so nothing is said; it does not count either.
        assert (found.state("dead.nl"), found.log.told()) == (UNCHECKED, [])
        assert found.watch.looked.is_set()
        found = World({"dead.nl": ("dead", hang), "slow.nl": ("slow", after(3, MATCHED))})
        await found.run(EVERY)
        assert (found.state("dead.nl"), found.state("slow.nl")) == (UNREACHABLE, MATCHED)
        assert found.log.told() == [("unchecked", "unreachable")]
        # Who needs three seconds, and fits, is looked at once an hour.
        assert len(found.began["slow.nl"]) == 2
        looks = found.began["dead.nl"]
        gaps = [later - sooner for sooner, later in itertools.pairwise(looks)]
        # What a look may take and a pause, both of which grow; with the whole time, from begin to begin.
        expected = [2 + 0.5, 4 + 1, 8 + 2, 16 + 4, 20, 20, 32]
        assert all(0 <= gap - least <= 0.5 for gap, least in zip(gaps, expected, strict=False)), gaps[:6]
        assert all(LONGEST_RETRY <= gap <= LONGEST_RETRY + 0.5 for gap in gaps[len(expected) :])

    run_virtually(work())


@pytest.mark.parametrize(("first", "ends"), [(MISMATCHED, MISMATCHED), (UNREACHABLE, MATCHED)])
def test_who_does_not_fit_and_then_hangs_keeps_no_match(first: DaneState, ends: DaneState) -> None:
    async def answer(look: int) -> DaneState:
        if look > 1:
            await asyncio.Event().wait()
        return (MATCHED, first)[look]

    async def work() -> None:
        found = World({"a.nl": ("a", answer)})
        await found.run(EVERY + 60)
        assert found.state("a.nl") is ends

    run_virtually(work())


def test_a_match_outlives_hanging_for_two_intervals_and_not_longer() -> None:
    async def answer(look: int) -> DaneState:
        if look:
            await asyncio.Event().wait()
        return MATCHED

    async def work() -> None:
        found = World({"a.nl": ("a", answer)})
        await found.run(2 * EVERY - 1)
        assert found.state("a.nl") is MATCHED
        await found.run(2)
        assert found.state("a.nl") is UNREACHABLE
        assert found.log.told() == [("matched", "unreachable")]

    run_virtually(work())
