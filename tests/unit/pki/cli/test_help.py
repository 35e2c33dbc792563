"""`pki --help`: every command has its place, and every example can be parsed."""

import shlex

import pytest
import typer
from typer.testing import CliRunner

from pki.cli.help import ARRANGED
from pki.cli.main import app


def test_every_command_is_for_somebody_and_no_name_is_stale() -> None:
    names = {item.name or getattr(item.callback, "__name__", "") for item in app.registered_commands}
    names |= {str(item.name) for item in app.registered_groups}
    assert names - {"operator"} == set(ARRANGED) - {"operator"}
    shown = CliRunner().invoke(app, ["--help"], terminal_width=120).stdout
    for panel in {panel for panel, _ in ARRANGED.values()}:
        assert panel in shown
    assert "--version" in shown
    assert "--install-completion" in shown


@pytest.mark.parametrize("name", [name for name, (_, example) in ARRANGED.items() if example])
def test_an_example_is_a_command_line_of_this_program(name: str) -> None:
    program, *words = shlex.split(ARRANGED[name][1])
    assert (program, words[0]) == ("pki", name)
    command = typer.main.get_command(app)
    context = command.make_context("pki", words, resilient_parsing=False)
    group, sub, rest = command.resolve_command(context, words)  # type: ignore[attr-defined]
    while hasattr(sub, "resolve_command"):
        context = sub.make_context(group, rest, parent=context)
        group, sub, rest = sub.resolve_command(context, rest)
    assert sub.make_context(group, rest, parent=context).params
    assert "Example: pki" in CliRunner().invoke(app, [name, "--help"], terminal_width=200).stdout
