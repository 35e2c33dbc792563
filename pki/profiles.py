"""What stands in each kind of certificate, with the clause beside each field.

Specification: shared `spec/pki.md`, "Issuing"; RFC 5280 section 4.2. A profile only says what belongs in;
`pki.lint.system` checks the result independently before it is signed. The subject is built in `pki.names.subject_name`:
C, O, organizationIdentifier `NTRNL-<KvK>`, serialNumber, CN (spec/pki.md); the serial number in
`pki.signing.certifying`: 159 bits, of which at least 64 from a good random source (RFC 5280 4.1.2.2, CA/B Baseline
Requirements 7.1).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from pki.keys import load_spki
from pki.names import SYSTEM_POLICY_OID, CertificateIdentity, subject_alternative_name

SYSTEM_LIFETIME: Final = timedelta(days=397)
"""spec/pki.md, "Profile of a system certificate": 397 days; notAfter is the last second of them."""
ROOT_LIFETIME: Final = timedelta(days=20 * 365)
RESPONDER_LIFETIME: Final = timedelta(days=2)
"""Of the certificate of an OCSP responder, which nobody checks for revocation (RFC 6960 section 4.2.2.2.1)."""
ISSUING_LIFETIME: Final = timedelta(days=10 * 365)
BACKDATE: Final = timedelta(minutes=5)
"""notBefore lies this much before the moment of issuing, for relying parties whose clock runs behind."""

Extensions = Sequence[tuple[x509.ExtensionType, bool]]
_USAGES: Final = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Publication:
    """Where a CA publishes what others need: as permanent as the certificates that name it.

    Attributes:
        base_url: plain http URL without a final slash.
        name: of the CA, a path segment.
        has_ocsp: whether its certificates name an OCSP responder.
    """

    base_url: str
    name: str
    has_ocsp: bool = False

    @property
    def crl_url(self) -> str:
        """Plain HTTP on purpose: fetching a CRL must not need a certificate (RFC 5280 section 8)."""
        return f"{self.base_url}/crl/{self.name}.crl"

    @property
    def certificate_url(self) -> str:
        """The certificate of the CA in DER."""
        return f"{self.base_url}/ca/{self.name}.crt"

    @property
    def ocsp_url(self) -> str | None:
        """Where the OCSP responder answers for this CA (RFC 6960 appendix A); None when it has none."""
        return f"{self.base_url}/ocsp/{self.name}" if self.has_ocsp else None


def system_certificate(
    public_key: bytes,
    issuer_key: bytes,
    published: Publication,
    identity: CertificateIdentity,
    dns_names: Sequence[str],
    *,
    uzi_authority: str | None = None,
) -> Extensions:
    """Extensions of a system certificate.

    Args:
        public_key: DER subjectPublicKeyInfo of the holder.
        issuer_key: DER subjectPublicKeyInfo of the issuing CA.
        published: by the issuing CA.
        identity: vetted by an operator, never taken from the request.
        dns_names: vetted likewise.
        uzi_authority: OID of the CA under which an AGB-code is repeated in UZI layout; None leaves that out.

    Raises:
        InvalidValue: a DNS name is malformed.
    """
    key = load_der_public_key(public_key)
    usages = ["digital_signature"]
    if isinstance(key, rsa.RSAPublicKey):
        usages.append("key_encipherment")  # spec/pki.md: "+ keyEncipherment for RSA"
    return (
        (x509.BasicConstraints(ca=False, path_length=None), True),  # RFC 5280 4.2.1.9: not a CA, said outright
        (_usage(*usages), True),  # RFC 5280 4.2.1.3; spec/pki.md: critical digitalSignature
        # spec/pki.md: one certificate both calls (RFC 8705) and serves
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]), False),
        # RFC 5280 4.2.1.6: not critical beside a subject; spec/pki.md: "SAN always", DNS names plus otherName
        (subject_alternative_name(identity, dns_names, uzi_authority), False),
        (_subject_key(public_key), False),  # RFC 5280 4.2.1.2
        (_authority_key(issuer_key), False),  # RFC 5280 4.2.1.1
        (_distribution_point(published), False),  # RFC 5280 4.2.1.13
        (_authority_information(published), False),  # RFC 5280 4.2.2.1; spec/pki.md: caIssuers, OCSP optional
        (
            x509.CertificatePolicies([x509.PolicyInformation(SYSTEM_POLICY_OID, None)]),
            False,
        ),  # spec/pki.md: not critical
    )


def issuing_authority(public_key: bytes, root_key: bytes, root: Publication) -> Extensions:
    """Extensions of an issuing CA under an offline root."""
    return (
        (x509.BasicConstraints(ca=True, path_length=0), True),  # RFC 5280 4.2.1.9: no further CAs below
        (_usage("key_cert_sign", "crl_sign"), True),  # RFC 5280 4.2.1.3
        (_subject_key(public_key), False),  # RFC 5280 4.2.1.2
        (_authority_key(root_key), False),  # RFC 5280 4.2.1.1
        (_distribution_point(root), False),  # RFC 5280 4.2.1.13
        (_authority_information(root), False),  # RFC 5280 4.2.2.1
    )


def root_authority(public_key: bytes) -> Extensions:
    """Extensions of a self-signed root."""
    return (
        # RFC 5280 4.2.1.9: one level of issuing CAs, and above it the next root under a cross-certificate of this one
        (x509.BasicConstraints(ca=True, path_length=2), True),
        (_usage("key_cert_sign", "crl_sign"), True),  # RFC 5280 4.2.1.3
        (_subject_key(public_key), False),  # RFC 5280 4.2.1.2: MUST in every CA certificate
        (_authority_key(public_key), False),  # CA/B Baseline Requirements 7.1.2.1.3: its own, for path builders
    )


def cross_certificate(public_key: bytes, by_key: bytes, by: Publication) -> Extensions:
    """Extensions of a certificate by one root for another, so that who trusts the first can reach the second.

    RFC 4210 section 4.4 (root key update), with the new root under a name of its own.
    """
    return (
        (x509.BasicConstraints(ca=True, path_length=1), True),  # RFC 5280 4.2.1.9: issuing CAs below, nothing more
        (_usage("key_cert_sign", "crl_sign"), True),  # RFC 5280 4.2.1.3
        (_subject_key(public_key), False),  # RFC 5280 4.2.1.2: the same as in the other root's own certificate
        (_authority_key(by_key), False),  # RFC 5280 4.2.1.1
        (_distribution_point(by), False),  # RFC 5280 4.2.1.13: it can be revoked like any other
        (_authority_information(by), False),  # RFC 5280 4.2.2.1
    )


def ocsp_responder(public_key: bytes, issuer_key: bytes) -> Extensions:
    """Extensions of the certificate of an OCSP responder with a key of its own."""
    return (
        (x509.BasicConstraints(ca=False, path_length=None), True),  # RFC 5280 4.2.1.9
        (_usage("digital_signature"), True),  # RFC 5280 4.2.1.3
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), False),  # RFC 6960 4.2.2.2
        (x509.OCSPNoCheck(), False),  # RFC 6960 4.2.2.2.1: hence its short life
        (_subject_key(public_key), False),  # RFC 5280 4.2.1.2
        (_authority_key(issuer_key), False),  # RFC 5280 4.2.1.1
    )


def _usage(*said: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{usage: usage in said for usage in _USAGES})


def _subject_key(public_key: bytes) -> x509.SubjectKeyIdentifier:
    return x509.SubjectKeyIdentifier.from_public_key(load_spki(public_key))


def _authority_key(issuer_key: bytes) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(load_spki(issuer_key))


def _distribution_point(published: Publication) -> x509.CRLDistributionPoints:
    name = x509.UniformResourceIdentifier(published.crl_url)
    return x509.CRLDistributionPoints([x509.DistributionPoint([name], None, None, None)])


def _authority_information(published: Publication) -> x509.AuthorityInformationAccess:
    issuers = x509.UniformResourceIdentifier(published.certificate_url)
    access = [x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, issuers)]
    if published.ocsp_url is not None:
        responder = x509.UniformResourceIdentifier(published.ocsp_url)
        access.append(x509.AccessDescription(AuthorityInformationAccessOID.OCSP, responder))
    return x509.AuthorityInformationAccess(access)
