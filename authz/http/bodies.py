"""Request bodies: read with a limit, of exactly one content type, with exactly one reading.

Specification: RFC 6749 section 4.4.2 and appendix B (form), RFC 8259 as narrowed by `authz.domain.strict_json` (JSON);
shared `cases/oauth.md` 2-11. What two parsers could read differently is refused.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from authz.domain import strict_json
from authz.domain.errors import InvalidValue, Refused
from authz.domain.reasons import Reason
from authz.http.headers import Headers

JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"

MAX_TOKEN_REQUEST: Final = 16_384
"""Bytes. The longest honest request, twenty scopes and an audience, stays under 5 kB."""
MAX_JSON_DEPTH: Final = 4
"""The iWlz request has depth 2."""
MAX_PARAMETERS: Final = 32
BODY_TIMEOUT: Final = 10.0
"""Seconds for the whole body (cases/oauth.md 9); Envoy's own limit is longer, so that the refusal is recorded."""

_CHARSET: Final = re.compile(r'charset="?utf-8"?', re.IGNORECASE)
_FORM_TEXT: Final = re.compile(rb"[A-Za-z0-9*._~!'()/:,;@$?+%=&-]*")
_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")

Receive = Callable[[], Awaitable[Any]]


def require_content(headers: Headers, media_type: str) -> None:
    """Accept one content type, in UTF-8, without content encoding.

    Raises:
        Refused: CONTENT_TYPE or CONTENT_ENCODING.
    """
    if headers.get("content-encoding") not in {None, "identity"}:
        raise Refused(Reason.CONTENT_ENCODING, "the body may not be compressed")
    found, _, parameter = (headers.get("content-type") or "").partition(";")
    if found.strip().lower() != media_type or (parameter and not _CHARSET.fullmatch(parameter.strip())):
        raise Refused(Reason.CONTENT_TYPE, f"the content type of this endpoint is {media_type} in UTF-8")


async def read_body(headers: Headers, receive: Receive, limit: int) -> bytes:
    """Read the whole body, holding at most `limit` bytes and one chunk.

    Args:
        headers: of the request.
        receive: ASGI's.
        limit: bytes.

    Raises:
        Refused: BODY_TOO_LARGE, BODY_TIMEOUT, or BODY_MALFORMED when the client went away halfway.
    """
    announced = headers.get("content-length")
    if announced is not None and (len(announced) > 10 or not announced.isdigit() or int(announced) > limit):  # noqa: PLR2004  digits
        raise _too_large(limit)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise Refused(Reason.BODY_MALFORMED, "the body ended early")
                chunk = message.get("body", b"")
                size += len(chunk)
                if size > limit:
                    raise _too_large(limit)
                parts.append(chunk)
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError:
        raise Refused(Reason.BODY_TIMEOUT, f"the body did not arrive within {BODY_TIMEOUT:g} seconds") from None


def parse_json(body: bytes) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        Refused: BODY_MALFORMED.
    """
    try:
        return strict_json.parse_object(body, max_bytes=MAX_TOKEN_REQUEST, max_depth=MAX_JSON_DEPTH)
    except InvalidValue as error:
        raise Refused(Reason.BODY_MALFORMED, "the body is not a JSON object with one reading only") from error


def parse_form(body: bytes) -> dict[str, str]:
    """Read form parameters; a name may be there once.

    Raises:
        Refused: BODY_MALFORMED or PARAMETER_DUPLICATE.
    """
    if not _FORM_TEXT.fullmatch(body) or _BAD_ESCAPE.search(body):
        raise _malformed_form()
    pairs = body.split(b"&") if body else []
    if len(pairs) > MAX_PARAMETERS:
        raise Refused(Reason.BODY_MALFORMED, f"more than {MAX_PARAMETERS} parameters")
    parameters: dict[str, str] = {}
    for pair in pairs:
        name, separator, value = pair.partition(b"=")
        if not separator or not name:
            raise _malformed_form()
        key = _form_text(name)
        if key in parameters:
            raise Refused(Reason.PARAMETER_DUPLICATE, "a parameter is there twice")
        parameters[key] = _form_text(value)
    return parameters


def _form_text(encoded: bytes) -> str:
    if b"%" not in encoded and b"+" not in encoded:
        return encoded.decode("ascii")  # printable ASCII already: `_FORM_TEXT` has looked at the whole body
    try:
        text = unquote_to_bytes(encoded.replace(b"+", b" ")).decode("utf-8")
    except UnicodeDecodeError:
        raise _malformed_form() from None
    if _CONTROL.search(text):
        raise _malformed_form()
    return text


def _malformed_form() -> Refused:
    return Refused(Reason.BODY_MALFORMED, "the body is not a form in UTF-8 without control characters")


def _too_large(limit: int) -> Refused:
    return Refused(Reason.BODY_TOO_LARGE, f"the body is longer than {limit} bytes")
