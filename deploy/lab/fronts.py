"""Envoys of the lab that are not the product's: before a register, and as a yardstick in the bench.

A register of the field has its own TLS end; the lab's registers have this one. It admits one caller only, the trust
agent before it, by the name in its certificate: a register may only be reached through its agent
(`spec/enforcement.md`).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from deploy.lab.client import Credentials
from deploy.lab.ports import LOOPBACK

Json = dict[str, Any]
_API: Final = "type.googleapis.com/envoy.extensions"
_MAX_BODY: Final = 1024 * 1024
"""Bytes of a question or an answer; Envoy refuses direct answers of more than 4 kB unless told so."""


@dataclass(frozen=True, slots=True)
class Tls:
    """One end of a TLS connection.

    Attributes:
        credentials: what we show.
        anchors: PEM file with what the other side's certificate must lead to.
        peer: a DNS name that the other side's certificate must hold; None admits every certificate under the anchors.
    """

    credentials: Credentials
    anchors: Path
    peer: str | None = None


def service_behind(*, admin: Path, port: int, tls: Tls, service: Path) -> Json:
    """An Envoy before a service on a Unix socket."""
    cluster = _cluster("service", {"pipe": {"path": str(service)}})
    return _bootstrap(admin, _listener("front", port, tls, _forward("service")), [cluster])


def recorded_answer(*, admin: Path, port: int, tls: Tls, answer: Path) -> Json:
    """An Envoy that answers every request with the content of a file."""
    route = {
        "match": {"prefix": "/"},
        "direct_response": {"status": 200, "body": {"filename": str(answer)}},
        "response_headers_to_add": [
            {"header": {"key": "content-type", "value": "application/graphql-response+json"}},
        ],
    }
    # An answer before the whole question was read would end the connection, and each request would need a handshake.
    buffer = {
        "name": "envoy.filters.http.buffer",
        "typed_config": {"@type": f"{_API}.filters.http.buffer.v3.Buffer", "max_request_bytes": _MAX_BODY},
    }
    return _bootstrap(admin, _listener("recorded", port, tls, route, buffer), [])


def plain_proxy(*, admin: Path, port: int, tls: Tls, upstream_port: int, upstream: Tls) -> Json:
    """An Envoy that forwards every request over mTLS, and nothing else."""
    context = {
        "@type": f"{_API}.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": _common(upstream),
        "sni": upstream.peer,
    }
    cluster = _cluster("register", {"socket_address": {"address": LOOPBACK, "port_value": upstream_port}})
    cluster["transport_socket"] = {"name": "envoy.transport_sockets.tls", "typed_config": context}
    return _bootstrap(admin, _listener("plain", port, tls, _forward("register")), [cluster])


def write(config: Json, path: Path) -> Path:
    """Write a configuration for `envoy -c`."""
    path.write_text(json.dumps(config), encoding="utf-8")
    return path


def command(envoy: str, config: Path) -> tuple[str, ...]:
    """The command line of one such Envoy."""
    return (
        *(envoy, "-c", str(config), "--use-dynamic-base-id", "--disable-hot-restart"),
        *("--concurrency", "1", "--log-level", "error"),
    )


def _bootstrap(admin: Path, listener: Json, clusters: Sequence[Json]) -> Json:
    return {
        "admin": {"address": {"pipe": {"path": str(admin), "mode": 0o600}}},
        "static_resources": {"listeners": [listener], "clusters": list(clusters)},
    }


def _forward(cluster: str) -> Json:
    return {"match": {"prefix": "/"}, "route": {"cluster": cluster, "timeout": "15s"}}


def _cluster(name: str, address: Json) -> Json:
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    return {
        "name": name,
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": endpoints},
    }


def _listener(name: str, port: int, tls: Tls, route: Json, *filters: Json) -> Json:
    manager = {
        "@type": f"{_API}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "codec_type": "HTTP1",
        "route_config": {
            "name": name,
            "max_direct_response_body_size_bytes": _MAX_BODY,
            "virtual_hosts": [{"name": name, "domains": ["*"], "routes": [route]}],
        },
        "http_filters": [
            *filters,
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{_API}.filters.http.router.v3.Router"}},
        ],
    }
    context = {
        "@type": f"{_API}.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": _common(tls),
        "require_client_certificate": True,
        # As before the product: a full handshake for each connection.
        "disable_stateless_session_resumption": True,
        "disable_stateful_session_resumption": True,
    }
    return {
        "name": name,
        "address": {"socket_address": {"address": LOOPBACK, "port_value": port}},
        "filter_chains": [
            {
                "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}],
                "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": context},
            },
        ],
    }


def _common(tls: Tls) -> Json:
    validation: Json = {"trusted_ca": {"filename": str(tls.anchors)}}
    if tls.peer is not None:
        validation["match_typed_subject_alt_names"] = [{"san_type": "DNS", "matcher": {"exact": tls.peer}}]
    return {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
        "tls_certificates": [
            {
                "certificate_chain": {"filename": str(tls.credentials.chain)},
                "private_key": {"filename": str(tls.credentials.key)},
            },
        ],
        "validation_context": validation,
    }
