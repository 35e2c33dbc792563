"""A party's HTTP client: its own certificate, the lab's root as only anchor, names of the lab led to the loopback.

TLS is checked as anywhere: the connection goes to 127.0.0.1, but the name in the URL is what the server's certificate
must carry.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Final, Self

import httpx
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

from authz.domain.tracing import TraceContext
from deploy.lab.ports import LOOPBACK

_TIMEOUT: Final = 30.0
"""Seconds for one exchange; far beyond what anything in the lab may take."""

_ids = RandomIdGenerator()


def new_trace() -> TraceContext:
    """A fresh trace, so that the records of one exchange can be found."""
    return TraceContext(f"{_ids.generate_trace_id():032x}", f"{_ids.generate_span_id():016x}")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a party identifies itself with.

    Attributes:
        chain: PEM file with its certificate, then the issuing CA's.
        key: PEM file with its private key.
    """

    chain: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    content: bytes
    seconds: float
    trace_id: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> Any:  # noqa: ANN401  a parsed document has no type of its own
        """The body as JSON."""
        return httpx.Response(self.status, content=self.content).json()

    @property
    def text(self) -> str:
        """The body as text, for a report."""
        return self.content.decode(errors="replace")


class Caller:
    """Speaks for one party. Use as an async context manager.

    Args:
        credentials: the party's certificate and key; None to call without a certificate.
        anchors: PEM file with the lab's root.
        keep_alive: False opens a new connection for each request.
    """

    def __init__(self, credentials: Credentials | None, anchors: Path, *, keep_alive: bool = True) -> None:
        context = ssl.create_default_context(cafile=str(anchors))
        if credentials is not None:
            context.load_cert_chain(credentials.chain, credentials.key)
        limits = httpx.Limits(max_keepalive_connections=None if keep_alive else 0)
        self._http = httpx.AsyncClient(verify=context, trust_env=False, timeout=_TIMEOUT, limits=limits)

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    async def send(
        self, method: str, url: str, *, content: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One exchange, under a trace of its own.

        Raises:
            httpx.TransportError: no answer came: nobody listens, TLS failed, or the time was up.
        """
        target = httpx.URL(url)
        trace = new_trace()
        request = self._http.build_request(
            method,
            target.copy_with(host=LOOPBACK),
            content=content,
            headers={**trace.b3_headers(), **(headers or {}), "host": target.netloc.decode()},
            extensions={"sni_hostname": target.host},
        )
        begun = perf_counter()
        response = await self._http.send(request)
        return Answer(
            response.status_code, response.content, perf_counter() - begun, trace.trace_id, dict(response.headers)
        )

    async def token_iwlz(self, endpoint: str, scope: str, audience: str) -> Answer:
        """Ask for a token as iWlz RFC0014 writes it."""
        document = httpx.Request(
            "POST",
            endpoint,
            json={"grant_type": "client_credentials", "scope": scope, "audience": audience},
        )
        return await self.send("POST", endpoint, content=document.content, headers={"content-type": "application/json"})

    async def token_oauth(self, endpoint: str, scope: str, audience: str, client_id: str) -> Answer:
        """Ask for a token as RFC 6749, RFC 8705 and RFC 8707 write it."""
        form = httpx.QueryParams(grant_type="client_credentials", scope=scope, resource=audience, client_id=client_id)
        return await self.send(
            "POST",
            endpoint,
            content=str(form).encode(),
            headers={"content-type": "application/x-www-form-urlencoded"},
        )

    async def consult(self, audience: str, token: str | None, content: bytes) -> Answer:
        """Send a GraphQL request to a trust agent."""
        headers = {"content-type": "application/json"}
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        return await self.send("POST", audience, content=content, headers=headers)
