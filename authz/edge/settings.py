"""Settings files: TOML, declared once as a pydantic model, refused as a whole with every problem listed.

Style rule 12: unknown keys and contradictions stop the start, and the operator sees all of them at once, each with its
dotted key, what was wrong and what was expected. The value found is never repeated: it may be a secret that stands in
the wrong place.
"""

import difflib
import tomllib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo

from authz.domain.errors import SluisError

_FOLDER = "settings_folder"
_Location = tuple[int | str, ...]


class SettingsError(SluisError):
    """The settings cannot be used. The text lists every problem, one a line."""


class Settings(BaseModel):
    """Base of every settings model: frozen, and an unknown key is an error instead of a silent typing mistake."""

    # The docstring below a key is its description: the reference pages are made of them (`python -m docs.reference`).
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)


def _resolve(path: Path, info: ValidationInfo) -> Path:
    folder = (info.context or {}).get(_FOLDER)
    return path if folder is None else folder / path.expanduser()


def _exists(path: Path) -> Path:
    if not path.is_file():
        raise ValueError(f"no such file: {path}")
    return path


SettingsPath = Annotated[Path, AfterValidator(_resolve)]
"""A path; a relative one is relative to the folder of the settings file, never to where the program was started."""

ExistingFile = Annotated[SettingsPath, AfterValidator(_exists)]
"""A file that must be there when the program starts."""

Port = Annotated[int, Field(ge=1, le=65535)]

_Model = TypeVar("_Model", bound=BaseModel)


def load_settings(model: type[_Model], path: Path, *, variable: str | None = None) -> _Model:
    """Read and check one settings file.

    Args:
        model: what the file must hold.
        path: the TOML file.
        variable: of the environment, by which the file may be named; for who has to be told.

    Raises:
        SettingsError: unreadable, not TOML, or any number of wrong keys; the text lists all of them.
    """
    try:
        with path.open("rb") as file:
            data = tomllib.load(file)
    except OSError as error:
        hint = f"; name the settings file with --config or {variable}" if variable is not None else ""
        raise SettingsError(f"{path}: cannot be read ({error.strerror}){hint}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not a TOML file ({error})") from error
    return check_settings(model, data, path)


def check_settings(model: type[_Model], data: dict[str, Any], path: Path) -> _Model:
    """Check settings that were already read; `path` says where relative paths start and stands in the messages."""
    try:
        return model.model_validate(data, context={_FOLDER: path.absolute().parent})
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        lines = _lines(model, data, [(tuple(item["loc"]), item["type"], item["msg"]) for item in problems])
        raise SettingsError(f"{path}: {len(lines)} problem(s)\n" + "\n".join(lines)) from None


def _lines(model: type[BaseModel], data: object, problems: Sequence[tuple[_Location, str, str]]) -> list[str]:
    """One line for each problem: in the words of the file, each thing once."""
    found: dict[str, str] = {}
    missing = {_key(data, location) for location, kind, _ in problems if kind == "missing"}
    keys = [_key(data, location) for location, _, _ in problems]
    for key, (_, kind, message) in zip(keys, problems, strict=True):
        if kind == "too_short" and any(other.startswith(f"{key}.") for other in keys):
            continue  # a list lacks what is wrong with its items
        words = _words(kind, message)
        if kind == "extra_forbidden":
            meant = _meant(model, key, missing)
            if meant is not None:
                words = f"unknown key; did you mean `{meant}`?"
                # That it is missing is the same problem once more.
                found.pop(meant, None)
                missing.discard(meant)
        elif kind == "missing" and key not in missing:
            continue
        found.setdefault(key, words)
    return [f"  {key}: {words}" for key, words in found.items()]


def _key(data: object, location: _Location) -> str:
    """A dotted key as the file has it, without the names that a choice between models has inside pydantic."""
    parts: list[str] = []
    here = data
    for number, part in enumerate(location):
        if isinstance(here, Mapping):
            is_last = number == len(location) - 1
            if part not in here and not is_last:
                continue
            here = here.get(part)
        elif isinstance(here, Sequence) and not isinstance(here, str) and isinstance(part, int):
            here = here[part] if part < len(here) else None
        elif parts:
            continue
        parts.append(str(part))
    return ".".join(parts) or "(the file as a whole)"


def _meant(model: type[BaseModel], key: str, missing: Collection[str]) -> str | None:
    """The key that was probably meant by an unknown one: of the same section, one that is missing first."""
    above, _, last = key.rpartition(".")
    models = {model}
    for part in above.split(".") if above else ():
        fields = [each.model_fields[part] for each in models if part in each.model_fields]
        if fields:
            models = {found for item in fields for found in _models_in(item.annotation)}
    names = {name for each in models for name in each.model_fields}
    dotted = f"{above}." if above else ""
    absent = [name for name in names if f"{dotted}{name}" in missing]
    close = difflib.get_close_matches(last, absent, 1) or difflib.get_close_matches(last, sorted(names), 1)
    return f"{dotted}{close[0]}" if close else None


def _models_in(annotation: object) -> set[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    return {found for part in get_args(annotation) for found in _models_in(part)}


def _words(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "unknown key; expected one that the reference of these settings names"
    if kind == "missing":
        return "missing; expected a value"
    return message.removeprefix("Value error, ")
