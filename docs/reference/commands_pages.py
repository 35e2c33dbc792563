"""The command pages, made from the command lines themselves."""

from collections.abc import Iterator
from typing import Any

import typer
from typer.main import get_command

from docs.reference.text import MADE, prose


def commands_page(name: str, program: typer.Typer) -> str:
    """The page of one program."""
    lines = [f"# Commands of `{name}`\n", MADE]
    for path, command in _walk(get_command(program), name):
        usage = " ".join(param.name.upper() for param in command.params if _is_argument(param))
        lines += [f"## `{path}{' ' + usage if usage else ''}`\n", prose(command.help) + "\n"]
        options = [param for param in command.params if not _is_argument(param) and param.name != "help"]
        if options:
            lines += ["| option | what it does |", "|---|---|"]
            lines += [
                f"| `{', '.join(param.opts)}`{' (required)' if param.required else ''} | {prose(param.help)} |"
                for param in options
                if not param.name.endswith("_completion") and not param.hidden
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
