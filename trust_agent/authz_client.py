"""The agent's HTTP client for authz: mutual TLS, and a renewed certificate is taken up without a restart."""

import asyncio
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import structlog

from authz.edge.http_client import http_client

_LOG: Final = structlog.get_logger(__name__)
_LINGER: Final = 120.0
"""Seconds in which requests of the old client may end after a renewal; longer than the longest long poll."""


class AuthzClient:
    """Gives the current client.

    Args:
        url: base URL of authz.
        anchors: PEM files with the CA of authz.
        certificate: our chain, PEM.
        key: its key, PEM.
        server_name: name that the certificate of authz must hold, where it differs from the URL's host.
    """

    def __init__(
        self, url: str, anchors: Sequence[Path], certificate: Path, key: Path, server_name: str | None = None
    ) -> None:
        self.url = url.rstrip("/")
        self._anchors = tuple(anchors)
        self._certificate = certificate
        self._key = key
        self._seen = self._state()
        self._client = self._make()
        self._closing: set[asyncio.Task[None]] = set()
        self.extensions: dict[str, Any] = {"sni_hostname": server_name} if server_name else {}

    def current(self) -> httpx.AsyncClient:
        """The client for the next request."""
        state = self._state()
        if state != self._seen:
            self._seen = state
            try:
                renewed = self._make()
            except (OSError, ssl.SSLError) as error:
                # A pair that is being replaced does not fit for a moment; the next change brings us here again.
                _LOG.warning("renewed_certificate_not_usable", why=type(error).__name__)
            else:
                task = asyncio.create_task(_close_later(self._client))
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)
                self._client = renewed
        return self._client

    async def close(self) -> None:
        """Close everything."""
        for task in self._closing:
            task.cancel()
        await self._client.aclose()

    def _make(self) -> httpx.AsyncClient:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        for path in self._anchors:
            context.load_verify_locations(path)
        context.load_cert_chain(self._certificate, self._key)
        return http_client(verify=context)

    def _state(self) -> tuple[int, ...]:
        found = []
        for path in (self._certificate, self._key):
            try:
                found.append(path.stat().st_mtime_ns)
            except OSError:
                found.append(0)
        return tuple(found)


async def _close_later(client: httpx.AsyncClient) -> None:
    try:
        await asyncio.sleep(_LINGER)
    finally:
        await client.aclose()
