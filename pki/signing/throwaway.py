"""Signing for the eyes of the lints: a key of the same kind as the real one, that nobody trusts and nobody keeps.

Specification: shared `spec/pki.md`, "Issuing" ("lint before signing"). A linter wants to see the whole document, with a
signature of the right form. Were that made with the real key, a document that the lints refuse would exist, signed.
"""

from functools import cache

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from pki.signing.encoding import join_certificate
from pki.signing.signer import KeySigner, Signer, SignerError


def certificate_to_lint(tbs: bytes, signer: Signer) -> bytes:
    """DER of a certificate as `signer` would make it, under a key that nobody trusts."""
    return join_certificate(tbs, signer.algorithm, stand_in(signer).sign(tbs))


def stand_in(signer: Signer) -> KeySigner:
    """A signer with a key of the same kind and size.

    Raises:
        SignerError: a kind of key that is not used.
    """
    key = load_der_public_key(signer.public_key)
    if isinstance(key, ec.EllipticCurvePublicKey):
        return _of_curve(key.curve.name)
    if isinstance(key, rsa.RSAPublicKey):
        return _of_size(key.key_size)
    raise SignerError("expected an EC or RSA key")


@cache
def _of_curve(name: str) -> KeySigner:
    curve = ec.SECP384R1() if name == "secp384r1" else ec.SECP256R1()
    return KeySigner(ec.generate_private_key(curve))


@cache
def _of_size(bits: int) -> KeySigner:
    # Made once in a process: finding primes takes a good part of a second.
    return KeySigner(rsa.generate_private_key(65537, bits))
