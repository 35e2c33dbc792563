"""The revocation feed: what agents fetch, verify and keep, signed and versioned.

Specification: shared `spec/authorization.md`, "Around the token"; the payload is a JWT of `typ: revocations+jwt` with
`iss, iat, exp, version, tokens, credentials, grants, keys`. A feed proves its own age: it is signed again before it
gets old, so that an agent that only ever meets "not modified" still notices a centre that stopped saying anything new.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from authz.domain.clock import Clock
from authz.tokens.changes import Changed
from authz.tokens.issuer import CompactSigner
from authz.tokens.keys import Signer
from authz.tokens.revocation import RevocationKind, RevocationList, RevocationRepository

FEED_TYPE: Final = "revocations+jwt"
RENEW_AFTER: Final = timedelta(seconds=60)
"""A new signature over the same list at least this often, while somebody asks."""


@dataclass(frozen=True, slots=True)
class SignedFeed:
    """One signed state of the list.

    Attributes:
        body: compact JWS.
        etag: quoted; changes with every new list and every new signature.
        version: of the list.
        renew_at: moment from which it must be signed again.
    """

    body: bytes
    etag: str
    version: int
    renew_at: datetime


class RevocationFeed:
    """Holds the list of this moment and wakes those who wait for a newer one.

    Args:
        repository: where revocations are kept.
        signer: the feed key.
        issuer: `iss`.
        clock: the time.
        lifetime: `exp` minus `iat`: how long a reader may rely on one feed.
    """

    def __init__(
        self, repository: RevocationRepository, signer: Signer, issuer: str, clock: Clock, lifetime: timedelta
    ) -> None:
        self._repository = repository
        self._signer = CompactSigner(signer, FEED_TYPE)
        self._issuer = issuer
        self._clock = clock
        self._lifetime = lifetime
        self._signed: SignedFeed | None = None
        self.changed = Changed()
        self.list = RevocationList(-1)

    @property
    def version(self) -> int:
        """Version of the list in use."""
        return self.list.version

    async def refresh(self) -> None:
        """Read the list again and wake every waiting reader."""
        self.list = await self._repository.load(self._clock.now())
        self._signed = None
        self.changed.wake()

    def current(self) -> SignedFeed:
        """The feed as it is now, signed again when the last signature gets old."""
        now = self._clock.now()
        if self._signed is None or now >= self._signed.renew_at:
            self._signed = self._sign(now)
        return self._signed

    def _sign(self, now: datetime) -> SignedFeed:
        issued = int(now.timestamp())
        live = [entry for entry in self.list.entries if entry.expires_at > now]
        named = {kind: sorted(entry.value for entry in live if entry.kind is kind) for kind in RevocationKind}
        # For an agent it makes no difference who revoked a certificate; it may be both.
        credentials = {*named[RevocationKind.CREDENTIAL], *named[RevocationKind.CERTIFICATE]}
        token = self._signer.sign(
            {
                "iss": self._issuer,
                "iat": issued,
                "exp": issued + int(self._lifetime.total_seconds()),
                "version": self.list.version,
                "tokens": named[RevocationKind.JTI],
                "credentials": sorted(credentials),
                "grants": named[RevocationKind.GRANT],
                "keys": named[RevocationKind.KEY],
            }
        )
        return SignedFeed(
            token.encode("ascii"), f'"{self.list.version}-{issued}"', self.list.version, now + RENEW_AFTER
        )
