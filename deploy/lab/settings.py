"""The settings files of the lab's programs, made from the network: what an operator would write by hand."""

from typing import Any, Final

from deploy.lab.layout import (
    AUTHZ_PORT,
    DNS_PORT,
    ISSUING_CA,
    PKI_PORT,
    PKI_TLS_PORT,
    ROOT_CA,
    agent_port,
    health_port,
    register_port,
)
from deploy.lab.network import (
    DATASTATIONS,
    ENVIRONMENT,
    PARTIES,
    SERVICES,
    TRUST_PROVIDER,
    Datastation,
    Party,
)
from deploy.lab.ports import LOOPBACK
from deploy.lab.register import PUBLIC_FIELDS, SCHEMAS
from deploy.lab.running import RunningLab, resource

AGENT_SOURCE: Final = "sluis/trust-agent"
PKI_SOURCE: Final = "sluis/pki"
"""How trust agents (with their name behind it) and the CA call themselves in audit records."""


def ocsp_url(lab: RunningLab) -> str:
    """Where the OCSP responder of the issuing CA is."""
    return f"{pki_url(lab)}/ocsp/{ISSUING_CA}"


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
            "issuers": [{"certificate": layout.issuing_ca, "ocsp_url": ocsp_url(lab)}],
            "crl_urls": crl_urls(lab),
            "revocation_urls": [f"{pki_url(lab)}/revocations/{ISSUING_CA}"],
        },
        "keys": {"folder": layout.authz / "keys", "passphrase_file": layout.authz_passphrase},
        # In the lab every name leads to the loopback, which authz would not connect to for DANE by itself.
        "dnssec": dnssec(lab) | {"dane_networks": [f"{LOOPBACK}/32"]},
    }
    if token_lifetime is not None:
        settings["tokens"] = {"lifetime": token_lifetime}
    return settings


def agent_settings(lab: RunningLab, station: Datastation, bundle_key_id: str, clock_skew: int | None) -> dict[str, Any]:
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
            "issuers": [{"certificate": layout.issuing_ca, "ocsp_url": ocsp_url(lab)}],
            "crl_urls": crl_urls(lab),
        },
        "authz": {
            # The names of the lab lead nowhere outside it: the address is the loopback, the name is what must be shown.
            "url": f"https://{LOOPBACK}:{ports[AUTHZ_PORT]}",
            "server_name": TRUST_PROVIDER.host("authz"),
            "anchors": [layout.anchors],
            "bundle_keys": [{"key_id": bundle_key_id, "file": layout.bundle_key}],
        },
        "token": token,
        "register": {
            "host": LOOPBACK,
            "port": ports[register_port(station.key)],
            "server_name": station.register_host,
            "path": station.path,
            "anchors": [layout.anchors],
            "service": station.register,
            "owner": station.party.identity.subject,
            "schema_file": SCHEMAS[station.schema],
            "public_fields": list(PUBLIC_FIELDS[station.schema]),
            "record_fields": [station.record_field],
        },
        "limits": {"envoy_threads": 1},
    }


def scheme(lab: RunningLab) -> dict[str, Any]:
    """Deelnemers and address book, for `authz scheme import`."""
    return {
        "environment": ENVIRONMENT,
        "participants": [_participant(lab, party) for party in PARTIES],
        "services": [_service(lab, station) for station in SERVICES],
    }


def _participant(lab: RunningLab, party: Party) -> dict[str, Any]:
    sources = [f"{AGENT_SOURCE}/{station.key}" for station in DATASTATIONS if station.party is party]
    identities = {party.identity.subject, f"kvk:{party.kvk}"}
    return {
        "id": party.identity.subject,
        "name": party.name,
        "organization_type": party.organization_type,
        "roles": list(party.roles),
        "identifiers": sorted(identities),
        "dane": "required" if party.dane else "optional",
        "log_sources": [PKI_SOURCE] if party is TRUST_PROVIDER else sources,
        "credentials": [{"identity": party.identity.subject, "issuer": lab.layout.issuing_ca}],
    }


def _service(lab: RunningLab, station: Datastation) -> dict[str, Any]:
    organisation, function, _ = station.gegevensdienst_id.split("_")
    return {
        "organisation": organisation,
        "function": function,
        "system_role": "REGISTER",
        "holder": station.party.identity.subject,
        "authorization_endpoint": lab.audience(station),
        "token_endpoint": lab.iwlz_token,
        "resource_endpoint": resource(lab.state.ports, station),
        "register": station.register,
    }


def dnssec(lab: RunningLab) -> dict[str, Any]:
    """How domains are checked, by the CA and by authz: from the private root of the lab down."""
    return {"resolvers": [f"{LOOPBACK}:{lab.state.ports[DNS_PORT]}"], "anchors": lab.layout.dns_anchor}


def pki_settings(lab: RunningLab) -> dict[str, Any]:
    """Settings of `pki`: those of its ceremony, with a TLS listener and the way to the audit log."""
    layout, ports = lab.layout, lab.state.ports
    own = lab.credentials(TRUST_PROVIDER)
    return {
        "run_dir": lab.state.sockets / "pki",
        "root": {"name": ROOT_CA, "certificate": "root.crt", "crl": "root.crl"},
        "issuers": [
            {
                "name": ISSUING_CA,
                "environment": ENVIRONMENT,
                "certificate": layout.issuing_ca,
                "key": layout.pki / f"{ISSUING_CA}.key.pem",
                "passphrase_file": layout.pki_passphrase,
            }
        ],
        "database": {"file": "pki.sqlite3"},
        "publication": {
            "base_url": f"http://{TRUST_PROVIDER.host('pki')}:{ports[PKI_PORT]}",
            "port": ports[PKI_PORT],
            "ocsp": True,
        },
        "tls": {"port": ports[PKI_TLS_PORT], "certificate": own.chain, "key": own.key},
        # Nobody waits a day in a lab to see a renewal; how many there may be in a day stays as it is.
        "issuing": {"renewal_after_hours": 0},
        "dnssec": dnssec(lab),
        "audit": {
            "source": PKI_SOURCE,
            "url": f"https://{LOOPBACK}:{ports[AUTHZ_PORT]}",
            "server_name": TRUST_PROVIDER.host("authz"),
            "ca": layout.anchors,
            "certificate": own.chain,
            "key": own.key,
        },
    }
