"""How every command line of this product ends: one rule for exit status and for how an error is told.

Exit status: 0 done; 1 it could not be done (file, network, settings, a defect); 2 refused, or called wrongly; higher
ones are outcomes of commands that judge something and say so themselves. On stderr stands `refused (<code>): <why>` or
`failed (<code>): <why>`; with `--json` there is one JSON value on stdout as well, `{"error": {"reason", "message"}}`.
There is never a traceback: what nobody foresaw is told as a defect, and `SLUIS_DEBUG=1` shows where.

Imports nothing slow: it is loaded before any command is known.
"""

import io
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Final

import typer
import typer.core

from authz.domain.domains import DomainsNotSecure
from authz.domain.errors import InvalidValue, Refused, SluisError
from authz.domain.reasons import Reason

DONE: Final = 0
FAILED: Final = 1
REFUSED: Final = 2
INTERRUPTED: Final = 130
DEBUG: Final = "SLUIS_DEBUG"
_MISUSE: Final = typer.BadParameter.__mro__[2]
"""Typer's own error for anything that was typed wrongly; it has no public name (BadParameter, UsageError, this one)."""
_WORD: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Told:
    """An error as it is told.

    Attributes:
        status: exit status.
        reason: stable code.
        message: for a person.
        text: what stands on stderr.
        more: what programs get besides.
    """

    status: int
    reason: str
    message: str
    text: str
    more: dict[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """For programs."""
        return {"error": {"reason": self.reason, "message": self.message}, **self.more}


class Program(typer.core.TyperGroup):
    """The commands of one program. Give it as `cls` to the outermost `typer.Typer`."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: FBT001, FBT002  as Typer declares it
        windows_expand_args: bool = True,  # noqa: FBT001, FBT002
        **extra: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Run one command and end the process."""
        given = list(sys.argv[1:] if args is None else args)

        def command() -> Any:  # noqa: ANN401
            return super(Program, self).main(
                _as_text(given),
                prog_name or self.name,
                complete_var,
                standalone_mode=False,
                windows_expand_args=windows_expand_args,
                **extra,
            )

        if not standalone_mode:
            return command()
        sys.exit(run(command, as_json=wants_json(given)))


def run(command: Callable[[], object], *, as_json: bool) -> int:
    """Do a command, and tell what went wrong.

    Args:
        command: what it gives is the exit status when it is a number.
        as_json: whether errors are told to a program as well.

    Returns:
        The exit status.
    """
    _survive_narrow_encodings()
    try:
        given = command()
        sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read us has seen enough; Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return FAILED
    except Exception as error:  # noqa: BLE001  the last net: a person gets one line, whatever it is
        if os.environ.get(DEBUG) == "1":
            traceback.print_exc()
        told = tell(error)
        if as_json:
            sys.stdout.write(json.dumps(told.document()) + "\n")
        sys.stderr.write(f"{told.text}\n")
        return told.status
    return given if isinstance(given, int) else DONE


def tell(error: Exception) -> Told:  # noqa: PLR0911  one for each kind
    """How an error is told."""
    match error:
        case DomainsNotSecure():
            return Told(REFUSED, error.reason.value, error.detail, error.lines(), error.document())
        case Refused():
            return _told(REFUSED, error.reason.value, error.detail)
        case InvalidValue():
            return _told(REFUSED, Reason.PARAMETER_MALFORMED.value, str(error))
        case SluisError():
            refused = bool(getattr(error, "refused", False))
            reason = getattr(error, "reason", "") or _code_of(error)
            return _told(REFUSED if refused else FAILED, str(reason), str(error))
        case OSError() if error.strerror:
            where = f"{error.filename}: " if error.filename is not None else ""
            return _told(FAILED, "file" if where else "system", f"{where}{error.strerror}")
        case UnicodeEncodeError():
            said = "a name cannot be written in the encoding of this environment: set LC_ALL=C.UTF-8"
            return _told(FAILED, "encoding", said)
    if isinstance(error, _MISUSE):
        return _misuse(error)
    return _defect(error)


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether the caller is a program; read before the arguments are parsed, which is where most errors are."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in options


def add_version(app: typer.Typer, name: str) -> None:
    """Let a program tell its version."""

    def show(value: bool) -> None:  # noqa: FBT001  called by Typer
        if value:
            try:
                typer.echo(f"{name} {version('sluis')}")
            except PackageNotFoundError:
                typer.echo(f"{name} from a checkout")
            raise typer.Exit

    @app.callback()
    def options(
        *,
        _version: Annotated[
            bool, typer.Option("--version", callback=show, is_eager=True, help="Show the version and stop.")
        ] = False,
    ) -> None:
        pass

    options.__doc__ = app.info.help if isinstance(app.info.help, str) else None


def _told(status: int, reason: str, message: str) -> Told:
    shown = "".join(sign if sign.isprintable() or sign == "\n" else "�" for sign in message).rstrip()
    ended = shown if shown.endswith((".", "?", "!")) or "\n" in shown else f"{shown}."
    return Told(status, reason, ended, f"{'refused' if status == REFUSED else 'failed'} ({reason}): {ended}")


def _misuse(error: Exception) -> Told:
    said = str(error.format_message()) if hasattr(error, "format_message") else str(error)
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        return Told(REFUSED, Reason.PARAMETER_MISSING.value, "Expected a command.", said)
    missing = type(error).__name__ == "MissingParameter"
    reason = Reason.PARAMETER_MISSING if missing else Reason.PARAMETER_MALFORMED
    one_line = " ".join(said.split()).rstrip(".")
    hint = f" See `{context.command_path} --help`." if context is not None else ""
    return _told(REFUSED, reason.value, f"{one_line}.{hint}")


def _defect(error: Exception) -> Told:
    # Neither its text nor the values around it: nobody knows what is in there.
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    where = f" at {Path(last.filename).name}:{last.lineno}" if last is not None else ""
    again = "" if os.environ.get(DEBUG) == "1" else f"; {DEBUG}=1 before the command shows the traceback"
    said = f"{type(error).__name__}{where}; this is a defect of this program, please report it{again}"
    return _told(FAILED, "defect", said)


def _code_of(error: SluisError) -> str:
    return _WORD.sub("_", type(error).__name__.removesuffix("Error")).lower() or "error"


def _as_text(arguments: Sequence[str]) -> list[str]:
    """Arguments as UTF-8 text; bytes that are none come as lone surrogates, which nothing behind here can write."""
    read = []
    for number, argument in enumerate(arguments, 1):
        try:
            read.append(argument.encode("utf-8", "surrogateescape").decode("utf-8"))
        except UnicodeDecodeError as error:
            raise Refused(Reason.PARAMETER_MALFORMED, f"Argument {number} is not UTF-8 text.") from error
    return read


def _survive_narrow_encodings() -> None:
    """A terminal or pipe that cannot show a sign gets its number, instead of ending the command half-way."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
