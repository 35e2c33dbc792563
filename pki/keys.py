"""Public keys by their subjectPublicKeyInfo: encoded, named by its SHA-256, compared and read, in one way.

The hash of a subjectPublicKeyInfo is the name of a CA that cannot be imitated, and what pins, feeds and the register
name keys by. `pki.enrolment.key_names` adds what tells that two of them are one key in two dresses.
"""

import hashlib
from typing import Protocol, runtime_checkable

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey
"""The kinds that a certificate can be of and signed with, in a type that pyca/cryptography takes everywhere."""


@runtime_checkable
class Encodable(Protocol):
    """A public key as pyca/cryptography read it, of whatever kind."""

    def public_bytes(self, encoding: Encoding, format: PublicFormat, /) -> bytes:  # noqa: A002  its name there
        """The key, encoded."""
        ...


@runtime_checkable
class Keyed(Protocol):
    """What has a public key: a certificate, a request, a private key."""

    def public_key(self) -> object:
        """The key."""
        ...


def spki_of(item: object) -> bytes:
    """DER subjectPublicKeyInfo of a public key, or of what has one: a certificate, a request, a private key.

    Raises:
        TypeError: neither.
    """
    key = item.public_key() if isinstance(item, Keyed) else item
    if not isinstance(key, Encodable):
        raise TypeError("expected a public key, or what has one")
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def spki_sha256(item: object) -> str:
    """Hex SHA-256 of the subjectPublicKeyInfo of a public key, or of what has one.

    Raises:
        TypeError: neither.
    """
    return hashlib.sha256(spki_of(item)).hexdigest()


def same_key(one: object, other: object) -> bool:
    """Whether two have one public key, in the same dress.

    Raises:
        TypeError: one of them has none.
    """
    return spki_of(one) == spki_of(other)


def load_spki(der: bytes) -> PublicKey:
    """Read a DER subjectPublicKeyInfo.

    Raises:
        ValueError: it cannot be read, or is of a kind that signs nothing here.
    """
    try:
        key = load_der_public_key(der)
    except UnsupportedAlgorithm as error:
        raise ValueError("a public key of an unknown kind") from error
    if not isinstance(key, PublicKey):
        raise ValueError("a public key of a kind that does not sign")  # noqa: TRY004  one error for what is unreadable
    return key
