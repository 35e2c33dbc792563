"""Every certificate with an ECDSA signature has one other spelling; a block must reach both."""

from cryptography.hazmat.primitives.asymmetric import ec

from pki.validation.path import parse
from pki.validation.twin import twin_of
from pki.validation.validator import thumbprint_of
from tests.fakes.certificates import FakeAuthority
from tests.fakes.pkioverheid import FakePkioverheid


def test_the_other_spelling_passes_and_names_the_first_as_its_twin() -> None:
    ca = FakeAuthority()
    leaf = parse(ca.issue().der)
    other = twin_of(leaf, parse(ca.issuing.der))
    assert other != leaf.der
    assert twin_of(parse(other), parse(ca.issuing.der)) == leaf.der
    validator = ca.validator()
    one, two = (validator.validate(der, (), ca.now) for der in (leaf.der, other))
    # The attack: it is the same party, with a thumbprint that nobody has blocked.
    assert one.identity == two.identity
    assert (one.thumbprint, one.twin) == (two.twin, two.thumbprint)
    assert thumbprint_of(other) == two.thumbprint


def test_on_the_larger_curve() -> None:
    ca = FakeAuthority()
    issuing = ca.issue(key=ec.generate_private_key(ec.SECP384R1()))
    leaf = ca.issue(issuer=issuing)
    other = parse(twin_of(parse(leaf.der), parse(issuing.der)))
    algorithm = other.certificate.signature_hash_algorithm
    assert algorithm is not None
    key = issuing.key.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    key.verify(other.certificate.signature, other.certificate.tbs_certificate_bytes, ec.ECDSA(algorithm))


def test_an_rsa_signature_has_one_spelling() -> None:
    pki = FakePkioverheid()
    leaf = pki.uzi()
    assert twin_of(parse(leaf.der), parse(pki.tsp.der)) == leaf.der
    found = pki.validator().validate(leaf.der, (), pki.now)
    assert found.twin == found.thumbprint
