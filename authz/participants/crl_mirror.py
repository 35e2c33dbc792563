"""Certificate revocation lists, fetched ahead of time, verified, kept on disk.

Specification: shared `spec/pki.md`, "Validating" rule 4: "fetched ahead of time, never in the request path". The URLs
come from the settings and nowhere else, so no certificate can make this server call an address (cases/oauth.md 74).
How old a CRL may be is judged at each decision, not here.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import httpx
import structlog
from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from authz.domain.errors import Refused
from authz.domain.files import PUBLIC, write_whole
from authz.edge.long_poll import LongPoll, Source

MAX_CRL_BYTES: Final = 16 * 1024 * 1024
"""Some 350,000 entries; what `pki.validation.crl` reads at most."""

_log = structlog.get_logger()


class CrlMirror:
    """Follows a set of CRLs.

    Args:
        urls: where they are published.
        put: verifies a CRL and keeps it in memory; True when it is newer than what was held; raises `Refused` when
            it is not a CRL of a known issuer. Called from threads.
        folder: where verified CRLs are kept, one file for each CA and scope; Envoy reads it too.
        client: HTTP client, owned by the caller.
    """

    def __init__(
        self, urls: Sequence[str], put: Callable[[bytes], bool], folder: Path, client: httpx.AsyncClient
    ) -> None:
        self._put = put
        self._folder = folder
        self.polls = {url: self._poll(url, client) for url in urls}
        """What follows each URL."""

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
        await asyncio.gather(*(poll.run() for poll in self.polls.values()))

    def _poll(self, url: str, client: httpx.AsyncClient) -> LongPoll:
        async def take(der: bytes, _etag: str | None) -> bool:
            # A long list takes a while, in which the service goes on answering.
            newer = await asyncio.to_thread(self._put, der)
            if newer:
                await asyncio.to_thread(self._keep, der)
                _log.info("CRL taken", url=url, length=len(der))
            return newer

        return LongPoll(Source(f"crl {url}", url, "application/pkix-crl", MAX_CRL_BYTES, take, lambda: client))

    def _keep(self, der: bytes) -> None:
        path = self._folder / f"{_name_of(der)}.crl"
        write_whole(path, der, PUBLIC)


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
    if any(extension.oid == ExtensionOID.DELTA_CRL_INDICATOR for extension in crl.extensions):
        # Which list it starts from changes; that it holds changes only does not. It must not push out a complete list.
        about.append(b"delta")
    return hashlib.sha256(b"\x00".join(about)).hexdigest()[:16]
