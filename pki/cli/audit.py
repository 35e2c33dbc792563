"""Commands around audit records that the audit store refused: `pki audit ...`."""

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pki.cli.shared import CONFIG, AsJson, Config, emit, operator, settings_of, table, with_register

if TYPE_CHECKING:
    from pki.audit.resending import Resending
    from pki.looking import OpenRegister
    from pki.store.outbox import OutboxRecord

audit_app = typer.Typer(
    name="audit", help="Audit records that authz refused: why, and sending them again.", no_args_is_help=True
)
STILL_REFUSED: Final = 3
"""Exit status: something was refused again, or is still on its way."""


@audit_app.command("list-refused")
def list_refused(
    *,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Show so many at most, oldest first.")] = 200,
    config: Config = CONFIG,
    as_json: AsJson = False,
) -> None:
    """Show which records authz refused for good, and why; never what they say about a party."""

    async def act(register: "OpenRegister") -> "tuple[list[OutboxRecord], int]":
        return await _resending(register, config).refused(limit)

    found, number = with_register(config, act)

    def text() -> str:
        if not number:
            return "authz refused nothing"
        shown = f"{number} refused" if number == len(found) else f"{number} refused, the oldest {len(found)} shown"
        return f"{_listed(found)}\n{shown}; after the cause is repaired: pki audit resend --all"

    emit({"refused": number, "records": [_shown(item) for item in found]}, as_json, text)


@audit_app.command("resend")
def resend(
    record_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[RECORD_ID]...", help="Ids as `list-refused` shows them.")
    ] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="All that were refused, instead of ids.")] = False,
    wait: Annotated[
        int, typer.Option(min=0, max=600, help="Seconds to wait for what authz says; `pki serve` sends them.")
    ] = 15,
    config: Config = CONFIG,
    as_json: AsJson = False,
) -> None:
    """Send refused records again, after you repaired why. authz knows them by id, so doing it twice adds nothing.

    Exit status 3 when one was refused again or is still on its way.
    """

    async def act(register: "OpenRegister") -> "list[OutboxRecord]":
        from authz.domain.errors import Refused  # noqa: PLC0415
        from authz.domain.reasons import Reason  # noqa: PLC0415

        if bool(record_ids) == everything:
            raise Refused(Reason.PARAMETER_MISSING, "Expected ids of records, or --all.")
        resending = _resending(register, config)
        return await resending.follow(await resending.resend(record_ids or None, operator()), wait)

    found = with_register(config, act)
    emit([_shown(item) for item in found], as_json, lambda: _listed(found) if found else "authz refused nothing")
    if any(item.state != "taken" for item in found):
        raise typer.Exit(STILL_REFUSED)


def _resending(register: "OpenRegister", config: Config) -> "Resending":
    from authz.domain.clock import SystemClock  # noqa: PLC0415
    from pki.audit.resending import Resending  # noqa: PLC0415

    return Resending(register.database, SystemClock(), settings_of(config).audit.source)


def _listed(found: "list[OutboxRecord]") -> str:
    # The whole id, because it is typed again; more columns would be wider than a terminal.
    rows: list[tuple[str, ...]] = [("record id", "event", "authz says")]
    rows += [(item.record_id, item.event, item.why or item.state) for item in found]
    return table(rows)


def _shown(item: "OutboxRecord") -> dict[str, Any]:
    return {
        "record_id": item.record_id,
        "event": item.event,
        "time": item.time,
        "state": item.state,
        "refused_at": item.refused_at.isoformat() if item.refused_at else None,
        "reason": item.why,
    }
