"""The agent's settings: contradictions and mistakes stop the start, all at once."""

from typing import TYPE_CHECKING

import pytest

from authz.edge.settings import SettingsError, load_settings
from tests.fakes.datastation import Datastation
from trust_agent.settings import AgentSettings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Datastation:
    made = Datastation(tmp_path_factory.mktemp("agent"))
    made.close()
    return made


def load(station: Datastation, text: str) -> AgentSettings:
    path: Path = station.settings.with_name("changed.toml")
    path.write_text(text)
    return load_settings(AgentSettings, path)


def test_good_settings_load(station: Datastation) -> None:
    settings = load(station, station.toml())
    assert settings.sender == "sluis/trust-agent/test"
    assert settings.journal_dir == station.folder / "state" / "journal"


CHANGES = {
    "an unknown key": ('name = "test"', 'name = "test"\nmode = "dev"', "mode: unknown key"),
    "a name with a path": ('name = "test"', 'name = "../test"', "name:"),
    "plain http to authz": ('url = "https://', 'url = "http://', "authz.url:"),
    "a CRL over https": ("http://127.0.0.1", "https://127.0.0.1", "clients.crl_urls.0:"),
    "an audience with a query": (
        'audience = "https://ciz.test/iwlz/graphql',
        'audience = "https://ciz.test/iwlz/graphql?x',
        "token.audience:",
    ),
    "no scopes": ('scopes = ["registers', 'scopes = []\nx = ["registers', "token.scopes:"),
    "an algorithm without a key": ("[register]", 'algorithms = ["none"]\n[register]', "token.algorithms"),
    "a skew of an hour": ("[register]", "skew = 3600\n[register]", "token.skew:"),
    "CRLs of more than an hour": ("[journal]", "[freshness]\ncrl = 7200\n[journal]", "freshness.crl:"),
    "a schema that is not there": ('"register.graphql"', '"absent.graphql"', "register.schema_file: no such file"),
    "an environment that does not exist": ('environment = "TST"', 'environment = "DEV"', "clients.environment:"),
    "a journal smaller than two segments": ("[journal]", "[journal]\nmax_bytes = 1048576", "journal.max_bytes is less"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_mistake_stops_the_start(station: Datastation, name: str) -> None:
    old, new, told = CHANGES[name]
    text = station.toml()
    assert old in text
    with pytest.raises(SettingsError) as caught:
        load(station, text.replace(old, new, 1))
    assert told in str(caught.value)
