"""`GET /revocations/<ca>`: the feed of lately revoked certificates, with entity tags and long polls.

Specification: docs/decisions/0018; RFC 9110 section 13, RFC 7240 section 4.3. Public and signed by itself, like a CRL.
"""

from http import HTTPStatus
from typing import Any, Final

from litestar import Request, Response, get
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from authz.domain.errors import Refused
from authz.edge.background import pause
from pki.http.listeners import may_wait_at, source_of
from pki.http.published import Published, wait_of
from pki.issuing import IssuingError
from pki.revocation.feed import CertificateFeed
from pki.signing.signer import SignerError
from pki.store.database import StoreUnavailable

FEED_MEDIA_TYPE: Final = "application/jwt"


def feed_handler(feed: CertificateFeed, published: Published) -> HTTPRouteHandler:
    """The handler.

    Args:
        feed: what is told.
        published: says when something changed.
    """

    @get("/revocations/{name:str}")
    async def revocations(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[bytes]:
        known = request.headers.get("if-none-match", "").strip().removeprefix("W/")
        change = published.next_change()
        try:
            state = await feed.current(name)
            wait = wait_of(request.headers.get("prefer", "")) if may_wait_at(request) else 0
            if state is not None and state.etag == known and wait:
                with published.waiters.place(source_of(request)) as found:
                    await pause(change, wait if found else 0)
                state = await feed.current(name)
        except (StoreUnavailable, SignerError, IssuingError, Refused) as error:
            raise HTTPException(status_code=HTTPStatus.SERVICE_UNAVAILABLE) from error
        if state is None:
            raise HTTPException(status_code=HTTPStatus.NOT_FOUND)
        headers = {"Cache-Control": "public, no-cache", "X-Content-Type-Options": "nosniff", "ETag": state.etag}
        if state.etag == known:
            return Response(b"", status_code=HTTPStatus.NOT_MODIFIED, headers=headers, media_type=FEED_MEDIA_TYPE)
        return Response(state.body, headers=headers, media_type=FEED_MEDIA_TYPE)

    return revocations
