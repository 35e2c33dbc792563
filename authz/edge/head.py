"""HEAD answered as GET without the content, for every path of an application.

Specification: RFC 9110 section 9.1 (a general-purpose server supports GET and HEAD), 9.3.2, and 15.5.6 (`Allow` in a
405). Done around the application, so that a handler for GET is all that a path needs and no path is forgotten.
"""

from typing import Any, Final

from litestar import Litestar
from litestar.types import Message, Receive, Scope, Send

_WRONG_METHOD: Final = 405


class Application(Litestar):
    """A Litestar application that answers HEAD by what it answers to GET.

    It waits for nothing then: who wants no content waits for none (RFC 7240: a preference may be ignored).
    """

    async def __call__(self, scope: Scope | Any, receive: Receive | Any, send: Send | Any) -> None:  # noqa: ANN401
        """Answer one request."""
        is_head = scope["type"] == "http" and scope.get("method") == "HEAD"

        async def pass_on(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == _WRONG_METHOD:
                message["headers"] = [_with_head(name, value) for name, value in message["headers"]]
            elif message["type"] == "http.response.body" and is_head:
                message["body"] = b""
            await send(message)

        await super().__call__(_as_get(scope) if is_head else scope, receive, pass_on)


def _as_get(scope: Any) -> Any:  # noqa: ANN401  a mapping of one of several kinds
    headers = [(name, value) for name, value in scope["headers"] if name.lower() != b"prefer"]
    return {**scope, "method": "GET", "headers": headers}


def _with_head(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    if name.lower() != b"allow":
        return name, value
    methods = {method.strip() for method in value.split(b",")}
    # In one order: the router has none.
    return name, b", ".join(sorted(methods | {b"HEAD"} if b"GET" in methods else methods))
