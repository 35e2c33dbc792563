"""How command lines end: status, one line, JSON for programs, and never a traceback."""

import errno
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import pytest
import typer

from authz.domain.errors import InvalidValue, Refused, SluisError
from authz.domain.reasons import Reason
from authz.edge.cli import Program, add_version, run
from authz.edge.settings import SettingsError

Ended = tuple[int, str, str]
AsJson = Annotated[bool, typer.Option("--json")]
FULL = "No space left on device"


class ServerError(SluisError):
    """Of a server that said no."""

    reason = "code_unknown"
    refused = True


def program(act: Callable[[], object]) -> typer.Typer:
    app = typer.Typer(name="try", cls=Program, no_args_is_help=True, pretty_exceptions_enable=False)
    add_version(app, "try")

    @app.command()
    def go(*, number: Annotated[int, typer.Option("--number")], as_json: AsJson = False) -> None:
        del number, as_json
        act()

    return app


@pytest.fixture
def ends(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    def ends(error: Exception | None, *arguments: str) -> Ended:
        def act() -> None:
            if error is not None:
                raise error

        with pytest.raises(SystemExit) as caught:
            program(act)(list(arguments or ("go", "--number", "1")))
        shown = capsys.readouterr()
        assert "Traceback" not in shown.err
        return int(caught.value.code or 0), shown.out, shown.err

    return ends


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (None, 0, ""),
        (Refused(Reason.KEY_WEAK, "Make another key."), 2, "refused (key_weak): Make another key.\n"),
        (InvalidValue("expected a jti"), 2, "refused (parameter_malformed): expected a jti.\n"),
        (ServerError("the code is unknown"), 2, "refused (code_unknown): the code is unknown.\n"),
        (SettingsError("a.toml: 1\n  b: missing"), 1, "failed (settings): a.toml: 1\n  b: missing\n"),
        (OSError(errno.ENOSPC, FULL, "a.pem"), 1, f"failed (file): a.pem: {FULL}.\n"),
        (OSError(errno.EIO, "Input/output error"), 1, "failed (system): Input/output error.\n"),
        (SluisError("\x1b[31mred"), 1, "failed (sluis): �[31mred.\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)  # fmt: skip
def test_each_kind_of_error_has_its_status_and_its_line(
    error: Exception | None, status: int, said: str, ends: Callable[..., Ended]
) -> None:
    assert ends(error) == (status, "", said)
    if said:
        again, out, err = ends(error, "go", "--number", "1", "--json")
        assert (again, err) == (status, said)
        told = json.loads(out)["error"]
        assert set(told) == {"reason", "message"}
        assert f"({told['reason']}): {told['message']}\n" in said


@pytest.mark.parametrize(
    ("arguments", "reason", "said"),
    [
        (("go",), "parameter_missing", "--number"),
        (("go", "--number", "x"), "parameter_malformed", "--number"),
        (("go", "--nummer", "1"), "parameter_malformed", "--nummer"),
        (("went",), "parameter_malformed", "went"),
        (("go", "--number", "\udcff"), "parameter_malformed", "Argument 3 is not UTF-8 text."),
        (("\x1b[31m",), "parameter_malformed", "[31m"),
    ],
)
def test_a_wrong_call_is_refused_in_one_line(
    arguments: tuple[str, ...], reason: str, said: str, ends: Callable[..., Ended]
) -> None:
    status, out, err = ends(None, *arguments)
    assert (status, out) == (2, "")
    assert err.startswith(f"refused ({reason}): ")
    assert err.count("\n") == 1
    assert "\x1b" not in err
    assert said in err
    status, out, err = ends(None, *arguments, "--json")
    assert status == 2
    assert json.loads(out)["error"]["reason"] == reason


def test_text_in_another_encoding_is_read_as_the_utf_8_that_it_is(ends: Callable[..., Ended]) -> None:
    typed = "é".encode().decode("ascii", "surrogateescape")  # as Python reads it with LC_ALL=C and without UTF-8 mode
    assert "'é'" in ends(None, typed)[2]


def test_what_nobody_foresaw_is_told_as_a_defect_without_what_it_holds(
    ends: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for error in (ValueError("s3cret"), MemoryError(), RecursionError("s3cret"), LookupError("s3cret")):
        status, out, err = ends(error)
        assert (status, out) == (1, "")
        assert err.startswith(f"failed (defect): {type(error).__name__} at test_cli.py:")
        assert "SLUIS_DEBUG=1" in err
        assert "s3cret" not in err
    monkeypatch.setenv("SLUIS_DEBUG", "1")
    assert run(lambda: int("s3cret"), as_json=False) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_terminal_that_cannot_show_a_sign_gets_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", narrow)
    assert run(lambda: print("café ✓"), as_json=False) == 0  # noqa: T201
    assert narrow.buffer.getvalue() == b"caf\\xe9 \\u2713\n"


def test_the_version_and_the_help_are_told(ends: Callable[..., Ended]) -> None:
    status, out, _ = ends(None, "--version")
    assert (status, out.split()[0]) == (0, "try")
    assert ends(None, "--help")[0] == 0
    assert ends(None, "go", "--help")[0] == 0


def test_nothing_is_said_when_the_reader_has_seen_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kept: list[object] = []
    monkeypatch.setattr("authz.edge.cli.os.dup2", lambda *given: kept.append(given))

    def act() -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    assert run(act, as_json=True) == 1
    assert kept
    assert not list(tmp_path.iterdir())
