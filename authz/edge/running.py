"""What every service of ours does with its event loop, whatever it serves with: run it, settle its memory, stop it."""

import asyncio
import contextlib
import gc
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

import uvloop

from authz.domain.errors import SluisError

MAX_SOCKET_PATH: Final = 100
"""Characters; Linux allows 107 bytes in `sun_path`, other systems 103."""
_YOUNG_OBJECTS: Final = 10_000
"""Objects made before the collector looks at them; some twenty requests' worth, about 1 MB."""


class SocketPathTooLong(SluisError):  # noqa: N818
    """A Unix socket path does not fit in the system's address structure."""


def check_socket_path(path: Path) -> Path:
    """Return `path` when a Unix socket can be bound there.

    Raises:
        SocketPathTooLong: more than `MAX_SOCKET_PATH` characters.
    """
    if len(str(path)) > MAX_SOCKET_PATH:
        raise SocketPathTooLong(
            f"the socket path has {len(str(path))} characters, at most {MAX_SOCKET_PATH} fit: choose a shorter run_dir"
        )
    return path


def settle_memory() -> None:
    """Tell the garbage collector that what is loaded now stays.

    Schema, policies, modules and tables live as long as the process: walking through them again and again finds
    nothing. Requests hardly make cycles, so the young generation is looked at less often than after 700 objects, of
    which one request makes hundreds.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 20, 20)


@contextlib.contextmanager
def set_by_signals(stop: asyncio.Event) -> Iterator[asyncio.Event]:
    """SIGTERM and SIGINT set this event while the block runs."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(ValueError):
                loop.remove_signal_handler(number)


def run(main: Callable[[], Awaitable[int]]) -> int:
    """Run an async main function under uvloop and give its exit status."""

    async def wrapped() -> int:
        return await main()

    return uvloop.run(wrapped())
