"""The command line of the certificate authority.

Exit status and errors are those of `authz.edge.cli`. `--json` prints one JSON value on stdout for programs. Everything
slow is imported by the command that needs it, because scripts call `pki issue` many times.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from authz.edge.cli import Program, add_version
from pki.cli.audit import audit_app
from pki.cli.ceremony import add_ceremonies
from pki.cli.dnssec import dnssec_app
from pki.cli.doctor import doctor
from pki.cli.enrolment import block_key, code_app
from pki.cli.help import arrange
from pki.cli.holder import enrol, reenrol
from pki.cli.operators import operator_app
from pki.cli.restored import restored
from pki.cli.shared import (
    CONFIG,
    AsJson,
    Config,
    Environment,
    Identity,
    dns_names,
    emit,
    holder,
    identifier,
    operator,
    settings_of,
    with_authority,
    with_register,
)
from pki.selecting import read_environment, read_serial, read_status

if TYPE_CHECKING:
    from pki.app import OpenAuthority
    from pki.looking import OpenRegister
    from pki.revocation.withdrawal import Withdrawn
    from pki.store.register import Registered

app = typer.Typer(
    name="pki",
    help="Certificate authority: one active system certificate per identifier and environment.",
    no_args_is_help=True,
    cls=Program,
    pretty_exceptions_enable=False,
)
add_version(app, "pki")
add_ceremonies(app)
app.add_typer(dnssec_app, name="dnssec")
app.command()(doctor)
app.add_typer(code_app, name="code")
app.add_typer(operator_app, name="operator")
app.add_typer(audit_app, name="audit")
app.command("block-key")(block_key)
app.command("restored")(restored)
app.command("enrol")(enrol)
app.command("reenrol")(reenrol)

RequestFile = Annotated[Path | None, typer.Option("--csr", help="PKCS#10 request, PEM or DER.")]
NewKey = Annotated[Path | None, typer.Option("--new-key", help="Make a key and write it here, instead of --csr.")]
CodeFile = Annotated[
    Path | None, typer.Option("--code", help="File with an enrolment code that entitles to it (`pki code create`).")
]
Out = Annotated[Path, typer.Option("--out", help="Write the certificate and its issuer here (PEM).")]


@app.command()
def serve(config: Config = CONFIG) -> None:
    """Publish CRLs and CA certificates behind Envoy, do what falls due, ship audit records."""
    from authz.edge.logs import configure_logs  # noqa: PLC0415
    from pki.serving import run_serve  # noqa: PLC0415

    settings = settings_of(config)
    configure_logs("pki")
    raise typer.Exit(run_serve(settings, config))


@app.command()
def issue(
    *,
    identity: Identity,
    out: Out,
    organization: Annotated[str | None, typer.Option(help="Legal name.")] = None,
    kvk: Annotated[str | None, typer.Option(help="KvK number, 8 digits.")] = None,
    dns: Annotated[list[str] | None, typer.Option("--dns", help="DNS name; may be repeated.")] = None,
    csr: RequestFile = None,
    new_key: NewKey = None,
    code: CodeFile = None,
    environment: Environment = None,
    config: Config = CONFIG,
    as_json: AsJson = False,
) -> None:
    """Give a party its certificate, after you made sure who it is. Its DNS names must be secure (DNSSEC).

    In production only for a code that two operators vouched for; organisation and names are then those of the code.
    """

    async def act(pki: "OpenAuthority") -> "Registered":
        from authz.domain.errors import Refused  # noqa: PLC0415
        from authz.domain.reasons import Reason  # noqa: PLC0415
        from pki.cli.delivery import Delivery  # noqa: PLC0415
        from pki.cli.showing import hand_over, redeem_here  # noqa: PLC0415

        who, by = identifier(identity), operator()
        files = Delivery(out, new_key, overwrite=False)
        if code is not None:
            place = pki.environment(environment)
            stated = {"organization": organization, "kvk": kvk, "dns": tuple(dns) if dns else None}
            return await hand_over(
                pki,
                files,
                csr,
                lambda request: redeem_here(pki, place, who, code, request, by, renewal=False, stated=stated),
            )
        if organization is None or kvk is None:
            raise Refused(Reason.PARAMETER_MISSING, "Expected --organization and --kvk, or --code.")
        party = holder(identity, organization, kvk, dns or ())
        return await hand_over(pki, files, csr, lambda request: pki.issue(party, request, by, environment=environment))

    registered = with_authority(config, act)
    emit(_shown(registered) | {"chain": str(out)}, as_json, lambda: f"issued {registered.reference} to {out}")


@app.command()
def renew(
    *,
    identity: Identity,
    out: Out,
    csr: RequestFile = None,
    new_key: NewKey = None,
    dns: Annotated[list[str] | None, typer.Option("--dns", help="Other names than before.")] = None,
    overlap_days: Annotated[
        int | None, typer.Option(min=0, max=30, help="How long the old one works beside it.")
    ] = None,
    code: CodeFile = None,
    environment: Environment = None,
    daemon: Annotated[bool, typer.Option("--daemon", hidden=True)] = False,
    config: Config = CONFIG,
    as_json: AsJson = False,
) -> None:
    """Replace the active certificate; both work until the overlap ends. Existing files are replaced.

    In production another key or other names need a code (`pki code create --renewal`) that two operators vouched for.
    """

    async def act(pki: "OpenAuthority") -> "Registered":
        from datetime import timedelta  # noqa: PLC0415

        from pki.cli.delivery import Delivery  # noqa: PLC0415
        from pki.cli.showing import hand_over, redeem_here  # noqa: PLC0415

        options: dict[str, Any] = {}
        if overlap_days is not None:
            options["overlap"] = timedelta(days=overlap_days)
        files = Delivery(out, new_key, overwrite=True)
        who, by = identifier(identity), operator()
        if code is not None:
            place = pki.environment(environment)
            stated = {"dns": tuple(dns) if dns else None}
            return await hand_over(
                pki,
                files,
                csr,
                lambda request: redeem_here(pki, place, who, code, request, by, renewal=True, stated=stated, **options),
            )
        options["dns_names"] = dns_names(dns)
        return await hand_over(
            pki, files, csr, lambda request: pki.renew(who, request, by, environment=environment, **options)
        )

    if daemon:
        from authz.domain.errors import InvalidValue  # noqa: PLC0415

        raise InvalidValue(
            "--daemon: this command is of operators and renews once; a holder renews by itself with"
            " `pki reenrol --out-dir <folder> --daemon`, after `pki enrol`"
        )
    registered = with_authority(config, act)
    emit(_shown(registered) | {"chain": str(out)}, as_json, lambda: f"renewed as {registered.reference} to {out}")


@app.command()
def revoke(
    *,
    identity: Annotated[str | None, typer.Option("--identity", help="Everything that works of this party.")] = None,
    serial: Annotated[str | None, typer.Option("--serial", help="One certificate, by serial number (hex).")] = None,
    reason: Annotated[str, typer.Option(help="RFC 5280 reason; removeFromCRL releases a hold.")] = "unspecified",
    environment: Environment = None,
    config: Config = CONFIG,
    as_json: AsJson = False,
) -> None:
    """Withdraw certificates; the CRL has it when this returns. Of a party, open enrolment codes go too."""

    async def act(pki: "OpenAuthority") -> "Withdrawn":
        from authz.domain.errors import Refused  # noqa: PLC0415
        from authz.domain.reasons import Reason  # noqa: PLC0415
        from pki.revocation.crl import RevocationReason  # noqa: PLC0415
        from pki.revocation.withdrawal import Withdrawn  # noqa: PLC0415

        try:
            why = RevocationReason(reason)
        except ValueError as error:
            known = ", ".join(RevocationReason)
            raise Refused(Reason.PARAMETER_MALFORMED, f"Expected a reason out of {known}.") from error
        if who is not None and number is None:
            return await pki.revoke_party(why, operator(), who, environment=place)
        found = await pki.revoke(why, operator(), identifier=who, environment=place, serial_number=number)
        return Withdrawn(found, [])

    # Parsed before anything is opened: a selector that says nothing must not come near the register.
    who = identifier(identity) if identity is not None else None
    number = read_serial(serial) if serial is not None else None
    place = read_environment(environment) if environment is not None else None
    done = with_authority(config, act)
    codes = [{"code": code.selector, "identity": code.identifier.subject, "status": code.status} for code in done.codes]
    lines = [f"{reason}: {item.reference} of {item.identifier}" for item in done.certificates]
    lines += [f"withdrew code {code.selector} of {code.identifier}" for code in done.codes]
    emit([*map(_shown, done.certificates), *codes], as_json, lambda: "\n".join(lines))


@app.command("list")
def list_certificates(
    *,
    identity: Annotated[str | None, typer.Option("--identity", help="Only of this party.")] = None,
    serial: Annotated[str | None, typer.Option("--serial", help="Only this serial number (hex).")] = None,
    status: Annotated[
        str | None, typer.Option(help="active, superseding, revoked, expired, issuing, renewing.")
    ] = None,
    environment: Environment = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Show so many at most.")] = 1000,
    out: Annotated[Path | None, typer.Option(help="Write the chain of the one certificate found here (PEM).")] = None,
    config: Config = CONFIG,
    as_json: AsJson = False,
) -> None:
    """Show what is in the register."""

    async def act(register: "OpenRegister") -> "list[Registered]":
        from authz.domain.errors import Refused  # noqa: PLC0415
        from authz.domain.files import PUBLIC, write_new  # noqa: PLC0415
        from authz.domain.reasons import Reason  # noqa: PLC0415

        found = await register.find(identifier=who, serial_number=number, status=state, environment=place, limit=limit)
        if out is not None:
            if len(found) != 1 or found[0].certificate is None:
                raise Refused(Reason.CERTIFICATE_UNKNOWN, f"Expected one certificate to write, found {len(found)}.")
            write_new(out, register.chain_pem(found[0].certificate).encode("ascii"), PUBLIC)
        return found

    who = identifier(identity) if identity is not None else None
    number = read_serial(serial) if serial is not None else None
    state = read_status(status) if status is not None else None
    place = read_environment(environment) if environment is not None else None
    found = with_register(config, act)

    def text() -> str:
        from pki.cli.certificate_list import listed  # noqa: PLC0415

        return listed(found)

    emit([_shown(item) for item in found], as_json, text)


arrange(app)


def main() -> None:
    """Entry point; see `authz.edge.cli` for how errors are told."""
    app()


def _shown(item: "Registered") -> dict[str, Any]:
    from pki.cli.showing import shown  # noqa: PLC0415

    return shown(item)


if __name__ == "__main__":
    main()
