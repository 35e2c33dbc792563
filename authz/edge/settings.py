"""Settings files: TOML, declared once as a pydantic model, refused as a whole with every problem listed.

Style rule 12: unknown keys and contradictions stop the start, and the operator sees all of them at once, each with its
dotted key, what was wrong and what was expected. The value found is never repeated: it may be a secret that stands in
the wrong place.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo

from authz.domain.errors import SluisError

_FOLDER = "settings_folder"


class SettingsError(SluisError):
    """The settings can not be used. The text lists every problem, one a line."""


class Settings(BaseModel):
    """Base of every settings model: frozen, and an unknown key is an error instead of a silent typing mistake."""

    # The docstring below a key is its description: the reference pages are made of them (`python -m docs.reference`).
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)


def _resolve(path: Path, info: ValidationInfo) -> Path:
    folder = (info.context or {}).get(_FOLDER)
    return path if folder is None else folder / path.expanduser()


def _exists(path: Path) -> Path:
    if not path.is_file():
        raise ValueError("no such file")
    return path


SettingsPath = Annotated[Path, AfterValidator(_resolve)]
"""A path; a relative one is relative to the folder of the settings file, never to where the program was started."""

ExistingFile = Annotated[SettingsPath, AfterValidator(_exists)]
"""A file that must be there when the program starts."""

Port = Annotated[int, Field(ge=1, le=65535)]

_Model = TypeVar("_Model", bound=BaseModel)


def load_settings(model: type[_Model], path: Path) -> _Model:
    """Read and check one settings file.

    Args:
        model: what the file must hold.
        path: the TOML file.

    Raises:
        SettingsError: unreadable, not TOML, or any number of wrong keys; the text lists all of them.
    """
    try:
        with path.open("rb") as file:
            data = tomllib.load(file)
    except OSError as error:
        raise SettingsError(f"{path}: can not be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not a TOML file ({error})") from error
    return check_settings(model, data, path)


def check_settings(model: type[_Model], data: dict[str, Any], path: Path) -> _Model:
    """Check settings that were already read; `path` says where relative paths start and stands in the messages."""
    try:
        return model.model_validate(data, context={_FOLDER: path.absolute().parent})
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        lines = [f"  {_key(problem['loc'])}: {_words(problem['type'], problem['msg'])}" for problem in problems]
        raise SettingsError(f"{path}: {len(lines)} problem(s)\n" + "\n".join(lines)) from None


def _key(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) or "(the file as a whole)"


def _words(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "unknown key; expected one that the reference of these settings names"
    if kind == "missing":
        return "missing; expected a value"
    return message.removeprefix("Value error, ")
