"""How much processor time one check took, and only that one, while others run between its steps.

A clock on the wall would blame a zone for a busy machine, and a clock of the whole process for its neighbours. So the
steps of the check are measured one by one: from where the event loop goes on with it to where it waits again.
"""

import time
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


class Meter:
    """Adds up the processor time of the steps of coroutines that it runs.

    Args:
        clock: processor seconds of this thread.
    """

    def __init__(self, clock: Callable[[], float] = time.thread_time) -> None:
        self._clock = clock
        self._before = 0.0
        self._began: float | None = None

    @property
    def seconds(self) -> float:
        """Used so far, the running step included."""
        running = 0.0 if self._began is None else self._clock() - self._began
        return self._before + running

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Awaitable[Result]:
        """`coroutine`, to be awaited in its place."""
        return _Metered(coroutine, self)

    def begin(self) -> None:
        """A step begins."""
        self._began = self._clock()

    def end(self) -> None:
        """A step ended."""
        self._before, self._began = self.seconds, None


class _Metered(Generic[Result]):
    def __init__(self, coroutine: Coroutine[Any, Any, Result], meter: Meter) -> None:
        self._coroutine = coroutine
        self._meter = meter

    def __await__(self) -> Generator[Any, Any, Result]:
        """What `await` does (PEP 492, PEP 380), with a look at the clock around each step."""
        step: Callable[[], Any] = lambda: self._coroutine.send(None)  # noqa: E731  replaced below by what came back
        while True:
            self._meter.begin()
            try:
                awaited = step()
            except StopIteration as done:
                result: Result = done.value
                return result
            finally:
                self._meter.end()
            step = yield from self._wait(awaited)

    def _wait(self, awaited: Any) -> Generator[Any, Any, Callable[[], Any]]:  # noqa: ANN401  the loop's own signal
        """Hand what is waited for to the event loop; returns how the coroutine goes on."""
        try:
            value = yield awaited
        except GeneratorExit:
            self._coroutine.close()
            raise
        except BaseException as error:  # noqa: BLE001  cancellation, above all, is the coroutine's to answer
            thrown = error
            return lambda: self._coroutine.throw(thrown)
        return lambda: self._coroutine.send(value)
