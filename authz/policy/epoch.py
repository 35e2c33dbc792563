"""The time bound of evaluations: a thread that advances the epoch of every live Wasm engine.

wasmtime interrupts an evaluation whose deadline, counted in epochs, has passed. Somebody has to count: one daemon
thread for the whole process, which holds engines weakly and so keeps none alive.
"""

import threading
import time
import weakref

import wasmtime

TICK_SECONDS = 0.025
"""Length of one epoch in seconds: the grain of every time limit."""

_engines: "weakref.WeakSet[wasmtime.Engine]" = weakref.WeakSet()
_lock = threading.Lock()
_state: dict[str, threading.Thread] = {}


def keep_ticking(engine: wasmtime.Engine) -> None:
    """Advance the epoch of this engine for as long as it lives; starts the thread when none runs (as after a fork)."""
    with _lock:
        _engines.add(engine)
        thread = _state.get("ticker")
        if thread is None or not thread.is_alive():
            _state["ticker"] = threading.Thread(target=_tick, name="policy-epoch", daemon=True)
            _state["ticker"].start()


def _tick() -> None:
    while True:
        time.sleep(TICK_SECONDS)
        _advance()


def _advance() -> None:
    # A function of its own: its variables must not hold an engine over the sleep that nobody uses any more.
    with _lock:
        engines = list(_engines)
    for engine in engines:
        engine.increment_epoch()
