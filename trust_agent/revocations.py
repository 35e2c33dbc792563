"""The revocation feed of authz: one signed list of the tokens, credentials, grants and keys that count no more.

Specification: shared `spec/authorization.md`, "Around the token"; RFC 7515. Reads and verifies one feed on its
own; whether it may take the place of the one before it, and how old it may be, is for `trust_store.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from authz.domain.errors import Refused
from trust_agent.jws import KeySet, parse_jws, verify_jws
from trust_agent.material import MaterialRefused

FEED_TYPE: Final = "revocations+jwt"
MAX_FEED: Final = 16 * 1024 * 1024
"""Bytes of a feed."""


@dataclass(frozen=True, slots=True)
class Revocations:
    """One verified state of the revocation feed; `keys` are the ids of keys that sign nothing any more."""

    version: int
    issued_at: datetime
    expires_at: datetime
    tokens: frozenset[str] = field(default_factory=frozenset)
    credentials: frozenset[str] = field(default_factory=frozenset)
    grants: frozenset[str] = field(default_factory=frozenset)
    keys: frozenset[str] = field(default_factory=frozenset)


def read_feed(content: bytes, keys: KeySet, algorithms: Sequence[str], issuer: str) -> Revocations:
    """What a feed says, once its signature fits.

    Args:
        content: as received.
        keys: those of authz.
        algorithms: accepted for them.
        issuer: whose feed it must be.

    Raises:
        MaterialRefused: it is malformed, of another issuer, or not signed with one of the keys.
    """
    try:
        unverified = parse_jws(content.decode("ascii"), (FEED_TYPE,), tuple(algorithms), max_length=MAX_FEED)
        return _revocations(verify_jws(unverified, keys, max_bytes=MAX_FEED), issuer)
    except (UnicodeDecodeError, ValueError, KeyError, TypeError, OverflowError):
        raise MaterialRefused("not a revocation feed") from None
    except Refused as refusal:
        raise MaterialRefused(refusal.detail) from None


def _revocations(payload: Mapping[str, Any], issuer: str) -> Revocations:
    if payload["iss"] != issuer:
        raise MaterialRefused("the revocation feed is of another issuer")
    version = payload["version"]
    if type(version) is not int or version < 0:
        raise MaterialRefused("the revocation feed has no version")
    return Revocations(
        version,
        _time(payload["iat"]),
        _time(payload["exp"]),
        _texts(payload["tokens"]),
        _texts(payload["credentials"]),
        _texts(payload["grants"]),
        _texts(payload["keys"]),
    )


def _time(value: object) -> datetime:
    if type(value) is not int:
        raise MaterialRefused("the revocation feed has a malformed time")
    return datetime.fromtimestamp(value, UTC)


def _texts(value: object) -> frozenset[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise MaterialRefused("the revocation feed has a malformed list")
    return frozenset(value)
