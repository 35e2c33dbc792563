"""Checks of a CA certificate that is about to be signed: a root, an issuing CA, or a root by another root.

Specification: RFC 5280 section 4.2; shared `spec/pki.md`, "Issuing". Written against the encoded bytes, apart from
`pki.profiles`; `pki.lint.second_opinion` is the second opinion.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtensionOID

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.algorithms import is_acceptable_key
from pki.lint.second_opinion import lint_certificate
from pki.profiles import Publication

MIN_SERIAL_BITS: Final = 64
MAX_SERIAL_BITS: Final = 159  # 20 octets, positive
_OF_A_ROOT: Final = {
    ExtensionOID.BASIC_CONSTRAINTS: True,
    ExtensionOID.KEY_USAGE: True,
    ExtensionOID.SUBJECT_KEY_IDENTIFIER: False,
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER: False,
}
_OF_OTHERS: Final = _OF_A_ROOT | {
    ExtensionOID.CRL_DISTRIBUTION_POINTS: False,
    ExtensionOID.AUTHORITY_INFORMATION_ACCESS: False,
}


@dataclass(frozen=True, slots=True)
class Above:
    """The CA that signs: its certificate, and where it publishes."""

    certificate: x509.Certificate
    published: Publication


def lint_authority(der: bytes, path_length: int, above: Above | None) -> None:
    """Refuse a CA certificate that breaks a rule.

    Args:
        der: as it will be, with a signature that means nothing yet.
        path_length: how many CAs may stand below it.
        above: the CA that signs; None for a root.

    Raises:
        Refused: LINT_FAILED, with the clauses that are broken.
        LinterMissing: pkilint is not installed.
    """
    certificate = x509.load_der_x509_certificate(der)
    try:
        broken = [clause for clause, holds in _checks(certificate, path_length, above) if not holds]
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        broken = ["the extensions of its profile, each once (RFC 5280 4.2)"]
    if broken:
        raise Refused(Reason.LINT_FAILED, f"The CA certificate would break its profile: {'; '.join(broken)}.")
    lint_certificate(der)


def _checks(certificate: x509.Certificate, path_length: int, above: Above | None) -> Iterator[tuple[str, bool]]:
    found = {item.oid: item.critical for item in certificate.extensions}
    yield (
        "exactly the extensions of its profile, critical where it says so (RFC 5280 4.2)",
        found == (_OF_A_ROOT if above is None else _OF_OTHERS),
    )
    yield (
        "serial number of 64 to 159 bits (RFC 5280 4.1.2.2)",
        MIN_SERIAL_BITS <= certificate.serial_number.bit_length() <= MAX_SERIAL_BITS,
    )
    key = certificate.public_key()
    yield "key ECDSA P-256/P-384 or RSA >= 3072 (spec/pki.md)", is_acceptable_key(key)
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    yield (
        "basicConstraints: a CA with its path length (RFC 5280 4.2.1.9)",
        constraints == x509.BasicConstraints(ca=True, path_length=path_length),
    )
    yield "keyUsage keyCertSign and cRLSign, nothing else (RFC 5280 4.2.1.3)", _signs_only(certificate)
    own = x509.SubjectKeyIdentifier.from_public_key(key)
    said = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    yield "key identifier of its own key (RFC 5280 4.2.1.2)", said == own
    authority = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if above is None:
        yield "key identifier of itself (RFC 5280 4.2.1.1)", authority.key_identifier == own.digest
        yield "a root is its own issuer (RFC 5280 3.2)", certificate.issuer == certificate.subject and start < end
        return
    by = above.certificate
    yield "another name than the CA above it (RFC 5280 6.1)", certificate.subject != by.subject
    yield "issuer is the CA above, byte for byte (RFC 5280 4.1.2.4)", _same(certificate.issuer, by.subject)
    within = by.not_valid_before_utc <= start < end <= by.not_valid_after_utc
    yield "valid within the CA above (RFC 5280 6.1)", within
    yield "another key than the CA above", key != by.public_key()
    of_issuer = by.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    yield "key identifier of the CA above (RFC 5280 4.2.1.1)", authority.key_identifier == of_issuer.digest
    yield "CRL distribution point and caIssuers of the CA above (spec/pki.md)", _publishes(certificate, above.published)


def _same(one: x509.Name, other: x509.Name) -> bool:
    return one.public_bytes() == other.public_bytes()


def _signs_only(certificate: x509.Certificate) -> bool:
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    others = (
        usage.digital_signature, usage.content_commitment, usage.key_encipherment, usage.data_encipherment,
        usage.key_agreement,
    )  # fmt: skip
    return usage.key_cert_sign and usage.crl_sign and not any(others)


def _publishes(certificate: x509.Certificate, published: Publication) -> bool:
    points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    lists = [name.value for point in points for name in point.full_name or ()]
    said = [(item.access_method, item.access_location.value) for item in access]
    expected = [(AuthorityInformationAccessOID.CA_ISSUERS, published.certificate_url)]
    return lists == [published.crl_url] and said == expected and published.crl_url.startswith("http://")
