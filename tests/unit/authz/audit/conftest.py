"""A log of a few records in a real database, and the key that signs it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from authz.audit.checkpoint import Checkpointer
from authz.audit.note_key import FileNoteSigner
from authz.audit.own import OwnRecords
from authz.store.audit_log import StoredAuditLog
from authz.store.database import Database
from tests.fakes.clock import FixedClock

ORIGIN = "log.example.nl/audit"


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture(scope="session")
def signer() -> FileNoteSigner:
    return FileNoteSigner(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(range(32))))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "authz.db"


@pytest.fixture
async def database(path: Path, clock: FixedClock) -> AsyncIterator[Database]:
    opened = Database(f"sqlite+aiosqlite:///{path}", clock)
    await opened.start()
    try:
        yield opened
    finally:
        await opened.close()


@pytest.fixture
def log(database: Database) -> StoredAuditLog:
    return StoredAuditLog(database)


@pytest.fixture
def own(database: Database, clock: FixedClock) -> OwnRecords:
    return OwnRecords(database, clock, "sluis/authz")


@pytest.fixture
def checkpointer(log: StoredAuditLog, own: OwnRecords, signer: FileNoteSigner) -> Checkpointer:
    return Checkpointer(store=log, own=own, signer=signer)
