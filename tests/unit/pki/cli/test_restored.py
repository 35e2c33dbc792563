"""`pki restored` as an operator uses it after a backup was put back."""

import asyncio
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import select

from pki.cli.main import main
from pki.store.database import Database
from pki.store.register import Register, StoredCrl
from pki.store.tables import changes
from tests.fakes.domains import RunningDns

pytestmark = pytest.mark.parametrize("config", ["sqlite"], indirect=True)
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(config: Path, domains: RunningDns, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    config.write_text(config.read_text() + domains.settings)
    monkeypatch.setenv("SLUIS_PKI_CONFIG", str(config))
    monkeypatch.chdir(config.parent)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pki", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        captured = capsys.readouterr()
        return int(caught.value.code or 0), captured.out, captured.err

    return run


async def newest(path: Path) -> StoredCrl:
    database = Database(f"sqlite+aiosqlite:///{path}")
    async with database.read() as connection:
        assert (await connection.execute(select(changes.c.version))).scalar_one() > 0
        [crl] = await Register(connection).crls()
    await database.close()
    return crl


def issue(run: Run, number: int) -> None:
    status, _, errors = run(
        *("issue", "--identity", f"uzovi:{number}", "--organization", "Zorgkantoor Test", "--kvk", "12345678"),
        *("--dns", "a.example.nl", "--new-key", f"{number}.key", "--out", f"{number}.pem"),
    )
    assert status == 0, errors


def test_a_register_of_before_a_revocation_learns_of_it(run: Run, config: Path, ca_folder: Path) -> None:
    file = config.parent / "pki.sqlite3"
    issue(run, 5000)
    issue(run, 6000)
    shutil.copy(file, config.parent / "backup")
    assert run("revoke", "--identity", "uzovi:5000", "--reason", "keyCompromise")[0] == 0
    published = asyncio.run(newest(file))
    (config.parent / "last.crl").write_bytes(x509.load_der_x509_crl(published.der).public_bytes(Encoding.PEM))
    shutil.copy(config.parent / "backup", file)

    status, out, errors = run("restored", "--crl", str(ca_folder / "root.crl"))
    assert (status, out) == (2, "")
    assert errors.startswith("refused (crl_invalid): ")
    assert run("restored")[0] == 2
    assert run("restored", "--crl", "absent.crl")[0] == 1
    status, out, errors = run("restored", "--crl", "last.crl", "--json")
    assert status == 0, errors
    told = json.loads(out)
    assert told["crls"] == {published.issuer: published.number + 1}
    assert len(told["revoked"]) == 1
    assert (told["held"], told["unknown"], told["codes_withdrawn"]) == ([], [], [])
    assert asyncio.run(newest(file)).number == published.number + 1
    rows = json.loads(run("list", "--json")[1])
    assert sorted(row["status"] for row in rows) == ["active", "revoked"]
    # Said to a person, and a second time: nothing more to do.
    _, out, _ = run("restored", "--crl", "last.crl")
    assert out == f"{published.issuer}: CRL {published.number + 2} is published\n"
