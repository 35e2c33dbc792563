"""The HTTP part of Envoy's configuration: listeners, the removal of what a client may not send, and our own answers.

Specification: Envoy 1.40 v3 API; shared `spec/enforcement.md`, "Data plane" and "Errors at the agent".
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from authz.edge.client_certificate import EDGE_VERIFIED_HEADER, PEER_ADDRESS_HEADER, RAW_PATH_HEADER, XFCC_HEADER
from authz.edge.envoy_tls import TYPE, ClientCertificate, DownstreamTls, Json, downstream_socket

DOCUMENT_HEADER: Final = "x-sluis-document"
"""From the decision service to Envoy: the canonical document that replaces the body."""
CLAIMS_HEADER: Final = "claims"
"""To the register: the token's claims, base64url JSON."""

REPLACED_HEADER: Final = "x-sluis-replaced"
"""The body is the authorized document: set last, and without it nothing is forwarded."""
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_REFUSED_METHOD: Final = "OPTIONS"
_UNLIMITED: Final = 1_000_000_000
_MAX_ADDRESSES: Final = 4096
"""Of strangers, that are counted at the same time; as many as connections are admitted."""
_STRIPPED_PREFIXES: Final = ("x-sluis-", "x-envoy-", "x-forwarded-")
_STRIPPED: Final = ("client-cert", "client-cert-chain", CLAIMS_HEADER, "forwarded", "x-real-ip", "via")
"""Inbound headers that we set, trust, or that something behind us might trust (cases/oauth.md 33-40)."""


@dataclass(frozen=True, slots=True)
class EdgeLimits:
    """Caps on what a client may send and on how long anything may take; times in seconds.

    Attributes:
        max_body_bytes: a larger request body is answered with 413, buffered nowhere.
        max_header_kib: all request headers together.
        max_headers: number of request headers.
        max_streams: concurrent HTTP/2 streams on one connection.
        header_timeout: for the TLS handshake, and for the request headers.
        request_timeout: for the whole request to arrive (a slow body ends here).
        route_timeout: for the answer; longer than the longest long poll, which is 60 s.
        idle_timeout: for a connection without requests; also how long somebody who never asks anything holds one.
        max_strangers: requests a second, of all clients together without a certificate that was verified, on a
            listener that asks for one; more are answered with 429 and cost the service nothing.
        max_strangers_each: the same, of one address (of IPv6 a /64), so that one does not use up the others'.
    """

    max_body_bytes: int = 64 * 1024
    max_header_kib: int = 32
    max_headers: int = 64
    max_streams: int = 100
    header_timeout: float = 5.0
    request_timeout: float = 15.0
    route_timeout: float = 75.0
    idle_timeout: float = 30.0
    max_strangers: int = 100
    max_strangers_each: int = 20


@dataclass(frozen=True, slots=True)
class Listener:
    """One address on which Envoy listens; `tls` None is plain HTTP (for CRLs, which are signed by themselves).

    `for_ocsp` suits what OCSP clients do: paths stay as written, because a request in a path holds escaped and
    double slashes (RFC 6960 appendix A), and HTTP/1.0 is answered, because OpenSSL speaks it. The service behind it
    then compares paths as text and never takes them for names of files.
    """

    name: str
    address: str
    port: int
    tls: DownstreamTls | None
    limits: EdgeLimits = field(default_factory=EdgeLimits)
    for_ocsp: bool = False


def http_listener(listener: Listener, filters: Sequence[Json], route: Json, *, sender: str, normalize: bool) -> Json:
    """One listener.

    Args:
        listener: its address, TLS and limits.
        filters: HTTP filters before the router.
        route: the one route, for every path.
        sender: who says so, in the answers that Envoy gives by itself.
        normalize: whether to normalise the path; without it every spelling stays visible to the service.
    """
    limits = listener.limits
    manager: Json = {
        "@type": TYPE + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": listener.name,
        "codec_type": "AUTO" if listener.tls else "HTTP1",
        "server_name": "sluis",
        "use_remote_address": True,
        "forward_client_cert_details": "SANITIZE_SET",
        "set_current_client_cert_details": {"cert": True, "chain": True},
        "normalize_path": normalize and not listener.for_ocsp,
        "merge_slashes": normalize and not listener.for_ocsp,
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED" if listener.for_ocsp else "REJECT_REQUEST",
        "max_request_headers_kb": limits.max_header_kib,
        "request_headers_timeout": seconds(limits.header_timeout),
        "request_timeout": seconds(limits.request_timeout),
        "stream_idle_timeout": seconds(limits.route_timeout),
        "common_http_protocol_options": {
            "idle_timeout": seconds(limits.idle_timeout),
            "max_headers_count": limits.max_headers,
            # Some servers read `x_sluis_document` as `x-sluis-document` (cases/oauth.md 35).
            "headers_with_underscores_action": "REJECT_REQUEST",
        },
        "http_protocol_options": {"accept_http_10": listener.for_ocsp, "default_host_for_http_10": "sluis"},
        "http2_protocol_options": {"max_concurrent_streams": limits.max_streams},
        "early_header_mutation_extensions": [_strip_inbound()],
        "local_reply_config": _local_replies(sender),
        "route_config": {
            "name": listener.name,
            "virtual_hosts": [{"name": listener.name, "domains": ["*"], "routes": [route]}],
            "validate_clusters": True,
        },
        "http_filters": [*filters, _named("router", "router.v3.Router", {"suppress_envoy_headers": True})],
    }
    chain: Json = {
        "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}],
        "transport_socket_connect_timeout": seconds(limits.header_timeout),
    }
    if listener.tls:
        chain["transport_socket"] = downstream_socket(listener.tls)
    return {
        "name": listener.name,
        "address": {"socket_address": {"address": listener.address, "port_value": listener.port}},
        # A second process on the same port must fail to start, instead of answering every other client. The workers
        # then share one socket, and connections are dealt out evenly.
        "enable_reuse_port": False,
        "connection_balance_config": {"exact_balance": {}},
        "per_connection_buffer_limit_bytes": max(limits.max_body_bytes, 32 * 1024),
        "filter_chains": [chain],
    }


def _strip_inbound() -> Json:
    matchers = [{"prefix": prefix} for prefix in _STRIPPED_PREFIXES] + [{"exact": name} for name in _STRIPPED]
    return {
        "name": "envoy.http.early_header_mutation.header_mutation",
        "typed_config": {
            "@type": TYPE + "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
            "mutations": [{"remove_on_match": {"key_matcher": matcher}} for matcher in matchers],
        },
    }


# CONNECT over HTTP/2 has no path: without the answer here, each one would leave an error of the script in the log. Two
# Host headers arrive as one with a comma (RFC 9112 section 3.2 wants 400). Whose certificate is refused gets one answer
# for each connection, and does not hold it.
_PRELUDE_LUA: Final = f"""
function envoy_on_request(handle)
  local path, host = handle:headers():get(":path"), handle:headers():get(":authority")
  if path == nil or host == nil or string.find(host, ",", 1, true) then
    handle:respond({{[":status"] = "400"}}, "")
    return
  end
  local stream = handle:streamInfo()
  local ssl = stream:downstreamSslConnection()
  if ssl ~= nil and ssl:peerCertificateValidated() then
    handle:headers():replace("{EDGE_VERIFIED_HEADER}", "1")
  elseif ssl ~= nil and ssl:peerCertificatePresented() then
    stream:drainConnectionUponCompletion()
  end
  handle:headers():replace("{PEER_ADDRESS_HEADER}", stream:downstreamDirectRemoteAddress())
  handle:headers():replace("{RAW_PATH_HEADER}", path)
end
"""

# ext_authz over HTTP cannot replace a body, so the authorized document comes as a header and is put in its place here.
# Without that header nothing is forwarded: a 200 of something that is not our decision service is not a permit. Envoy
# forwards a request whose script failed as if there were no script; so the last thing done is to say that it did not,
# and `guard_filter` lets pass only what says so. Objects of before `body()` are not valid after it: it waits.
_DOCUMENT_LUA: Final = f"""
function envoy_on_request(handle)
  local document = handle:headers():get("{DOCUMENT_HEADER}")
  if document == nil or document == "" then
    handle:respond({{[":status"] = "500"}}, "no authorized document")
    return
  end
  local length = handle:body(true):setBytes(document)
  local headers = handle:headers()
  headers:remove("{DOCUMENT_HEADER}")
  headers:remove("transfer-encoding")
  headers:replace("content-length", tostring(length))
  headers:replace("{REPLACED_HEADER}", "1")
end
"""


# HTTP/2 lets any text be a method; a server that reads HTTP/1.1 with a list of methods would answer by itself, before
# the decision service can refuse and record. It knows this one, and refuses it like every other that is not POST.
_METHOD_LUA: Final = f"""
local known = {{{", ".join(f"{method} = true" for method in _METHODS)}}}
function envoy_on_request(handle)
  local headers = handle:headers()
  local method = headers:get(":method")
  if method == nil or not known[method] then
    headers:replace(":method", "{_REFUSED_METHOD}")
  end
end
"""


def prelude_filter() -> Json:
    """Hands over Envoy's verdict on the client certificate, the connection's address and the path as it was sent."""
    return _named("lua", "lua.v3.Lua", {"default_source_code": {"inline_string": _PRELUDE_LUA}}, "prelude")


def method_filter() -> Json:
    """Gives a request with a method that HTTP/1.1 servers may not read one that the decision service refuses."""
    return _named("lua", "lua.v3.Lua", {"default_source_code": {"inline_string": _METHOD_LUA}}, "method")


def stranger_filters(listener: Listener) -> list[Json]:
    """Caps the requests of clients that Envoy did not verify, behind `prelude_filter`.

    Also where clients without a certificate are expected, such as somebody who enrols: they are few, and all of them
    are strangers until then. What is published over plain HTTP has no cap here.
    """
    if listener.tls is None or listener.tls.client is ClientCertificate.NONE:
        return []
    verified = {"name": EDGE_VERIFIED_HEADER, "string_match": {"exact": "1"}}
    match = {"header_value_match": {"descriptor_value": "stranger", "expect_match": False, "headers": [verified]}}
    address = {"masked_remote_address": {"v4_prefix_mask_len": 32, "v6_prefix_mask_len": 64}}
    stranger = {"key": "header_match", "value": "stranger"}
    limits = listener.limits
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    config: Json = {
        "stat_prefix": "strangers",
        # Of everybody else: Envoy demands a number here, and this one is never reached.
        "token_bucket": _bucket(_UNLIMITED),
        "filter_enabled": always,
        "filter_enforced": always,
        "rate_limits": [{"actions": [match, address]}, {"actions": [match]}],
        # The smaller one is asked first, and what it turns away does not count for the other.
        "descriptors": [
            {
                "entries": [stranger, {"key": "masked_remote_address"}],  # without a value: each has its own
                "token_bucket": _bucket(limits.max_strangers_each),
            },
            {"entries": [stranger], "token_bucket": _bucket(limits.max_strangers)},
        ],
        "max_dynamic_descriptors": _MAX_ADDRESSES,
        "always_consume_default_token_bucket": False,
    }
    return [_named("local_ratelimit", "local_ratelimit.v3.LocalRateLimit", config)]


def _bucket(rate: int) -> Json:
    return {"max_tokens": rate, "tokens_per_fill": rate, "fill_interval": "1s"}


def document_filter() -> Json:
    """Puts the authorized document in the place of the body, or ends the request."""
    return _named("lua", "lua.v3.Lua", {"default_source_code": {"inline_string": _DOCUMENT_LUA}}, "document")


def guard_filter() -> Json:
    """Lets pass only a request whose body was replaced by the authorized document."""
    replaced = {"header": {"name": REPLACED_HEADER, "string_match": {"exact": "1"}}}
    unread = {"not_rule": {"header": {"name": DOCUMENT_HEADER, "present_match": True}}}
    policy = {"permissions": [{"and_rules": {"rules": [replaced, unread]}}], "principals": [{"any": True}]}
    return _named("rbac", "rbac.v3.RBAC", {"rules": {"action": "ALLOW", "policies": {"replaced": policy}}})


def buffer_filter(limits: EdgeLimits) -> Json:
    """Takes in the whole body before the service sees the request, so that a slow one costs the service nothing."""
    return _named("buffer", "buffer.v3.Buffer", {"max_request_bytes": limits.max_body_bytes})


_ASKED: Final = (
    *("authorization", "content-type", "content-encoding"),
    *("x-b3-traceid", "x-b3-spanid", "traceparent", "x-request-id"),
    *(XFCC_HEADER, EDGE_VERIFIED_HEADER, PEER_ADDRESS_HEADER, RAW_PATH_HEADER),
)
_TOLD: Final = ("content-type", "www-authenticate", "cache-control", "retry-after", "allow", "x-b3-traceid")
UNAVAILABLE_BEHIND_EDGE: Final = 463
"""What a decision service answers for 503: Envoy takes every 5xx of it for a failure of the service itself, drops what
it said and answers 500. A number that HTTP has given no meaning; callers see 503."""
_FORWARDED: Final = (DOCUMENT_HEADER, CLAIMS_HEADER, "x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "traceparent")


def ext_authz_filter(cluster: str, limits: EdgeLimits, timeout: float) -> Json:
    """Asks the decision service; a late, absent or failing one refuses the request.

    Args:
        cluster: where the decision service is.
        limits: for the size of the body.
        timeout: seconds.
    """
    config: Json = {
        "transport_api_version": "V3",
        "failure_mode_allow": False,
        "status_on_error": {"code": "InternalServerError"},
        "with_request_body": {"max_request_bytes": limits.max_body_bytes, "allow_partial_message": False},
        "allowed_headers": {"patterns": _exact(_ASKED)},
        "http_service": {
            "server_uri": {"uri": f"http://{cluster}", "cluster": cluster, "timeout": seconds(timeout)},
            "authorization_response": {
                "allowed_upstream_headers": {"patterns": _exact(_FORWARDED)},
                "allowed_client_headers": {"patterns": _exact(_TOLD)},
            },
        },
    }
    return _named("ext_authz", "ext_authz.v3.ExtAuthz", config)


def _named(kind: str, type_name: str, config: Json, label: str = "") -> Json:
    name = f"envoy.filters.http.{kind}" + (f".{label}" if label else "")
    return {"name": name, "typed_config": {"@type": TYPE + "envoy.extensions.filters.http." + type_name} | config}


def _exact(names: Sequence[str]) -> list[Json]:
    return [{"exact": name} for name in names]


def _local_replies(sender: str) -> Json:
    """Envoy's own answers, in the shape of ours; what the decision service answered passes unchanged."""
    asked = {"response_flag_filter": {"flags": ["UAEX"]}}
    broken = {"response_flag_filter": {"flags": ["UF", "UH", "UC", "UPE", "UO", "URX", "LR", "UR"]}}
    late = {"response_flag_filter": {"flags": ["UT"]}}
    return {
        "mappers": [
            _mapper(_both(asked, _status("EQ", 500)), sender, "server_error", "Internal error"),
            {"filter": _both(asked, _status("EQ", UNAVAILABLE_BEHIND_EDGE)), "status_code": 503},
            {"filter": asked},
            _mapper(broken, sender, "bad_gateway", "The service behind this one did not answer correctly", 502),
            _mapper(late, sender, "gateway_timeout", "The service behind this one did not answer in time", 504),
            _est_mapper(),
            _mapper(_status("EQ", 413), sender, "body_too_large", "The request body is too large"),
            _mapper(_status("EQ", 429), sender, "too_many_requests", "Too many requests without a valid certificate"),
            _mapper(_status("GE", 500), sender, "server_error", "Internal error"),
            _mapper(_status("GE", 400), sender, "bad_request", "The request was not accepted"),
        ]
    }


def _est_mapper() -> Json:
    """Too large a body at EST: plain text that people can read (RFC 7030 section 4.2.3), as the service writes it."""
    at_est = {"header_filter": {"header": {"name": ":path", "string_match": {"prefix": "/.well-known/est/"}}}}
    text = {"text_format_source": {"inline_string": "body_too_large: the request body is too large.\n"}}
    said = text | {"content_type": "text/plain; charset=utf-8"}
    return {"filter": _both(_status("EQ", 413), at_est), "body_format_override": said}


def _both(*filters: Json) -> Json:
    return {"and_filter": {"filters": list(filters)}}


def _status(operator: str, code: int) -> Json:
    value = {"default_value": code, "runtime_key": f"sluis.status.{operator.lower()}.{code}"}
    return {"status_code_filter": {"comparison": {"op": operator, "value": value}}}


def _mapper(matching: Json, sender: str, code: str, text: str, status: int | None = None) -> Json:
    body = {"ErrorCode": code, "Error": text, "sender": sender, "trace_id": "%REQ(X-B3-TRACEID)%"}
    mapper: Json = {"filter": matching, "body_format_override": {"json_format": body}}
    if status is not None:
        mapper["status_code"] = status
    return mapper


def seconds(value: float) -> str:
    """A duration as Envoy writes it."""
    return f"{value:g}s"
