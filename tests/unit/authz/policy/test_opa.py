"""The engine over a server, against servers that answer badly."""

import asyncio
import contextlib
import json
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from authz.policy.engine import ACCESS_DECISION, PolicyUnavailable
from authz.policy.opa import MAX_ANSWER_BYTES, OpaServerEngine

PROVENANCE = {"provenance": {"version": "1.22.2", "bundles": {"default": {"revision": "r-7"}}}}
PERMIT = {"allow": True, "reasons": [], "policy_id": "X", "obligations": {}, "evaluations": []}
DENIAL = {**PERMIT, "allow": False, "reasons": ["no_rule"]}


def http(body: bytes, status: str = "200 OK", more: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


def answer(result: object = PERMIT, **more: object) -> bytes:
    return http(json.dumps({"result": result, **PROVENANCE, **more}).encode())


class Server:
    """Answers every request with the same bytes and remembers what was asked."""

    def __init__(self, raw: bytes | None) -> None:
        self._raw = raw
        self.requests: list[bytes] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                if self._raw is None:
                    await reader.read()
                    break
                writer.write(self._raw)
                await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def serving(raw: bytes | None, patience: Any = 60) -> AsyncIterator[tuple[OpaServerEngine, Server]]:
    # A short path: socket addresses have at most about 100 characters.
    with tempfile.TemporaryDirectory(prefix="opa-") as folder:
        path = str(Path(folder) / "s")
        server = Server(raw)
        listener = await asyncio.start_unix_server(server, path)
        async with listener, OpaServerEngine("http://opa", socket=path, timeout=patience) as engine:
            yield engine, server


async def test_a_permit_and_its_revision() -> None:
    async with serving(answer()) as (engine, server):
        assert engine.revision == ""
        decision = await engine.decide(ACCESS_DECISION, {"a": 1})
        assert (decision.allow, decision.revision, engine.revision) == (True, "r-7", "r-7")
        assert (await engine.decide(ACCESS_DECISION, b'{"a":1}')).allow is True
    first, second = server.requests
    assert first == second
    assert first.startswith(b"POST /v1/data/access/decision?provenance=true ")
    assert first.endswith(b'{"input":{"a":1}}')


async def test_a_denial_keeps_its_reasons() -> None:
    async with serving(answer(DENIAL)) as (engine, _):
        assert (await engine.decide(ACCESS_DECISION, {})).reasons == ("no_rule",)


@pytest.mark.parametrize(
    "raw",
    [
        http(b"", "500 Internal Server Error"),
        http(b"{}", "404 Not Found"),
        http(json.dumps({"result": PERMIT, **PROVENANCE}).encode(), "201 Created"),
        http(b"", "302 Found", "location: http://elsewhere/\r\n"),
        http(b""),
        http(b"{}"),
        http(json.dumps(PROVENANCE).encode()),
        answer([True]),
        answer({**PERMIT, "allow": "true"}),
        answer({**PERMIT, "allow": 1}),
        answer({**PERMIT, "reasons": ["x"]}),
        answer({**DENIAL, "reasons": []}),
        answer({**PERMIT, "evaluations": [{"allow": False, "reasons": ["x"]}]}),
        answer(provenance={}),
        answer(provenance={"bundles": {}}),
        answer(provenance={"bundles": {"default": {}}}),
        answer(provenance={"bundles": {"a": {"revision": "1"}, "b": {"revision": "2"}}}),
        http(b" " * (MAX_ANSWER_BYTES + 1)),
        b"nonsense\r\n\r\n",
    ],
)
async def test_an_answer_that_is_no_plain_decision_is_none(raw: bytes) -> None:
    async with serving(raw) as (engine, _):
        with pytest.raises(PolicyUnavailable):
            await engine.decide(ACCESS_DECISION, {})


async def test_a_server_that_is_late_is_unavailable_and_asked_once() -> None:
    async with serving(None, httpx.Timeout(60, read=0.1)) as (engine, server):
        with pytest.raises(PolicyUnavailable, match="late"):
            await engine.decide(ACCESS_DECISION, {})
        async with asyncio.timeout(60):
            while not server.requests:  # noqa: ASYNC110  it was sent, and is read when the server gets its turn
                await asyncio.sleep(0.01)
        assert len(server.requests) == 1


async def test_no_server_is_unavailable(tmp_path: Path) -> None:
    async with OpaServerEngine("http://opa", socket=str(tmp_path / "none")) as engine:
        with pytest.raises(PolicyUnavailable):
            await engine.decide(ACCESS_DECISION, {})


async def test_another_document_of_the_server_cannot_be_asked_for() -> None:
    async with serving(answer()) as (engine, server):
        for entrypoint in ("system/authz/allow", "../policies", "access/decision?x=1", ""):
            with pytest.raises(PolicyUnavailable):
                await engine.decide(entrypoint, {})
        assert not server.requests
