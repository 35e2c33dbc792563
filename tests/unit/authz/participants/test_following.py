"""Snapshots follow what is stored, and admit it when they no longer do."""

import asyncio

import pytest

from authz.domain.errors import SluisError
from authz.participants.following import Followed, Follower
from tests.fakes.clock import FixedClock


class Snapshot:
    def __init__(self) -> None:
        self.stored_version, self.held, self.broken = 1, 0, False
        self.reads, self.read = 0, asyncio.Event()

    async def stored(self) -> int:
        if self.broken:
            raise SluisError("down")
        return self.stored_version

    async def refresh(self) -> None:
        self.reads += 1
        self.held = self.stored_version
        self.read.set()

    def followed(self) -> Followed:
        return Followed("test", self.stored, lambda: self.held, self.refresh)


async def test_only_what_changed_is_read_again() -> None:
    snapshot = Snapshot()
    follower = Follower([snapshot.followed()], FixedClock())
    await follower.look()
    await follower.look()
    assert (snapshot.held, snapshot.reads) == (1, 1)
    snapshot.stored_version = 2
    await follower.look()
    assert (snapshot.held, snapshot.reads) == (2, 2)


async def test_a_follower_that_can_not_see_says_so() -> None:
    snapshot, clock = Snapshot(), FixedClock()
    follower = Follower([snapshot.followed()], clock)
    await follower.look()
    snapshot.broken = True
    seen = []
    for seconds in (0, 10, 1):
        clock.advance(seconds=seconds)
        seen.append(follower.blind)
    assert seen == [False, False, True]
    with pytest.raises(SluisError):
        await follower.look()


async def test_a_follower_recovers_by_itself() -> None:
    snapshot = Snapshot()
    follower = Follower([snapshot.followed()], FixedClock(), interval=0.001)
    assert follower.blind
    running = asyncio.create_task(follower.run())
    await asyncio.wait_for(snapshot.read.wait(), 25)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert snapshot.held == 1
