"""Compact JWS, read strictly: one form, no choices for the sender.

Specification: RFC 7515, RFC 8725 (best practice), shared `spec/enforcement.md`, check 3, and `cases/oauth.md` 51-54
and 67. The header has exactly `alg`, `kid` and `typ`: whoever wants to bring keys (`jwk`, `jku`, `x5u`), extensions
(`crit`) or encryption finds no reader for them. The key decides about the algorithm and the type, never the header
alone.

Not here: what the payload means, and whether it is still valid.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jwt
from jwt.algorithms import get_default_algorithms
from jwt.exceptions import PyJWTError

from authz.domain import base64url, strict_json
from authz.domain.claims import JWK_PURPOSE
from authz.domain.errors import InvalidValue, Refused, SluisError
from authz.domain.reasons import Reason

MAX_JWS: Final = 8 * 1024
"""Characters of an access token; ours stay under 1.5 kB."""
MAX_KEYS: Final = 50
_FORM: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
_HEADER: Final = frozenset({"alg", "kid", "typ"})
_KTY: Final = {"ES256": ("EC", "P-256"), "ES384": ("EC", "P-384"), "RS256": ("RSA", None), "PS256": ("RSA", None)}
_PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


class KeysInvalid(SluisError):  # noqa: N818
    """A JWK Set is not one that we use."""


@dataclass(frozen=True, slots=True)
class _Key:
    algorithm: str
    typ: str
    key: Any  # a public key of `cryptography`


class KeySet:
    """Public keys by key id."""

    def __init__(self, keys: Mapping[str, _Key]) -> None:
        self._keys = keys

    @classmethod
    def parse(cls, data: bytes, algorithms: Sequence[str]) -> "KeySet":
        """Read a JWK Set (RFC 7517).

        Keys of other algorithms are left out, and so are keys that do not say what they sign; a set that is malformed,
        names a key id twice or holds a private key is refused as a whole, as is one without any key that we can use.

        Args:
            data: JSON.
            algorithms: those that are allowed.

        Raises:
            KeysInvalid: as above.
        """
        try:
            found = strict_json.parse_object(data).get("keys")
        except InvalidValue as error:
            raise KeysInvalid(f"not a JWK Set: {error}") from None
        if not isinstance(found, list) or len(found) > MAX_KEYS:
            raise KeysInvalid("not a JWK Set")
        keys: dict[str, _Key] = {}
        for jwk in found:
            if not isinstance(jwk, dict) or not isinstance(kid := jwk.get("kid"), str) or not kid:
                raise KeysInvalid("a key without a key id")
            if kid in keys:
                raise KeysInvalid("a key id stands twice in the set")
            if _PRIVATE_MEMBERS & jwk.keys():
                raise KeysInvalid("the set holds a private key")
            algorithm = jwk.get("alg")
            typ = jwk.get(JWK_PURPOSE)
            if not isinstance(algorithm, str) or not isinstance(typ, str):
                continue
            if typ and algorithm in algorithms and jwk.get("use", "sig") == "sig":
                keys[kid] = _Key(algorithm, typ, _public_key(jwk, algorithm))
        if not keys:
            raise KeysInvalid("the set has no key that can be used")
        return cls(keys)

    def __contains__(self, kid: object) -> bool:
        return kid in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def get(self, kid: str, typ: str) -> _Key | None:
        """The key, or None when there is none with this id for this type: no key signs two kinds of things."""
        key = self._keys.get(kid)
        return key if key is not None and key.typ == typ else None

    def without(self, kids: Collection[str]) -> "KeySet":
        """The set without these keys; the very same when it has none of them."""
        if self._keys.keys().isdisjoint(kids):
            return self
        return KeySet({kid: key for kid, key in self._keys.items() if kid not in kids})


def _public_key(jwk: Mapping[str, Any], algorithm: str) -> Any:  # noqa: ANN401  a public key of `cryptography`
    kind, curve = _KTY[algorithm]
    if jwk.get("kty") != kind or jwk.get("crv") != curve:
        raise KeysInvalid("a key does not fit its algorithm")
    try:
        return jwt.PyJWK(dict(jwk), algorithm).key
    except (PyJWTError, ValueError, TypeError) as error:
        raise KeysInvalid("a key can not be read") from error


@dataclass(frozen=True, slots=True)
class UnverifiedJws:
    """A JWS whose form is right. Nothing in it may be believed."""

    kid: str
    algorithm: str
    typ: str
    signing_input: bytes
    payload: bytes
    signature: bytes


def parse_jws(token: str, typ: Sequence[str], algorithms: Sequence[str], *, max_length: int = MAX_JWS) -> UnverifiedJws:
    """Read the form of a compact JWS.

    Args:
        token: as received.
        typ: accepted values of `typ`, lower case and without `application/`.
        algorithms: accepted values of `alg`.
        max_length: characters.

    Raises:
        Refused: TOKEN_MALFORMED, TOKEN_ALGORITHM or TOKEN_TYPE.
    """
    match = _FORM.fullmatch(token) if len(token) <= max_length else None
    if match is None:
        raise _malformed()
    try:
        header = strict_json.parse_object(base64url.decode(match[1]))
        payload = base64url.decode(match[2])
        signature = base64url.decode(match[3])
    except (InvalidValue, ValueError):
        raise _malformed() from None
    algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ")
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        raise Refused(Reason.TOKEN_ALGORITHM, "the token is signed with an algorithm that is not accepted")
    # A media type may stand without its first half (RFC 7515 section 4.1.9).
    kind = kind.lower().removeprefix("application/") if isinstance(kind, str) else None
    if kind is None or kind not in typ:
        raise Refused(Reason.TOKEN_TYPE, "the token is not of the type that is asked for")
    if not header.keys() <= _HEADER or not isinstance(kid, str):
        raise _malformed()
    return UnverifiedJws(kid, algorithm, kind, token[: match.end(2)].encode("ascii"), payload, signature)


_ALGORITHMS: Final = get_default_algorithms()


def verify_jws(unverified: UnverifiedJws, keys: KeySet, *, max_bytes: int = MAX_JWS) -> dict[str, Any]:
    """Verify the signature and give the payload.

    Args:
        unverified: as `parse_jws` gave it.
        keys: those that count.
        max_bytes: of the payload.

    Raises:
        Refused: TOKEN_KEY_UNKNOWN, also for a key that signs another type; TOKEN_ALGORITHM when the key is for another
            algorithm; TOKEN_SIGNATURE; TOKEN_CLAIMS when the payload is not a JSON object with one reading.
    """
    key = keys.get(unverified.kid, unverified.typ)
    if key is None:
        raise Refused(Reason.TOKEN_KEY_UNKNOWN, "the token is signed with a key that is not known here")
    if key.algorithm != unverified.algorithm:
        raise Refused(Reason.TOKEN_ALGORITHM, "the token is signed with an algorithm that is not accepted")
    # For ECDSA the algorithm takes exactly r||s of the curve's size; a DER signature or r = s = 0 does not verify.
    if not _ALGORITHMS[key.algorithm].verify(unverified.signing_input, key.key, unverified.signature):
        raise Refused(Reason.TOKEN_SIGNATURE, "the signature of the token is not right")
    try:
        return strict_json.parse_object(unverified.payload, max_bytes=max_bytes)
    except InvalidValue:
        raise Refused(Reason.TOKEN_CLAIMS, "the token does not hold claims") from None


def _malformed() -> Refused:
    return Refused(Reason.TOKEN_MALFORMED, "the token is not a signed token of this network")
