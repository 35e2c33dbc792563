"""What the commands of `pki` share: options, the open authority, and who the operator is.

Everything slow is imported inside, so that showing help imports none of it.
"""

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

if TYPE_CHECKING:
    from authz.domain.errors import InvalidValue, Refused
    from authz.domain.identifiers import Identifier
    from pki.app import OpenAuthority
    from pki.audit.records import Actor
    from pki.enrolment.opening import OpenDesk
    from pki.issuing import Holder
    from pki.looking import OpenRegister
    from pki.settings import PkiSettings

CONFIG_VARIABLE: Final = "SLUIS_PKI_CONFIG"
Config = Annotated[Path, typer.Option("--config", envvar=CONFIG_VARIABLE, help="Settings file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Identity = Annotated[str, typer.Option("--identity", help="uzovi:5000, agbcode:01234567, kvk:..., oin:..., ura:...")]
Environment = Annotated[str | None, typer.Option("--environment", help="PRD, TST or ACC; not needed when only one.")]
CONFIG: Final = Path("pki.toml")
_SHOWN: Final = 80
"""Characters of what was typed that an error shows."""
Result = TypeVar("Result")
Acting = TypeVar("Acting", "OpenAuthority", "OpenDesk")
Opened = TypeVar("Opened")


def settings_of(config: Path) -> "PkiSettings":
    """The checked settings.

    Raises:
        SettingsError: they cannot be used.
    """
    from authz.edge.settings import load_settings  # noqa: PLC0415
    from pki.settings import PkiSettings  # noqa: PLC0415

    return load_settings(PkiSettings, config, variable=CONFIG_VARIABLE)


def with_authority(config: Path, act: "Callable[[OpenAuthority], Coroutine[Any, Any, Result]]") -> Result:
    """Open the authority, do one thing with it, close it.

    Args:
        config: settings file.
        act: the one thing.
    """
    from pki.app import open_authority  # noqa: PLC0415

    return _with(open_authority(settings_of(config)), _under_rules(act))


def with_desk(config: Path, act: "Callable[[OpenDesk], Coroutine[Any, Any, Result]]") -> Result:
    """Open the desk of operators, without a key of the authority; see `with_authority`."""
    from pki.enrolment.opening import open_desk  # noqa: PLC0415

    return _with(open_desk(settings_of(config)), _under_rules(act))


def with_register(config: Path, act: "Callable[[OpenRegister], Coroutine[Any, Any, Result]]") -> Result:
    """Open the register to look at it, without a key of the authority; see `with_authority`."""
    from pki.looking import open_register  # noqa: PLC0415

    return _with(open_register(settings_of(config)), act)


def _with(opening: AbstractAsyncContextManager[Opened], act: Callable[[Opened], Coroutine[Any, Any, Result]]) -> Result:
    async def work() -> Result:
        async with opening as opened:
            return await act(opened)

    return asyncio.run(work())


def _under_rules(
    act: Callable[[Acting], Coroutine[Any, Any, Result]],
) -> Callable[[Acting], Coroutine[Any, Any, Result]]:
    """Write down first which operators and rules hold, when they are not those of the last time (decision 0116)."""

    async def noted(opened: Acting) -> Result:
        from pki.audit.rules import RulesRecord  # noqa: PLC0415

        await RulesRecord(opened.settings, opened.database, opened.clock).acted(operator())
        return await act(opened)

    return noted


def identifier(text: str) -> "Identifier":
    """What `--identity` says.

    Raises:
        Refused: PARAMETER_MALFORMED.
    """
    from authz.domain.errors import InvalidValue  # noqa: PLC0415
    from authz.domain.identifiers import Identifier  # noqa: PLC0415

    try:
        return Identifier.parse_subject(text)
    except InvalidValue as error:
        raise _wrong("--identity", text, error) from error


def holder(identity: str, organization: str, kvk: str, dns: "Sequence[str]") -> "Holder":
    """Who is to have a certificate, as typed.

    Raises:
        Refused: PARAMETER_MALFORMED, naming the option, what was typed and what is expected.
    """
    from authz.domain.errors import InvalidValue  # noqa: PLC0415
    from pki.issuing import Holder  # noqa: PLC0415
    from pki.names import require_dns_name, require_kvk, require_name  # noqa: PLC0415

    who = identifier(identity)
    given = [("--organization", organization, require_name), ("--kvk", kvk, require_kvk)]
    for option, text, check in (*given, *(("--dns", name, require_dns_name) for name in dns)):
        try:
            check(text)
        except InvalidValue as error:
            raise _wrong(option, text, error) from error
    return Holder(who, organization, kvk, tuple(dns))


def dns_names(names: "Sequence[str] | None") -> "tuple[str, ...] | None":
    """What `--dns` says; None when it was left out.

    Raises:
        Refused: PARAMETER_MALFORMED.
    """
    from authz.domain.errors import InvalidValue  # noqa: PLC0415
    from pki.names import require_dns_name  # noqa: PLC0415

    for name in names or ():
        try:
            require_dns_name(name)
        except InvalidValue as error:
            raise _wrong("--dns", name, error) from error
    return tuple(names) if names else None


def _wrong(option: str, text: str, error: "InvalidValue") -> "Refused":
    """What was typed is shown again, to who typed it, with nothing in it that a terminal obeys."""
    from authz.domain.errors import Refused  # noqa: PLC0415
    from authz.domain.reasons import Reason  # noqa: PLC0415

    shown = json.dumps(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
    return Refused(Reason.PARAMETER_MALFORMED, f"{option} {shown}: {error}.")


def operator() -> "Actor":
    """Who is at the keyboard."""
    from authz.edge.operator import operator_login  # noqa: PLC0415
    from pki.audit.records import operator as named  # noqa: PLC0415

    return named(operator_login())


def emit(value: Any, as_json: bool, text: Callable[[], str]) -> None:  # noqa: ANN401, FBT001  a JSON value
    """Print for a program or for a person, whose terminal gets display text only."""
    from authz.edge.terminal import lines  # noqa: PLC0415

    typer.echo(json.dumps(value, indent=2) if as_json else lines(text()))


def table(rows: list[tuple[str, ...]]) -> str:
    """Columns for a person; the first row is the head. What stands in a cell makes no line and moves no cursor."""
    from authz.edge.terminal import one_line  # noqa: PLC0415

    rows = [tuple(one_line(cell) for cell in row) for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
