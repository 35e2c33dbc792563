"""What the CA publishes, in memory: CRLs and CA certificates, with the entity tags that make polling cheap.

A GET looks at the change counter in the database first, so that what a revocation wrote is there as soon as it was
committed, whichever process wrote it. Waiting requests are woken by `watch`, which looks ten times a second.
"""

import asyncio
import hashlib
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog
from cryptography import x509

from authz.edge.background import Loop
from authz.edge.waiters import Waiters
from pki.app import OpenAuthority
from pki.certificate_files import read_certificate, read_cross
from pki.revocation.root_crls import RootCrls
from pki.store.register import Register

_LOG: Final = structlog.get_logger(__name__)
POLL: Final = 0.1
"""Seconds between looks at the change counter."""
MAX_WAIT: Final = 60
"""Seconds that a long poll may last."""
_WAIT: Final = re.compile(r"(?:^|[,;]\s*)wait=([0-9]{1,4})(?:$|\s*[,;])", re.IGNORECASE)
MAX_CRL_AGE: Final = timedelta(hours=1)
"""Relying parties take no older CRL of an issuing CA (shared `spec/pki.md`, "Validating" rule 4)."""
CRL_TYPE: Final = "application/pkix-crl"
CERTIFICATE_TYPE: Final = "application/pkix-cert"


@dataclass(frozen=True, slots=True)
class Document:
    """Something published.

    Attributes:
        content: DER.
        media_type: of it.
        etag: strong, quoted.
        modified: when it was made.
        ends: after this moment it is of no use; None for a certificate.
    """

    content: bytes
    media_type: str
    etag: str
    modified: datetime
    ends: datetime | None = None


class Published:
    """All published documents, by path.

    Args:
        pki: the open authority.
    """

    def __init__(self, pki: OpenAuthority) -> None:
        self._pki = pki
        self._documents: dict[str, Document] = {}
        self._version = -1
        self._changed = asyncio.Event()
        self._closing = asyncio.Event()
        self.root_crls = RootCrls(
            pki.database,
            pki.settings.roots(),
            [x509.load_der_x509_certificate(der) for der in pki.authorities],
            pki.clock,
        )
        """What operators carried here from the roots."""
        self.waiters = Waiters()
        """Those who wait for something newer, of all that is published here."""
        self.watching = Loop("watch", self._refresh, POLL)
        """What `watch` does; asked by health."""

    async def load(self) -> None:
        """Read everything for the first time.

        Raises:
            StoreUnavailable: the database cannot be read.
            CertificateFileError: a CA certificate cannot be read, or is not what it is published as.
            RootCrlRefused: the CRL of a root may not be published, and no earlier one is held.
        """
        settings = self._pki.settings
        fixed = {root.name: read_certificate(root.certificate) for root in settings.roots()}
        fixed |= {
            f"{root.name}-cross": read_cross(root.cross, root.certificate) for root in settings.roots() if root.cross
        }
        fixed |= {ca.name: ca.der for ca in self._pki.cas} | {ca.name: ca.der for ca in self._pki.retired}
        self._documents = {f"/ca/{name}.crt": _certificate(der) for name, der in fixed.items()}
        await self.root_crls.load()
        await self._refresh()

    async def get(self, path: str) -> Document | None:
        """The document at `path`, as new as the database."""
        if path.startswith("/crl/"):
            with suppress(Exception):  # what is held is signed and dated; `watch` logs what is wrong, and health tells
                await self._refresh()
        return self._documents.get(path)

    async def wait(self, path: str, etag: str, seconds: float) -> Document | None:
        """The document at `path` as soon as it is another one than `etag`, or after `seconds` whatever it is."""
        document = await self.get(path)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while document is not None and document.etag == etag and not self._closing.is_set():
                    await self._changed.wait()
                    document = self._documents.get(path)
        return document

    @property
    def version(self) -> int:
        """The change counter of the register, as it was seen last."""
        return self._version

    def next_change(self) -> asyncio.Event:
        """Set when something published is another than at this moment; to be taken before looking what it is now."""
        return self._closing if self._closing.is_set() else self._changed

    def close(self) -> None:
        """Let those who wait go, and end `watch`: the service stops."""
        self._closing.set()
        self._changed.set()

    async def watch(self) -> None:
        """Notice changes that other processes made, until `close`; never cancelled in the middle of a query."""
        await self.watching.run(self._closing)

    async def problems(self) -> list[str]:
        """What keeps readers from what they need, as stable codes: empty while every CRL is of use and new enough."""
        found = []
        try:
            await self._refresh()
        except Exception as error:  # noqa: BLE001  whatever it is, health is asked to tell and not to fail
            _LOG.warning("register_unreadable", error_kind=type(error).__name__)
            found.append("database_unavailable")
        now = self._pki.clock.now()
        # The last CRL of a retired CA ends with that CA, and nobody needs it any longer then.
        issuing = [ca.name for ca in self._pki.cas]
        for name in (*(root.name for root in self._pki.settings.roots()), *issuing):
            crl = self._documents.get(f"/crl/{name}.crl")
            if crl is None:
                found.append("crl_missing")
            elif crl.ends is not None and now >= crl.ends:
                found.append("crl_ended")
            elif name in issuing and now - crl.modified > MAX_CRL_AGE:
                found.append("crl_stale")
        if self.root_crls.refused:
            found.append("root_crl_refused")
        return list(dict.fromkeys(found))

    async def _refresh(self) -> None:
        try:
            await self.root_crls.look()
        finally:  # whatever is the matter with the file of a root, the CRLs of the issuing CAs go on
            await self._take_up()

    async def _take_up(self) -> None:
        async with self._pki.database.read() as connection:
            register = Register(connection)
            version = await register.version()
            crls = await register.crls() if version != self._version else None
            await self.root_crls.take_up(register)
        documents = dict(self._documents)
        if crls is not None:
            names = {ca.name for ca in self._pki.cas} | {ca.name for ca in self._pki.retired}
            documents |= {f"/crl/{crl.issuer}.crl": _crl(crl.der) for crl in crls if crl.issuer in names}
            self._version = version
        documents |= {f"/crl/{name}.crl": self._root_crl(name, der) for name, der in self.root_crls.published.items()}
        if documents != self._documents:
            self._documents = documents
            # Those who wait hold on to the event they wait for; the next ones get a new one.
            self._changed.set()
            self._changed = asyncio.Event()

    def _root_crl(self, name: str, der: bytes) -> Document:
        held = self._documents.get(f"/crl/{name}.crl")
        return held if held is not None and held.content == der else _crl(der)


def wait_of(prefer: str) -> int:
    """Seconds that a reader is willing to wait (RFC 7240 section 4.3), at most `MAX_WAIT`; 0 when it did not say."""
    found = _WAIT.search(prefer)
    return min(int(found[1]), MAX_WAIT) if found else 0


def _crl(der: bytes) -> Document:
    crl = x509.load_der_x509_crl(der)
    return Document(der, CRL_TYPE, _etag(der), crl.last_update_utc, crl.next_update_utc)


def _certificate(der: bytes) -> Document:
    return Document(der, CERTIFICATE_TYPE, _etag(der), x509.load_der_x509_certificate(der).not_valid_before_utc)


def _etag(content: bytes) -> str:
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'
