"""What many tests share: components that must be there, and the folder of published vectors."""

import json
import os
import secrets
import shutil
import socket
from pathlib import Path

import pytest


def missing(what: str) -> None:
    """Skip because `what` is missing, or fail where nothing may be missing (`SLUIS_TEST_REQUIRE=all`, as in CI)."""
    message = f"missing component: {what}"
    if os.environ.get("SLUIS_TEST_REQUIRE") == "all":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def require(program: str) -> str:
    """The path of a program that a test needs, also where a system keeps servers outside PATH."""
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin:/sbin")
    if found is None:
        missing(program)
        raise AssertionError
    return found


def vectors() -> Path:
    """The folder with published data: `SLUIS_VECTORS`, or `../shared/vectors` beside the checkout."""
    folder = Path(os.environ.get("SLUIS_VECTORS") or Path(__file__).parents[2] / "shared" / "vectors")
    if not folder.is_dir():
        missing("published vectors (SLUIS_VECTORS or ../shared/vectors)")
    return folder


def count(what: str, number: int = 1) -> None:
    """Add to a figure that the test run prints at its end (`tests.run`), for example DNSSEC scenarios."""
    if folder := os.environ.get("SLUIS_COUNTS"):
        with (Path(folder) / f"{os.getpid()}.jsonl").open("a") as file:
            file.write(json.dumps({what: number}) + "\n")


def free_port() -> int:
    """A port of the loopback for TCP and UDP that a program may take later, without anybody taking it before.

    Below the range from which systems hand out ports (32768 and up on Linux), and beside that of the lab. Other test
    processes are told by a name that the kernel gives once, and takes back when this process ends.
    """
    for _ in range(1000):
        port = 10_000 + secrets.randbelow(10_000)
        with socket.socket(socket.AF_UNIX) as claim:
            try:
                claim.bind(f"\0sluis-test-port-{port}")
                _require_free(port)
            except OSError:
                continue
            claim.detach()
            return port
    raise AssertionError("no free port")


def _require_free(port: int) -> None:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            probe.bind(("127.0.0.1", port))
