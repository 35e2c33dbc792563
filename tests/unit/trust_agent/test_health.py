"""Health and metrics: two pages, nothing else, and never on the socket where an answer 200 is a permit."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from authz.domain.reasons import Reason
from authz.edge.uds import uds_request
from trust_agent.health import HealthServer
from trust_agent.metrics import Metrics, exposition


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="sluis-h-"))
    yield made
    shutil.rmtree(made)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health", 503),
        ("POST", "/health", 405),
        ("GET", "/", 404),
        ("GET", "/health?x", 404),
        ("GET", "//health", 404),
    ],
)
async def test_only_the_pages_are_served(folder: Path, method: str, path: str, status: int) -> None:
    socket = folder / "s"
    pages = {"/health": lambda: (503, "application/json", b"{}")}
    async with HealthServer(pages, socket, ("127.0.0.1", 0)):
        assert (await uds_request(socket, method, path))[0] == status
    assert not socket.exists()


@pytest.mark.parametrize("sent", [b"\r\n\r\n", b"GET /health\r\n\r\n", b"\x00" * 20_000, b"GET"])
async def test_what_is_no_request_gets_nothing_and_breaks_nothing(folder: Path, sent: bytes) -> None:
    socket = folder / "s"
    async with HealthServer({"/health": lambda: (200, "text/plain", b"ok")}, socket, ("127.0.0.1", 0)):
        reader, writer = await asyncio.open_unix_connection(str(socket))
        writer.write(sent)
        writer.write_eof()
        assert b"200" not in await reader.read()
        writer.close()
        assert await uds_request(socket, "GET", "/health") == (200, b"ok")


def test_metrics_are_counted_by_reason() -> None:
    metrics = Metrics(permitted=3)
    metrics.refused[Reason.TOKEN_EXPIRED] += 2
    text = exposition(metrics, [("sluis_x", {"material": "jwks"}, 1.0), ("sluis_x", {"material": "crl"}, 0.0)])
    assert 'sluis_agent_decisions_total{outcome="permit",reason=""} 3' in text
    assert 'sluis_agent_decisions_total{outcome="refuse",reason="token_expired"} 2' in text
    assert text.count("# TYPE sluis_x gauge") == 1
