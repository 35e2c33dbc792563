"""`POST /certificates/confirm-use`: a holder says, with his new certificate, that it works and the old one may go.

Specification: shared `spec/pki.md`, "One per AGB-code": revoked at the end of the overlap "or at the first confirmed
use of the new one, whichever the holder chose". The use is this very connection: TLS proves that the holder has the new
key at work, and calling is the choice. On the TLS listener only; the body is not read. Why nobody else is asked who was
seen with which certificate: docs/decisions/0018.
"""

from collections.abc import Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final

from litestar import Request, Response, post
from litestar.handlers import HTTPRouteHandler

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from authz.edge.client_certificate import EDGE_VERIFIED_HEADER, LISTENER_HEADER, XFCC_HEADER
from authz.edge.rate import RateLimiter
from authz.edge.tracing import trace_of
from pki.app import OpenAuthority
from pki.audit.records import Actor
from pki.enrolment.renewal_limits import TooOften
from pki.holder.confirming import CONFIRM_USE
from pki.http.listeners import TLS_LISTENER
from pki.http.peers import Peers
from pki.store.database import StoreUnavailable

ROLE: Final = "CERTIFICATE_HOLDER"
CONFIRMATIONS_PER_MINUTE: Final = 10
"""Of one identity, in one instance. How much they can end is limited by how much is renewed
(`pki.enrolment.renewal_limits`)."""


def confirm_handler(pki: OpenAuthority, peers: Peers) -> HTTPRouteHandler:
    """The handler.

    Args:
        pki: the open authority.
        peers: validates the certificate of whoever calls.
    """
    names = {ca.key: ca.name for ca in pki.cas}
    calls = RateLimiter(CONFIRMATIONS_PER_MINUTE, 60)

    @post(CONFIRM_USE, status_code=HTTPStatus.OK)
    async def confirm(request: Request[Any, Any, Any]) -> Response[dict[str, Any]]:
        headers = request.headers
        single = all(len(headers.getall(name, [])) <= 1 for name in (XFCC_HEADER, EDGE_VERIFIED_HEADER))
        if headers.get(LISTENER_HEADER) != TLS_LISTENER or not single:
            return _answer(HTTPStatus.NOT_FOUND, {"error": Reason.NOT_FOUND.value})
        try:
            verified = headers.get(EDGE_VERIFIED_HEADER) == "1"
            _, current = await peers.validate(headers.get(XFCC_HEADER), verified=verified)
            actor = Actor(current.identity.subject, ROLE, trace_of(headers))
            issuer, serial_number = names[current.issuer_key], f"{current.serial_number:x}"
            _limit(calls, f"{current.environment}/{current.identity.subject}")
            ended = await pki.withdrawal.confirm_use(issuer, serial_number, actor)
        except TooOften as refused:
            body = {"error": refused.reason.value, "detail": refused.detail}
            return _answer(HTTPStatus.TOO_MANY_REQUESTS, body, {"Retry-After": str(refused.seconds)})
        except Refused as refused:
            return _answer(HTTPStatus.FORBIDDEN, {"error": refused.reason.value, "detail": refused.detail})
        except StoreUnavailable:
            return _answer(HTTPStatus.SERVICE_UNAVAILABLE, {"error": "unavailable"})
        return _answer(HTTPStatus.OK, {"ended": ended})

    return confirm


def _limit(calls: RateLimiter, party: str) -> None:
    wait = calls.take(party)
    if wait:
        raise TooOften(Reason.RATE_LIMITED, "Too many confirmations; try again later.", timedelta(seconds=wait))


def _answer(
    status: HTTPStatus, body: dict[str, Any], headers: Mapping[str, str] | None = None
) -> Response[dict[str, Any]]:
    return Response(body, status_code=status, headers={"Cache-Control": "no-store", **(headers or {})})
