"""`pki dnssec`: the chain of trust of a name, the anchors, and DANE, for whoever runs a domain.

Exit status tells the outcome to programs: 0 secure (or the TLSA records fit), 3 insecure (or no DANE), 4 bogus (or the
certificate does not fit), 5 indeterminate (or TLSA not to be trusted), 6 unreachable, 7 secure and proven not to
exist; 1 and 2 as everywhere in `pki`.
"""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    import dns.name

    from authz.domain.errors import Refused
    from pki.dnssec.anchors import TrustAnchor
    from pki.dnssec.dane import DaneResult
    from pki.dnssec.model import DnssecResult
    from pki.dnssec.standing import Validator

dnssec_app = typer.Typer(help="DNSSEC: is a name secure, and if not, what to repair.", no_args_is_help=True)

Resolver = Annotated[
    list[str] | None,
    typer.Option("--resolver", help="IP[:port]; may be repeated. Those of this machine when left out."),
]
Anchor = Annotated[Path | None, typer.Option("--anchor", help="DS or DNSKEY records; the public root when left out.")]
AnchorState = Annotated[Path | None, typer.Option("--anchor-state", help="File kept by `dnssec anchors` (RFC 5011).")]
Mode = Annotated[str, typer.Option("--mode", help="validate, or resolver-ad (a validating resolver on the loopback).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

EXIT_CODES: Final = {"secure": 0, "insecure": 3, "bogus": 4, "indeterminate": 5, "unreachable": 6, "absent": 7}
_WIDE: Final = 400
"""Columns where there is no terminal."""
DANE_EXIT_CODES: Final = {"matched": 0, "absent": 3, "mismatched": 4, "failed": 5}


@dnssec_app.command()
def check(
    name: Annotated[str, typer.Argument(help="Host or domain name.")],
    *,
    rdtype: Annotated[str, typer.Option("--type", help="Record type, for example A, AAAA, TLSA.")] = "A",
    resolver: Resolver = None,
    anchor: Anchor = None,
    anchor_state: AnchorState = None,
    mode: Mode = "validate",
    as_json: AsJson = False,
) -> None:
    """Show the chain of trust of a name, and what to repair where it breaks."""
    asked(name, rdtype)
    validator = validator_for(mode, resolver, anchor, anchor_state)
    at = datetime.now(UTC)
    result = asyncio.run(validator.check(name, at, rdtype))
    _show(result, at, as_json=as_json)
    raise typer.Exit(exit_code(result))


@dnssec_app.command()
def anchors(
    *,
    state: Annotated[Path, typer.Option("--state", help="The file that follows the keys of the zone.")] = Path(
        "root-anchors.json"
    ),
    refresh: Annotated[bool, typer.Option("--refresh", help="Look at the zone now and write what changed.")] = False,
    resolver: Resolver = None,
    anchor: Anchor = None,
    as_json: AsJson = False,
) -> None:
    """Show the anchors that are followed (RFC 5011); with --refresh, bring them up to date first."""
    from authz.domain.clock import SystemClock  # noqa: PLC0415
    from authz.domain.errors import InvalidValue  # noqa: PLC0415
    from pki.dnssec.keeping import AnchorKeeper  # noqa: PLC0415
    from pki.dnssec.transport import Resolver as Asked  # noqa: PLC0415
    from pki.dnssec.tree import printable  # noqa: PLC0415

    try:
        keeper = AnchorKeeper(state, _seed(anchor), Asked(_addresses(resolver)), SystemClock())
    except InvalidValue as error:
        raise _malformed("--state", error) from error
    changes = asyncio.run(keeper.look()) if refresh else ()
    shown = _anchors_shown(keeper)
    document = {"changes": list(changes), "followed": state.exists(), "anchors": shown}
    if as_json:
        typer.echo(json.dumps(document, indent=2))
        return
    for change in changes:
        typer.echo(f"changed: {printable(change)}")
    if not keeper.keys:
        where = printable(str(state))
        typer.echo(f"{where} is not there yet: these are the configured anchors; --refresh begins to follow them")
    for item in shown:
        typer.echo(f"{printable(item['zone'])}  key {item['key_tag']}  algorithm {item['algorithm']}  {item['state']}")
    if not keeper.anchors():
        typer.echo("every key was revoked: nothing is trusted; get a new anchor from who runs the zone")


@dnssec_app.command()
def dane(
    host: Annotated[str, typer.Argument(help="Host name of the endpoint.")],
    *,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Of the endpoint.")] = 443,
    certificate: Annotated[
        Path | None, typer.Option("--certificate", help="Compare with this chain (PEM) instead of what is presented.")
    ] = None,
    connect: Annotated[str | None, typer.Option("--connect", help="IP:port to connect to instead of DNS.")] = None,
    resolver: Resolver = None,
    anchor: Anchor = None,
    anchor_state: AnchorState = None,
    mode: Mode = "validate",
    as_json: AsJson = False,
) -> None:
    """Compare the certificate of an endpoint with its TLSA records, and tell which record to publish."""
    from pki.dnssec.dane import check_dane, tlsa_for  # noqa: PLC0415
    from pki.dnssec.handshake import NotReached  # noqa: PLC0415
    from pki.doctor.presented import chain_of, presented_chain  # noqa: PLC0415

    # As in a certificate and in a ClientHello: without the final dot (RFC 6066 section 3).
    host = str(asked(host, "TLSA")).rstrip(".")
    if not host or "*" in host:
        raise _malformed("the name", "expected that of an endpoint, not the root or a wildcard")
    connecting("--connect", connect)
    validator = validator_for(mode, resolver, anchor, anchor_state)
    at = datetime.now(UTC)

    async def work() -> "tuple[tuple[bytes, ...], DaneResult]":
        chain = chain_of(certificate) if certificate else await presented_chain(host, port, connect, validator, at)
        return chain, await check_dane(validator, host, port, chain, at)

    chain, outcome = asyncio.run(work())
    owner = f"_{port}._tcp.{host}. IN TLSA"
    try:
        publish = f"{owner} {tlsa_for(chain[0])}"
        over_renewals = f"{owner} {tlsa_for(chain[1], authority=True)}" if len(chain) > 1 else None
    except ValueError as error:
        raise NotReached(f"{host} presents {error}") from error
    if as_json:
        from pki.dnssec.tree import as_json as standing  # noqa: PLC0415

        document = {"outcome": outcome.outcome.value, "message": outcome.message, "publish": publish}
        document |= {"publish_authority": over_renewals} if over_renewals else {}
        typer.echo(json.dumps(document | {"standing": standing(outcome.standing, at)}, indent=2))
    else:
        from pki.dnssec.tree import printable  # noqa: PLC0415

        _show(outcome.standing, at, as_json=False)
        typer.echo(f"DANE {outcome.outcome.value}: {printable(outcome.message)}")
        if outcome.outcome.value != "matched":
            typer.echo(f"record of this certificate's key: {publish}")
            if over_renewals:
                typer.echo(f"or of its issuing CA's key, over renewals: {over_renewals}")
    raise typer.Exit(DANE_EXIT_CODES[outcome.outcome.value])


def exit_code(result: "DnssecResult") -> int:
    """The exit status for an outcome."""
    return EXIT_CODES[result.standing.value]


def _show(result: "DnssecResult", at: datetime, *, as_json: bool) -> None:
    from pki.dnssec import tree  # noqa: PLC0415

    if as_json:
        typer.echo(json.dumps(tree.as_json(result, at), indent=2))
        return
    from rich.console import Console  # noqa: PLC0415

    console = Console(highlight=False)
    if not console.is_terminal:
        # A file or a pipe has no width; nothing may be cut off there.
        console = Console(highlight=False, width=_WIDE)
    console.print(tree.render(result, at, encoding=console.encoding))


def validator_for(mode: str, resolver: list[str] | None, anchor: Path | None, state: Path | None) -> "Validator":
    """The validator that the options ask for.

    Raises:
        Refused: PARAMETER_MALFORMED, PARAMETER_MISSING.
    """
    from authz.domain.errors import InvalidValue, Refused  # noqa: PLC0415
    from authz.domain.reasons import Reason  # noqa: PLC0415
    from pki.dnssec.choosing import DnssecMode, choose_validator  # noqa: PLC0415
    from pki.dnssec.rollover import AnchorFile  # noqa: PLC0415

    if mode not in set(DnssecMode):
        raise Refused(Reason.PARAMETER_MALFORMED, f"--mode: expected one of {', '.join(DnssecMode)}.")
    try:
        trusted = _seed(anchor)
        if state is not None:
            if not state.is_file():
                # Beginning anew from the seed would hide that the file of before, and what it learned, is gone.
                hint = f"`pki dnssec anchors --state {state} --refresh` makes it"
                raise _malformed("--anchor-state", f"{state}: no such file; {hint}")
            trusted = AnchorFile(state, trusted).anchors()
        return choose_validator(DnssecMode(mode), _addresses(resolver), lambda: trusted)
    except InvalidValue as error:
        raise Refused(Reason.PARAMETER_MALFORMED, f"{error}.") from error


def asked(name: str, rdtype: str) -> "dns.name.Name":
    """The name of a question that can be asked.

    Raises:
        Refused: PARAMETER_MALFORMED, and says which of the two is wrong.
    """
    from authz.domain.errors import InvalidValue  # noqa: PLC0415
    from pki.dnssec.asking import parse_name, parse_type  # noqa: PLC0415

    where = "--type"
    try:
        parse_type(rdtype)
        where = "the name"
        return parse_name(name)
    except InvalidValue as error:
        if where == "the name" and ("/" in name or ":" in name):
            raise _malformed(where, f"{error}; a name alone, without https://, path or :port") from error
        raise _malformed(where, error) from error


def connecting(option: str, text: str | None) -> str | None:
    """An address to connect to in the place of DNS, as it was typed.

    Raises:
        Refused: PARAMETER_MALFORMED.
    """
    from authz.domain.errors import InvalidValue  # noqa: PLC0415
    from pki.dnssec.choosing import parse_address  # noqa: PLC0415

    if text is not None:
        try:
            parse_address(text)
        except InvalidValue as error:
            raise _malformed(option, error) from error
    return text


def _malformed(where: str, why: object) -> "Refused":
    from authz.domain.errors import Refused  # noqa: PLC0415
    from authz.domain.reasons import Reason  # noqa: PLC0415

    return Refused(Reason.PARAMETER_MALFORMED, f"{where}: {why}.")


def _seed(anchor: Path | None) -> "tuple[TrustAnchor, ...]":
    from authz.domain.errors import InvalidValue  # noqa: PLC0415
    from pki.dnssec.anchors import read_anchors, root_anchors  # noqa: PLC0415

    if anchor is None:
        return root_anchors()
    try:
        return read_anchors(anchor)
    except InvalidValue as error:
        raise _malformed("--anchor", error) from error


def _addresses(given: list[str] | None) -> list[tuple[str, int]]:
    from authz.domain.errors import InvalidValue, Refused  # noqa: PLC0415
    from authz.domain.reasons import Reason  # noqa: PLC0415
    from pki.dnssec.choosing import parse_address  # noqa: PLC0415

    try:
        found = [parse_address(text) for text in given or _own_resolvers()]
    except InvalidValue as error:
        raise _malformed("--resolver", error) from error
    if not found:
        raise Refused(Reason.PARAMETER_MISSING, "This machine names no resolver: give one with --resolver.")
    return found


def _own_resolvers() -> list[str]:
    import dns.exception  # noqa: PLC0415
    import dns.resolver  # noqa: PLC0415

    try:
        return [str(address) for address in dns.resolver.Resolver().nameservers]
    except dns.exception.DNSException:
        return []


def _anchors_shown(keeper: Any) -> list[dict[str, Any]]:  # noqa: ANN401  AnchorKeeper, imported late
    import dns.dnssec  # noqa: PLC0415
    from dns.rdtypes.ANY.DNSKEY import DNSKEY  # noqa: PLC0415

    if keeper.keys:
        zone = str(keeper.anchors()[0].zone) if keeper.anchors() else "."
        return [
            {
                "zone": zone,
                "key_tag": dns.dnssec.key_id(tracked.key),
                "algorithm": int(tracked.key.algorithm),
                "state": tracked.state.value,
                "since": tracked.since.isoformat(),
                "trusted": tracked.trusted,
            }
            for tracked in keeper.keys
        ]
    return [
        {
            "zone": str(anchor.zone),
            "key_tag": dns.dnssec.key_id(anchor.record) if isinstance(anchor.record, DNSKEY) else anchor.record.key_tag,
            "algorithm": int(anchor.record.algorithm),
            "state": "configured",
            "since": None,
            "trusted": True,
        }
        for anchor in keeper.anchors()
    ]
