"""Keys of the right kind and size that are weak all the same, each beside a good one."""

import math
import random

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from pki.enrolment.key_quality import _SMALL_FACTORS, weakness

GOOD = rsa.generate_private_key(65537, 3072)


def without_small_factors(start: int) -> int:
    """The next odd number without factors below 2^16: as good as a prime for these checks, and found at once."""
    number = start | 1
    while math.gcd(number, _SMALL_FACTORS) != 1:
        number += 2
    return number


def small_primes(count: int) -> list[int]:
    found: list[int] = []
    number = 2
    while len(found) < count:
        if all(number % prime for prime in found):
            found.append(number)
        number += 1
    return found


def public(modulus: int, exponent: int = 65537) -> rsa.RSAPublicKey:
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()


@pytest.fixture
def rng() -> random.Random:
    """The same odd keys in every run, whatever ran before."""
    return random.Random(20171016)  # noqa: S311


def roca_prime(rng: random.Random) -> int:
    """As the broken library made them: k * M + (65537^a mod M), M the product of the first 126 primes."""
    product = math.prod(small_primes(126))
    while True:
        factor = rng.getrandbits(1536 - product.bit_length())
        candidate = factor * product + pow(65537, rng.getrandbits(128), product)
        if candidate >> 1534 == 3 and math.gcd(candidate, _SMALL_FACTORS) == 1:
            return candidate


def test_good_keys() -> None:
    assert weakness(GOOD.public_key()) is None
    for curve in (ec.SECP256R1(), ec.SECP384R1()):
        assert weakness(ec.generate_private_key(curve).public_key()) is None


def test_the_roca_fingerprint(rng: random.Random) -> None:
    modulus = roca_prime(rng) * roca_prime(rng)
    assert "ROCA" in str(weakness(public(modulus)))
    # One prime of another generator breaks the pattern.
    other = without_small_factors(rng.getrandbits(1536) | 3 << 1534)
    assert weakness(public(roca_prime(rng) * other)) is None


def test_close_primes(rng: random.Random) -> None:
    first = without_small_factors(rng.getrandbits(1536) | 3 << 1534)
    near = without_small_factors(first + 2**700)
    assert "too close" in str(weakness(public(first * near)))
    assert "too close" in str(weakness(public(first * first)))
    far = without_small_factors(first ^ 1 << 1500)
    assert weakness(public(first * far)) is None


@pytest.mark.parametrize("factor", [3, 751, 65521])
def test_a_small_factor(factor: int) -> None:
    assert "small factor" in str(weakness(public(factor * GOOD.public_key().public_numbers().n)))


def test_the_exponent() -> None:
    modulus = GOOD.public_key().public_numbers().n
    for exponent in (3, 17, 65535, (1 << 256) + 1):
        assert "exponent" in str(weakness(public(modulus, exponent))), exponent
    for exponent in (65537, 65539, (1 << 256) - 1):
        assert weakness(public(modulus, exponent)) is None, exponent


@pytest.mark.parametrize(("bits", "words"), [(2048, "2048 bits"), (3064, "3064 bits")])
def test_a_modulus_that_is_too_small(bits: int, words: str) -> None:
    assert words in str(weakness(rsa.generate_private_key(65537, bits).public_key()))


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1()], ids=["p-256", "p-384"])
def test_a_private_key_that_is_guessed_first(curve: ec.EllipticCurve) -> None:
    for secret in (1, 2, 16):
        assert "guessed" in str(weakness(ec.derive_private_key(secret, curve).public_key()))
    assert weakness(ec.derive_private_key(17, curve).public_key()) is None


@pytest.mark.parametrize("curve", [ec.SECP224R1(), ec.SECP256K1(), ec.SECP521R1(), ec.BrainpoolP256R1()])
def test_another_curve(curve: ec.EllipticCurve) -> None:
    assert "curve" in str(weakness(ec.generate_private_key(curve).public_key()))
