"""The authority's own ends: CA certificates, root CRLs, and the certificates that this server itself shows.

Nobody renews these by accident. A root CRL past its nextUpdate refuses every certificate below the root, and a root is
offline, so somebody has to be told in time. They are files, read at each look, so what was replaced counts at once; the
notices of parties' certificates are `pki.notices.expiry`.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import structlog
from cryptography import x509

from authz.domain.audit import EventType
from authz.domain.clock import Clock
from authz.domain.errors import Refused
from authz.edge.pages import Sample
from pki.ca_settings import RetiredIssuerSettings
from pki.notices.expiry import bands_of, claim
from pki.notices.giving import Giver, Notice
from pki.revocation.root_crls import read_crl
from pki.settings import PkiSettings
from pki.store.database import Database

_LOG: Final = structlog.get_logger(__name__)
_KEY: Final = 40
"""Characters of a hash; as long as a serial number in the table of notices."""


@dataclass(frozen=True, slots=True)
class Ending:
    """Something of the authority that ends.

    Attributes:
        kind: `ca_certificate`, `cross_certificate`, `root_crl`, `tls_certificate` or `audit_certificate`.
        name: of the CA, or of the section of the settings.
        key: stands for these very bytes.
        begins: notBefore, or thisUpdate, UTC.
        ends: notAfter, or nextUpdate, UTC.
    """

    kind: str
    name: str
    key: str
    begins: datetime
    ends: datetime


def endings(settings: PkiSettings) -> list[Ending]:
    """What ends, as the files say at this moment; one that cannot be read is told in the log and left out."""
    found = []
    for kind, name, path in _files(settings):
        try:
            found.append(_read(kind, name, read_crl(path) if kind == "root_crl" else path.read_bytes()))
        except (OSError, ValueError, Refused) as error:
            _LOG.warning("end_not_known", kind=kind, name=name, error_kind=type(error).__name__)
    return found


def samples(found: Iterable[Ending], at: datetime) -> list[Sample]:
    """Seconds until each ends; negative when it has ended."""
    return [
        ("sluis_pki_ends_in_seconds", {"kind": item.kind, "name": item.name}, (item.ends - at).total_seconds())
        for item in found
    ]


class AuthorityNotices:
    """Gives notices, once for each document and number of days.

    Args:
        database: remembers which were given.
        giver: writes notices.
        clock: the time.
        days: the thresholds.
        read: what ends.
    """

    def __init__(
        self,
        database: Database,
        giver: Giver,
        clock: Clock,
        days: Iterable[int],
        read: Callable[[], Sequence[Ending]],
    ) -> None:
        self._database = database
        self._giver = giver
        self._clock = clock
        self._bands = bands_of(days)
        self._read = read
        self._given: set[tuple[str, int]] = set()

    async def look(self) -> int:
        """Give every notice that is due.

        Returns:
            How many were given by this process.

        Raises:
            StoreUnavailable: what was not given yet is given at the next look.
        """
        at = self._clock.now()
        given = 0
        for item in self._read():
            days = self._band(item, at)
            if days is None or (item.key, days) in self._given:
                continue
            async with self._database.write() as connection:
                # Another process may have been faster.
                if await claim(connection, f":{item.kind}", item.key, days, at):
                    await self._giver.give(connection, _notice(item, days, at), at)
                    given += 1
            self._given.add((item.key, days))
        return given

    def _band(self, item: Ending, at: datetime) -> int | None:
        """The smallest threshold that has been reached, unless all its life is shorter than that."""
        left = item.ends - at
        for above, days in self._bands:
            if timedelta(days=above) < left <= timedelta(days=days):
                return days if item.ends - item.begins > timedelta(days=days) else None
        return None


def _notice(item: Ending, days: int, at: datetime) -> Notice:
    data = {
        "kind": item.kind,
        "name": item.name,
        "threshold_days": days,
        "days_left": (item.ends - at).days,
        "not_after": item.ends.isoformat().replace("+00:00", "Z"),
    }
    return Notice(EventType.AUTHORITY_EXPIRES, "unknown", data)


def _files(settings: PkiSettings) -> Iterator[tuple[str, str, Path]]:
    for root in settings.roots():
        yield "ca_certificate", root.name, root.certificate
        yield "root_crl", root.name, root.crl
        if root.cross is not None:
            yield "cross_certificate", root.name, root.cross
    for issuer in settings.issuers:
        if not isinstance(issuer, RetiredIssuerSettings):  # it ends when it ends: nobody depends on it any more
            yield "ca_certificate", issuer.name, issuer.certificate
    if settings.tls is not None:
        yield "tls_certificate", "tls", settings.tls.certificate
    if settings.audit.certificate is not None:
        yield "audit_certificate", "audit", settings.audit.certificate


def _read(kind: str, name: str, content: bytes) -> Ending:
    key = hashlib.sha256(content).hexdigest()[:_KEY]
    if kind == "root_crl":
        crl = x509.load_der_x509_crl(content)
        if crl.next_update_utc is None:
            raise ValueError("it does not say when the next one comes")
        return Ending(kind, name, key, crl.last_update_utc, crl.next_update_utc)
    # In a chain the own certificate stands first.
    certificate = x509.load_pem_x509_certificates(content)[0]
    return Ending(kind, name, key, certificate.not_valid_before_utc, certificate.not_valid_after_utc)
