"""Keys hide behind `Signer.sign(bytes)`: an encrypted file here, PKCS#11 in `pki.signing.pkcs11_signer`.

Specification: shared `spec/pki.md`, "Issuing" (keys behind a Signer), RFC 5208/8018 (encrypted PKCS#8). A signer signs
what it is given; deciding what may be signed is the authority's work.
"""

import hashlib
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from authz.domain.errors import SluisError
from pki.keys import spki_of

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
MIN_PASSPHRASE: Final = 12
"""Characters; the passphrase is all that protects a stolen key file."""
KINDS: Final[Mapping[str, str | int]] = MappingProxyType(
    {"ec-p256": "secp256r1", "ec-p384": "secp384r1", "rsa-3072": 3072, "rsa-4096": 4096}
)
"""Kinds of key that a CA or a party may have: the curve, or the bits of the modulus (spec/pki.md)."""
_READABLE_BY_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class SignerError(SluisError):
    """A key cannot be used. The text names the file and what is wrong, never the passphrase."""


class Signer(Protocol):
    """Signs with one key that it never shows."""

    @property
    def public_key(self) -> bytes:
        """DER subjectPublicKeyInfo."""
        ...

    @property
    def algorithm(self) -> str:
        """Signature algorithm in the words of asn1crypto, for example `sha256_ecdsa`."""
        ...

    def sign(self, *data: bytes) -> bytes:
        """The signature over `data`, its pieces one after another, encoded as X.509 wants it.

        Raises:
            SignerError: the key cannot be used at this moment.
        """
        ...


class KeySigner:
    """Signs with a private key in memory."""

    def __init__(self, key: PrivateKey) -> None:
        self._key = key
        self.public_key: bytes = spki_of(key)
        self._hash: hashes.HashAlgorithm = hashes.SHA256()
        if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name == "secp384r1":
            self._hash = hashes.SHA384()
        kind = "ecdsa" if isinstance(key, ec.EllipticCurvePrivateKey) else "rsa"
        self.algorithm = f"{self._hash.name}_{kind}"

    def sign(self, *data: bytes) -> bytes:
        """The signature over `data`, its pieces one after another."""
        digest, prehashed = digest_of(data, self._hash), Prehashed(self._hash)
        if isinstance(self._key, ec.EllipticCurvePrivateKey):
            return self._key.sign(digest, ec.ECDSA(prehashed))
        return self._key.sign(digest, padding.PKCS1v15(), prehashed)


def digest_of(pieces: Iterable[bytes], algorithm: hashes.HashAlgorithm) -> bytes:
    """The hash of what the pieces make together, without putting them together."""
    running = hashlib.new(algorithm.name)
    for piece in pieces:
        running.update(piece)
    return running.digest()


def load_key_file(path: Path, passphrase: bytes) -> KeySigner:
    """A signer over an encrypted PKCS#8 file.

    Args:
        path: PEM file, not readable by others than its owner.
        passphrase: as text of the operator, encoded.

    Raises:
        SignerError: missing, readable by others, not encrypted, wrong passphrase, or a kind of key that is not used.
    """
    pem = read_secret(path)
    if b"BEGIN ENCRYPTED PRIVATE KEY" not in pem:
        raise SignerError(f"{path}: expected an encrypted PKCS#8 key in PEM (BEGIN ENCRYPTED PRIVATE KEY)")
    try:
        key = load_pem_private_key(pem, passphrase)
    except (ValueError, TypeError) as error:
        raise SignerError(f"{path}: the passphrase does not open this key") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise SignerError(f"{path}: expected an EC or RSA key")
    return KeySigner(key)


def read_secret(path: Path) -> bytes:
    """Read a file that only its owner may read.

    Raises:
        SignerError: missing, or readable by group or others.
    """
    try:
        if path.stat().st_mode & _READABLE_BY_OTHERS:
            raise SignerError(f"{path}: others than the owner can use this file; chmod 600 it")
        return path.read_bytes()
    except OSError as error:
        raise SignerError(f"{path}: cannot be read ({error.strerror})") from error


def read_passphrase(path: Path) -> bytes:
    """The first line of a passphrase file.

    Raises:
        SignerError: missing, readable by others, or shorter than `MIN_PASSPHRASE`.
    """
    lines = read_secret(path).splitlines()
    passphrase = lines[0] if lines else b""
    if len(passphrase) < MIN_PASSPHRASE:
        raise SignerError(f"{path}: expected a passphrase of at least {MIN_PASSPHRASE} characters on the first line")
    return passphrase


def new_key(kind: str) -> PrivateKey:
    """A new private key: `ec-p256`, `ec-p384`, `rsa-3072` or `rsa-4096`.

    Raises:
        SignerError: another kind.
    """
    name = KINDS.get(kind)
    if name is None:
        raise SignerError(f"unknown kind of key; expected one of {', '.join(KINDS)}")
    if isinstance(name, int):
        return rsa.generate_private_key(65537, name)
    return ec.generate_private_key(ec.SECP256R1() if name == "secp256r1" else ec.SECP384R1())


def key_pem(key: PrivateKey, passphrase: bytes | None) -> bytes:
    """PKCS#8 PEM, encrypted when a passphrase is given (a participant's own key file may be without)."""
    encryption = BestAvailableEncryption(passphrase) if passphrase is not None else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
