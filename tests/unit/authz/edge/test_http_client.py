"""What an answer leaves behind in a client: nothing."""

import ast
from pathlib import Path

import httpx
import pytest

import authz
import authz.policy.opa
import pki
import trust_agent
from authz.edge.http_client import http_client
from authz.edge.long_poll import LongPoll, Source, SourceRefused

URL = "http://pki.test/crl/issuing.crl"
EDGE = 32 * 1024
"""Bytes of headers that an edge reads."""


class Place:
    """An edge that limits headers, and somebody on the path to it who forges the first answer."""

    def __init__(self) -> None:
        self.forged = httpx.Response(404, headers=[("set-cookie", f"c{n}={'x' * 3900}; Path=/") for n in range(9)])
        self.asked: list[httpx.Request] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if len(self.asked) == 1:
            return self.forged
        if sum(len(name) + len(value) for name, value in request.headers.raw) > EDGE:
            return httpx.Response(431)
        return httpx.Response(200, content=b"list", headers={"etag": '"1"'})

    async def ask(self, client: httpx.AsyncClient) -> bool:
        async def take(_content: bytes, _etag: str | None) -> bool:
            return True

        poll = LongPoll(Source("x", URL, "text/plain", 100, take, lambda: client))
        with pytest.raises(SourceRefused, match="404"):
            await poll.fetch()
        return await poll.fetch()


async def test_one_forged_answer_full_of_cookies_does_not_end_the_following() -> None:
    place = Place()
    async with http_client(transport=httpx.MockTransport(place.answer)) as client:
        assert await place.ask(client)
        assert not list(client.cookies.jar)
    assert "cookie" not in place.asked[-1].headers


async def test_a_client_as_it_comes_would_ask_in_vain_for_ever() -> None:
    place = Place()
    async with httpx.AsyncClient(transport=httpx.MockTransport(place.answer)) as client:
        with pytest.raises(SourceRefused, match="431"):
            await place.ask(client)


async def test_a_client_goes_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    away = httpx.MockTransport(lambda _: httpx.Response(302, headers={"location": "http://169.254.169.254/"}))
    async with http_client(transport=away) as client:
        assert (await client.get(URL)).status_code == 302
    async with http_client() as client:
        assert not client.trust_env


def test_nobody_makes_a_client_in_another_way() -> None:
    made = {
        path.name
        for package in (authz, pki, trust_agent)
        for path in Path(package.__path__[0]).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"httpx.AsyncClient", "httpx.Client", "AsyncClient"}
    }
    # The engine over an OPA server is beside the edge and not above it (import contracts).
    assert made == {"http_client.py", "opa.py"}
    assert "DefaultCookiePolicy(allowed_domains=[])" in Path(authz.policy.opa.__file__).read_text("utf-8")
