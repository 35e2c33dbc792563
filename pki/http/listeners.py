"""The two listeners of `pki serve`, as the service behind them sees them, and who may wait at which.

Plain HTTP is where CRLs and feeds are read, and where readers may wait for newer ones. Over TLS, where one client may
have many requests on one connection, nobody waits: who enrols or renews must always find a way in.
"""

from typing import Any, Final

from litestar import Request

from authz.edge.client_certificate import LISTENER_HEADER, PEER_ADDRESS_HEADER, peer_address
from authz.edge.rate import network_of

PLAIN_LISTENER: Final = "plain"
TLS_LISTENER: Final = "tls"


def may_wait_at(request: Request[Any, Any, Any]) -> bool:
    """Whether readers may wait at the listener by which a request came in."""
    return bool(request.headers.get(LISTENER_HEADER) != TLS_LISTENER)


def source_of(request: Request[Any, Any, Any]) -> str:
    """Who counts as one reader."""
    return network_of(peer_address(request.headers.get(PEER_ADDRESS_HEADER)))
