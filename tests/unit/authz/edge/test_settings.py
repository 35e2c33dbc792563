"""Settings are refused as a whole, with every problem named."""

from pathlib import Path
from typing import Annotated, Literal, Self

import pytest
from pydantic import Field, model_validator

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
    for expected in (
        "nmae: unknown key; did you mean `name`?",
        "inner.port:",
        "inner.secret:",
        f"file: no such file: {tmp_path / 'absent'}",
    ):
        assert expected in text
    assert "4 problem(s)" in text
    assert "name: missing" not in text
    assert "hunter2" not in text


def test_what_is_no_toml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="not a TOML file"):
        load(tmp_path, "name = ")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings(Outer, tmp_path / "absent.toml")
    with pytest.raises(SettingsError, match="--config or SLUIS_X"):
        load_settings(Outer, tmp_path / "absent.toml", variable="SLUIS_X")


class One(Settings):
    kind: Literal["one"] = "one"
    size: Port


class Two(Settings):
    kind: Literal["two"]
    weight: Port


class Chosen(Settings):
    parts: tuple[Annotated[One | Two, Field(discriminator="kind")], ...] = ()
    either: Inner | None = None
    number: int | float | None = None
    many: tuple[Port, ...] = Field(default=(1,), min_length=1)

    @model_validator(mode="after")
    def _never_thirteen(self) -> Self:
        if self.number == 13:
            raise ValueError("number: expected luck")
        return self


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ('parts = [{ kind = "one" }]', ["parts.0.size: missing; expected a value"]),
        ('parts = [{ kind = "two", weigth = 1 }]', ["parts.0.weigth: unknown key; did you mean `parts.0.weight`?"]),
        ('parts = [{ kind = "two", weight = 0, size = 1 }]', ["parts.0.weight: ", "parts.0.size: unknown key; "]),
        ("either = { prot = 1 }", ["either.prot: unknown key; did you mean `either.port`?"]),
        ("either = { port = 1, colour = 1 }", ["either.colour: unknown key; expected one that the reference"]),
        ('number = "x"', ["number: "]),
        ("number = 13", ["(the file as a whole): number: expected luck"]),
        ("parts = 1", ["parts: "]),
        ("many = [0]", ["many.0: "]),
        ("many = []", ["many: "]),
        ("parts = [1]", ["parts.0: "]),
    ],
)
def test_a_problem_is_told_once_in_the_words_of_the_file(text: str, lines: list[str], tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_settings(Chosen, path)
    told = str(caught.value).splitlines()
    assert told[0] == f"{path}: {len(lines)} problem(s)"
    assert len(told) == len(lines) + 1
    for shown, expected in zip(told[1:], lines, strict=True):
        assert shown.startswith(f"  {expected}")
