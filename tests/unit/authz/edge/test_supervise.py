"""What is looked at before anything is started."""

import socket
from pathlib import Path

import pytest

from authz.edge.envoy import Listener, service_front
from authz.edge.supervise import StartFailed, _require_free_ports
from tests.support import free_port


def front(*ports: int) -> dict[str, object]:
    listeners = [Listener(f"l{port}", "127.0.0.1", port, None) for port in ports]
    return service_front(sender="s", admin=Path("/run/a"), service=Path("/run/s"), listeners=listeners)


@pytest.mark.parametrize("shared", [False, True])
def test_a_port_that_another_process_listens_on_is_refused_also_when_that_one_would_share_it(*, shared: bool) -> None:
    port = free_port()
    said = pytest.raises(StartFailed, match=f"port {port} of 127.0.0.1 is in use")
    with socket.create_server(("127.0.0.1", port), reuse_port=shared), said:
        _require_free_ports(front(0, port))
    _require_free_ports(front(0, port))


def test_envoy_itself_shares_no_port() -> None:
    listeners = front(1, 2)["static_resources"]["listeners"]  # type: ignore[index]
    assert [item["enable_reuse_port"] for item in listeners] == [False, False]
