"""The engine over an OPA server: the same policies, evaluated by the reference implementation.

Specification: shared `spec/policy.md`, "Two engines, one answer"; OPA REST API, "Get a Document (with Input)". Built on
httpx and not on opa-python-client: docs/decisions/0044 says why. Does not load policies into the server: it fetches its
bundle itself, and each answer says which revision gave it.
"""

import ssl
from collections.abc import Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import Any, Self

import httpx
import msgspec

from authz.policy.engine import (
    ENTRYPOINTS,
    Decision,
    PolicyAnswer,
    PolicyUnavailable,
    decision_from,
    encode_input,
)

MAX_ANSWER_BYTES = 256 << 10
"""Bytes of one answer, as for the engine in the process."""


class _Bundle(msgspec.Struct, frozen=True):
    revision: str = ""


class _Provenance(msgspec.Struct, frozen=True):
    bundles: dict[str, _Bundle] = {}


class _Response(msgspec.Struct, frozen=True):
    result: PolicyAnswer
    provenance: _Provenance


_decode = msgspec.json.Decoder(_Response).decode


class OpaServerEngine:
    """A `PolicyEngine` over one OPA server. To be closed, or used with `async with`.

    Args:
        url: base address, `http://127.0.0.1:8181`; the host is a name only when `socket` is given.
        socket: path of the Unix socket that OPA listens on (`--addr unix://...`), instead of TCP.
        tls: context with the CA and the client certificate, for an `https` address.
        timeout: seconds for one decision, connecting included. No retries: a late permit is no permit.
        max_connections: to the server at once.
    """

    def __init__(
        self,
        url: str,
        *,
        socket: str | None = None,
        tls: ssl.SSLContext | None = None,
        timeout: float = 1.0,
        max_connections: int = 32,
    ) -> None:
        self._revision = ""
        limits = httpx.Limits(max_connections=max_connections, max_keepalive_connections=max_connections)
        # Always an explicit context, by itself one that trusts nobody: httpx would else trust every public CA.
        trust = tls or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        transport = httpx.AsyncHTTPTransport(verify=trust, uds=socket, limits=limits)
        # As `authz.edge.http_client` makes them, which policies may not import: no cookies, no proxies, no redirects.
        self._client = httpx.AsyncClient(
            base_url=url,
            transport=transport,
            timeout=timeout,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            trust_env=False,
            follow_redirects=False,
        )

    @property
    def revision(self) -> str:
        """The revision that gave the last answer; empty before the first."""
        return self._revision

    async def decide(self, entrypoint: str, document: Mapping[str, Any] | bytes) -> Decision:
        """Ask the server.

        Raises:
            PolicyUnavailable: see `PolicyEngine.decide`; also when the server runs no bundle, or more than one.
        """
        if entrypoint not in ENTRYPOINTS:
            raise PolicyUnavailable("there is no such entrypoint")
        body = msgspec.json.encode({"input": msgspec.Raw(encode_input(document))})
        try:
            answer = _decode(await self._post(f"/v1/data/{entrypoint}", body))
        except httpx.HTTPError as error:
            raise PolicyUnavailable("the OPA server cannot be reached or is late") from error
        except msgspec.DecodeError as error:
            # Also an undefined document: OPA answers 200 without a result.
            raise PolicyUnavailable("the OPA server's answer is not a decision") from error
        revisions = [bundle.revision for bundle in answer.provenance.bundles.values()]
        if len(revisions) != 1 or not revisions[0]:
            raise PolicyUnavailable("the OPA server does not run exactly one bundle with a revision")
        self._revision = revisions[0]
        return decision_from(answer.result, revisions[0])

    async def _post(self, path: str, body: bytes) -> bytes:
        headers = {"content-type": "application/json"}
        request = self._client.build_request("POST", path, params={"provenance": "true"}, content=body, headers=headers)
        response = await self._client.send(request, stream=True)
        try:
            if response.status_code != httpx.codes.OK:
                raise PolicyUnavailable(f"the OPA server answered with status {response.status_code}")
            content = bytearray()
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > MAX_ANSWER_BYTES:
                    raise PolicyUnavailable("the OPA server's answer is too large")
            return bytes(content)
        finally:
            await response.aclose()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
