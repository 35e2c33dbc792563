"""One HTTPS exchange of a participant with the authority: one deadline for all of it, and errors as a person says them.

A limit for each step is none: who sends one byte every few seconds keeps each step short and the whole without an end.
Neither proxies nor `.netrc` of the environment are used: a code goes to the one server that was named.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from authz.domain.errors import Refused, SluisError
from authz.domain.reasons import Reason
from authz.edge.http_client import http_client
from pki.names import is_host_name

DEADLINE: Final = 60.0
"""Seconds for one exchange, from looking the name up to the last byte."""
MAX_ANSWER: Final = 256 * 1024
"""Bytes."""
_OTHER_NAME: Final = frozenset({62, 64})
"""X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""
_OTHER_ROOT: Final = frozenset({2, 18, 19, 20, 21})
"""X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, self-signed ones, and UNABLE_TO_VERIFY_LEAF_SIGNATURE."""
_NOT_YET, _EXPIRED = 9, 10


class NotAnswered(SluisError):  # noqa: N818  it says what happened
    """No answer came. The text says why, and what helps."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server answered, whole."""

    status: int
    headers: Mapping[str, str]
    content: bytes


@dataclass(frozen=True, slots=True)
class Server:
    """Whom to ask.

    Attributes:
        base: `https://host[:port]`.
        name: in its certificate.
    """

    base: str
    name: str

    @classmethod
    def parse(cls, url: str, server_name: str | None = None) -> "Server":
        """Read `--url` and `--server-name`.

        Raises:
            Refused: PARAMETER_MALFORMED.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
            httpx.URL(url).host  # noqa: B018  what it cannot read, it cannot ask
        except (ValueError, httpx.InvalidURL) as error:
            raise _no_url() from error
        bare = parts.scheme == "https" and parts.path in {"", "/"} and not (parts.query or parts.fragment)
        if not bare or parts.username is not None or port == 0 or not (is_host_name(host) or _is_address(host)):
            raise _no_url()
        if server_name is not None and not is_host_name(server_name.lower()):
            raise Refused(Reason.PARAMETER_MALFORMED, "--server-name: expected a host name, such as pki.example.nl.")
        shown = f"[{host}]" if ":" in host else host
        return cls(f"https://{shown}{'' if port is None else f':{port}'}", server_name or host)


def exchange(
    server: Server,
    context: ssl.SSLContext,
    method: str,
    path: str,
    *,
    seconds: float = DEADLINE,
    **options: Any,  # noqa: ANN401  of httpx
) -> Answer:
    """Ask once. Not to be called where an event loop runs.

    Args:
        server: whom.
        context: how it is known, and who we are.
        method: of HTTP.
        path: from the root, with a slash.
        seconds: for all of it.
        **options: `content`, `headers`, `auth`.

    Raises:
        NotAnswered: no whole answer, for whatever reason.
    """
    return asyncio.run(_exchange(server, context, seconds, (method, path), options))


async def _exchange(
    server: Server, context: ssl.SSLContext, seconds: float, asked: tuple[str, str], options: dict[str, Any]
) -> Answer:
    method, path = asked
    content = bytearray()
    extensions = {"sni_hostname": server.name}
    try:
        async with (
            asyncio.timeout(seconds),
            http_client(verify=context, timeout=seconds) as client,
            client.stream(method, f"{server.base}{path}", extensions=extensions, **options) as answer,
        ):
            async for part in answer.aiter_bytes():
                content += part
                if len(content) > MAX_ANSWER:
                    raise NotAnswered(f"the answer of {server.base} is too large")
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, TimeoutError) as error:
        raise NotAnswered(_explained(error, server, seconds)) from error
    return Answer(answer.status_code, answer.headers, bytes(content))


def _explained(error: BaseException, server: Server, seconds: float) -> str:  # noqa: PLR0911  one for each cause
    causes = list(_causes(error))
    for cause in causes:
        match cause:
            case ssl.SSLCertVerificationError():
                return _distrusted(cause, server)
            case ssl.SSLError() if "ALERT" in (cause.reason or ""):
                return f"{server.base} refuses our certificate, or how we speak TLS ({cause.reason})"
            case ssl.SSLError() if cause.reason is not None:
                return f"what listens on {server.base} does not speak TLS as it should ({cause.reason})"
            case ConnectionRefusedError():
                return f"nothing listens on {server.base}"
            case socket.gaierror():
                return f"{server.base}: this machine finds no address for that name"
    if any(isinstance(cause, TimeoutError | httpx.TimeoutException) for cause in causes):
        return f"no whole answer from {server.base} within {seconds:.0f} seconds"
    return f"{server.base} cannot be reached ({type(causes[-1]).__name__})"


def _distrusted(error: ssl.SSLCertVerificationError, server: Server) -> str:
    code = error.verify_code
    if code in _OTHER_NAME:
        return (
            f"the certificate of {server.base} is for another name than {server.name}:"
            " give the right one with --server-name, when that is the authority that you mean"
        )
    if code in _OTHER_ROOT:
        return f"--ca is not the root that signed the certificate of {server.base}"
    if code == _EXPIRED:
        return f"the certificate of {server.base} has expired, or the clock of this machine is ahead"
    if code == _NOT_YET:
        return f"the certificate of {server.base} is not valid yet: is the clock of this machine right?"
    return f"the certificate of {server.base} cannot be verified ({error.verify_message})"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what led to it, nearest first, each once."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        current = waiting.pop(0)
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        if isinstance(current, BaseExceptionGroup):
            waiting += current.exceptions
        waiting += [current.__cause__, current.__context__]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _no_url() -> Refused:
    return Refused(
        Reason.PARAMETER_MALFORMED,
        "--url: expected https://<host>[:port]; a code must not cross the network in the clear.",
    )
