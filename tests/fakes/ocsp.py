"""OCSP answers of a `FakeAuthority`, good ones and others, signed with real keys."""

from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.fakes.certificates import FakeAuthority, FakeCertificate, Odd


def answer(
    ca: FakeAuthority,
    leaf: FakeCertificate,
    status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
    *,
    at: datetime | None = None,
    signer: FakeCertificate | None = None,
    life: timedelta | None = timedelta(hours=2),
    digest: hashes.HashAlgorithm | None = None,
) -> bytes:
    by, moment = signer or ca.issuing, at or ca.now
    revoked = status is ocsp.OCSPCertStatus.REVOKED
    builder = ocsp.OCSPResponseBuilder().add_response(
        leaf.certificate,
        ca.issuing.certificate,
        digest or hashes.SHA1(),  # noqa: S303  what responders use to name a certificate
        status,
        moment,
        None if life is None else moment + life,
        moment if revoked else None,
        None,
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, by.certificate)
    if signer is not None:
        builder = builder.certificates([signer.certificate])
    return builder.sign(by.key, hashes.SHA256()).public_bytes(Encoding.DER)


def responder(
    ca: FakeAuthority, *, issuer: FakeCertificate | None = None, no_check: bool = True, eku: bool = True
) -> FakeCertificate:
    extensions: list[tuple[x509.ExtensionType, bool]] = [(x509.OCSPNoCheck(), False)] if no_check else []
    purposes = [ExtendedKeyUsageOID.OCSP_SIGNING] if eku else [ExtendedKeyUsageOID.CLIENT_AUTH]
    return ca.issue(names=[], eku=purposes, issuer=issuer, odd=Odd(extensions))
