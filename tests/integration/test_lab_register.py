"""A register of the lab as its own process on a Unix socket."""

import asyncio
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from deploy.lab.register import people

pytestmark = pytest.mark.integration


@pytest.fixture
async def register() -> AsyncIterator[httpx.AsyncClient]:
    # Not tmp_path: the path of a Unix socket has to be short.
    folder = Path(tempfile.mkdtemp())
    socket = folder / "register.sock"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "deploy.lab.register", "--schema", "indicatie", "--uds", str(socket)
    )
    try:
        async with httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=str(socket)), base_url="http://register"
        ) as client:
            async with asyncio.timeout(90):
                await ready(client)
            yield client
    finally:
        process.terminate()
        assert await process.wait() == 0
        shutil.rmtree(folder)


async def ready(client: httpx.AsyncClient) -> None:
    while True:
        try:
            if (await client.get("/health")).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            await asyncio.sleep(0.02)


async def test_a_register_answers_the_agent_and_nobody_else(register: httpx.AsyncClient) -> None:
    query = "query ($id: UUID!) {wlzIndicatie(where: {wlzindicatieID: {eq: $id}}) {bsn}}"
    body = {"query": query, "variables": {"id": people.indication_id("5000")}}
    answer = await register.post("/iwlz/indicatieregister/v2/graphql", json=body, headers={"claims": "e30"})
    assert answer.status_code == httpx.codes.OK
    assert answer.headers["content-type"] == "application/graphql-response+json"
    assert answer.json() == {"data": {"wlzIndicatie": [{"bsn": people.indications()[0]["bsn"]}]}}
    assert (await register.post("/iwlz/indicatieregister/v2/graphql", json=body)).status_code == httpx.codes.FORBIDDEN
