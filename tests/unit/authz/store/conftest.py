"""A database of each kind for the tests of the store."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from authz.store.database import Database
from tests.fakes.clock import FixedClock

if TYPE_CHECKING:
    from tests.fakes.postgres import PostgresServer


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.integration)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/authz.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.database()


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
async def database(url: str, clock: FixedClock) -> AsyncIterator[Database]:
    opened = Database(url, clock)
    await opened.start()
    try:
        yield opened
    finally:
        await opened.close()
