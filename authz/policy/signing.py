"""Signatures of bundles: `.signatures.json` with exactly one JWT over the hashes of all files, ES256.

Specification: shared `spec/policy.md`, "Bundles"; OPA documentation "Signature format". A real OPA verifies what is
signed here, and a bundle that OPA signed verifies here (contract tests). Stricter than OPA: one algorithm, keys with
a validity, no claims that we do not understand. Keys hide behind `BundleSigner`.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn, Protocol

import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from authz.domain import base64url
from authz.policy.archive import DATA, MANIFEST, SIGNATURES, BundleRefused

ALGORITHM = "ES256"
HASH = "SHA-256"
_COORDINATE_BYTES = 32
_MAX_SIGNATURES_BYTES = 1 << 20
_MAX_DEPTH = 64


@dataclass(frozen=True, slots=True)
class BundleKey:
    """A public key that may sign bundles, for a time.

    Args:
        key_id: `kid` of the JWT.
        public_pem: P-256 public key, PEM (SubjectPublicKeyInfo).
        not_before: from this moment on it counts.
        not_after: until this moment; a bundle signed with it is refused afterwards.
    """

    key_id: str
    public_pem: str
    not_before: datetime
    not_after: datetime


class BundleSigner(Protocol):
    """Signs bundles; the key stays inside."""

    @property
    def key_id(self) -> str:
        """`kid` of the JWT."""
        ...

    def sign(self, message: bytes) -> bytes:
        """ECDSA P-256 over SHA-256 of the message, as 64 bytes r||s (RFC 7518 section 3.4)."""
        ...


class PemSigner:
    """A signer over an unencrypted PEM private key in memory.

    Raises:
        BundleRefused: not a P-256 private key.
    """

    def __init__(self, key_id: str, private_pem: bytes) -> None:
        try:
            key = load_pem_private_key(private_pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise BundleRefused("the signing key is not an unencrypted PEM private key") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise BundleRefused("the signing key is not a P-256 key")
        self._key = key
        self._key_id = key_id

    @property
    def key_id(self) -> str:
        """`kid` of the JWT."""
        return self._key_id

    def sign(self, message: bytes) -> bytes:
        """Sign, see `BundleSigner.sign`."""
        r, s = decode_dss_signature(self._key.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(_COORDINATE_BYTES, "big") + s.to_bytes(_COORDINATE_BYTES, "big")


class _SignedFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    hash: str
    algorithm: str


class _Payload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    # `keyid` is OPA's older place for the key id; `iat` tells nothing that is relied on. A `scope` that we never set
    # would limit the signature to something else, and any other claim might too: unknown ones refuse.
    files: tuple[_SignedFile, ...]
    keyid: str | None = None
    iat: int | float | None = None


class _Signatures(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    signatures: tuple[str, ...]


def sign_files(files: Mapping[str, bytes], signer: BundleSigner) -> bytes:
    """`.signatures.json` for these files; an older one among them is left out."""
    signed = [
        {"name": name, "hash": file_hash(name, files[name]), "algorithm": HASH}
        for name in sorted(files)
        if name != SIGNATURES
    ]
    header = {"alg": ALGORITHM, "kid": signer.key_id, "typ": "JWT"}
    message = ".".join(
        base64url.encode(json.dumps(part, separators=(",", ":")).encode()) for part in (header, {"files": signed})
    )
    token = f"{message}.{base64url.encode(signer.sign(message.encode('ascii')))}"
    return json.dumps({"signatures": [token]}, separators=(",", ":")).encode()


def verify_files(files: Mapping[str, bytes], keys: Sequence[BundleKey], at: datetime) -> str:
    """Verify that all these files, and no others, stand under one good signature.

    1. `.signatures.json` holds exactly one JWT.
    2. Its header names ES256 and a key that we hold and that counts at this moment.
    3. The signature is good.
    4. The names signed are the names present, each once.
    5. Every hash is the file's.

    Args:
        files: as `archive.unpack` gave them.
        keys: keys that may sign; none refuses everything.
        at: the moment of the decision, timezone-aware.

    Returns:
        The id of the key.

    Raises:
        BundleRefused: one of the steps fails.
    """
    token = _one_token(files)
    key = _key_for(token, keys, at)
    try:
        # The times in the payload are no business of PyJWT's own clock; this module reads none of them.
        decoded = jwt.PyJWS(algorithms=[ALGORITHM]).decode_complete(token, _public_key(key), algorithms=[ALGORITHM])
        payload = msgspec.json.decode(decoded["payload"], type=_Payload)
    except jwt.PyJWTError as error:
        raise BundleRefused("the signature is not good") from error
    except msgspec.DecodeError as error:
        raise BundleRefused("the signed payload is not a list of files") from error
    if payload.keyid not in {None, key.key_id}:
        raise BundleRefused("the signature names two different keys")
    signed = {entry.name.removeprefix("/"): entry for entry in payload.files}
    if len(signed) != len(payload.files):
        raise BundleRefused("the signature names a file twice")
    if set(signed) != set(files) - {SIGNATURES}:
        raise BundleRefused("the files are not exactly those that were signed")
    for name, entry in signed.items():
        if entry.algorithm != HASH or entry.hash != file_hash(name, files[name]):
            raise BundleRefused("a file is not the one that was signed")
    return key.key_id


def file_hash(name: str, content: bytes) -> str:
    """SHA-256 of a file as OPA takes it, in hex: raw bytes, but `data.json` and `.manifest` in canonical form.

    Raises:
        BundleRefused: `data.json` or `.manifest` is not JSON, or is JSON that two readers could take differently.
    """
    if name not in {DATA, MANIFEST}:
        return hashlib.sha256(content).hexdigest()
    digest = hashlib.sha256()
    for part in _canonical(strict_json(content), _MAX_DEPTH):
        digest.update(part.encode())
    return digest.hexdigest()


def strict_json(content: bytes) -> Any:  # noqa: ANN401  any JSON value
    """Parse JSON without duplicate members, NaN, Infinity or lone surrogates; numbers stay `Number`, as written.

    Raises:
        BundleRefused: not such JSON.
    """
    try:
        return json.loads(
            content.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_int=Number,
            parse_float=Number,
            parse_constant=_no_constant,
        )
    except (ValueError, RecursionError) as error:
        raise BundleRefused("a JSON file of the bundle is not well-formed") from error


class Number(str):
    """A JSON number as it was written: OPA hashes the text, so 1.0 and 1 are different."""

    __slots__ = ()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise BundleRefused("a JSON file of the bundle has a member twice")
    return members


def _no_constant(_: str) -> NoReturn:
    raise BundleRefused("a JSON file of the bundle holds NaN or Infinity")


# Go's encoder escapes these two even where it leaves HTML alone.
_GO_ESCAPES = str.maketrans({"\u2028": "\\u2028", "\u2029": "\\u2029"})
_SURROGATE = re.compile("[\ud800-\udfff]")


def _canonical(value: Any, depth: int) -> Iterable[str]:  # noqa: ANN401  any JSON value
    if depth == 0:
        raise BundleRefused("a JSON file of the bundle is nested too deep")
    if isinstance(value, Number):
        yield value
    elif isinstance(value, str):
        if _SURROGATE.search(value):
            raise BundleRefused("a JSON file of the bundle holds a lone surrogate")
        yield json.dumps(value, ensure_ascii=False).translate(_GO_ESCAPES)
    elif isinstance(value, dict):
        # Go sorts the UTF-8 bytes; Python's order of code points is the same.
        for index, key in enumerate(sorted(value)):
            yield "," if index else "{"
            yield from _canonical(key, depth)
            yield ":"
            yield from _canonical(value[key], depth - 1)
        yield "}" if value else "{}"
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield "," if index else "["
            yield from _canonical(item, depth - 1)
        yield "]" if value else "[]"
    else:
        yield json.dumps(value)


def _one_token(files: Mapping[str, bytes]) -> str:
    content = files.get(SIGNATURES)
    if content is None:
        raise BundleRefused("the bundle is not signed")
    if len(content) > _MAX_SIGNATURES_BYTES:
        raise BundleRefused("the list of signatures is too large")
    strict_json(content)
    try:
        tokens = msgspec.json.decode(content, type=_Signatures).signatures
    except msgspec.DecodeError as error:
        raise BundleRefused("the list of signatures is malformed") from error
    if len(tokens) != 1:
        raise BundleRefused("the bundle must have exactly one signature")
    return tokens[0]


def _key_for(token: str, keys: Sequence[BundleKey], at: datetime) -> BundleKey:
    try:
        header = jwt.get_unverified_header(token)
        unverified_payload = msgspec.json.decode(base64url.decode(token.split(".")[1]), type=_Payload)
    except (jwt.PyJWTError, msgspec.DecodeError, ValueError, IndexError) as error:
        raise BundleRefused("the signature is malformed") from error
    if header.get("alg") != ALGORITHM or not set(header) <= {"alg", "kid", "typ"}:
        raise BundleRefused("the signature is of a kind that is not accepted")
    key_id = header.get("kid") or unverified_payload.keyid
    for key in keys:
        if key.key_id == key_id:
            if not key.not_before <= at < key.not_after:
                raise BundleRefused("the key of the signature does not count at this moment")
            return key
    raise BundleRefused("the signature names no key that may sign bundles")


def _public_key(key: BundleKey) -> ec.EllipticCurvePublicKey:
    try:
        public = load_pem_public_key(key.public_pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BundleRefused("a configured bundle key is not a PEM public key") from error
    if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
        raise BundleRefused("a configured bundle key is not a P-256 key")
    return public
