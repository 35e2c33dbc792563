"""The feed of lately revoked certificates of one CA: small, signed, versioned, by thumbprint.

Specification: shared `spec/pki.md`, "Revocation" ("within 2 seconds by the revocation feed, and within the hour by CRL
alone"); docs/decisions/0018. It is a compact JWS of `typ: certificate-revocations+jwt` with `iss` (hex SHA-256 of the
CA's key), `iat`, `exp`, `version` and `revoked` (thumbprint -> moment after which every CRL in use has it). The key
that answers OCSP for this CA signs it, and its certificate comes along as `x5c`: it may speak about revocation.

Readers take no lower version than they saw. When the register goes back (a copy that lags took over, or an older one
was put back under a running service), what is new in it must be told all the same: it is signed under a version above
the one told last, and health shows it until the register's own counter is there.

However many readers wait, the feed of a CA is looked up and signed by one task at a time: whoever asks while one is at
work gets what the next one finds, so nobody gets a state of before he asked, and two tasks serve any number.

It only hurries: who reads no feed learns everything from the CRL, and nothing that is absent here is thereby good.
"""

import asyncio
import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from authz.domain import base64url
from authz.domain.clock import Clock
from pki.issuing import IssuingCa
from pki.ocsp.responder import Responder
from pki.store.database import Database
from pki.store.status import StatusRegister
from pki.validation.revocation_feed import FEED_TYPE, WINDOW
from pki.validation.validator import thumbprint_of

_LOG: Final = structlog.get_logger(__name__)
LIFE: Final = timedelta(minutes=10)
RENEW_AFTER: Final = timedelta(seconds=60)
"""A new signature over the same list at least this often, while somebody asks."""
MAX_ENTRIES: Final = 20_000
"""Newest first; those left out by a still larger mass revocation travel by CRL."""


@dataclass(frozen=True, slots=True)
class SignedFeed:
    """One signed state of the feed.

    Attributes:
        body: what readers get.
        etag: strong, quoted.
        version: as readers are told.
        counted: the register's version of that state; lower than `version` after the register went back.
        issued: seconds since the epoch.
        renew_at: given to nobody from this moment on, UTC.
    """

    body: bytes
    etag: str
    version: int
    counted: int
    issued: int
    renew_at: datetime


class CertificateFeed:
    """The feeds of the issuing CAs of one installation.

    Args:
        database: the register.
        cas: issuing CAs.
        responder: whose keys sign.
        clock: read once for each request.
    """

    def __init__(self, database: Database, cas: tuple[IssuingCa, ...], responder: Responder, clock: Clock) -> None:
        self._database = database
        self._cas = {ca.name: ca for ca in cas}
        self._responder = responder
        self._clock = clock
        self._signed: dict[str, SignedFeed] = {}
        self._next: dict[str, asyncio.Task[SignedFeed]] = {}
        self._turns = {ca.name: asyncio.Lock() for ca in cas}

    @property
    def told(self) -> int:
        """The highest version that readers were told by this process; 0 before the first."""
        return max((held.version for held in self._signed.values()), default=0)

    async def current(self, name: str) -> SignedFeed | None:
        """The feed of a CA, as new as the register; None when there is no such CA.

        Raises:
            StoreUnavailable, SignerError, IssuingError: it cannot be made now.
        """
        ca = self._cas.get(name)
        if ca is None:
            return None
        task = self._next.get(name)
        if task is None:
            task = self._next[name] = asyncio.create_task(self._turn(ca))
            # All who asked may have gone away; a failure then concerns nobody.
            task.add_done_callback(lambda done: None if done.cancelled() else done.exception())
        # Who goes away takes it from nobody else.
        return await asyncio.shield(task)

    async def _turn(self, ca: IssuingCa) -> SignedFeed:
        async with self._turns[ca.name]:
            # From here on the register is looked at: who asks later may know of a newer state.
            del self._next[ca.name]
            return await self._look(ca)

    async def _look(self, ca: IssuingCa) -> SignedFeed:
        name, at = ca.name, self._clock.now()
        async with self._database.read() as connection:
            register = StatusRegister(connection)
            version = await register.version()
            held = self._signed.get(name)
            if held is not None and held.counted == version and at < held.renew_at:
                return held
            found = await register.recently_revoked(name, at - WINDOW, MAX_ENTRIES)
        revoked = {thumbprint_of(der): int((when + WINDOW).timestamp()) for der, when in found}
        signed = await self._sign(ca, version, revoked, at)
        if held is not None and version < held.counted:
            _LOG.error("register_went_back", ca=name, version=version, before=held.counted, told=signed.version)
        self._signed[name] = signed
        return signed

    def _version_to_tell(self, name: str, counted: int, issued: int) -> int:
        """Readers order by version and then by the second of signing; what is new comes after what was told."""
        held = self._signed.get(name)
        if held is None:
            return counted
        # Grows no more than it must, so that the register's counter gets there again.
        must_grow = counted < held.counted or issued <= held.issued
        return max(counted, held.version + must_grow)

    async def _sign(self, ca: IssuingCa, counted: int, revoked: dict[str, int], at: datetime) -> SignedFeed:
        key = await self._responder.key(ca.name)
        issued = int(at.timestamp())
        version = self._version_to_tell(ca.name, counted, issued)
        header = {"alg": "ES256", "typ": FEED_TYPE, "x5c": [base64.b64encode(key.certificate).decode("ascii")]}
        payload = {
            "iss": ca.key,
            "iat": issued,
            "exp": issued + int(LIFE.total_seconds()),
            "version": version,
            "revoked": revoked,
        }
        message = f"{_json(header)}.{_json(payload)}".encode("ascii")
        r, s = decode_dss_signature(key.signer.sign(message))
        signature = base64url.encode(r.to_bytes(32, "big") + s.to_bytes(32, "big"))
        body = message + b"." + signature.encode("ascii")
        return SignedFeed(body, f'"{version}-{issued}"', version, counted, issued, at + RENEW_AFTER)


def _json(value: Mapping[str, object]) -> str:
    return base64url.encode(json.dumps(value, separators=(",", ":"), sort_keys=True).encode("ascii"))
