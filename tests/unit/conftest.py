"""What unit tests of several packages share."""

from collections.abc import Iterator

import pytest

from tests.fakes.postgres import PostgresServer


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server of our own; each test makes a database in it."""
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.stop()
