"""The command line of the authorization server: `authz serve`, and what an operator does beside it.

Everything heavy is imported by the command that needs it, so that `authz --help` and a refusal come at once. Errors and
exit status are those of `authz.edge.cli`; `--json` prints one JSON document for programs.
"""

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from authz.audit.cli import audit_app
from authz.domain.errors import InvalidValue
from authz.edge.cli import Program, add_version

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextlib import AbstractAsyncContextManager

    from authz.audit.reading import ReadingDesk
    from authz.operations import Operations
    from authz.settings import AuthzSettings

CONFIG_VARIABLE = "SLUIS_AUTHZ_CONFIG"
T = TypeVar("T")
TAKES_HYPHENS: dict[str, Any] = {"ignore_unknown_options": True}
"""For commands whose argument is base64url: one value in 64 begins with a hyphen, and is no option for that."""

Config = Annotated[Path, typer.Option("--config", envvar=CONFIG_VARIABLE, help="Settings file (TOML).")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document, for programs.")]

app = typer.Typer(
    name="authz",
    help="The authorization server: tokens, keys, address book and audit log of a care network.",
    no_args_is_help=True,
    cls=Program,
    pretty_exceptions_enable=False,
)
add_version(app, "authz")
keys_app = typer.Typer(help="The server's own keys.", no_args_is_help=True)
scheme_app = typer.Typer(help="Who takes part, and which services there are.", no_args_is_help=True)
policies_app = typer.Typer(help="The policies that agents fetch.", no_args_is_help=True)
revoke_app = typer.Typer(help="End a token, or everything of one certificate or grant.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")
app.add_typer(scheme_app, name="scheme")
app.add_typer(policies_app, name="policies")
app.add_typer(revoke_app, name="revoke")


@app.command()
def serve(config: Config = Path("authz.toml")) -> None:
    """Serve: Envoy in front, the service behind it, both supervised."""
    from authz.edge.envoy import DownstreamTls, EdgeLimits, Listener, service_front  # noqa: PLC0415  fast start
    from authz.edge.logs import configure_logs  # noqa: PLC0415
    from authz.edge.secrets import OwnCertificate, PeerValidation  # noqa: PLC0415
    from authz.edge.supervise import Front, Service, run_folder, run_service  # noqa: PLC0415

    settings = _settings(config)
    configure_logs("authz")
    settings.crl_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with run_folder(settings.run_dir) as folder:
        # The longest body is a batch of audit records; the token endpoint has its own, smaller limit.
        limits = EdgeLimits(max_body_bytes=1024 * 1024)
        listener = Listener("tls", settings.listen.address, settings.listen.port, DownstreamTls(folder.secrets), limits)
        front = Front(
            service_front(sender="authz", admin=folder.admin, service=folder.service, listeners=[listener]),
            [
                OwnCertificate(settings.certificate.certificate, settings.certificate.key),
                PeerValidation(settings.clients.authorities, settings.crl_folder),
            ],
            concurrency=settings.listen.envoy_threads,
        )
        arguments = ["service", "--config", str(config.absolute()), "--socket", str(folder.service)]
        raise typer.Exit(run_service("authz", folder, front, Service("authz-service", "authz.cli", arguments)))


@app.command(hidden=True)
def service(socket: Annotated[Path, typer.Option()], config: Config) -> None:
    """The service behind Envoy; started by `serve`."""
    from authz.app import serve as serve_service  # noqa: PLC0415
    from authz.edge.logs import configure_logs  # noqa: PLC0415
    from authz.edge.serving import run  # noqa: PLC0415

    settings = _settings(config)
    configure_logs("authz")
    raise typer.Exit(run(lambda: serve_service(settings, socket)))


@keys_app.command("init")
def keys_init(*, config: Config = Path("authz.toml"), as_json: Json = False) -> None:
    """Make the keys that are not there yet: tokens, revocation feed, policy bundles, audit checkpoints."""
    made = _run(config, lambda operations: operations.init_keys())
    bundle = made["bundle_key"]
    _say(
        as_json,
        made,
        f"bundle key {bundle['key_id']}, public key in {bundle['public_key']}\naudit log {made['checkpoint_key']}",
    )


@keys_app.command("list")
def keys_list(*, config: Config = Path("authz.toml"), as_json: Json = False) -> None:
    """The token keys and what each does now, and the public keys that agents and auditors need."""
    keys = _run(config, lambda operations: operations.list_keys())
    tokens = [
        f"token key   {key['kid']}  {key['state']:10}  signs from {key['signs_from']}" for key in keys["token_keys"]
    ]
    bundle = keys["bundle_key"]
    others = [f"bundle key  {bundle['key_id']}  public key in {bundle['public_key']}"]
    others += [f"audit log   {keys['checkpoint_key']}"]
    _say(as_json, keys, "\n".join([*tokens, *others]))


@keys_app.command("rotate")
def keys_rotate(
    *,
    config: Config = Path("authz.toml"),
    now: Annotated[bool, typer.Option("--now", help="Sign with it at once: the old key may be known.")] = False,
    as_json: Json = False,
) -> None:
    """Add a token key: published at once, signing when every reader has had time to fetch it."""
    key = _run(config, lambda operations: operations.rotate_keys(now=now))
    signs_from = key.signs_from.isoformat()
    _say(as_json, {"kid": key.kid, "signs_from": signs_from}, f"{key.kid} signs from {signs_from}")


@keys_app.command("withdraw", context_settings=TAKES_HYPHENS)
def keys_withdraw(
    kid: Annotated[str, typer.Argument(help="Key id of a token key, see `authz keys list`.")],
    *,
    config: Config = Path("authz.toml"),
    replace: Annotated[bool, typer.Option("--replace", help="Add a key that signs from the same moment on.")] = False,
    as_json: Json = False,
) -> None:
    """End a token key that somebody else may have: agents refuse every token that it signed, within two seconds."""
    added = _run(config, lambda operations: operations.withdraw_key(kid, replace=replace))
    text = f"{kid} is withdrawn" + (f"; {added.kid} signs from now on" if added else "")
    _say(as_json, {"kid": kid, "replaced_by": added.kid if added else None}, text)


@policies_app.command("renew")
def policies_renew(*, config: Config = Path("authz.toml"), as_json: Json = False) -> None:
    """Publish the policies under a new serial number at the next start, after a database was restored from a backup."""
    _run(config, lambda operations: operations.renew_bundle())
    _say(as_json, {"renewed": True}, "the next start of the server gives the policies a new serial number")


@scheme_app.command("import")
def scheme_import(
    file: Annotated[Path, typer.Argument(help="Scheme file (TOML).")],
    *,
    config: Config = Path("authz.toml"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and write nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Bring deelnemers and address book to what the file says, and tell what changed. A second import changes nothing.

    Services that are new or change must be at a domain that is secure (DNSSEC); else nothing of the file is taken.
    """
    done = _run(config, lambda operations: operations.import_scheme(file, dry_run=dry_run))
    items = (*done.participants, *done.services)
    counts = {change: sum(item.change == change for item in items) for change in ("added", "changed", "unchanged")}
    document = {
        "dry_run": dry_run,
        "participants": [item.document() for item in done.participants],
        "services": [item.document() for item in done.services],
        **counts,
    }
    summary = ", ".join(f"{number} {change}" for change, number in counts.items())
    last = f"{summary}; nothing was written" if dry_run else summary
    _say(as_json, document, "\n".join([*(line for item in items for line in item.lines()), last]))


def _revoke(config: Path, kind: str, value: str, until: str | None, *, as_json: bool) -> None:
    from authz.tokens.revocation import RevocationKind  # noqa: PLC0415

    try:
        moment = None if until is None else datetime.fromisoformat(until)
        if moment is not None:
            moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise InvalidValue("--until: a time is written as in 2026-11-22T12:00:00Z") from None
    version = _run(config, lambda operations: operations.revoke(RevocationKind(kind), value, moment))
    _say(as_json, {"version": version}, f"revoked; version {version} of the list has it")


Until = Annotated[str | None, typer.Option(help="Keep it listed until this moment, RFC 3339.")]


@revoke_app.command("jti", context_settings=TAKES_HYPHENS)
def revoke_jti(value: str, *, config: Config = Path("authz.toml"), until: Until = None, as_json: Json = False) -> None:
    """End one token, by its jti."""
    _revoke(config, "jti", value, until, as_json=as_json)


@revoke_app.command("credential", context_settings=TAKES_HYPHENS)
def revoke_credential(
    value: str, *, config: Config = Path("authz.toml"), until: Until = None, as_json: Json = False
) -> None:
    """End every token of one certificate and refuse new ones, by its x5t#S256."""
    _revoke(config, "credential", value, until, as_json=as_json)


@revoke_app.command("grant", context_settings=TAKES_HYPHENS)
def revoke_grant(
    value: str, *, config: Config = Path("authz.toml"), until: Until = None, as_json: Json = False
) -> None:
    """End every token under one grant, by its id."""
    _revoke(config, "grant", value, until, as_json=as_json)


@dataclass(frozen=True, slots=True)
class _Audit:
    """What the commands of `audit_app` get: the log of the settings file that one of them names."""

    usual: Path

    def open_audit(self, config: Path | None) -> "AbstractAsyncContextManager[ReadingDesk]":
        from authz.operations import Operations  # noqa: PLC0415

        return Operations(_settings(config or self.usual)).open_audit()


def audit_of(
    ctx: typer.Context,
    # Where it stood before; the commands below take it in the place where every other command does.
    config: Annotated[Path, typer.Option("--config", envvar=CONFIG_VARIABLE, hidden=True)] = Path("authz.toml"),
) -> None:
    """Read, export and verify the audit log; each reading is itself recorded."""
    ctx.obj = _Audit(config)


# Handed over here and not by a decorator: `audit_app` itself stays free of this program's settings.
app.add_typer(audit_app, name="audit", callback=audit_of)


def main() -> None:
    """Entry point of the program."""
    app()


def _settings(path: Path) -> "AuthzSettings":
    from authz.edge.settings import load_settings  # noqa: PLC0415
    from authz.settings import AuthzSettings  # noqa: PLC0415

    return load_settings(AuthzSettings, path, variable=CONFIG_VARIABLE)


def _run(config: Path, act: "Callable[[Operations], Coroutine[Any, Any, T]]") -> T:
    from authz.operations import Operations  # noqa: PLC0415

    operations = Operations(_settings(config))
    return asyncio.run(act(operations))


def _say(as_json: bool, document: object, text: str) -> None:  # noqa: FBT001  internal
    from authz.edge.terminal import lines  # noqa: PLC0415

    typer.echo(json.dumps(document) if as_json else lines(text))


if __name__ == "__main__":
    main()
