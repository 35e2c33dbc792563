"""Settings are refused as a whole, with every problem named."""

from pathlib import Path

import pytest
from pydantic import Field

from authz.edge.settings import ExistingFile, Port, Settings, SettingsError, SettingsPath, load_settings


class Inner(Settings):
    port: Port
    secret: str = Field(default="", max_length=3)


class Outer(Settings):
    name: str
    folder: SettingsPath
    inner: Inner
    file: ExistingFile | None = None


def load(folder: Path, text: str) -> Outer:
    path = folder / "settings.toml"
    path.write_text(text)
    return load_settings(Outer, path)


def test_good_settings_resolve_paths_against_the_file(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("")
    found = load(tmp_path, 'name = "a"\nfolder = "state"\nfile = "there"\ninner = { port = 1 }')
    assert found.folder == tmp_path / "state"
    assert found.file == tmp_path / "there"


def test_an_absolute_path_stays(tmp_path: Path) -> None:
    assert load(tmp_path, f'name = "a"\nfolder = "{tmp_path / "x"}"\ninner = {{ port = 1 }}').folder == tmp_path / "x"


def test_all_problems_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, 'nmae = "a"\nfolder = "x"\nfile = "absent"\n[inner]\nport = 70000\nsecret = "hunter2"')
    text = str(caught.value)
    for expected in ("nmae: unknown key", "name: missing", "inner.port:", "inner.secret:", "file: no such file"):
        assert expected in text
    assert "5 problem(s)" in text
    assert "hunter2" not in text


def test_what_is_no_toml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="not a TOML file"):
        load(tmp_path, "name = ")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="can not be read"):
        load_settings(Outer, tmp_path / "absent.toml")
