"""Which signing key does what at a given moment: published before it signs, and after until its last token expired.

Specification: shared `spec/authorization.md`, "Key rotation". The state of a key is computed from moments that were
decided when it was made; nothing has to run on time for a rotation to happen, and all instances agree.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from authz.domain.audit import AuditRecord
from authz.domain.errors import InvalidValue
from authz.tokens.revocation import Revocation


class KeyState(StrEnum):
    """What a signing key does now."""

    PREPUBLISH = "prepublish"
    SIGNING = "signing"
    RETIRED = "retired"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class SigningKeyRecord:
    """What is known of a signing key besides the key itself.

    Attributes:
        kid: RFC 7638 thumbprint of the public key.
        algorithm: JWS algorithm, for example ES256.
        public_jwk: the public key as published.
        published_from: from here it stands in the JWKS. UTC.
        signs_from: from here it signs, until a key with a later `signs_from` does. UTC.
        withdrawn_at: from here it neither signs nor stands in the JWKS, whatever else is planned. UTC.
    """

    kid: str
    algorithm: str
    public_jwk: Mapping[str, Any]
    published_from: datetime
    signs_from: datetime
    withdrawn_at: datetime | None = None

    def __post_init__(self) -> None:
        if self.published_from.tzinfo is None or self.signs_from < self.published_from:
            raise InvalidValue("a signing key is published, at a moment in UTC, no later than it signs")
        if self.withdrawn_at is not None and self.withdrawn_at.tzinfo is None:
            raise InvalidValue("a signing key is withdrawn at a moment in UTC")

    def withdrawn(self, at: datetime) -> bool:
        """Whether it is withdrawn at this moment."""
        return self.withdrawn_at is not None and at >= self.withdrawn_at

    @property
    def ever_signs(self) -> bool:
        """Whether its turn comes before it is withdrawn."""
        return self.withdrawn_at is None or self.withdrawn_at > self.signs_from


class SigningKeyRepository(Protocol):
    """Keeps the records of signing keys. A change and its audit records are one transaction."""

    async def version(self) -> int:
        """A number that grows with every change, whichever process made it. Cheap: it is asked every second."""
        ...

    async def load(self) -> tuple[int, tuple[SigningKeyRecord, ...]]:
        """Every record, and the version they belong to, in one consistent reading."""
        ...

    async def save(
        self,
        keys: Sequence[SigningKeyRecord],
        records: Sequence[AuditRecord],
        revocations: Sequence[Revocation] = (),
    ) -> int:
        """Insert, or replace by kid, with the records, and revocations that say it to agents, in one transaction.

        Returns:
            The new version.
        """
        ...


class KeySchedule:
    """The keys of one issuer in the order in which they sign.

    Args:
        keys: all records.
        overlap: how long a key stays published after its successor signs: the longest life of a token plus the
            clock difference that readers allow.
    """

    def __init__(self, keys: Sequence[SigningKeyRecord], overlap: timedelta) -> None:
        self._keys = tuple(sorted(keys, key=lambda key: (key.signs_from, key.kid)))
        self._overlap = overlap

    def state(self, kid: str, at: datetime) -> KeyState:
        """What the key does at this moment.

        Raises:
            KeyError: no such key.
        """
        for index, key in enumerate(self._keys):
            if key.kid != kid:
                continue
            if key.withdrawn(at):
                return KeyState.WITHDRAWN
            if key.signs_from > at:
                return KeyState.PREPUBLISH if key.published_from <= at else KeyState.WITHDRAWN
            successors = [
                later.signs_from for later in self._keys[index + 1 :] if later.signs_from <= at and later.ever_signs
            ]
            if not successors:
                return KeyState.SIGNING
            # The first successor ended this key's signing; later ones say nothing about tokens of this key.
            return KeyState.RETIRED if at < min(successors) + self._overlap else KeyState.WITHDRAWN
        raise KeyError(kid)

    def signing(self, at: datetime) -> SigningKeyRecord | None:
        """The key that signs at this moment; None when none does yet, or when the one whose turn it is was withdrawn.

        The turn never goes back to a key of before: readers may have dropped it, and somebody retired it on purpose.
        """
        turn = next((key for key in reversed(self._keys) if key.signs_from <= at and key.ever_signs), None)
        return None if turn is None or turn.withdrawn(at) else turn

    def published(self, at: datetime) -> tuple[SigningKeyRecord, ...]:
        """What stands in the JWKS at this moment, in a stable order."""
        return tuple(key for key in self._keys if self.state(key.kid, at) is not KeyState.WITHDRAWN)
