"""Makes the settings and command pages from the settings models and the command lines themselves."""

from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.main import get_command

from authz.cli import app as authz_app
from authz.settings import AuthzSettings
from pki.cli import app as pki_app
from pki.settings import PkiSettings
from trust_agent.cli import app as agent_app
from trust_agent.settings import AgentSettings

FOLDER: Final = Path(__file__).parent
_MADE: Final = "<!-- Made by `python -m docs.reference`; edit the code, not this page. -->\n"


def pages() -> dict[str, str]:
    """File name to text of every generated page."""
    models: dict[str, type[BaseModel]] = {"authz": AuthzSettings, "pki": PkiSettings, "trust-agent": AgentSettings}
    programs = {"authz": authz_app, "pki": pki_app, "trust-agent": agent_app}
    return {f"settings-{name}.md": _settings(name, model) for name, model in models.items()} | {
        f"commands-{name}.md": _commands(name, program) for name, program in programs.items()
    }


def _settings(name: str, model: type[BaseModel]) -> str:
    lines = [
        f"# Settings of `{name}`\n",
        _MADE,
        "One TOML file. Relative paths are relative to it. Unknown keys, contradictions and missing files stop the",
        "start, all listed at once. Durations are in seconds unless the name says otherwise.\n",
    ]
    lines += _table(model, "")
    return "\n".join(lines) + "\n"


def _table(model: type[BaseModel], prefix: str) -> list[str]:
    lines = ["| key | default | what it is |", "|---|---|---|"]
    sections: list[str] = []
    for key, field in model.model_fields.items():
        key_in_file = field.alias or key
        inner, many = _section(field.annotation)
        if inner is None:
            lines.append(f"| `{key_in_file}` | {_default(field)} | {_text(field.description)} |")
            continue
        title = f"{prefix}{key_in_file}"
        need = "" if field.is_required() else " Optional."
        lines.append(f"| `{key_in_file}` | {_default(field)} | see below.{need} {_text(field.description)} |")
        heading = f"[[{title}]]" if many else f"[{title}]"
        sections += [f"\n## `{heading}`\n", _text(inner.__doc__) + "\n", *_table(inner, f"{title}.")]
    return lines + sections


def _section(annotation: Any) -> tuple[type[BaseModel] | None, bool]:  # noqa: ANN401  any annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    many = get_origin(annotation) not in (Union, UnionType)
    for part in get_args(annotation):
        inner, _ = _section(part)
        if inner is not None:
            return inner, many
    return None, False


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, BaseModel):
        return "its own defaults"
    if value is None:
        return "none"
    return f"`{list(value)}`" if isinstance(value, tuple | frozenset) else f"`{value}`"


def _text(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


def _commands(name: str, program: typer.Typer) -> str:
    lines = [f"# Commands of `{name}`\n", _MADE]
    for path, command in _walk(get_command(program), name):
        usage = " ".join(param.name.upper() for param in command.params if _is_argument(param))
        lines += [f"## `{path}{' ' + usage if usage else ''}`\n", _text(command.help) + "\n"]
        options = [param for param in command.params if not _is_argument(param) and param.name != "help"]
        if options:
            lines += ["| option | what it does |", "|---|---|"]
            lines += [
                f"| `{', '.join(param.opts)}`{' (required)' if param.required else ''} | {_text(param.help)} |"
                for param in options
                if not param.name.endswith("_completion")
            ]
            lines.append("")
    return "\n".join(lines)


def _is_argument(param: Any) -> bool:  # noqa: ANN401
    return bool(param.param_type_name == "argument")


def _walk(command: Any, path: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
        return
    for name, part in inner.items():
        if getattr(part, "hidden", False):
            continue
        yield from _walk(part, f"{path} {name}")
