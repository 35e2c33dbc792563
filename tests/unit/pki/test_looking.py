"""Looking at the register needs no key, and a database that is not there is told with where and why."""

import json
from pathlib import Path

import pytest

from authz.edge.settings import SettingsError, load_settings
from pki import ca_settings
from pki.settings import PkiSettings
from pki.store.database import Database, StoreUnavailable
from tests.unit.pki.cli.test_main import ISSUE, Run, run  # noqa: F401  a fixture

SQLITE = pytest.mark.parametrize("config", ["sqlite"], indirect=True)


@SQLITE
def test_a_list_opens_no_key_and_no_token(
    run: Run,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert run(*ISSUE, "--new-key", "a.key", "--out", "a.pem").status == 0

    def never(*_: object) -> None:
        raise AssertionError

    for kind in (ca_settings.FileIssuerSettings, ca_settings.TokenIssuerSettings):
        monkeypatch.setattr(kind, "open", never)
    [found] = json.loads(run("list", "--json").out)
    assert run("list", "--serial", found["serial_number"], "--out", "again.pem").status == 0
    assert (tmp_path / "again.pem").read_bytes() == (tmp_path / "a.pem").read_bytes()
    assert run("revoke", "--serial", found["serial_number"]).err.startswith("failed (defect): AssertionError")


@SQLITE
def test_a_database_that_cannot_be_used_is_told_with_where_and_why(run: Run, config: Path) -> None:  # noqa: F811
    good = config.read_text()
    place = config.parent / "pki.sqlite3"
    config.write_text(good.replace(str(place), str(config.parent / "nowhere" / "pki.sqlite3")))
    told = run("list")
    assert told.status == 1
    assert f"the database {config.parent}/nowhere/pki.sqlite3 cannot be read" in told.err
    assert "No such file or directory" in told.err
    config.write_text(good)
    place.write_bytes(b"this is no database at all, and it is long enough to be taken for one" * 20)
    told = run("list")
    assert (told.status, "file is not a database" in told.err) == (1, True)


async def test_a_server_that_is_away_is_named_without_the_password() -> None:
    database = Database("postgresql+asyncpg://sluis:s3cret@127.0.0.1:1/x")
    with pytest.raises(StoreUnavailable) as caught:
        async with database.read():
            pass
    await database.close()
    assert "127.0.0.1:1 cannot be read" in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert "sluis" not in str(caught.value)


@SQLITE
@pytest.mark.parametrize(
    "url",
    [
        "postgresql+asyncpg://:::::/x",
        "postgresql+asyncpg://a:s3cret@h:99999/x",
        "postgresql+asyncpg://a:s3cret@h:x/x",
        "postgresql+asyncpg://[::1/x",
        "postgresql+asyncpg://",
        "postgresql+asyncpg://h",
    ],
)
def test_a_url_that_no_database_can_have_is_refused_at_the_start(url: str, config: Path) -> None:
    good = config.read_text()
    place = f'file = "{config.parent / "pki.sqlite3"}"'
    config.write_text(good.replace(place, f'url = "{url}"'))
    with pytest.raises(SettingsError, match="database: url: expected postgresql") as caught:
        load_settings(PkiSettings, config)
    assert "s3cret" not in str(caught.value)
    for fine in ("postgresql+asyncpg://a:b@h:5432/x", "postgresql+asyncpg:///x", "postgresql+asyncpg://[::1]/x"):
        config.write_text(good.replace(place, f'url = "{fine}"'))
        assert load_settings(PkiSettings, config).database.address == fine


@SQLITE
def test_settings_that_are_not_there_are_told_with_how_to_name_them(run: Run) -> None:  # noqa: F811
    told = run("list", "--config", "absent.toml")
    assert told.status == 1
    assert "absent.toml" in told.err
    assert "--config or SLUIS_PKI_CONFIG" in told.err
