"""Certificate revocation lists, fetched ahead of time, verified, kept on disk.

Specification: shared `spec/pki.md`, "Validating" rule 4: "fetched ahead of time, never in the request path". The URLs
come from the settings and nowhere else, so no certificate can make this server call an address (cases/oauth.md 74).
How old a CRL may be is judged at each decision, not here.
"""

import asyncio
import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import httpx
import structlog
from cryptography import x509

from authz.domain.errors import Refused
from authz.edge.entity_tag import usable_tag

WAIT: Final = 30
"""Seconds of a long poll (RFC 7240 `Prefer: wait`)."""
MAX_CRL_BYTES: Final = 64 * 1024 * 1024
_PAUSE: Final = 0.5
"""Seconds between two polls of a server that does not know long polls."""
_FIRST_BACKOFF: Final = 0.2
_LONGEST_BACKOFF: Final = 5.0

_log = structlog.get_logger()


class CrlMirror:
    """Follows a set of CRLs.

    Args:
        urls: where they are published.
        put: verifies a CRL and keeps it in memory; True when it is newer than what was held; raises `Refused` when
            it is not a CRL of a known issuer.
        folder: where verified CRLs are kept, one file for each CA and scope; Envoy reads it too.
        client: HTTP client, owned by the caller.
    """

    def __init__(
        self, urls: Sequence[str], put: Callable[[bytes], bool], folder: Path, client: httpx.AsyncClient
    ) -> None:
        self._urls = tuple(urls)
        self._put = put
        self._folder = folder
        self._client = client

    def load(self) -> None:
        """Start from what was kept; a file that does not verify is left where it is and not used."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in sorted(self._folder.glob("*.crl")):
            try:
                self._put(path.read_bytes())
            except (Refused, OSError) as error:
                _log.error("kept CRL not used", file=path.name, error_kind=type(error).__name__)

    async def run(self) -> None:
        """Follow every URL until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for url in self._urls:
                tasks.create_task(self._follow(url), name="crl")

    async def fetch(self, url: str, etag: str | None) -> str | None:
        """Fetch once, waiting on the server's side for a newer CRL than `etag`.

        Returns:
            The entity tag to ask with the next time.

        Raises:
            httpx.HTTPError: no answer, or another status than 200 or 304.
            Refused: not a CRL that counts here.
        """
        headers = {"accept": "application/pkix-crl"}
        if etag is not None:
            headers |= {"if-none-match": etag, "prefer": f"wait={WAIT}"}
        async with self._client.stream(
            "GET", url, headers=headers, timeout=httpx.Timeout(10, read=WAIT + 10)
        ) as answer:
            if answer.status_code == httpx.codes.NOT_MODIFIED:
                return etag
            answer.raise_for_status()
            der = bytearray()
            async for chunk in answer.aiter_bytes():
                der += chunk
                if len(der) > MAX_CRL_BYTES:
                    raise httpx.DecodingError("the CRL is too large")
        if self._put(bytes(der)):
            await asyncio.to_thread(self._keep, bytes(der))
            _log.info("CRL taken", url=url, length=len(der))
        return usable_tag(answer.headers.get("etag"))

    async def _follow(self, url: str) -> None:
        etag: str | None = None
        backoff = _FIRST_BACKOFF
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            try:
                newer = await self.fetch(url, etag)
            except (httpx.HTTPError, Refused, OSError) as error:
                _log.warning("CRL not fetched", url=url, error_kind=type(error).__name__)
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, _LONGEST_BACKOFF)
                continue
            backoff = _FIRST_BACKOFF
            if newer == etag and loop.time() - started < _PAUSE:
                await asyncio.sleep(_PAUSE)
            etag = newer

    def _keep(self, der: bytes) -> None:
        path = self._folder / f"{_name_of(der)}.crl"
        temporary = path.with_suffix(".new")
        with temporary.open("wb") as file:
            file.write(der)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)


def _name_of(der: bytes) -> str:
    """A file name for a verified CRL, by who signed it and what it is about.

    Never by its URL: over plain HTTP somebody on the path can answer one URL with the CRL of another, and that would
    push the right one out of the folder until its CA signs the next.
    """
    crl = x509.load_der_x509_crl(der)
    about = [crl.issuer.public_bytes()]
    for kind in (x509.AuthorityKeyIdentifier, x509.IssuingDistributionPoint):
        try:
            about.append(crl.extensions.get_extension_for_class(kind).value.public_bytes())
        except x509.ExtensionNotFound:
            about.append(b"")
    return hashlib.sha256(b"\x00".join(about)).hexdigest()[:16]
