"""One authorization server for all tests of this folder: what each test sends is small, starting a server is not."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.fakes.authorization_server import AuthorizationServer, authorization_server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def authz(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AuthorizationServer]:
    folder: Path = tmp_path_factory.mktemp("authz")
    async with authorization_server(folder) as server:
        yield server
