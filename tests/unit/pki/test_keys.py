"""One name for a key, whatever it comes in; what signs nothing here is not read."""

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pki.keys import load_spki, same_key, spki_of, spki_sha256
from tests.fakes.certificates import FakeAuthority

CA = FakeAuthority()


def test_a_key_a_certificate_and_a_private_key_have_one_name() -> None:
    leaf = CA.issue("uzovi:5000")
    der = leaf.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for item in (leaf.key, leaf.key.public_key(), leaf.certificate):
        assert spki_of(item) == der
        assert spki_sha256(item) == hashlib.sha256(der).hexdigest()
        assert same_key(item, leaf.certificate)
    assert not same_key(leaf.certificate, CA.issue("uzovi:5000").certificate)


@pytest.mark.parametrize("item", [None, b"", "key", 1])
def test_what_has_no_key_has_no_name(item: object) -> None:
    with pytest.raises(TypeError):
        spki_of(item)


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(public_exponent=65537, key_size=2048),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=lambda key: type(key).__name__,
)
def test_kinds_that_sign_are_read(key: object) -> None:
    assert spki_of(load_spki(spki_of(key))) == spki_of(key)


OTHERS = (x25519.X25519PrivateKey.generate(), dsa.generate_private_key(2048))


@pytest.mark.parametrize("der", [b"", b"\x30\x00", spki_of(CA.root.key)[:-1], *map(spki_of, OTHERS)], ids=range(5))
def test_what_signs_nothing_here_is_not_read(der: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        load_spki(der)
