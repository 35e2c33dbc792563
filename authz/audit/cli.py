"""`authz audit list|show|export|verify|checkpoint`: for people as text, with `--json` for programs.

The commands get a `ReadingDesk` from the object in the typer context, which the program's entry point sets; so this
module knows no settings and no database. What is refused is raised: the program around it tells it. Exit status 3 means
that the log is not intact, 4 that a checkpoint could not be compared with what was given; the others are those of every
command of this product (`authz.edge.cli`).
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, BinaryIO, NoReturn, Protocol, TypeVar

import typer

from authz.audit import rendering
from authz.audit.export import ExportInvalid, verify_export
from authz.audit.filters import parse_filters
from authz.audit.log import StoredCheckpoint
from authz.audit.note import MAX_NOTE_BYTES, Checkpoint, NoteInvalid, VerifierKey
from authz.audit.reading import ReadingDesk
from authz.audit.search import MAX_INDEX, MAX_RESULTS
from authz.audit.verify import Report, Verdict
from authz.domain.audit import EventType, Outcome
from authz.domain.errors import Refused
from authz.domain.files import naming
from authz.domain.reasons import Reason

NOT_INTACT = 3
INCOMPLETE = 4

T = TypeVar("T")

audit_app = typer.Typer(name="audit", help="Read, export and verify the audit log.", no_args_is_help=True)


class AuditContext(Protocol):
    """What `ctx.obj` must offer."""

    def open_audit(self, config: Path | None) -> AbstractAsyncContextManager[ReadingDesk]:
        """Open the log of the configured service for the user of this process; closes it at the end.

        Args:
            config: settings file; None for the usual one.
        """
        ...


class OutcomeName(StrEnum):
    """Names of `Outcome` on the command line."""

    SUCCESS = "success"
    REFUSED = "refused"
    ERROR = "error"


Config = Annotated[Path | None, typer.Option("--config", help="Settings file (TOML); as for every other command.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document, for programs.")]
Participant = Annotated[str | None, typer.Option(help="A user of the record, for example uzovi:5000.")]
Event = Annotated[EventType | None, typer.Option(help="Kind of event.")]
Item = Annotated[str | None, typer.Option("--object", help="An audience, record id, jti or pseudonym.")]
Limit = Annotated[int, typer.Option(min=1, max=MAX_RESULTS, help="Records at most.")]


@audit_app.command("list")
def list_entries(
    ctx: typer.Context,
    *,
    participant: Participant = None,
    event: Event = None,
    item: Item = None,
    outcome: Annotated[OutcomeName | None, typer.Option(help="Result.")] = None,
    reason: Annotated[str | None, typer.Option(help="Reason code.")] = None,
    protocol: Annotated[str | None, typer.Option(help="Policy and revision that decided.")] = None,
    trace: Annotated[str | None, typer.Option(help="Trace id.")] = None,
    source: Annotated[str | None, typer.Option(help="The component that recorded.")] = None,
    since: Annotated[str | None, typer.Option(help="Event time at or after, RFC 3339.")] = None,
    until: Annotated[str | None, typer.Option(help="Event time before, RFC 3339.")] = None,
    below: Annotated[int | None, typer.Option(help="Only records with a smaller index.")] = None,
    limit: Limit = 50,
    config: Config = None,
    json: Json = False,
) -> None:
    """Newest records first. This reading is itself recorded."""
    criteria = parse_filters(
        participant=participant,
        event=event,
        item=item,
        outcome=None if outcome is None else Outcome[outcome.name],
        reason=reason,
        protocol=protocol,
        trace=trace,
        source=source,
        since=since,
        until=until,
        below=below,
        limit=limit,
    )

    async def act(desk: ReadingDesk) -> None:
        entries = await desk.list(criteria)
        if json:
            rendering.print_json([rendering.entry_json(entry) for entry in entries])
        else:
            rendering.print_entries(entries)

    _with_desk(ctx, config, act)


@audit_app.command()
def show(
    ctx: typer.Context,
    index: Annotated[int, typer.Argument(min=0, max=MAX_INDEX - 1)],
    *,
    config: Config = None,
    json: Json = False,
) -> None:
    """One record, whole, by its index. This reading is itself recorded."""

    async def act(desk: ReadingDesk) -> None:
        entry = await desk.show(index)
        if json:
            rendering.print_json(rendering.entry_json(entry))
        else:
            rendering.print_entry(entry)

    _with_desk(ctx, config, act)


@audit_app.command()
def export(
    ctx: typer.Context,
    out: Annotated[Path, typer.Argument(help="New file to write; - for standard output.")],
    *,
    participant: Participant = None,
    event: Event = None,
    item: Item = None,
    limit: Limit = MAX_RESULTS,
    config: Config = None,
) -> None:
    """JSON lines of everything that is signed, or with options a selection with proofs. It is itself recorded."""
    criteria = None
    if participant or event or item:
        criteria = parse_filters(participant=participant, event=event, item=item, limit=limit)

    async def act(desk: ReadingDesk) -> None:
        if str(out) == "-":
            async for line in desk.export(criteria):
                sys.stdout.buffer.write(line)
            return
        with _new_file(out) as file:
            async for line in desk.export(criteria):
                file.write(line)

    _with_desk(ctx, config, act)


@audit_app.command()
def checkpoint(
    ctx: typer.Context,
    *,
    out: Annotated[Path | None, typer.Option(help="New file to write instead of standard output.")] = None,
    config: Config = None,
) -> None:
    """The newest signed checkpoint, to be kept elsewhere; `verify --checkpoint` takes it. This reading is recorded."""

    async def act(desk: ReadingDesk) -> None:
        note = (await desk.checkpoint()).encode()
        if out is None:
            sys.stdout.buffer.write(note)
            return
        with _new_file(out) as file:
            file.write(note)

    _with_desk(ctx, config, act)


@audit_app.command()
def verify(
    ctx: typer.Context,
    *,
    export_file: Annotated[Path | None, typer.Option("--export", help="Verify this export instead, offline.")] = None,
    key: Annotated[list[str] | None, typer.Option(help="Public key of the log, for an export.")] = None,
    kept: Annotated[list[Path] | None, typer.Option("--checkpoint", help="A signed checkpoint kept elsewhere.")] = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Check every record and every signed checkpoint; names the first record that is wrong.

    Exit status 0 when all is intact, 3 when something is wrong, 4 when a checkpoint is newer than the export.
    """
    notes = [_note(path) for path in kept or ()]
    if export_file is not None:
        report = _offline(export_file, key or (), notes)
    else:

        async def act(desk: ReadingDesk) -> Report:
            found, recorded = await desk.verify(notes)
            if not recorded:
                typer.echo("this verification could not be recorded in the log", err=True)
            return found

        report = _with_desk(ctx, config, act)
    if json:
        rendering.print_json(rendering.report_json(report))
    else:
        rendering.print_report(report)
    if report.verdict is not Verdict.INTACT:
        raise typer.Exit(INCOMPLETE if report.verdict is Verdict.INCOMPLETE else NOT_INTACT)


def _offline(path: Path, keys: Sequence[str], notes: Sequence[str]) -> Report:
    if not keys:
        _refuse(Reason.PARAMETER_MISSING, "give the log's public key with --key; the one in the file proves nothing")
    try:
        parsed = [VerifierKey.parse(text) for text in keys]
        kept = [StoredCheckpoint(Checkpoint.open(note, *parsed).size, note, ()) for note in notes]
        with path.open("rb") as file:
            return verify_export(file, parsed, kept)
    except (NoteInvalid, ExportInvalid) as error:
        _refuse(Reason.PARAMETER_MALFORMED, str(error))


def _note(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MAX_NOTE_BYTES + 1).decode()
    except UnicodeDecodeError:
        _refuse(Reason.PARAMETER_MALFORMED, f"the checkpoint {path} cannot be read")


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    """Private, and never over another file: what is written holds what the log holds."""
    with naming(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
        except BaseException:
            path.unlink(missing_ok=True)  # a part of an export looks like a log that was cut off
            raise


def _with_desk(ctx: typer.Context, config: Path | None, act: Callable[[ReadingDesk], Awaitable[T]]) -> T:
    async def opened() -> T:
        context: AuditContext = ctx.obj
        async with context.open_audit(config) as desk:
            return await act(desk)

    return asyncio.run(opened())


def _refuse(reason: Reason, detail: str) -> NoReturn:
    raise Refused(reason, detail)
