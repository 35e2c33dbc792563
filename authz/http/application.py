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
from authz.edge.head import Application
from authz.http.answers import AnyRequest, refusal_response, trace_of
from authz.http.endpoints import OPEN, PARTICIPANTS_ONLY
from authz.http.faces import FACES, Face
from authz.http.parts import Parts
from authz.http.token import TokenEndpoint

_log = structlog.get_logger()
_NOT_SO = "this is not how the endpoint is used"
_WRONG_METHOD = 405
_UNFORESEEN = "sluis_unforeseen"
_INTERNAL_ERROR = Refused(Reason.INTERNAL_ERROR, "unexpected")
_REASONS = {404: Reason.NOT_FOUND, 405: Reason.METHOD_NOT_ALLOWED}


def create_app(parts: Parts) -> Litestar:
    """The application over its parts."""
    return Application(
        route_handlers=[*_token_handlers(parts), *OPEN, PARTICIPANTS_ONLY],
        dependencies={"parts": Provide(lambda: parts, sync_to_thread=False)},
        before_send=[_record_what_nobody_did(parts)],
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


def _record_what_nobody_did(parts: Parts) -> Callable[[Message, Scope], Coroutine[Any, Any, None]]:
    """Record what is answered where nothing can wait, before it leaves: a 405, and what nobody foresaw."""
    own = frozenset(face.path for face in FACES)
    wrong_method = Refused(Reason.METHOD_NOT_ALLOWED, _NOT_SO)

    async def before_send(message: Message, scope: Scope) -> None:
        if message["type"] != "http.response.start" or scope["path"] in own:
            return
        if message["status"] == _WRONG_METHOD:
            refusal, endpoint = wrong_method, "method"
        elif _UNFORESEEN in scope["state"]:
            refusal, endpoint = _INTERNAL_ERROR, "unknown"
        else:
            return
        try:
            await parts.gate.note(scope, refusal, endpoint)
        except SluisError as error:
            _log.error("refusal not recorded", error_kind=type(error).__name__)
            message["status"] = 500

    return before_send


def _http_exception(request: AnyRequest, error: HTTPException) -> Response[bytes]:
    reason = _REASONS.get(error.status_code, Reason.BODY_MALFORMED)
    answer = refusal_response(Refused(reason, _NOT_SO), _trace_id(request))
    # The router writes its header in small letters.
    for name, value in (error.headers or {}).items():
        if name.lower() == "allow":
            answer.headers["allow"] = value
    return answer


def _unexpected(request: AnyRequest, error: Exception) -> Response[bytes]:
    trace_id = _trace_id(request)
    _log.error("request failed", trace_id=trace_id, error_kind=type(error).__name__)
    request.scope["state"][_UNFORESEEN] = True
    return refusal_response(_INTERNAL_ERROR, trace_id)


def _trace_id(request: AnyRequest) -> str:
    return trace_of(request).trace_id
