"""Answers of the endpoints around the token: refusals with their record, and documents with their entity tag.

Specification: shared `spec/authorization.md`, "Around the token"; RFC 9110 section 13; RFC 7240. Only participants get
past `require_participant`; every refusal here is recorded before it is answered, as at the token endpoint.
"""

from dataclasses import replace
from typing import Final

import msgspec
import structlog
from litestar import Request, Response
from litestar.datastructures import State
from litestar.types import Scope

from authz.domain.clock import Clock
from authz.domain.errors import Refused, SluisError
from authz.domain.reasons import Reason
from authz.domain.tracing import TraceContext
from authz.edge.waiters import Waiters
from authz.grants.records import RequestContext, endpoint_refused
from authz.grants.refusals import RefusalRecords
from authz.grants.service import TokenService
from authz.http.faces import INVALID_CERTIFICATE, JSON_TYPE, TEXT_TYPE, opaque
from authz.http.headers import Headers
from authz.http.published import Publication, matching, wait_of
from authz.http.status import CERTIFICATE_REASONS, SERVER_REASONS, TRANSPORT_STATUS
from authz.participants.authentication import AuthenticatedClient, ClientRefused

_log = structlog.get_logger()
AnyRequest = Request[None, None, State]
"""Litestar's request, without its own machinery for users."""
_CLIENT: Final = "sluis_client"
_TRACE: Final = "sluis_trace"

_FORBIDDEN: Final = frozenset({Reason.CREDENTIAL_BLOCKED, Reason.ADDRESS_NOT_ALLOWED, Reason.RECORD_SOURCE})


def keep_client(request: AnyRequest, client: AuthenticatedClient) -> None:
    """Remember who asks, for the handler behind the gate."""
    request.state[_CLIENT] = client


def trace_of(request: AnyRequest) -> TraceContext:
    """The trace of a request; one that is begun here is the same in the answer and in the record."""
    state = request.scope["state"]
    known = state.get(_TRACE)
    if isinstance(known, TraceContext):
        return known
    made = state[_TRACE] = Headers(list(request.scope["headers"])).trace
    return made


def client_of(request: AnyRequest) -> AuthenticatedClient:
    """Who asks, at an endpoint that only deelnemers get to."""
    client = request.state[_CLIENT]
    if not isinstance(client, AuthenticatedClient):
        raise TypeError("an endpoint for deelnemers was reached without the gate")
    return client


class Gate:
    """Who may come in, and what is said to those who may not.

    Args:
        service: authenticates.
        refusals: where they are recorded.
        clock: the time.
    """

    def __init__(self, service: TokenService, refusals: RefusalRecords, clock: Clock) -> None:
        self._service = service
        self._refusals = refusals
        self._clock = clock

    def context(self, request: AnyRequest) -> tuple[Headers, RequestContext]:
        """Headers and context of a request; the clock is read here."""
        headers = Headers(list(request.scope["headers"]))
        return headers, RequestContext(
            self._clock.now(),
            trace_of(request),
            headers.address,
            headers.get("x-request-id"),
            headers.verified_by_edge,
        )

    def participant(self, request: AnyRequest) -> AuthenticatedClient:
        """The deelnemer of this connection.

        Raises:
            Refused: as `ClientAuthenticator.authenticate`, and CREDENTIAL_REVOKED.
        """
        headers, context = self.context(request)
        connection = headers.connection()
        client = self._service.authenticate_current(connection, context.at)
        headers.accepted(connection)
        return client

    async def refuse(
        self, request: AnyRequest, refusal: Refused, endpoint: str, client: AuthenticatedClient | None = None
    ) -> Response[bytes]:
        """Record a refusal and render it.

        Args:
            request: what is refused.
            refusal: why.
            endpoint: our own name of the endpoint.
            client: who asked, if that was established.
        """
        _, context = self.context(request)
        if isinstance(refusal, ClientRefused):
            client = refusal.client
        trace_id = context.trace.trace_id
        try:
            await self._refusals.write(endpoint_refused(refusal, endpoint, client, context), client, context)
        except SluisError as error:
            _log.error("refusal not recorded", trace_id=trace_id, error_kind=type(error).__name__)
            refusal = Refused(Reason.AUDIT_UNAVAILABLE, "not recorded")
        return refusal_response(refusal, trace_id)

    async def note(self, scope: Scope, refusal: Refused, endpoint: str) -> None:
        """Record a refusal that is answered where nothing can be awaited, with the deelnemer if it is one.

        Args:
            scope: of the request.
            refusal: why.
            endpoint: our own name of the endpoint.

        Raises:
            AuditUnavailable: it is not recorded.
        """
        request: AnyRequest = Request(scope)
        _, context = self.context(request)
        try:
            client: AuthenticatedClient | None = self.participant(request)
        except ClientRefused as other:
            client = other.client
        except Refused as other:
            client = None
            if other.reason.is_about_the_certificate:
                context = replace(context, verified_by_edge=False)
        await self._refusals.write(endpoint_refused(refusal, endpoint, client, context), client, context)


def refusal_response(refusal: Refused, trace_id: str) -> Response[bytes]:
    """How these endpoints say no."""
    reason = refusal.reason
    if reason in SERVER_REASONS:
        answer = opaque(trace_id)
        return response(answer.body, answer.media_type, answer.status, trace_id)
    if reason in CERTIFICATE_REASONS:
        return response(INVALID_CERTIFICATE.encode(), TEXT_TYPE, 403, trace_id)
    status = 403 if reason in _FORBIDDEN else TRANSPORT_STATUS.get(reason, 400)
    problem = {"error": reason.value, "error_description": refusal.detail, "trace_id": trace_id}
    return response(msgspec.json.encode(problem), JSON_TYPE, status, trace_id)


def response(
    body: bytes, media_type: str, status: int = 200, trace_id: str = "", headers: dict[str, str] | None = None
) -> Response[bytes]:
    """Bytes as they are; never stored by a cache unless `headers` says otherwise."""
    all_headers = {"cache-control": "no-store", "x-content-type-options": "nosniff"} | (headers or {})
    if trace_id:
        all_headers["x-b3-traceid"] = trace_id
    return Response(body, status_code=status, media_type=media_type, headers=all_headers)


async def publication_response(
    request: AnyRequest, publication: Publication, media_type: str, waiters: Waiters
) -> Response[bytes]:
    """The document, or 304 when the reader has it, after as long a wait as the reader asked for and may have."""
    state = publication.current()
    if matching(request.headers.get("if-none-match"), state.etag):
        reader, wait = _reader(request), wait_of(request.headers.get("prefer"))
        with waiters.place(reader or "") as found:
            newer = await publication.newer_than(state.etag, wait if found and reader is not None else 0)
        if newer is None:
            return response(b"", media_type, 304, headers={"etag": state.etag, "cache-control": "no-cache"})
        state = newer
    return response(state.body, media_type, headers={"etag": state.etag, "cache-control": "no-cache"})


def _reader(request: AnyRequest) -> str | None:
    """The certificate of a reader whom the edge verified; None for everybody else, and they do not wait."""
    try:
        connection = Headers(list(request.scope["headers"])).connection()
    except Refused:
        return None
    return connection.certificate.thumbprint if connection.verified_by_edge else None
