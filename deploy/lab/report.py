"""What a lab tells of itself: a table of addresses, curl commands that work as pasted, and all of it as JSON."""

import shlex
from typing import Any

from rich.console import Console
from rich.table import Table

from deploy.lab.layout import (
    AUTHZ_PORT,
    DNS_PORT,
    PKI_PORT,
    PKI_TLS_PORT,
    agent_port,
    health_port,
    program,
    register_port,
)
from deploy.lab.network import (
    DATASTATIONS,
    INDICATIONS,
    NORTH,
    PARTIES,
    SERVICES,
    TRUST_PROVIDER,
    Datastation,
    Party,
)
from deploy.lab.ports import LOOPBACK
from deploy.lab.running import RunningLab, resource


def status(lab: RunningLab) -> dict[str, Any]:
    """Every address, certificate and key file of every party, for programs."""
    ports, layout = lab.state.ports, lab.layout
    return {
        "folder": str(lab.state.folder),
        "ready_in_seconds": lab.state.settings.get("seconds"),
        "anchors": str(layout.anchors),
        "dns": {"address": f"{LOOPBACK}:{ports[DNS_PORT]}", "anchor": str(layout.dns_anchor)},
        "pki": {
            "crl": f"http://{LOOPBACK}:{ports[PKI_PORT]}/crl/",
            "tls": _pki_tls(lab),
            "settings": str(layout.pki_settings),
        },
        "authz": {
            "issuer": lab.authz_url,
            "token_iwlz": lab.iwlz_token,
            "token_oauth": lab.oauth_token,
            "settings": str(layout.authz_settings),
        },
        "datastations": {station.key: _station(lab, station) for station in DATASTATIONS},
        "audiences": {station.key: lab.audience(station) for station in SERVICES},
        "parties": {party.key: _party(lab, party) for party in PARTIES},
        "requests": {"token": str(layout.token_request), "query": str(layout.query)},
        "resolve": resolve(lab),
        "components": {
            name: {"pid": process.pid, "running": process.alive} for name, process in lab.state.processes.items()
        },
    }


def resolve(lab: RunningLab) -> dict[str, str]:
    """Every `host:port` of the lab and the address it leads to, as `curl --resolve` wants it."""
    ports = lab.state.ports
    names = {
        f"{TRUST_PROVIDER.host('authz')}:{ports[AUTHZ_PORT]}",
        f"{TRUST_PROVIDER.host('pki')}:{ports[PKI_TLS_PORT]}",
        *(f"{station.agent_host}:{ports[agent_port(station.key)]}" for station in DATASTATIONS),
        *(f"{station.register_host}:{ports[register_port(station.key)]}" for station in DATASTATIONS),
    }
    return dict.fromkeys(sorted(names), LOOPBACK)


def curl_commands(lab: RunningLab) -> dict[str, str]:
    """Commands to paste into a shell, by what they do; the last one uses the token of the first."""
    layout = lab.layout
    json_type = ("-H", "content-type: application/json")
    token = _curl(lab, lab.iwlz_token, *json_type, "--data", f"@{layout.token_request}")
    form = (
        *("--data", "grant_type=client_credentials"),
        *("--data-urlencode", f"client_id={NORTH.identity.subject}"),
        *("--data-urlencode", f"scope={INDICATIONS.scopes[0]}"),
        *("--data-urlencode", f"resource={lab.audience(INDICATIONS)}"),
    )
    reader = "import json, sys; print(json.load(sys.stdin)['access_token'])"
    keep = f"TOKEN=$({token} | {program('python')} -c {shlex.quote(reader)})"
    call = _curl(lab, lab.audience(INDICATIONS), *json_type, "--data", f"@{layout.query}")
    return {
        f"A token for {NORTH.name} (iWlz face)": token,
        "The same (OAuth face)": _curl(lab, lab.oauth_token, *form),
        "Keep it": keep,
        "Read an indication through the trust agent (QIR-0001-ZKi)": f'{call} -H "authorization: Bearer $TOKEN"',
    }


def show(lab: RunningLab, console: Console) -> None:
    """Print addresses and commands for people."""
    table = Table(title="Sluis lab", title_justify="left")
    for heading in ("what", "address", "held by"):
        table.add_column(heading, overflow="fold")
    ports = lab.state.ports
    table.add_row("token endpoint (iWlz)", lab.iwlz_token, TRUST_PROVIDER.name)
    table.add_row("token endpoint (OAuth)", lab.oauth_token, TRUST_PROVIDER.name)
    table.add_row("certificate authority (EST)", _pki_tls(lab), TRUST_PROVIDER.name)
    table.add_row("CRLs", f"http://{LOOPBACK}:{ports[PKI_PORT]}/crl/", TRUST_PROVIDER.name)
    table.add_row("DNS", f"{LOOPBACK}:{ports[DNS_PORT]} (UDP and TCP)", "")
    for station in DATASTATIONS:
        table.add_row(f"trust agent of the {station.key}", lab.audience(station), station.party.name)
        table.add_row("health of that agent", f"http://{LOOPBACK}:{ports[health_port(station.key)]}/health", "")
    console.print(table)
    _show_files(lab, console)
    parties = Table(title="Parties", title_justify="left")
    for heading in ("party", "identity", "certificate and key"):
        parties.add_column(heading, overflow="fold")
    for party in PARTIES:
        credentials = lab.credentials(party)
        where = str(credentials.chain.parent) if credentials.chain.exists() else "(no certificate)"
        parties.add_row(party.name, party.identity.subject, where)
    console.print(parties)
    for what, command in curl_commands(lab).items():
        console.print(f"\n# {what}", style="bold", soft_wrap=True)
        # Not wrapped and not marked up: it is there to be pasted.
        console.out(command, highlight=False)


def _show_files(lab: RunningLab, console: Console) -> None:
    layout = lab.layout
    table = Table(title="Files", title_justify="left")
    for heading in ("what", "file"):
        table.add_column(heading, overflow="fold")
    table.add_row("settings of authz", str(layout.authz_settings))
    table.add_row("settings of pki", str(layout.pki_settings))
    for station in DATASTATIONS:
        table.add_row(f"settings of the trust agent of the {station.key}", str(layout.agent_settings(station.key)))
    table.add_row("root certificate of the network", str(layout.anchors))
    table.add_row("trust anchor of its DNS", str(layout.dns_anchor))
    console.print(table)


def _pki_tls(lab: RunningLab) -> str:
    return f"https://{TRUST_PROVIDER.host('pki')}:{lab.state.ports[PKI_TLS_PORT]}"


def _curl(lab: RunningLab, url: str, *arguments: str) -> str:
    host, _, port = url.removeprefix("https://").partition("/")[0].partition(":")
    own = lab.credentials(NORTH)
    return shlex.join(
        [
            *("curl", "--silent", "--show-error", "--resolve", f"{host}:{port}:{LOOPBACK}"),
            *("--cacert", str(lab.layout.anchors), "--cert", str(own.chain), "--key", str(own.key)),
            *arguments,
            url,
        ]
    )


def _station(lab: RunningLab, station: Datastation) -> dict[str, Any]:
    ports = lab.state.ports
    return {
        "party": station.party.key,
        "register": station.register,
        "gegevensdienst_id": station.gegevensdienst_id,
        "audience": lab.audience(station),
        "resource": resource(ports, station),
        "health": f"http://{LOOPBACK}:{ports[health_port(station.key)]}/health",
        "scopes": list(station.scopes),
        "settings": str(lab.layout.agent_settings(station.key)),
    }


def _party(lab: RunningLab, party: Party) -> dict[str, Any]:
    credentials = lab.credentials(party)
    enrolled = credentials.chain.exists()
    return {
        "name": party.name,
        "identity": party.identity.subject,
        "organization_type": party.organization_type,
        "domain": party.domain,
        "dnssec": party.standing.value,
        "certificate": str(credentials.chain) if enrolled else None,
        "key": str(credentials.key) if enrolled else None,
    }
