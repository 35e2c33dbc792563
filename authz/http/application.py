"""The Litestar application: the token endpoint as plain ASGI handlers, everything else as Litestar handlers."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import structlog
from litestar import Litestar, asgi
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.handlers import ASGIRouteHandler
from litestar.response import Response
from litestar.types import Message, Scope

from authz.domain.errors import Refused, SluisError
from authz.domain.reasons import Reason
from authz.http.answers import AnyRequest, refusal_response, trace_of
from authz.http.endpoints import OPEN, PARTICIPANTS_ONLY
from authz.http.faces import FACES, Face
from authz.http.parts import Parts
from authz.http.token import TokenEndpoint

_log = structlog.get_logger()
_NOT_SO = "this is not how the endpoint is used"
_WRONG_METHOD = 405
_REASONS = {404: Reason.NOT_FOUND, 405: Reason.METHOD_NOT_ALLOWED}


def create_app(parts: Parts) -> Litestar:
    """The application over its parts."""
    return Litestar(
        route_handlers=[*_token_handlers(parts), *OPEN, PARTICIPANTS_ONLY],
        dependencies={"parts": Provide(lambda: parts, sync_to_thread=False)},
        before_send=[_record_wrong_method(parts)],
        exception_handlers={HTTPException: _http_exception, Exception: _unexpected},
        state=State({"parts": parts}),
        openapi_config=None,
        logging_config=None,
    )


def _token_handlers(parts: Parts) -> Sequence[ASGIRouteHandler]:
    def handler(face: Face) -> ASGIRouteHandler:
        endpoint = TokenEndpoint(face, parts.service, parts.clock)

        async def answer(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401  Litestar looks for these names
            await endpoint(scope, receive, send)

        # The endpoint changes nothing in the scope, so it needs no copy of it.
        return asgi(face.path, copy_scope=False)(answer)

    return [handler(face) for face in FACES]


def _record_wrong_method(parts: Parts) -> Callable[[Message, Scope], Coroutine[Any, Any, None]]:
    """Record a 405 before it leaves: the router answers it by itself, before the gate and where nothing can wait."""
    own = frozenset(face.path for face in FACES)
    refusal = Refused(Reason.METHOD_NOT_ALLOWED, _NOT_SO)

    async def before_send(message: Message, scope: Scope) -> None:
        if message["type"] != "http.response.start" or message["status"] != _WRONG_METHOD or scope["path"] in own:
            return
        try:
            await parts.gate.note(scope, refusal, "method")
        except SluisError as error:
            _log.error("refusal not recorded", error_kind=type(error).__name__)
            message["status"] = 500

    return before_send


def _http_exception(request: AnyRequest, error: HTTPException) -> Response[bytes]:
    reason = _REASONS.get(error.status_code, Reason.BODY_MALFORMED)
    answer = refusal_response(Refused(reason, _NOT_SO), _trace_id(request))
    if "Allow" in (error.headers or {}):
        answer.headers["allow"] = (error.headers or {})["Allow"]
    return answer


def _unexpected(request: AnyRequest, error: Exception) -> Response[bytes]:
    trace_id = _trace_id(request)
    _log.error("request failed", trace_id=trace_id, error_kind=type(error).__name__)
    return refusal_response(Refused(Reason.INTERNAL_ERROR, "unexpected"), trace_id)


def _trace_id(request: AnyRequest) -> str:
    return trace_of(request).trace_id
