"""One authorization server for all tests of this folder: what each test sends is small, starting a server is not."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.fakes.authorization_server import AuthorizationServer, authorization_server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def authz(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AuthorizationServer]:
    async with authorization_server(tmp_path_factory.mktemp("authz")) as server:
        yield server
