"""`pki doctor`: is a participant's installation in order, seen from the participant's own machine?

Exit status 0 only when every essential check passed; 3 when one failed; 2 when the question itself was refused.
"""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pki.cli.dnssec import Anchor, AnchorState, AsJson, Mode, Resolver, connecting, validator_for

if TYPE_CHECKING:
    from pki.doctor.model import Endpoint

FAILED: Final = 3
_WIDE: Final = 200
_COLUMNS: Final = 100
"""Below this width columns break what should be copied whole."""
_HTTPS: Final = 443


def doctor(
    *,
    certificate: Annotated[Path, typer.Option("--certificate", help="Your certificate and its issuing CA (PEM).")],
    key: Annotated[Path | None, typer.Option("--key", help="Its private key (PEM).")] = None,
    ca: Annotated[Path | None, typer.Option("--ca", help="Root of the network (PEM).")] = None,
    endpoint: Annotated[str | None, typer.Option("--endpoint", help="HOST:PORT of your trust agent.")] = None,
    connect: Annotated[str | None, typer.Option("--connect", help="IP:PORT of the endpoint, past DNS.")] = None,
    authz: Annotated[str | None, typer.Option("--authz", help="https URL of the authorization server.")] = None,
    authz_connect: Annotated[str | None, typer.Option("--authz-connect", help="Its IP:PORT, past DNS.")] = None,
    crl: Annotated[list[str] | None, typer.Option("--crl", help="CRL URL, instead of those in certificates.")] = None,
    ocsp: Annotated[str | None, typer.Option("--ocsp", help="OCSP URL, instead of the one in the certificate.")] = None,
    need_dane: Annotated[bool, typer.Option("--need-dane", help="Fail without TLSA records.")] = False,
    resolver: Resolver = None,
    anchor: Anchor = None,
    anchor_state: AnchorState = None,
    mode: Mode = "validate",
    as_json: AsJson = False,
) -> None:
    """Look at a whole installation: certificate, key, chain, CRL, OCSP, TLS, DNSSEC, DANE, clock; say what to do."""
    from pki.doctor.model import Installation, passed  # noqa: PLC0415
    from pki.doctor.running import as_json as report  # noqa: PLC0415
    from pki.doctor.running import examine, listing, table  # noqa: PLC0415

    installation = Installation(
        certificate=certificate,
        key=key,
        anchors=ca,
        endpoint=_endpoint("--endpoint", endpoint, connecting("--connect", connect)),
        authz=_endpoint("--authz", authz, connecting("--authz-connect", authz_connect)),
        crl_urls=tuple(crl or ()),
        ocsp_url=ocsp,
        validator=validator_for(mode, resolver, anchor, anchor_state),
        need_dane=need_dane,
        at=datetime.now(UTC),
    )
    findings = asyncio.run(examine(installation))
    if as_json:
        typer.echo(json.dumps(report(findings), indent=2))
    else:
        from rich.console import Console  # noqa: PLC0415

        console = Console(highlight=False)
        if not console.is_terminal:
            console = Console(highlight=False, width=_WIDE)
        console.print(table(findings) if console.width >= _COLUMNS else listing(findings))
        console.print("in order" if passed(findings) else "not in order: see what failed", style="bold")
    raise typer.Exit(0 if passed(findings) else FAILED)


def _endpoint(option: str, text: str | None, connect: str | None) -> "Endpoint | None":
    from urllib.parse import urlsplit  # noqa: PLC0415

    from authz.domain.errors import Refused  # noqa: PLC0415
    from authz.domain.reasons import Reason  # noqa: PLC0415
    from pki.doctor.model import Endpoint  # noqa: PLC0415
    from pki.names import is_host_name  # noqa: PLC0415

    if text is None:
        return None
    try:
        parts = urlsplit(text if "//" in text else f"//{text}")
        host, port = (parts.hostname or "").rstrip("."), parts.port or _HTTPS
    except ValueError:
        host, port = "", 0
    if not is_host_name(host):
        raise Refused(Reason.PARAMETER_MALFORMED, f"{option}: expected a host name, with :port if it is not 443.")
    return Endpoint(host, port, connect)
