"""Writers take turns: nobody is passed over, and who dies or gives up holds up nobody."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from pki.store import lane as module
from pki.store.lane import WriterLane

ROOT = Path(__file__).parents[4]
TURNS = 60
_UNCEASING = """
import asyncio, sys, time
from pathlib import Path
from pki.store.lane import WriterLane

async def main(lane, diary):
    print("ready", flush=True)
    while True:
        async with lane.turn():
            diary.write(b".")
            time.sleep(0.005)  # as long as a short transaction

with open(sys.argv[2], "ab", buffering=0) as diary:
    asyncio.run(main(WriterLane(Path(sys.argv[1])), diary))
"""


@contextmanager
def unceasing(lane: Path, diary: Path) -> Iterator[None]:
    """A process that wants a turn again as soon as it gave one back, and notes each; killed at the end."""
    command = [sys.executable, "-c", _UNCEASING, str(lane), str(diary)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            yield
        finally:
            process.kill()


async def test_who_waits_is_not_passed_over_by_one_that_never_ceases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    diary = tmp_path / "diary"
    diary.touch()
    lane = WriterLane(tmp_path / "lane")
    passed: list[int] = []
    behind: list[int] = []
    locked = module._locked

    @asynccontextmanager
    async def noted(path: Path) -> AsyncIterator[None]:
        async with locked(path):
            if path.name.endswith(".next"):
                behind.append(diary.stat().st_size)
            yield

    monkeypatch.setattr(module, "_locked", noted)
    with unceasing(tmp_path / "lane", diary):
        for _ in range(TURNS):
            before = diary.stat().st_size
            async with asyncio.timeout(30):
                while diary.stat().st_size == before:  # noqa: ASYNC110  the other one is at it
                    await asyncio.sleep(0.001)
            asked = diary.stat().st_size
            async with lane.turn():
                now = diary.stat().st_size
                passed.append(now - asked)
                behind[-1] = now - behind[-1]
                await asyncio.sleep(0.005)
    # Who has the chair is passed by nobody but the one that is in the room. Until we have it, also by the one that
    # sat on it; by more only while this machine lets us not run.
    assert len(behind) == TURNS
    assert max(behind) <= 1
    assert sorted(passed)[TURNS // 2] <= 2


async def test_a_process_that_is_killed_gives_everything_back(tmp_path: Path) -> None:
    for _ in range(5):
        with unceasing(tmp_path / "lane", tmp_path / "diary"):
            pass
        async with asyncio.timeout(30), WriterLane(tmp_path / "lane").turn():
            pass


async def test_one_that_gives_up_waiting_holds_up_nobody(tmp_path: Path) -> None:
    """In the room, on the chair and behind it: whoever is cancelled, the others get their turn."""
    lanes = [WriterLane(tmp_path / "lane") for _ in range(4)]  # as in four processes: locks are of the open file
    order: list[int] = []
    inside, leave = asyncio.Event(), asyncio.Event()

    async def visit(number: int) -> None:
        async with lanes[number].turn():
            order.append(number)
            inside.set()
            await leave.wait()

    visits = [asyncio.create_task(visit(0))]
    await inside.wait()
    for number in (1, 2, 3):
        visits.append(asyncio.create_task(visit(number)))
        await asyncio.sleep(0.05)  # lets a thread come to its lock, which nothing tells
    visits[1].cancel()
    await asyncio.sleep(0.05)
    visits[2].cancel()
    leave.set()
    async with asyncio.timeout(30):
        await visits[3]
        await visits[0]
    assert order == [0, 3]
