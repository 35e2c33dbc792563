"""Revocations: of one token, of everything bound to one certificate, under one grant, or signed with one key.

Specification: shared `spec/authorization.md`, "Around the token" (revocation feed for agents: versioned, small, only
what has not expired); RFC 7009. What a deelnemer's certificate authority revokes travels by CRL; this list only hurries
that (docs/decisions/0018).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from authz.domain.audit import AuditRecord
from authz.domain.errors import InvalidValue


class RevocationKind(StrEnum):
    """What a revocation names."""

    JTI = "jti"
    CREDENTIAL = "credential"
    GRANT = "grant"
    CERTIFICATE = "certificate"
    """Revoked lately by its authority: passed on (`authz.tokens.certificate_feed`), never decided here."""
    KEY = "key"


_FORMS = {
    RevocationKind.JTI: re.compile(r"[A-Za-z0-9_-]{22,64}"),
    RevocationKind.CREDENTIAL: re.compile(r"[A-Za-z0-9_-]{43}"),
    RevocationKind.KEY: re.compile(r"[A-Za-z0-9_-]{43}"),
    RevocationKind.GRANT: re.compile(r"[A-Za-z0-9_-]{1,64}"),
    RevocationKind.CERTIFICATE: re.compile(r"[A-Za-z0-9_-]{43}"),
}


@dataclass(frozen=True, slots=True)
class Revocation:
    """One revocation.

    Attributes:
        kind: what `value` is.
        value: a `jti`, a certificate's `x5t#S256` (base64url, unpadded), a grant's id, or the
            `kid` of a token key.
        expires_at: from this moment nothing it could stop is valid any more, so it leaves the list. UTC.
    """

    kind: RevocationKind
    value: str
    expires_at: datetime

    def __post_init__(self) -> None:
        if not _FORMS[self.kind].fullmatch(self.value):
            raise InvalidValue(f"not a well-formed {self.kind} to revoke")
        if self.expires_at.tzinfo is None:
            raise InvalidValue("the expiry of a revocation is a moment in UTC")


@dataclass(frozen=True, slots=True)
class RevocationList:
    """Everything that is revoked at one version.

    Attributes:
        version: grows with every change.
        entries: what is revoked and had not expired when it was read.
    """

    version: int
    entries: tuple[Revocation, ...] = ()
    _known: frozenset[tuple[RevocationKind, str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_known", frozenset((entry.kind, entry.value) for entry in self.entries))

    def contains(self, kind: RevocationKind, value: str) -> bool:
        """Whether this value is revoked."""
        return (kind, value) in self._known


class RevocationRepository(Protocol):
    """Keeps revocations. A change and its audit records are one transaction."""

    async def version(self) -> int:
        """A number that grows with every change, whichever process made it. Cheap: it is asked often."""
        ...

    async def load(self, at: datetime) -> RevocationList:
        """What is revoked and does not expire before `at`, with its version, in one consistent reading."""
        ...

    async def add(self, revocations: Sequence[Revocation], records: Sequence[AuditRecord]) -> int:
        """Add (one that is there already keeps the later expiry) and write the records in the same transaction.

        Returns:
            The new version.
        """
        ...
