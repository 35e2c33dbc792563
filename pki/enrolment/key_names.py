"""What a public key is known by: its encoding, and the number that it keeps in every other dress.

A curve point has a negative with the same x-coordinate, whose private key is n - d: who knows one knows both. One RSA
modulus works with every exponent, and who factored it has all of those keys. A hash of the whole subjectPublicKeyInfo
tells such keys apart; the core, a hash of x-coordinate or modulus, does not. Two moduli that share a prime are not
found by it.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from pki.keys import spki_sha256


@dataclass(frozen=True, slots=True, order=True)
class KeyName:
    """A key as the register names it.

    Attributes:
        subject_key: hex SHA-256 of the subjectPublicKeyInfo.
        core: hex SHA-256 of the x-coordinate or modulus; empty when it is not known, as of a key on a list of hashes.
    """

    subject_key: str
    core: str = ""


def name_of(key: object) -> KeyName:
    """The name of a public key that pyca/cryptography read.

    Raises:
        TypeError: not a public key.
    """
    return KeyName(spki_sha256(key), _core(key))


def name_of_der(public_key: bytes) -> KeyName:
    """The name of a key in a DER subjectPublicKeyInfo.

    Raises:
        ValueError: it cannot be read.
    """
    return KeyName(hashlib.sha256(public_key).hexdigest(), _core(load_der_public_key(public_key)))


def cores_of(names: Iterable[KeyName]) -> list[str]:
    """The cores that are known."""
    return sorted({name.core for name in names} - {""})


def _core(key: object) -> str:
    if isinstance(key, ec.EllipticCurvePublicKey):
        number, kind = key.public_numbers().x, key.curve.name
    elif isinstance(key, rsa.RSAPublicKey):
        number, kind = key.public_numbers().n, "rsa"
    else:
        return ""
    return hashlib.sha256(f"{kind}:{number:x}".encode("ascii")).hexdigest()
