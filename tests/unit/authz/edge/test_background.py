"""A loop in the background survives every exception, and says when it has not succeeded for long."""

import asyncio

import pytest
from structlog.testing import capture_logs

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from authz.edge import background
from authz.edge.background import Loop, Trouble, keep_running


class Act:
    """Raises what it was given, one after the other, then ends the loop."""

    def __init__(self, *outcomes: Exception | None) -> None:
        self.outcomes = list(outcomes)
        self.stop = asyncio.Event()
        self.calls = 0

    async def __call__(self) -> None:
        self.calls += 1
        outcome = self.outcomes.pop(0)
        if not self.outcomes:
            self.stop.set()
        if outcome is not None:
            raise outcome


class Monotonic:
    """Moves when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("error", [RuntimeError("x"), LookupError("y"), TimeoutError(), RecursionError()])
async def test_no_exception_ends_a_loop(error: Exception) -> None:
    act = Act(error, error, None)
    loop = Loop("sweep", act, 0.001)
    await loop.run(act.stop)
    assert act.calls == 3
    assert loop.trouble.count == 0


async def test_a_loop_that_fails_or_hangs_is_silent_for_longer_and_longer() -> None:
    clock = Monotonic()
    act = Act(None, RuntimeError())
    loop = Loop("sweep", act, 0.001, clock)
    clock.now += 5
    assert loop.silent_for == 5
    act.outcomes = [None]
    await loop.run(act.stop)
    assert loop.silent_for == 0
    act.stop.clear()
    act.outcomes = [RuntimeError()]
    clock.now += 90
    await loop.run(act.stop)
    assert loop.silent_for == 90


async def test_what_runs_by_itself_is_run_again_when_it_fails_and_not_when_it_is_ready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(background, "_FIRST_PAUSE", 0.001)
    stop, runs = asyncio.Event(), 0

    async def run() -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise RuntimeError

    await keep_running("shipping", run, stop)
    assert runs == 3


async def test_cancelling_ends_it() -> None:
    async def run() -> None:
        await asyncio.Event().wait()

    task = asyncio.create_task(keep_running("x", run, asyncio.Event()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_the_log_holds_kinds_and_not_what_others_sent_and_not_every_time() -> None:
    trouble = Trouble("feed")
    with capture_logs() as logs:
        for _ in range(9):
            trouble.failed(ValueError("secret of somebody"))
        trouble.over()
        trouble.failed(Refused(Reason.CRL_INVALID, "our own sentence"))
    assert "secret" not in repr(logs)
    assert [entry["times"] for entry in logs if entry["event"] == "failed"] == [1, 2, 4, 8, 1]
    assert "our own sentence" in logs[-1]["why"]
