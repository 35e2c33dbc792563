"""Checks of the certificate of an OCSP responder that is about to be signed.

Specification: RFC 6960 section 4.2.2.2. Such a certificate says of all others whether they are good and is never
revoked itself (id-pkix-ocsp-nocheck), so that it may speak about revocation and do nothing else, for a short time.
Written against the encoded bytes, apart from `pki.profiles`; `pki.lint.second_opinion` is the second opinion.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.algorithms import is_acceptable_key
from pki.lint.authority import MAX_SERIAL_BITS, MIN_SERIAL_BITS
from pki.lint.second_opinion import lint_certificate

MAX_RESPONDER_LIFE: Final = timedelta(days=2)
"""From notBefore to notAfter: for so long a stolen key could call revoked certificates good."""
_EXTENSIONS: Final = {  # extension -> critical
    ExtensionOID.BASIC_CONSTRAINTS: True,
    ExtensionOID.KEY_USAGE: True,
    ExtensionOID.EXTENDED_KEY_USAGE: False,
    ExtensionOID.OCSP_NO_CHECK: False,
    ExtensionOID.SUBJECT_KEY_IDENTIFIER: False,
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER: False,
}


def lint_responder(der: bytes, issuer: x509.Certificate) -> None:
    """Refuse a responder's certificate that breaks a rule.

    Args:
        der: as it will be, with a signature that means nothing yet.
        issuer: the CA that it speaks for.

    Raises:
        Refused: LINT_FAILED, with the clauses that are broken.
        LinterMissing: pkilint is not installed.
    """
    certificate = x509.load_der_x509_certificate(der)
    try:
        broken = [clause for clause, holds in _checks(certificate, issuer) if not holds]
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        broken = ["the extensions of its profile, each once (RFC 5280 4.2)"]
    if broken:
        text = f"The certificate of the OCSP responder would break its profile: {'; '.join(broken)}."
        raise Refused(Reason.LINT_FAILED, text)
    lint_certificate(der)


def _checks(certificate: x509.Certificate, issuer: x509.Certificate) -> Iterator[tuple[str, bool]]:
    extensions = certificate.extensions
    yield (
        "exactly the extensions of its profile, critical where it says so (RFC 5280 4.2)",
        {item.oid: item.critical for item in extensions} == _EXTENSIONS,
    )
    yield (
        "serial number of 64 to 159 bits (RFC 5280 4.1.2.2)",
        MIN_SERIAL_BITS <= certificate.serial_number.bit_length() <= MAX_SERIAL_BITS,
    )
    key = certificate.public_key()
    yield "key ECDSA P-256/P-384 or RSA >= 3072 (spec/pki.md)", is_acceptable_key(key)
    yield "a key of its own, not that of the CA", key != issuer.public_key()
    constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
    yield "not a CA (RFC 5280 4.2.1.9)", constraints == x509.BasicConstraints(ca=False, path_length=None)
    purposes = list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    yield (
        "extended key usage OCSPSigning, nothing else (RFC 6960 4.2.2.2)",
        purposes == [ExtendedKeyUsageOID.OCSP_SIGNING],
    )
    yield "keyUsage digitalSignature, nothing else (RFC 5280 4.2.1.3)", _signs_data_only(certificate)
    own = x509.SubjectKeyIdentifier.from_public_key(key)
    said = extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    yield "key identifier of its own key (RFC 5280 4.2.1.2)", said == own
    authority = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    of_issuer = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    yield "key identifier of the CA (RFC 5280 4.2.1.1)", authority.key_identifier == of_issuer.digest
    yield (
        "issued by the CA itself, byte for byte (RFC 6960 4.2.2.2)",
        certificate.issuer.public_bytes() == issuer.subject.public_bytes(),
    )
    yield "another name than the CA", certificate.subject != issuer.subject
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    within = issuer.not_valid_before_utc <= start < end <= issuer.not_valid_after_utc
    yield "valid within the CA (RFC 5280 6.1)", within
    # RFC 6960 4.2.2.2.1: whoever is never checked for revocation should live shortly.
    yield f"a life of at most {MAX_RESPONDER_LIFE.days} days (RFC 6960 4.2.2.2.1)", end - start <= MAX_RESPONDER_LIFE


def _signs_data_only(certificate: x509.Certificate) -> bool:
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    others = (
        usage.content_commitment, usage.key_encipherment, usage.data_encipherment, usage.key_agreement,
        usage.key_cert_sign, usage.crl_sign,
    )  # fmt: skip
    return usage.digital_signature and not any(others)
