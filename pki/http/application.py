"""The HTTP application of `pki serve`: CRLs, CA certificates and health.

Specification: RFC 5280 sections 4.2.1.13 and 4.2.2.1 (plain HTTP), RFC 9110 section 13 (conditional requests), RFC 7240
section 4.3 (`Prefer: wait`). All of that is public and signed by itself, so neither listener asks who calls; EST, which
asks for itself, is mounted beside it.
"""

from collections.abc import Sequence
from email.utils import format_datetime, parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final

import structlog
from litestar import MediaType, Request, Response, asgi, get
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler

from authz.edge.head import Application
from pki.http.est import PREFIX, EstApplication
from pki.http.health import Health
from pki.http.listeners import may_wait_at, source_of
from pki.http.ocsp import PREFIX as OCSP_PREFIX
from pki.http.ocsp import OcspApplication
from pki.http.published import Document, Published, wait_of

_LOG: Final = structlog.get_logger(__name__)
_HEADERS: Final = {
    # Held by anybody, used only after asking again: a revocation must not wait for a cache.
    "Cache-Control": "public, no-cache",
    "X-Content-Type-Options": "nosniff",
}


def create_application(
    published: Published,
    est: EstApplication | None = None,
    ocsp: OcspApplication | None = None,
    further: Sequence[HTTPRouteHandler] = (),
    health: Health | None = None,
) -> Application:
    """The application over what is published; whatever answers GET answers HEAD.

    Args:
        published: loaded documents.
        est: enrolment; None to publish only.
        ocsp: answers about certificates; None to publish only.
        further: other handlers.
        health: what else there is to be well; None to look at what is published only.
    """
    checks = health or Health(published, {})

    @get(["/crl/{name:str}", "/ca/{name:str}"])
    async def document(request: Request[Any, Any, Any]) -> Response[bytes]:
        return await _answer(published, request, request.scope["path"])

    @get("/health", media_type=MediaType.JSON)
    async def health_page() -> Response[dict[str, Any]]:
        problems = await checks.problems()
        status = HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK
        body = {"status": "unavailable" if problems else "ok", "problems": problems}
        return Response(body, status_code=status, headers={"Cache-Control": "no-store"})

    mounted = [
        asgi(prefix, is_mount=True, copy_scope=False)(application)
        for prefix, application in ((PREFIX, est), (OCSP_PREFIX, ocsp))
        if application is not None
    ]
    return Application(
        [document, health_page, *mounted, *further],
        openapi_config=None,
        logging_config=None,
        exception_handlers={HTTPException: _refuse, Exception: _fail},
    )


async def _answer(published: Published, request: Request[Any, Any, Any], path: str) -> Response[bytes]:
    known = request.headers.get("if-none-match", "").strip()
    wait = wait_of(request.headers.get("prefer", "")) if may_wait_at(request) else 0
    if wait and known:
        with published.waiters.place(source_of(request)) as found:
            wait = wait if found else 0
            document = await published.wait(path, known.removeprefix("W/"), wait)
    else:
        document = await published.get(path)
    if document is None:
        raise HTTPException(status_code=HTTPStatus.NOT_FOUND)
    headers = _HEADERS | {"ETag": document.etag, "Last-Modified": format_datetime(document.modified, usegmt=True)}
    if wait:
        headers["Preference-Applied"] = f"wait={wait}"
    if _unchanged(document, known, request.headers.get("if-modified-since")):
        return Response(b"", status_code=HTTPStatus.NOT_MODIFIED, headers=headers, media_type=document.media_type)
    return Response(document.content, headers=headers, media_type=document.media_type)


def _unchanged(document: Document, known: str, since: str | None) -> bool:
    """RFC 9110 section 13.2.2: If-None-Match decides when it is there, If-Modified-Since otherwise."""
    if known:
        tags = {tag.strip().removeprefix("W/") for tag in known.split(",")}
        return "*" in tags or document.etag in tags
    if since:
        try:
            return document.modified <= parsedate_to_datetime(since)
        except (ValueError, TypeError, OverflowError):  # RFC 9110 section 13.1.3: an invalid date is ignored
            return False
    return False


def _refuse(request: Request[Any, Any, Any], error: HTTPException) -> Response[dict[str, str]]:  # noqa: ARG001
    # RFC 9110 section 15.5.6: a 405 says what is allowed, which the router knows.
    said = {name: value for name, value in (error.headers or {}).items() if name.lower() == "allow"}
    body = {"error": HTTPStatus(error.status_code).phrase}
    return Response(body, status_code=error.status_code, headers=said)


def _fail(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, str]]:  # noqa: ARG001
    # Its kind only: the text may hold what a caller sent.
    _LOG.error("request_failed", why=type(error).__name__)
    return Response({"error": "server_error"}, status_code=HTTPStatus.INTERNAL_SERVER_ERROR)
