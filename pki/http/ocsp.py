"""OCSP over HTTP: `GET /ocsp/<ca>/<base64>` and `POST /ocsp/<ca>`, on the plain listener.

Specification: RFC 6960 appendix A; RFC 5019 sections 5 and 6 (what caches may keep). Plain HTTP on purpose, as for
CRLs: an answer is signed by itself. A small ASGI application of its own, because a request in a path holds `/`, `+` and
`=` in whatever spelling, and only the path as Envoy saw it shows which.
"""

import base64
import binascii
import hashlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from email.utils import format_datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from authz.domain.clock import Clock
from authz.edge.client_certificate import PEER_ADDRESS_HEADER, RAW_PATH_HEADER, peer_address
from authz.edge.rate import network_of
from pki.ocsp.messages import MAX_REQUEST_BYTES
from pki.ocsp.responder import OcspAnswer, Responder

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

PREFIX: Final = "/ocsp"
REQUEST_TYPE: Final = "application/ocsp-request"
_TYPE: Final = {"content-type": "application/ocsp-response"}
MAX_AGE: Final = 60
"""Seconds that a cache may give an answer to others; a revocation must not wait longer behind one."""
_MAX_PATH: Final = MAX_REQUEST_BYTES * 4
"""Characters: base64 adds a third, and each character of it may be escaped."""


@dataclass(frozen=True, slots=True)
class _Reply:
    status: HTTPStatus
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class OcspApplication:
    """Answers OCSP requests.

    Args:
        responder: knows and signs.
        clock: for what caches are told.
    """

    def __init__(self, responder: Responder, clock: Clock) -> None:
        self._responder = responder
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        raw = headers.get(RAW_PATH_HEADER) or scope["raw_path"].decode("latin-1")
        name, _, asked = raw.partition("?")[0].removeprefix(f"{PREFIX}/").partition("/")
        reply = await self._reply(scope["method"], headers, (name, asked), receive)
        told = {"x-content-type-options": "nosniff"} | dict(reply.headers)
        if reply.status != HTTPStatus.NOT_MODIFIED:  # the only one that would have a length without a body
            told["content-length"] = str(len(reply.body))
        pairs = [(key.encode("ascii"), value.encode("ascii")) for key, value in told.items()]
        await send({"type": "http.response.start", "status": int(reply.status), "headers": pairs})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else reply.body})

    async def _reply(
        self, method: str, headers: Mapping[str, str], path: tuple[str, str], receive: Receive
    ) -> "_Reply":
        name, asked = path
        if not self._responder.speaks_for(name) or (asked and method == "POST"):
            return _Reply(HTTPStatus.NOT_FOUND)
        if method == "POST":
            return await self._post(name, headers, receive)
        if method not in {"GET", "HEAD"}:
            return _Reply(HTTPStatus.METHOD_NOT_ALLOWED, {"allow": "GET, HEAD, POST"})
        if len(asked) > _MAX_PATH:
            return _Reply(HTTPStatus.REQUEST_URI_TOO_LONG)
        answer = await self._responder.answer(name, _decoded(asked), _source(headers))
        told = self._for_caches(answer)
        if "etag" in told and told["etag"] in headers.get("if-none-match", ""):
            return _Reply(HTTPStatus.NOT_MODIFIED, told)
        return _Reply(HTTPStatus.OK, told | _TYPE, answer.content)

    async def _post(self, name: str, headers: Mapping[str, str], receive: Receive) -> "_Reply":
        if headers.get("content-type", "").lower() != REQUEST_TYPE:
            return _Reply(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        body = await _body(receive)
        if body is None:
            return _Reply(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        answer = await self._responder.answer(name, body, _source(headers))
        # A cache keeps no answers to POST (RFC 9110 section 9.3.3), and must not be led to believe otherwise.
        return _Reply(HTTPStatus.OK, {"cache-control": "no-store"} | _TYPE, answer.content)

    def _for_caches(self, answer: OcspAnswer) -> dict[str, str]:
        """RFC 5019 section 6.2."""
        if answer.window is None:
            return {"cache-control": "no-store"}
        left = int((answer.window.next_update - self._clock.now()).total_seconds())
        return {
            "cache-control": f"public, max-age={max(0, min(MAX_AGE, left - 1))}, no-transform, must-revalidate",
            "etag": f'"{hashlib.sha256(answer.content).hexdigest()[:32]}"',
            "last-modified": format_datetime(answer.window.this_update, usegmt=True),
            "expires": format_datetime(answer.window.next_update, usegmt=True),
        }


def _source(headers: Mapping[str, str]) -> str:
    """Who counts as one asker."""
    return network_of(peer_address(headers.get(PEER_ADDRESS_HEADER)))


def _decoded(asked: str) -> bytes:
    """DER of a request in a path; empty, which is malformed, when it is not base64."""
    try:
        return base64.b64decode(unquote_to_bytes(asked), validate=True)
    except (binascii.Error, ValueError):
        return b""


async def _body(receive: Receive) -> bytes | None:
    """The whole body; None when it is larger than any request."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_REQUEST_BYTES:
            return None
        if message["type"] != "http.request" or not message.get("more_body", False):
            return bytes(body)
