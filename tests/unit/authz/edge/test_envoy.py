"""What must stand in Envoy's configuration; that Envoy does what it says is tested with a real one, elsewhere."""

import json
from pathlib import Path
from typing import Any

import pytest

from authz.edge.envoy import (
    MAX_HEAP_BYTES,
    MAX_REQUESTS,
    ClientCertificate,
    DownstreamTls,
    EdgeLimits,
    Listener,
    Upstream,
    datastation_front,
    service_front,
)
from authz.edge.waiters import MOST

RUN = Path("/run/x")
LISTENER = Listener("tls", "127.0.0.1", 8443, DownstreamTls(RUN / "tls"))
UPSTREAM = Upstream("127.0.0.1", 9443, "register.test", "/inner", RUN / "tls")


def agent() -> dict[str, Any]:
    return datastation_front(
        sender="s", admin=RUN / "admin", decision=[RUN / "decide"], listener=LISTENER, upstream=UPSTREAM
    )


def service(*listeners: Listener) -> dict[str, Any]:
    return service_front(sender="s", admin=RUN / "admin", service=RUN / "service", listeners=listeners or [LISTENER])


def manager(config: dict[str, Any], index: int = 0) -> dict[str, Any]:
    chain = config["static_resources"]["listeners"][index]["filter_chains"][0]
    return dict(chain["filters"][0]["typed_config"])


def filters(config: dict[str, Any]) -> list[str]:
    return [item["name"].removeprefix("envoy.filters.http.") for item in manager(config)["http_filters"]]


def test_the_order_of_filters_is_the_order_of_trust() -> None:
    before, after = ["lua.prelude", "local_ratelimit", "lua.method"], ["lua.document", "rbac", "router"]
    assert filters(agent()) == [*before, "ext_authz", *after]
    assert filters(service()) == ["lua.prelude", "local_ratelimit", "buffer", "router"]


@pytest.mark.parametrize("config", [agent(), service()])
def test_bodies_of_strangers_can_not_fill_the_memory(config: dict[str, Any]) -> None:
    manager = config["overload_manager"]
    (heap,) = [item for item in manager["resource_monitors"] if item["name"].endswith("fixed_heap")]
    assert heap["typed_config"]["max_heap_size_bytes"] == MAX_HEAP_BYTES
    # A stream is looked at before it holds as much as a whole body may have.
    assert 2 ** manager["buffer_factory_config"]["minimum_account_to_track_power_of_two"] < EdgeLimits().max_body_bytes
    actions = [item["name"].rpartition(".")[2] for item in manager["actions"]]
    assert actions[0] == "reset_high_memory_stream"
    assert actions[-1] == "stop_accepting_requests"
    assert {trigger["name"] for item in manager["actions"] for trigger in item["triggers"]} == {heap["name"]}


def test_each_listener_has_a_number_of_requests_of_its_own() -> None:
    plain = Listener("plain", "127.0.0.1", 1, None)
    config = service(plain, LISTENER)
    clusters = {item["name"]: item for item in config["static_resources"]["clusters"]}
    routes = [manager(config, index)["route_config"]["virtual_hosts"][0]["routes"][0] for index in (0, 1)]
    assert [route["route"]["cluster"] for route in routes] == ["service_plain", "service_tls"] == list(clusters)
    for cluster in (*clusters.values(), *agent()["static_resources"]["clusters"]):
        (threshold,) = cluster["circuit_breakers"]["thresholds"]
        assert threshold["max_connections"] == MAX_REQUESTS
    # Those who wait leave half of it to the others.
    assert MOST * 2 <= MAX_REQUESTS


def test_a_request_without_a_path_ends_at_once() -> None:
    script = manager(agent())["http_filters"][0]["typed_config"]["default_source_code"]["inline_string"]
    missing, _, rest = script.partition("local stream")
    assert "if path == nil or " in missing
    assert "handle:respond" in missing
    assert 'get(":path")' not in rest


def test_nothing_passes_without_a_decision() -> None:
    asked = manager(agent())["http_filters"][filters(agent()).index("ext_authz")]["typed_config"]
    assert asked["failure_mode_allow"] is False
    assert asked["with_request_body"] == {"max_request_bytes": 65536, "allow_partial_message": False}
    guard = manager(agent())["http_filters"][filters(agent()).index("rbac")]["typed_config"]
    assert guard["rules"]["action"] == "ALLOW"
    assert "x-sluis-replaced" in json.dumps(guard)


@pytest.mark.parametrize("config", [agent(), service()])
def test_what_a_client_may_not_say_is_removed_and_resumption_is_off(config: dict[str, Any]) -> None:
    stripped = json.dumps(manager(config)["early_header_mutation_extensions"])
    for name in ("x-sluis-", "x-envoy-", "x-forwarded-", "client-cert", "claims"):
        assert f'"{name}"' in stripped
    assert manager(config)["forward_client_cert_details"] == "SANITIZE_SET"
    tls = config["static_resources"]["listeners"][0]["filter_chains"][0]["transport_socket"]["typed_config"]
    assert tls["require_client_certificate"] is True
    assert tls["disable_stateless_session_resumption"] is True
    assert tls["disable_stateful_session_resumption"] is True
    assert tls["common_tls_context"]["tls_params"]["tls_minimum_protocol_version"] == "TLSv1_2"
    assert "upgrade_configs" not in manager(config)


def test_the_register_must_prove_its_name_and_sees_no_token() -> None:
    config = agent()
    cluster = config["static_resources"]["clusters"][1]
    assert cluster["transport_socket"]["typed_config"]["sni"] == "register.test"
    route = manager(config)["route_config"]["virtual_hosts"][0]["routes"][0]
    assert {"authorization", "x-forwarded-client-cert", "cookie"} <= set(route["request_headers_to_remove"])


@pytest.mark.parametrize(
    ("client", "asks", "requires"),
    [
        (ClientCertificate.REQUIRED, True, True),
        (ClientCertificate.OPTIONAL, True, False),
        (ClientCertificate.NONE, False, False),
    ],
)
def test_the_client_certificate_is_as_strict_as_asked(client: ClientCertificate, *, asks: bool, requires: bool) -> None:
    listener = Listener("tls", "127.0.0.1", 1, DownstreamTls(RUN / "tls", client=client))
    config = service(Listener("plain", "127.0.0.1", 2, None, EdgeLimits(max_body_bytes=1)), listener)
    plain, tls = (item["filter_chains"][0] for item in config["static_resources"]["listeners"])
    assert "transport_socket" not in plain
    context = tls["transport_socket"]["typed_config"]
    assert ("validation_context_sds_secret_config" in context["common_tls_context"]) is asks
    assert context["require_client_certificate"] is requires
    # Whoever may come without a verified certificate is capped together with all others who do.
    names = [item["name"] for item in tls["filters"][0]["typed_config"]["http_filters"]]
    assert ("envoy.filters.http.local_ratelimit" in names) is asks
