"""An authority of real files and a real database, on SQLite and on PostgreSQL."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from authz.edge.settings import load_settings
from pki.app import OpenAuthority, open_authority
from pki.ceremony import CeremonyPlan, hold_ceremony
from pki.settings import PkiSettings
from tests.fakes.clock import FixedClock
from tests.fakes.domains import EXAMPLE, EveryName, RunningDns, running_dns
from tests.fakes.softhsm import SoftHsm, module

if TYPE_CHECKING:
    from tests.fakes.postgres import PostgresServer

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
PASSPHRASE = b"correct horse battery staple"


@pytest.fixture(scope="session")
def ca_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of one ceremony, shared by all tests; each has a database of its own."""
    folder = tmp_path_factory.mktemp("ceremony")
    secret = folder / "issuing.passphrase"
    secret.write_bytes(PASSPHRASE)
    secret.chmod(0o600)
    hold_ceremony(
        CeremonyPlan(
            folder=folder / "ca",
            organization="Sluis test",
            environment="TST",
            base_url="http://127.0.0.1:18080",
            listen_port=18080,
            root_passphrase=PASSPHRASE,
            issuing_passphrase=PASSPHRASE,
            issuing_passphrase_file=secret,
        ),
        # The command line reads the real clock, other tests a fixed one: the CA is older than both.
        min(NOW, datetime.now(UTC)) - timedelta(days=1),
    )
    return folder / "ca"


@pytest.fixture(scope="session")
def hsm(tmp_path_factory: pytest.TempPathFactory) -> SoftHsm:
    """Tokens of a real PKCS#11 module."""
    tokens = SoftHsm(tmp_path_factory.mktemp("hsm"), module())
    tokens.start()
    return tokens


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.integration)])
def config(request: pytest.FixtureRequest, ca_folder: Path, tmp_path: Path) -> Path:
    """A settings file of the authority with an empty database of its own."""
    if request.param == "sqlite":
        database = f'file = "{tmp_path / "pki.sqlite3"}"'
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        database = f'url = "{server.database()}"'
    text = (ca_folder / "pki.toml").read_text()
    text = text.replace('file = "pki.sqlite3"', database)
    for name in ("root.crt", "root.crl", "issuing-tst.crt", "issuing-tst.key.pem"):
        text = text.replace(f'"{name}"', f'"{ca_folder / name}"')
    text = text.replace('"../issuing.passphrase"', f'"{ca_folder.parent / "issuing.passphrase"}"')
    path = tmp_path / "pki.toml"
    path.write_text(text)
    return path


@pytest.fixture(scope="session")
def domains(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDns]:
    """A name server under which every name below example.nl is secure."""
    with running_dns(tmp_path_factory.mktemp("dns"), EXAMPLE) as server:
        yield server


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOW)


@pytest.fixture
def settings(config: Path) -> PkiSettings:
    return load_settings(PkiSettings, config)


@pytest.fixture
async def pki(settings: PkiSettings, clock: FixedClock) -> AsyncIterator[OpenAuthority]:
    # Domains have tests of their own (test_onboarding.py).
    async with open_authority(settings, clock, validator=EveryName()) as opened:
        yield opened
