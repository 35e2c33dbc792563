"""`lab`: a whole network on this machine. `lab up` starts it, `lab down` leaves nothing behind."""

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from deploy.lab.layout import DEFAULT_FOLDER

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(help="A whole care network on this machine, every check on.", no_args_is_help=True)

Folder = Annotated[Path, typer.Option("--dir", envvar="SLUIS_LAB_DIR", help="Where the lab lives; removed by `down`.")]
_FAILED: Final = 1
_PIPE_WIDTH: Final = 160
_POLL: Final = 0.3
_BUDGET: Final = 10.0
"""Seconds in which a lab should start (architecture.md, "Budgets")."""


@app.command()
def up(
    folder: Folder = DEFAULT_FOLDER,
    detach: Annotated[bool, typer.Option(help="Leave it running; otherwise it ends with Ctrl-C.")] = True,  # noqa: FBT002
    port: Annotated[int | None, typer.Option(help="First of a range of ports; free ones are taken otherwise.")] = None,
    token_lifetime: Annotated[int | None, typer.Option(help="Seconds that a token lives; 900 otherwise.")] = None,
) -> None:
    """Start DNS, CA, authorization server, two datastations; print addresses and ready-to-paste commands."""
    from deploy.lab import report  # noqa: PLC0415
    from deploy.lab.components import ComponentFailed  # noqa: PLC0415
    from deploy.lab.ports import PortsTaken  # noqa: PLC0415
    from deploy.lab.state import LabBusy  # noqa: PLC0415
    from deploy.lab.up import LabOptions, LabRunning  # noqa: PLC0415
    from deploy.lab.up import up as start  # noqa: PLC0415

    # A terminated `lab up` cleans up like an interrupted one: through the event loop's own handling of an interrupt. An
    # exception raised in the middle of whatever runs at that moment would leave that half-done.
    signal.signal(signal.SIGTERM, lambda _number, _frame: signal.raise_signal(signal.SIGINT))
    try:
        options = LabOptions(first_port=port, token_lifetime=token_lifetime)
        lab = asyncio.run(start(folder, options, begun=time.monotonic() - _age()))
    except LabRunning as running:
        _fail(f"{running}: see `lab status`, or end it with `lab down`")
    except (ComponentFailed, PortsTaken, LabBusy) as problem:
        _fail(f"the lab did not start: {problem}")
    report.show(lab, _console())
    seconds = lab.state.settings["seconds"]
    typer.echo(f"\nReady in {seconds:.1f} s (budget: {_BUDGET:g} s). End it with `lab down`.")
    if not detach:
        _until_interrupted(folder)


@app.command()
def down(folder: Folder = DEFAULT_FOLDER) -> None:
    """End everything that `up` started, and remove everything that it made."""
    if not _end(folder):
        typer.echo(f"no lab in {folder}")


@app.command()
def status(
    folder: Folder = DEFAULT_FOLDER,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for programs.")] = False,  # noqa: FBT002
) -> None:
    """Addresses, certificates and keys of every party. Exit status 1 when there is no lab, or a part of it ended."""
    from deploy.lab import report  # noqa: PLC0415
    from deploy.lab.running import lab_in  # noqa: PLC0415

    lab = lab_in(folder)
    if lab is None:
        _fail(f"no lab in {folder}")
    ended = [name for name, process in lab.state.processes.items() if not process.alive]
    if as_json:
        typer.echo(json.dumps(report.status(lab), indent=2))
    else:
        report.show(lab, _console())
    if ended:
        _fail(f"ended: {', '.join(ended)}; see `lab logs {ended[0]}`")


@app.command()
def logs(
    component: Annotated[str | None, typer.Argument(help="One of those that `lab logs` names.")] = None,
    folder: Folder = DEFAULT_FOLDER,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep showing what is added.")] = False,  # noqa: FBT002
) -> None:
    """The log of one component, or the names of those that have one."""
    files = {file.stem: file for file in sorted((folder / "logs").glob("*.log"))}
    if component is None:
        typer.echo("\n".join(files) or f"no lab in {folder}")
        return
    if component not in files:
        _fail(f"no component {component!r}; there are: {', '.join(files) or 'none'}")
    with files[component].open("rb") as log:
        while True:
            sys.stdout.buffer.write(log.read())
            sys.stdout.flush()
            if not follow:
                return
            time.sleep(_POLL)


def main() -> None:
    """Entry point of the program."""
    app()


def _console() -> "Console":
    from rich.console import Console  # noqa: PLC0415  only `up` and `status` draw tables

    # A table in a file or a pipe is not cut at 80 columns.
    return Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def _age() -> float:
    """Seconds since this process started: the start of Python counts for whoever waits."""
    from deploy.lab.processes import ProcessId  # noqa: PLC0415

    itself = ProcessId.of(os.getpid())
    if itself is None:
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - itself.started / os.sysconf("SC_CLK_TCK")


def _until_interrupted(folder: Path) -> None:
    try:
        while True:
            signal.pause()
    except KeyboardInterrupt:
        _end(folder)


def _end(folder: Path) -> bool:
    from deploy.lab.state import LabBusy, LabState  # noqa: PLC0415
    from deploy.lab.up import down as end  # noqa: PLC0415

    if LabState.load(folder.resolve()) is None:
        return False
    try:
        left = asyncio.run(end(folder))
    except LabBusy as busy:
        _fail(str(busy))
    if left:
        _fail(f"could not be ended: {', '.join(str(process.pid) for process in left)}")
    return True


def _fail(text: str) -> NoReturn:
    typer.echo(text, err=True)
    raise typer.Exit(_FAILED)


if __name__ == "__main__":
    main()
