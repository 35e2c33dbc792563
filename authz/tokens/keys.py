"""Signing keys: an encrypted file outside, a `Signer` inside, a JWK for everybody else.

Specification: RFC 7517 (JWK), RFC 7518 section 3.4 (ES256), RFC 7638 (thumbprint as `kid`); shared
`spec/authorization.md` rule 9 and "Key rotation". The private key never leaves this module: callers hold a `Signer`.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from authz.domain import base64url
from authz.domain.errors import SluisError
from authz.domain.files import write_new

MIN_PASSPHRASE_LENGTH: Final = 12
"""Characters. The file is protected by the folder's mode first; the passphrase guards copies and backups."""
_MAX_KEY_FILE: Final = 16_384
_COORDINATE_BYTES: Final = 32
_ES256 = ec.ECDSA(hashes.SHA256())


class KeyFileError(SluisError):
    """A key file can not be read, decrypted or written. The message names the file, never its content."""


class Signer(Protocol):
    """Signs bytes with one key (style rule 14)."""

    @property
    def kid(self) -> str:
        """RFC 7638 thumbprint of the public key."""
        ...

    @property
    def algorithm(self) -> str:
        """JWS algorithm, for example ES256."""
        ...

    @property
    def public_jwk(self) -> Mapping[str, Any]:
        """The public key as it is published."""
        ...

    def sign(self, data: bytes) -> bytes:
        """The signature in JWS form."""
        ...


class Es256Signer:
    """ECDSA with P-256 and SHA-256, the network's default.

    Args:
        key: a private key on P-256.
    """

    algorithm: Final = "ES256"

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        if not isinstance(key.curve, ec.SECP256R1):
            raise KeyFileError("an ES256 key is on the curve P-256")
        self._key = key
        self.public_jwk: Mapping[str, Any] = jwk_of(key.public_key())
        self.kid: str = self.public_jwk["kid"]

    def sign(self, data: bytes) -> bytes:
        """The signature as JWS wants it: r and s as 32 bytes each, not DER (RFC 7518 section 3.4)."""
        r, s = decode_dss_signature(self._key.sign(data, _ES256))
        return r.to_bytes(_COORDINATE_BYTES, "big") + s.to_bytes(_COORDINATE_BYTES, "big")


def jwk_of(key: ec.EllipticCurvePublicKey) -> dict[str, Any]:
    """The JWK of a P-256 public key, with `kid`, `use` and `alg`."""
    numbers = key.public_numbers()
    members = {
        "crv": "P-256",
        "kty": "EC",
        "x": base64url.encode(numbers.x.to_bytes(_COORDINATE_BYTES, "big")),
        "y": base64url.encode(numbers.y.to_bytes(_COORDINATE_BYTES, "big")),
    }
    # RFC 7638 section 3: the required members only, sorted, without white space.
    thumbprint = hashlib.sha256(json.dumps(members, sort_keys=True, separators=(",", ":")).encode()).digest()
    return members | {"kid": base64url.encode(thumbprint), "use": "sig", "alg": "ES256"}


def public_kid(path: Path) -> str:
    """Key id of a public key in a PEM file.

    Raises:
        KeyFileError: unreadable, or not a key on P-256.
    """
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except OSError:
        raise KeyFileError(f"{path}: the public key cannot be read; run `authz keys init`") from None
    except ValueError:
        raise KeyFileError(f"{path}: not a public key") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise KeyFileError(f"{path}: not a key on P-256")
    return str(jwk_of(key)["kid"])


def read_passphrase(path: Path) -> bytes:
    """Read the passphrase from its file: the first line, without its line end.

    Raises:
        KeyFileError: unreadable, readable by others, or too short.
    """
    try:
        if path.stat().st_mode & 0o077:
            raise KeyFileError(f"{path}: the passphrase file may be readable by its owner only (chmod 600)")
        passphrase = path.read_bytes().split(b"\n", 1)[0].rstrip(b"\r")
    except OSError as error:
        raise KeyFileError(f"{path}: the passphrase file can not be read ({error.strerror})") from None
    if len(passphrase) < MIN_PASSPHRASE_LENGTH:
        raise KeyFileError(f"{path}: a passphrase has at least {MIN_PASSPHRASE_LENGTH} characters")
    return passphrase


def write_key(path: Path, key: ec.EllipticCurvePrivateKey, passphrase: bytes) -> None:
    """Write a private key as encrypted PKCS#8 PEM, readable by its owner only; never over an existing file.

    Raises:
        KeyFileError: the file exists, or the folder is not writable.
    """
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase),
    )
    try:
        write_new(path, pem)
    except FileExistsError:
        raise KeyFileError(f"{path}: there is a key already") from None
    except OSError as error:
        raise KeyFileError(f"{path}: the key file can not be written ({error.strerror})") from None


def read_key(path: Path, passphrase: bytes) -> ec.EllipticCurvePrivateKey:
    """Read an encrypted P-256 private key.

    Raises:
        KeyFileError: unreadable, not encrypted, another passphrase, or another kind of key.
    """
    try:
        if path.stat().st_size > _MAX_KEY_FILE:
            raise KeyFileError(f"{path}: too large for a key file")
        pem = path.read_bytes()
    except OSError as error:
        raise KeyFileError(f"{path}: the key file can not be read ({error.strerror})") from None
    if b"ENCRYPTED" not in pem:
        raise KeyFileError(f"{path}: the key file is not encrypted")
    try:
        key = serialization.load_pem_private_key(pem, passphrase)
    except (ValueError, TypeError):
        raise KeyFileError(f"{path}: the key can not be decrypted with this passphrase") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise KeyFileError(f"{path}: not a key on P-256")
    return key
