"""Envoy's configuration as plain values: pure functions; no file is read and no process started here.

Two shapes: `service_front` puts Envoy before a service on a Unix socket; `datastation_front` asks a decision service
(ext_authz over a Unix socket) about each request and forwards what that service authorized to the register.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from authz.edge.client_certificate import (
    EDGE_VERIFIED_HEADER,
    LISTENER_HEADER,
    PEER_ADDRESS_HEADER,
    RAW_PATH_HEADER,
    XFCC_HEADER,
)
from authz.edge.envoy_http import (
    CLAIMS_HEADER,
    DOCUMENT_HEADER,
    REPLACED_HEADER,
    EdgeLimits,
    Listener,
    buffer_filter,
    document_filter,
    ext_authz_filter,
    guard_filter,
    http_listener,
    method_filter,
    prelude_filter,
    seconds,
    stranger_filters,
)
from authz.edge.envoy_tls import (
    TYPE,
    ClientCertificate,
    DownstreamTls,
    Json,
    certificate_secret,
    upstream_socket,
    validation_secret,
)

__all__ = [
    "CLAIMS_HEADER",
    "DOCUMENT_HEADER",
    "ClientCertificate",
    "DownstreamTls",
    "EdgeLimits",
    "Listener",
    "Upstream",
    "certificate_secret",
    "datastation_front",
    "service_front",
    "validation_secret",
]

MAX_CONNECTIONS: Final = 4096
"""Open client connections of one Envoy; more are refused before any work is done for them."""
MAX_REQUESTS: Final = 1024
"""Requests that are underway to what is behind one listener; each holds a connection. More are answered with 503."""
MAX_RETRIES: Final = 16
MAX_HEAP_BYTES: Final = 1 << 30
"""Memory of one Envoy. It needs 70 MB, and about 60 kB for each of its connections."""
_HEAP: Final = "envoy.resource_monitors.fixed_heap"
_TRACKED_POWER: Final = 14
"""Streams that hold less than 2^14 bytes are not looked at when memory gets short."""
_NOT_FOR_REGISTERS: Final = (
    *("authorization", "cookie", XFCC_HEADER, EDGE_VERIFIED_HEADER, PEER_ADDRESS_HEADER, RAW_PATH_HEADER),
    *(DOCUMENT_HEADER, REPLACED_HEADER, "x-forwarded-for", "x-envoy-external-address"),
    *("x-http-method-override", "x-http-method", "x-method-override", "x-original-url", "x-rewrite-url"),
)
"""The client's token and our own hand-over stay here; what could make a server see another request goes too."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """The register behind a trust agent.

    Attributes:
        host: name or address to connect to.
        port: TCP port.
        server_name: SNI, and the DNS name that its certificate must hold.
        path: the path of its GraphQL endpoint, whatever path the agent listens on.
        secrets: folder with the secret files.
        certificate: secret with the agent's own certificate, by which it authenticates itself.
        validation: secret with the CA bundle for the register's certificate.
        timeout: seconds until a late register becomes 504.
    """

    host: str
    port: int
    server_name: str
    path: str
    secrets: Path
    certificate: str = "server"
    validation: str = "register"
    timeout: float = 15.0


def service_front(*, sender: str, admin: Path, service: Path, listeners: Sequence[Listener]) -> Json:
    """Envoy before a service on a Unix socket (authz, pki).

    Args:
        sender: who says so, in the answers that Envoy gives by itself.
        admin: Unix socket of Envoy's administration.
        service: Unix socket of the service.
        listeners: where to listen; `x-sluis-listener` tells the service by which one a request came in.
    """
    return _bootstrap(
        admin,
        [
            http_listener(
                item,
                [prelude_filter(), *stranger_filters(item), buffer_filter(item.limits)],
                _service_route(item, f"service_{item.name}"),
                sender=sender,
                normalize=True,
            )
            for item in listeners
        ],
        # One for each listener: what is asked at one of them leaves the others as many requests as before.
        [_uds_cluster(f"service_{item.name}", service) for item in listeners],
    )


def datastation_front(
    *,
    sender: str,
    admin: Path,
    decision: Sequence[Path],
    listener: Listener,
    upstream: Upstream,
    decision_timeout: float = 3.0,
) -> Json:
    """Envoy before a register, asking the decision service about each request.

    The path is not normalised: the decision service allows exactly one spelling of it and refuses every other.

    Args:
        sender: who says so, in the answers that Envoy gives by itself.
        admin: Unix socket of Envoy's administration.
        decision: Unix sockets of the decision service's workers.
        listener: where deelnemers connect.
        upstream: the register.
        decision_timeout: seconds until a late decision becomes a refusal.
    """
    decide = ext_authz_filter("decision", listener.limits, decision_timeout)
    filters = [
        prelude_filter(),
        *stranger_filters(listener),
        method_filter(),
        decide,
        document_filter(),
        guard_filter(),
    ]
    return _bootstrap(
        admin,
        [http_listener(listener, filters, _register_route(upstream), sender=sender, normalize=False)],
        [_uds_cluster("decision", *decision), _register_cluster(upstream)],
    )


def _bootstrap(admin: Path, listeners: list[Json], clusters: list[Json]) -> Json:
    return {
        "node": {"id": "sluis", "cluster": "sluis"},  # required for secret files, used for nothing else
        "admin": {"address": {"pipe": {"path": str(admin), "mode": 0o600}}},
        "static_resources": {"listeners": listeners, "clusters": clusters},
        "overload_manager": _overload_manager(),
    }


def _overload_manager() -> Json:
    """Caps on connections and memory.

    Bodies are taken in before anybody knows who sends them, so a stranger with many connections of many streams could
    fill the memory: streams that hold much are ended first, and only then are requests turned away.
    """
    monitors = TYPE + "envoy.extensions.resource_monitors."
    connections = monitors + "downstream_connections.v3.DownstreamConnectionsConfig"
    heap = monitors + "fixed_heap.v3.FixedHeapConfig"
    return {
        "refresh_interval": "0.1s",
        "resource_monitors": [
            {
                "name": "envoy.resource_monitors.global_downstream_max_connections",
                "typed_config": {"@type": connections, "max_active_downstream_connections": MAX_CONNECTIONS},
            },
            {"name": _HEAP, "typed_config": {"@type": heap, "max_heap_size_bytes": MAX_HEAP_BYTES}},
        ],
        "buffer_factory_config": {"minimum_account_to_track_power_of_two": _TRACKED_POWER},
        "actions": [
            _overload("reset_high_memory_stream", {"scaled": {"scaling_threshold": 0.6, "saturation_threshold": 0.85}}),
            _overload("shrink_heap", {"threshold": {"value": 0.8}}),
            _overload("disable_http_keepalive", {"threshold": {"value": 0.85}}),
            _overload("stop_accepting_requests", {"threshold": {"value": 0.95}}),
        ],
    }


def _overload(action: str, trigger: Json) -> Json:
    return {"name": f"envoy.overload_actions.{action}", "triggers": [{"name": _HEAP} | trigger]}


def _service_route(listener: Listener, cluster: str) -> Json:
    name = {"header": {"key": LISTENER_HEADER, "value": listener.name}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
    return {
        "match": {"prefix": "/"},
        "route": {"cluster": cluster, "timeout": seconds(listener.limits.route_timeout)},
        "request_headers_to_add": [name],
    }


def _register_route(upstream: Upstream) -> Json:
    json_only = {"header": {"key": "content-type", "value": "application/json"}}
    return {
        "match": {"prefix": "/"},
        "route": {
            "cluster": "register",
            "timeout": seconds(upstream.timeout),
            "host_rewrite_literal": upstream.server_name,
            # The whole path is ours, query included: the register never sees a path that a client wrote.
            "regex_rewrite": {"pattern": {"regex": "^.*$"}, "substitution": upstream.path},
            # Only while nothing was sent: a mutation must not run twice.
            "retry_policy": {"retry_on": "connect-failure,reset-before-request", "num_retries": 1},
        },
        "request_headers_to_add": [json_only | {"append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}],
        "request_headers_to_remove": list(_NOT_FOR_REGISTERS),
    }


def _uds_cluster(name: str, *paths: Path) -> Json:
    endpoints = [{"endpoint": {"address": {"pipe": {"path": str(path)}}}} for path in paths]
    return {
        "name": name,
        "connect_timeout": "1s",
        "circuit_breakers": _circuit_breakers(),
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
    }


def _circuit_breakers() -> Json:
    most = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests"), MAX_REQUESTS)
    return {"thresholds": [{"priority": "DEFAULT", "max_retries": MAX_RETRIES} | most]}


def _register_cluster(upstream: Upstream) -> Json:
    address = {"socket_address": {"address": upstream.host, "port_value": upstream.port}}
    return {
        "name": "register",
        "type": "STRICT_DNS",
        "connect_timeout": "3s",
        "circuit_breakers": _circuit_breakers(),
        "load_assignment": {
            "cluster_name": "register",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        "transport_socket": upstream_socket(
            upstream.secrets, upstream.certificate, upstream.validation, upstream.server_name
        ),
    }
