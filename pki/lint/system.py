"""Checks of a certificate that is about to be signed: what the profile promised is what stands there.

Specification: shared `spec/pki.md`, "Issuing" ("lint before signing") and "Profile of a system certificate". Written
apart from `pki.profiles`, against the encoded bytes, so that a mistake there does not pass here. Each lint names its
clause; `pki.lint.second_opinion` is the second opinion. Whether the identity was vetted, or already has a certificate,
is not a matter of form and not checked here.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import (
    AuthorityInformationAccessOID,
    ExtendedKeyUsageOID,
    ExtensionOID,
    NameOID,
    SignatureAlgorithmOID,
)

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.algorithms import is_acceptable_key
from pki.names import SYSTEM_POLICY_OID, dns_names_of, identity_of, organization_of
from pki.profiles import Publication

MIN_SERIAL_BITS: Final = 64
MAX_SERIAL_BITS: Final = 159  # 20 octets, positive
MAX_SYSTEM_LIFE: Final = timedelta(days=397)
"""From notBefore to notAfter, both included (RFC 5280 section 4.1.2.5)."""
_KVK_NAME: Final = re.compile(r"NTRNL-[0-9]{8}")

_SIGNATURES: Final = {
    "ecdsa": frozenset({SignatureAlgorithmOID.ECDSA_WITH_SHA256, SignatureAlgorithmOID.ECDSA_WITH_SHA384}),
    "rsa": frozenset({SignatureAlgorithmOID.RSA_WITH_SHA256}),
}
_SUBJECT: Final = (
    NameOID.COUNTRY_NAME,
    NameOID.ORGANIZATION_NAME,
    NameOID.ORGANIZATION_IDENTIFIER,
    NameOID.SERIAL_NUMBER,
    NameOID.COMMON_NAME,
)
_EXTENSIONS: Final = {  # extension -> critical
    ExtensionOID.BASIC_CONSTRAINTS: True,
    ExtensionOID.KEY_USAGE: True,
    ExtensionOID.EXTENDED_KEY_USAGE: False,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME: False,
    ExtensionOID.SUBJECT_KEY_IDENTIFIER: False,
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER: False,
    ExtensionOID.CRL_DISTRIBUTION_POINTS: False,
    ExtensionOID.AUTHORITY_INFORMATION_ACCESS: False,
    ExtensionOID.CERTIFICATE_POLICIES: False,
}


@dataclass(frozen=True, slots=True)
class Around:
    """What a certificate is held against.

    Attributes:
        issuer: certificate of the issuing CA.
        published: where that CA publishes.
        environment: the only one it issues for.
        local_names: DNS names of one label that this installation may certify, such as `localhost` in a lab.
    """

    issuer: x509.Certificate
    published: Publication
    environment: str
    local_names: frozenset[str] = frozenset()


Lint = Callable[[x509.Certificate, Around], bool]


def lint_system_certificate(certificate: x509.Certificate, around: Around) -> None:
    """Refuse a system certificate that breaks a rule.

    Args:
        certificate: as it will be, with a signature that means nothing yet.
        around: its CA and what that CA may certify.

    Raises:
        Refused: LINT_FAILED, with the clauses that are broken.
    """
    broken = [clause for clause, holds in _LINTS if not _holds(holds, certificate, around)]
    if broken:
        raise Refused(Reason.LINT_FAILED, f"The certificate would break its profile: {'; '.join(broken)}.")


def _holds(lint: Lint, certificate: x509.Certificate, around: Around) -> bool:
    try:
        return lint(certificate, around)
    except (x509.ExtensionNotFound, x509.DuplicateExtension, Refused, ValueError):
        return False


def _get(certificate: x509.Certificate, kind: type[x509.ExtensionType]) -> x509.ExtensionType:
    return certificate.extensions.get_extension_for_class(kind).value


def _serial(certificate: x509.Certificate, around: Around) -> bool:  # noqa: ARG001  one shape for all lints
    return MIN_SERIAL_BITS <= certificate.serial_number.bit_length() <= MAX_SERIAL_BITS


def _validity(certificate: x509.Certificate, around: Around) -> bool:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return (
        start < end < start + MAX_SYSTEM_LIFE
        and end <= around.issuer.not_valid_after_utc
        and start >= around.issuer.not_valid_before_utc
    )


def _signature(certificate: x509.Certificate, around: Around) -> bool:
    kind = "rsa" if isinstance(around.issuer.public_key(), rsa.RSAPublicKey) else "ecdsa"
    return certificate.signature_algorithm_oid in _SIGNATURES[kind]


def _subject(certificate: x509.Certificate, around: Around) -> bool:  # noqa: ARG001
    organization_of(certificate)
    if tuple(attribute.oid for attribute in certificate.subject) != _SUBJECT:
        return False
    texts = {attribute.oid: str(attribute.value) for attribute in certificate.subject}
    identity = identity_of(certificate)
    return (
        texts[NameOID.COUNTRY_NAME] == "NL"
        and _KVK_NAME.fullmatch(texts[NameOID.ORGANIZATION_IDENTIFIER]) is not None
        and texts[NameOID.SERIAL_NUMBER] == identity.identifier.subject
    )


def _issuer(certificate: x509.Certificate, around: Around) -> bool:
    return certificate.issuer.public_bytes() == around.issuer.subject.public_bytes()


def _key(certificate: x509.Certificate, around: Around) -> bool:
    key = certificate.public_key()
    return is_acceptable_key(key) and key != around.issuer.public_key()


def _extensions(certificate: x509.Certificate, around: Around) -> bool:  # noqa: ARG001
    return {item.oid: item.critical for item in certificate.extensions} == _EXTENSIONS


def _not_a_ca(certificate: x509.Certificate, around: Around) -> bool:  # noqa: ARG001
    return _get(certificate, x509.BasicConstraints) == x509.BasicConstraints(ca=False, path_length=None)


def _usage(certificate: x509.Certificate, around: Around) -> bool:  # noqa: ARG001
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    others = (
        usage.content_commitment, usage.data_encipherment, usage.key_agreement, usage.key_cert_sign, usage.crl_sign,
    )  # fmt: skip
    is_rsa = isinstance(certificate.public_key(), rsa.RSAPublicKey)
    return usage.digital_signature and usage.key_encipherment == is_rsa and not any(others)


def _purposes(certificate: x509.Certificate, around: Around) -> bool:  # noqa: ARG001
    purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    return set(purposes) == {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}


def _names(certificate: x509.Certificate, around: Around) -> bool:
    names = dns_names_of(certificate)
    return identity_of(certificate).environment == around.environment and len(set(names)) == len(names)


def _local_names(certificate: x509.Certificate, around: Around) -> bool:
    return all("." in name or name in around.local_names for name in dns_names_of(certificate))


def _key_identifiers(certificate: x509.Certificate, around: Around) -> bool:
    authority = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    of_issuer = around.issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    own = x509.SubjectKeyIdentifier.from_public_key(certificate.public_key())
    return authority.key_identifier == of_issuer.digest and _get(certificate, x509.SubjectKeyIdentifier) == own


def _publication(certificate: x509.Certificate, around: Around) -> bool:
    points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    lists = [name.value for point in points for name in point.full_name or ()]
    said = [(item.access_method, item.access_location.value) for item in access]
    expected = [(AuthorityInformationAccessOID.CA_ISSUERS, around.published.certificate_url)]
    if around.published.ocsp_url is not None:
        expected.append((AuthorityInformationAccessOID.OCSP, around.published.ocsp_url))
    plain = all(str(url).startswith("http://") for url in (*lists, *(url for _, url in said)))
    return lists == [around.published.crl_url] and said == expected and plain


def _policies(certificate: x509.Certificate, around: Around) -> bool:  # noqa: ARG001
    policies = certificate.extensions.get_extension_for_class(x509.CertificatePolicies).value
    return [policy.policy_identifier for policy in policies] == [SYSTEM_POLICY_OID]


_LINTS: Final[tuple[tuple[str, Lint], ...]] = (
    ("serial number of 64 to 159 bits (RFC 5280 4.1.2.2)", _serial),
    ("valid for at most 397 days and within the issuing CA (spec/pki.md)", _validity),
    ("signature algorithm of the kind of key that the CA has (RFC 5280 4.1.1.2)", _signature),
    ("subject of C, O, organizationIdentifier, serialNumber, CN, each once (spec/pki.md)", _subject),
    ("issuer is the issuing CA, byte for byte (RFC 5280 4.1.2.4)", _issuer),
    ("key ECDSA P-256/P-384 or RSA >= 3072, not the CA's own (spec/pki.md)", _key),
    ("exactly the extensions of the profile, critical where it says so (spec/pki.md)", _extensions),
    ("basicConstraints says it is not a CA (RFC 5280 4.2.1.9)", _not_a_ca),
    ("keyUsage digitalSignature, with keyEncipherment for RSA only (spec/pki.md)", _usage),
    ("extended key usage clientAuth and serverAuth (spec/pki.md)", _purposes),
    ("subjectAltName of DNS names and one identity, in the CA's environment (spec/pki.md)", _names),
    ("a DNS name has at least two labels (shared domain.md: a domain with DNSSEC)", _local_names),
    ("key identifiers of holder and issuing CA (RFC 5280 4.2.1.1, 4.2.1.2)", _key_identifiers),
    ("CRL distribution point, caIssuers and OCSP of the CA, over plain http (spec/pki.md, RFC 5280 8)", _publication),
    ("the certificate policy of a system certificate (spec/pki.md)", _policies),
)
