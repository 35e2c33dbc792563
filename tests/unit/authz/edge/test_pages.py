"""The operator's pages: fixed paths, GET only, and labels that cannot break out of their line."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from authz.edge.pages import PageServer, exposition
from authz.edge.uds import uds_request


async def page() -> tuple[int, str, bytes]:
    return 200, "text/plain", b"up 1\n"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/metrics", 200), ("GET", "/metrics?x=1", 200), ("GET", "/other", 404), ("POST", "/metrics", 405)],
)
async def test_only_known_paths_are_answered(method: str, path: str, status: int) -> None:
    async with PageServer({"/metrics": page}, ("127.0.0.1", 0)) as server, httpx.AsyncClient(trust_env=False) as client:
        answer = await client.request(method, f"http://127.0.0.1:{server.port}{path}")
    assert answer.status_code == status


async def test_head_has_the_headers_and_no_body_and_another_method_is_told_what_is_allowed() -> None:
    async with PageServer({"/metrics": page}, ("127.0.0.1", 0)) as server, httpx.AsyncClient(trust_env=False) as client:
        where = f"http://127.0.0.1:{server.port}/metrics"
        head, got, wrong = [await client.request(method, where) for method in ("HEAD", "GET", "DELETE")]
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers == got.headers
    assert wrong.headers["allow"] == "GET, HEAD"


async def test_an_endless_head_is_not_read() -> None:
    async with PageServer({"/metrics": page}, ("127.0.0.1", 0)) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /metrics HTTP/1.1\r\nx: " + b"a" * 20_000)
        try:
            assert await reader.read() == b""
        except ConnectionResetError:
            pass
        finally:
            writer.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="sluis-h-"))
    yield made
    shutil.rmtree(made)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/metrics", 200), ("POST", "/metrics", 405), ("GET", "/", 404), ("GET", "//metrics", 404)],
)
async def test_the_supervisor_has_the_same_pages_on_a_socket(folder: Path, method: str, path: str, status: int) -> None:
    socket = folder / "s"
    socket.touch()  # left behind by one that was killed
    async with PageServer({"/metrics": page}, ("127.0.0.1", 0), socket):
        assert (await uds_request(socket, method, path))[0] == status
    assert not socket.exists()


@pytest.mark.parametrize("sent", [b"\r\n\r\n", b"GET /metrics\r\n\r\n", b"\x00" * 20_000, b"GET"])
async def test_what_is_no_request_gets_nothing_and_breaks_nothing(folder: Path, sent: bytes) -> None:
    socket = folder / "s"
    async with PageServer({"/metrics": page}, ("127.0.0.1", 0), socket):
        reader, writer = await asyncio.open_unix_connection(str(socket))
        writer.write(sent)
        writer.write_eof()
        assert b"200" not in await reader.read()
        writer.close()
        assert await uds_request(socket, "GET", "/metrics") == (200, b"up 1\n")


def test_a_label_cannot_break_out_of_its_line() -> None:
    text = exposition([("a", {"b": 'x"} 1\nc 2\\'}, 3), ("n_total", {}, 1), ("a", {"b": "y"}, 4)])
    assert text == '# TYPE a gauge\na{b="x\\"} 1\\nc 2\\\\"} 3\na{b="y"} 4\n# TYPE n_total counter\nn_total 1\n'
