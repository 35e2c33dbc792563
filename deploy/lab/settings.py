"""The settings files of the lab's programs, made from the network: what an operator would write by hand."""

from typing import Any, Final

from deploy.lab.layout import (
    AUTHZ_PORT,
    DNS_PORT,
    PKI_PORT,
    Layout,
    agent_port,
    health_port,
    register_port,
)
from deploy.lab.network import ENVIRONMENT, TRUST_PROVIDER, Datastation
from deploy.lab.ports import LOOPBACK
from deploy.lab.running import RunningLab

ROOT_CA: Final = "root"
ISSUING_CA: Final = "issuing"


def crl_urls(lab: RunningLab) -> list[str]:
    """Where the CRL of each CA in a path is fetched."""
    base = pki_url(lab)
    return [f"{base}/crl/{name}.crl" for name in (ISSUING_CA, ROOT_CA)]


def pki_url(lab: RunningLab) -> str:
    """Plain HTTP on purpose: a CRL is signed by itself, and fetching it must not need a certificate."""
    return f"http://{LOOPBACK}:{lab.state.ports[PKI_PORT]}"


def authz_settings(lab: RunningLab, token_lifetime: int | None) -> dict[str, Any]:
    """Settings of `authz`."""
    layout, ports = lab.layout, lab.state.ports
    own = lab.credentials(TRUST_PROVIDER)
    settings: dict[str, Any] = {
        "environment": ENVIRONMENT,
        "issuer": lab.authz_url,
        "state_dir": layout.authz / "state",
        "run_dir": lab.state.sockets / "authz",
        "listen": {"port": ports[AUTHZ_PORT], "envoy_threads": 1},
        "certificate": {"certificate": own.chain, "key": own.key},
        "clients": {
            "anchors": [layout.anchors],
            "issuers": [{"certificate": layout.issuing_ca}],
            "crl_urls": crl_urls(lab),
        },
        "keys": {"folder": layout.authz / "keys", "passphrase_file": layout.authz_passphrase},
        "dnssec": {"resolvers": [f"{LOOPBACK}:{ports[DNS_PORT]}"], "anchors": layout.dns_anchor},
    }
    if token_lifetime is not None:
        settings["tokens"] = {"lifetime": token_lifetime}
    return settings


def agent_settings(lab: RunningLab, station: Datastation, clock_skew: int | None) -> dict[str, Any]:
    """Settings of the trust agent of one datastation."""
    layout, ports = lab.layout, lab.state.ports
    own = lab.credentials(station.party)
    token: dict[str, Any] = {
        "issuer": lab.authz_url,
        "audience": lab.audience(station),
        "scopes": list(station.scopes),
    }
    if clock_skew is not None:
        token["skew"] = clock_skew
    return {
        "name": station.key,
        "state_dir": layout.agent(station.key) / "state",
        "run_dir": lab.state.sockets / station.key,
        "listen": {"port": ports[agent_port(station.key)], "path": station.path},
        "health": {"port": ports[health_port(station.key)]},
        "certificate": {"certificate": own.chain, "key": own.key},
        "clients": {
            "environment": ENVIRONMENT,
            "anchors": [layout.anchors],
            "issuers": [{"certificate": layout.issuing_ca}],
            "crl_urls": crl_urls(lab),
        },
        "authz": {
            # The names of the lab lead nowhere outside it: the address is the loopback, the name is what must be shown.
            "url": f"https://{LOOPBACK}:{ports[AUTHZ_PORT]}",
            "server_name": TRUST_PROVIDER.host("authz"),
            "anchors": [layout.anchors],
            "bundle_keys": [{"key_id": layout.bundle_key_id, "file": layout.bundle_key}],
        },
        "token": token,
        "register": {
            "host": LOOPBACK,
            "port": ports[register_port(station.key)],
            "server_name": station.register_host,
            "path": station.path,
            "anchors": [layout.anchors],
            "service": station.register,
            "schema_file": schema_file(layout, station),
            "public_fields": [],
        },
        "limits": {"envoy_threads": 1},
    }


def schema_file(layout: Layout, station: Datastation) -> str:
    raise NotImplementedError


def scheme(lab: RunningLab) -> dict[str, Any]:
    raise NotImplementedError
