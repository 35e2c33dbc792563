"""The token endpoint over HTTP: one ASGI handler for both faces.

Specification: shared `spec/authorization.md`; `cases/oauth.md` 1-32. A plain ASGI handler inside Litestar, because this
is the one path whose cost is multiplied by every deelnemer. The order is fixed: method, certificate, transport, body,
then the rules; so an unauthenticated caller has nothing parsed for it. Every refusal is recorded before it is answered.
"""

from typing import Any, Final, cast

import structlog
from litestar.types import HTTPScope, Receive, Scope, Send

from authz.domain.clock import Clock
from authz.domain.errors import Refused, SluisError
from authz.domain.reasons import Reason
from authz.grants.records import RequestContext
from authz.grants.request import TokenRequest
from authz.grants.service import TokenService
from authz.http.bodies import MAX_TOKEN_REQUEST, read_body, require_content
from authz.http.faces import Answer, Face, opaque
from authz.http.headers import Headers
from authz.participants.authentication import AuthenticatedClient, ClientRefused

_log = structlog.get_logger()
_NO_STORE: Final = ((b"cache-control", b"no-store"), (b"pragma", b"no-cache"), (b"x-content-type-options", b"nosniff"))


class TokenEndpoint:
    """Answers one face.

    Args:
        face: how requests are read and answers rendered.
        service: the rules.
        clock: the time, read once for each request.
    """

    def __init__(self, face: Face, service: TokenService, clock: Clock) -> None:
        self._face = face
        self._service = service
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        http = cast("HTTPScope", scope)  # Litestar hands this path nothing else
        headers = Headers(list(http["headers"]))
        context = RequestContext(
            self._clock.now(),
            headers.trace,
            headers.address,
            headers.get("x-request-id"),
            headers.verified_by_edge,
        )
        attempt = _Attempt()
        try:
            answer = await self._answer(http, headers, receive, context, attempt)
        except Refused as refusal:
            if isinstance(refusal, ClientRefused):
                attempt.client = refusal.client
            answer = await self._refused(refusal, attempt, context)
        except Exception as error:  # noqa: BLE001  the edge of the process: unmapped becomes opaque (style rule 11)
            # The text of an unexpected error may hold what the caller sent, so only its kind is logged.
            _log.error("token request failed", trace_id=context.trace.trace_id, error_kind=type(error).__name__)
            answer = await self._refused(Refused(Reason.INTERNAL_ERROR, "unexpected"), attempt, context)
        await _send(send, answer, context.trace.trace_id)

    async def _answer(
        self, http: HTTPScope, headers: Headers, receive: Receive, context: RequestContext, attempt: "_Attempt"
    ) -> Answer:
        face = self._face
        if http.get("raw_path", b"").decode("latin-1") != face.path:
            # Litestar also routes a trailing slash and escaped letters here; the endpoint has one spelling.
            raise Refused(Reason.NOT_FOUND, "there is nothing here")
        if http["method"] != "POST":
            raise Refused(Reason.METHOD_NOT_ALLOWED, "use POST")
        connection = headers.connection()
        attempt.client = self._service.authenticate(connection, context.at)
        headers.accepted(connection)
        if http["query_string"]:
            raise Refused(Reason.QUERY_PARAMETERS, "parameters belong in the body")
        if headers.get("authorization") is not None:
            # RFC 6749 section 5.2, invalid_request: more than one mechanism for authenticating the client.
            raise Refused(Reason.CLIENT_SECRET_PRESENT, "authenticate with the certificate only")
        require_content(headers, face.media_type)
        body = await read_body(headers, receive, MAX_TOKEN_REQUEST)
        attempt.request = TokenRequest.parse(face.read(body, attempt.client))
        return face.grant(await self._service.issue(attempt.client, attempt.request, context))

    async def _refused(self, refusal: Refused, attempt: "_Attempt", context: RequestContext) -> Answer:
        try:
            await self._service.record_refusal(refusal, attempt.client, attempt.request, context)
        except SluisError as error:
            # A refusal that cannot be recorded says nothing but that something is wrong here.
            _log.error("refusal not recorded", trace_id=context.trace.trace_id, error_kind=type(error).__name__)
            return opaque(context.trace.trace_id)
        return self._face.refuse(refusal, context.trace.trace_id)


class _Attempt:
    """What was established before a refusal, for its record."""

    __slots__ = ("client", "request")

    def __init__(self, client: AuthenticatedClient | None = None, request: TokenRequest | None = None) -> None:
        self.client = client
        self.request = request


async def _send(send: Send, answer: Answer, trace_id: str) -> None:
    headers: list[tuple[bytes, bytes]] = [
        (b"content-type", answer.media_type.encode()),
        (b"content-length", str(len(answer.body)).encode()),
        (b"x-b3-traceid", trace_id.encode()),
        *_NO_STORE,
    ]
    if answer.status == 405:  # noqa: PLR2004  RFC 9110 section 15.5.6: says what is allowed
        headers.append((b"allow", b"POST"))
    start: Any = {"type": "http.response.start", "status": answer.status, "headers": headers}
    body: Any = {"type": "http.response.body", "body": answer.body, "more_body": False}
    await send(start)
    await send(body)
