"""Certificate requests: possession and key policy, nothing else is read."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.enrolment.requests import parse_request


def csr(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> x509.CertificateSigningRequest:
    return x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())


def refused(data: bytes) -> Reason:
    with pytest.raises(Refused) as caught:
        parse_request(data)
    return caught.value.reason


def test_der_and_pem_are_read() -> None:
    request = csr(ec.generate_private_key(ec.SECP384R1()))
    found = {parse_request(request.public_bytes(form)).subject_key for form in (Encoding.DER, Encoding.PEM)}
    assert len(found) == 1


def test_without_proof_of_possession() -> None:
    good = csr(ec.generate_private_key(ec.SECP256R1())).public_bytes(Encoding.DER)
    other = csr(ec.generate_private_key(ec.SECP256R1())).public_bytes(Encoding.DER)
    own = x509.load_der_x509_csr(good).public_key().public_numbers()  # type: ignore[union-attr]
    theirs = x509.load_der_x509_csr(other).public_key().public_numbers()  # type: ignore[union-attr]
    swapped = good.replace(own.x.to_bytes(32, "big"), theirs.x.to_bytes(32, "big"))  # type: ignore[union-attr]
    swapped = swapped.replace(own.y.to_bytes(32, "big"), theirs.y.to_bytes(32, "big"))  # type: ignore[union-attr]
    assert refused(swapped) is Reason.REQUEST_SIGNATURE


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP224R1()),
        ec.generate_private_key(ec.SECP256K1()),
        ec.generate_private_key(ec.SECP521R1()),
    ],
    ids=["rsa-2048", "p-224", "secp256k1", "p-521"],
)
def test_weak_or_unusual_keys(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    assert refused(csr(key).public_bytes(Encoding.DER)) is Reason.KEY_WEAK


def test_ed25519_is_not_in_the_policy() -> None:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    request = builder.sign(ed25519.Ed25519PrivateKey.generate(), None)
    assert refused(request.public_bytes(Encoding.DER)) is Reason.KEY_WEAK


def test_garbage_two_requests_and_too_much() -> None:
    pem = csr(ec.generate_private_key(ec.SECP256R1())).public_bytes(Encoding.PEM)
    assert parse_request(pem)
    for data in (b"", b"\x30\x00", pem[:-40], pem + pem, pem + b"\n" * 20_000, b"-----BEGIN CERTIFICATE-----"):
        assert refused(data) is Reason.REQUEST_MALFORMED
