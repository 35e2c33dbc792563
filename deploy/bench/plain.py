"""The yardstick: Envoy alone, asking for a client certificate and forwarding over mTLS, deciding nothing.

Both the yardstick and the trust agent under measurement stand before the same resource server: another Envoy that
gives one recorded answer of the lab's register. A register in Python would be slower than what is measured here, and
its speed is not the product's.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from deploy.lab.client import Credentials
from deploy.lab.ports import LOOPBACK

Json = dict[str, Any]
_API: Final = "type.googleapis.com/envoy.extensions"
_MAX_ANSWER: Final = 1024 * 1024
"""Bytes; Envoy refuses direct answers of more than 4 kB unless told so."""


@dataclass(frozen=True, slots=True)
class Tls:
    """Our side and what the other side must show; `server_name` is set for a connection that we make."""

    credentials: Credentials
    anchors: Path
    server_name: str | None = None


def canned_register(*, admin: Path, port: int, tls: Tls, answer: Path) -> Json:
    """An Envoy that answers every request of a certified caller with the content of `answer`."""
    route = {
        "match": {"prefix": "/"},
        "direct_response": {"status": 200, "body": {"filename": str(answer)}},
        "response_headers_to_add": [
            {"header": {"key": "content-type", "value": "application/graphql-response+json"}},
        ],
    }
    return _bootstrap(admin, _listener("canned", port, tls, route), [])


def plain_front(*, admin: Path, port: int, tls: Tls, upstream_port: int, upstream: Tls) -> Json:
    """An Envoy that forwards every request of a certified caller, over mTLS, and nothing else."""
    endpoint = {"address": {"socket_address": {"address": LOOPBACK, "port_value": upstream_port}}}
    context = {
        "@type": f"{_API}.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": _common(upstream),
        "sni": upstream.server_name,
    }
    cluster = {
        "name": "register",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": "register", "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}]},
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": context},
    }
    route = {"match": {"prefix": "/"}, "route": {"cluster": "register", "timeout": "15s"}}
    return _bootstrap(admin, _listener("plain", port, tls, route), [cluster])


def write(config: Json, path: Path) -> Path:
    """Write a configuration for `envoy -c`."""
    path.write_text(json.dumps(config), encoding="utf-8")
    return path


def _bootstrap(admin: Path, listener: Json, clusters: list[Json]) -> Json:
    return {
        "admin": {"address": {"pipe": {"path": str(admin), "mode": 0o600}}},
        "static_resources": {"listeners": [listener], "clusters": clusters},
    }


def _listener(name: str, port: int, tls: Tls, route: Json) -> Json:
    manager = {
        "@type": f"{_API}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "codec_type": "HTTP1",
        "route_config": {
            "name": name,
            "max_direct_response_body_size_bytes": _MAX_ANSWER,
            "virtual_hosts": [{"name": name, "domains": ["*"], "routes": [route]}],
        },
        "http_filters": [
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
    if tls.server_name is not None:
        validation["match_typed_subject_alt_names"] = [{"san_type": "DNS", "matcher": {"exact": tls.server_name}}]
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
