"""Keys that are of an allowed kind and size, and weak all the same.

Specification: shared `spec/pki.md`, "Issuing" ("no weak key"); CA/Browser Forum baseline requirements 6.1.1.3 (ROCA,
close primes) and 6.1.6 (exponent, small factors), NIST SP 800-56A section 5.6.2.3 (points). Looks at the public key
alone. Does **not** find keys that came out of a bad random generator: lists of those (Debian 2008) are far too large to
ship and are loaded as blocked keys instead (decision 0014); nor does it know whose the key is.
"""

import math
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from pki.algorithms import MAX_RSA_BITS, MIN_RSA_BITS

MAX_EXPONENT_BITS: Final = 256
"""NIST SP 800-89 section 5.3.3: an exponent is smaller than 2^256."""
FERMAT_ROUNDS: Final = 100
"""Baseline requirements 6.1.1.3: primes that a hundred rounds of Fermat's method find are too close."""
SMALL_PRIMES_TO: Final = 1 << 16
_ROCA_GENERATOR: Final = 65537
_ROCA_LARGEST: Final = 167
_GUESSES: Final = 16
"""Private keys 1 to 16, and their negatives, are guessed first."""


def weakness(key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey) -> str | None:
    """Why a key must not be certified, naming the field and what is expected; None when nothing was found.

    Args:
        key: of a kind that `pki.algorithms` allows, or of another size.
    """
    if isinstance(key, ec.EllipticCurvePublicKey):
        return _ec_weakness(key)
    return _rsa_weakness(key)


def _ec_weakness(key: ec.EllipticCurvePublicKey) -> str | None:
    # That the point is on the curve and not at infinity was checked when it was read.
    if key.curve.name not in {"secp256r1", "secp384r1"}:
        return "subjectPublicKeyInfo: the curve is not allowed; expected P-256 or P-384"
    if key.public_numbers().x in _GUESSED[key.curve.name]:
        return "subjectPublicKeyInfo: the private key can be guessed; expected a random one"
    return None


def _rsa_weakness(key: rsa.RSAPublicKey) -> str | None:
    numbers = key.public_numbers()
    modulus, exponent = numbers.n, numbers.e
    if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        return (
            f"subjectPublicKeyInfo: the RSA modulus has {key.key_size} bits; expected {MIN_RSA_BITS} to {MAX_RSA_BITS}"
        )
    if exponent % 2 == 0 or exponent < _ROCA_GENERATOR or exponent.bit_length() > MAX_EXPONENT_BITS:
        return "subjectPublicKeyInfo: the RSA exponent is not allowed; expected an odd one from 65537 to 2^256"
    if math.gcd(modulus, _SMALL_FACTORS) != 1:
        return "subjectPublicKeyInfo: the RSA modulus has a small factor; expected two large random primes"
    if _has_close_primes(modulus):
        return "subjectPublicKeyInfo: the primes of the RSA modulus are too close; expected two random primes"
    if _is_roca(modulus):
        return "subjectPublicKeyInfo: the key has the ROCA fingerprint (CVE-2017-15361); expected one made elsewhere"
    return None


def _has_close_primes(modulus: int) -> bool:
    """Fermat's method: n = a^2 - b^2 with a just above the square root."""
    a = math.isqrt(modulus)
    if a * a == modulus:
        return True
    for _ in range(FERMAT_ROUNDS):
        a += 1
        rest = a * a - modulus
        if math.isqrt(rest) ** 2 == rest:
            return True
    return False


def _is_roca(modulus: int) -> bool:
    """Primes of the broken generator are powers of 65537 modulo many small primes, and so is their product."""
    return all(modulus % prime in powers for prime, powers in _ROCA)


def _primes(limit: int) -> list[int]:
    sieve = bytearray([1]) * limit
    sieve[:2] = b"\0\0"
    for number in range(2, math.isqrt(limit) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(range(number * number, limit, number)))
    return [number for number in range(limit) if sieve[number]]


def _powers(prime: int) -> frozenset[int]:
    found = {1}
    power = _ROCA_GENERATOR % prime
    while power not in found:
        found.add(power)
        power = power * _ROCA_GENERATOR % prime
    return frozenset(found)


def _guessed(curve: ec.EllipticCurve) -> frozenset[int]:
    return frozenset(
        ec.derive_private_key(secret, curve).public_key().public_numbers().x for secret in range(1, _GUESSES + 1)
    )


_SMALL_FACTORS: Final = math.prod(_primes(SMALL_PRIMES_TO))
_ROCA: Final = tuple((prime, _powers(prime)) for prime in _primes(_ROCA_LARGEST + 1) if prime > 2)  # noqa: PLR2004
_GUESSED: Final = {"secp256r1": _guessed(ec.SECP256R1()), "secp384r1": _guessed(ec.SECP384R1())}
