"""Free ports on the loopback for every listener of the lab.

Ports are taken below the range from which systems hand out ports for outgoing connections (32768 and up on Linux), so
that none is snatched away between choosing it here and the program's own bind a second later.
"""

import secrets
import socket
from collections.abc import Sequence
from contextlib import closing
from typing import Final

LOOPBACK: Final = "127.0.0.1"
_LOWEST: Final = 20_000
_HIGHEST: Final = 32_000
_ATTEMPTS: Final = 200


class PortsTaken(RuntimeError):  # noqa: N818  what happened
    """No free range of ports was found, or the chosen one is in use."""


def choose_ports(names: Sequence[str], start: int | None) -> dict[str, int]:
    """A free port for each name: consecutive from `start`, or from a free place when `start` is None.

    Raises:
        PortsTaken: a port of the wanted range is in use, or no range is free.
    """
    if start is not None:
        taken = [port for port in range(start, start + len(names)) if not _is_free(port)]
        if taken:
            raise PortsTaken(f"in use on {LOOPBACK}: {', '.join(map(str, taken))}; choose another --port")
        return dict(zip(names, range(start, start + len(names)), strict=True))
    for _ in range(_ATTEMPTS):
        first = _LOWEST + secrets.randbelow(_HIGHEST - _LOWEST - len(names))
        if all(_is_free(port) for port in range(first, first + len(names))):
            return dict(zip(names, range(first, first + len(names)), strict=True))
    raise PortsTaken(f"no {len(names)} consecutive free ports between {_LOWEST} and {_HIGHEST}")


def _is_free(port: int) -> bool:
    """Whether both TCP and UDP can be bound: the DNS server answers on both."""
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with closing(socket.socket(socket.AF_INET, kind)) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                return False
    return True
