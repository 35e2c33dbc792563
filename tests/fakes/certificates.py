"""A certificate authority with real keys that also makes what a real one never should.

Everything is signed for real with ECDSA P-256; nothing is mocked. `FakeAuthority` has a root and an issuing CA and
gives back leaves, CRLs and a ready validator. Deliberately not built on the product's own issuing code, so that a
mistake there cannot hide itself.

    ca = FakeAuthority()                                    # environment TST
    leaf = ca.issue("uzovi:5000")                           # .der .pem .key .key_pem .chain_der
    validator = ca.validator()                              # fresh CRLs of both CAs inside
    validator.validate(leaf.der, leaf.chain_der, ca.now)
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from authz.domain.identifiers import Identifier
from pki.names import CertificateIdentity, encode_identity
from pki.validation.validator import CertificateValidator, CrlStore, PinnedIssuer

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
CRL_URL = "http://pki.test/crl/issuing.crl"
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
CLIENT_AND_SERVER = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)


def name(common_name: str, organization: str = "Sluis test") -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "NL"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def key_usage(*said: str) -> x509.KeyUsage:
    every = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{what: what in said for what in every})


def issuing_distribution_point(**said: Any) -> x509.IssuingDistributionPoint:
    """What a CRL says it is about: everything, but for what is said here."""
    fields: dict[str, Any] = {
        "full_name": None,
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }
    return x509.IssuingDistributionPoint(**fields | said)


@dataclass(frozen=True)
class FakeCertificate:
    """A certificate, its key, and the CA certificates that go with it."""

    certificate: x509.Certificate
    key: PrivateKey
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def chain_der(self) -> tuple[bytes, ...]:
        return tuple(item.public_bytes(Encoding.DER) for item in self.chain)

    @property
    def chain_pem(self) -> bytes:
        """The leaf and its chain, as a TLS server or client wants them."""
        return self.pem + b"".join(item.public_bytes(Encoding.PEM) for item in self.chain)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def spki_sha256(self) -> str:
        info = self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return hashlib.sha256(info).hexdigest()


@dataclass
class Odd:
    """How one certificate differs from a good one; every field left alone is good."""

    extensions: Sequence[tuple[x509.ExtensionType, bool]] = ()
    """Added or put in the place of the good extension of the same type."""
    without: Sequence[type[x509.ExtensionType]] = ()
    subject: x509.Name | None = None
    issuer: x509.Name | None = None
    signature_hash: Any = None
    serial_number: int | None = None


class FakeAuthority:
    """A root and an issuing CA.

    Args:
        environment: what the issuing CA issues for.
        now: certificates are valid from a day before; CRLs are made at this moment.
        label: part of the CA names; two authorities with one label have the same names and different keys.
    """

    def __init__(self, environment: str = "TST", now: datetime = NOW, label: str = "Sluis test") -> None:
        self.environment = environment
        self.now = now
        self.label = label
        self.revoked: list[int] = []
        self.revoked_authorities: list[int] = []
        self.root = self.make_ca(f"{label} root", None, path_length=1)
        self.issuing = self.make_ca(f"{label} issuing {environment}", self.root, path_length=0)

    def rogue(self) -> "FakeAuthority":
        """Another authority with the very same names, and keys of its own."""
        return FakeAuthority(self.environment, self.now, self.label)

    def make_ca(
        self, common_name: str, issuer: FakeCertificate | None, *, path_length: int | None = 0, **validity: datetime
    ) -> FakeCertificate:
        """A CA certificate, under `issuer` or self-signed."""
        key = ec.generate_private_key(ec.SECP256R1())
        extensions = [
            (x509.BasicConstraints(ca=True, path_length=path_length), True),
            (key_usage("key_cert_sign", "crl_sign"), True),
        ]
        return self._sign(name(common_name), key, issuer, extensions=extensions, odd=Odd(), validity=validity)

    def issue(
        self,
        identity: str | None = "uzovi:5000",
        *,
        dns: Sequence[str] = ("client.test",),
        organization: str = "Zorgkantoor Test",
        environment: str | None = None,
        key: PrivateKey | None = None,
        eku: Sequence[x509.ObjectIdentifier] | None = CLIENT_AND_SERVER,
        names: Sequence[x509.GeneralName] | None = None,
        issuer: FakeCertificate | None = None,
        odd: Odd | None = None,
        **validity: datetime,
    ) -> FakeCertificate:
        """A leaf; good unless asked otherwise.

        Args:
            identity: wire form, or None for a certificate without our otherName.
            dns: DNS names.
            organization: O of the subject.
            environment: in the identity; the authority's own when None.
            key: to reuse one (renewal with the same key).
            eku: extended key usages, None for no extension at all.
            names: the whole subjectAltName, instead of `dns` and `identity`.
            issuer: another CA than the issuing one.
            odd: deviations.
            **validity: `not_before`, `not_after`.
        """
        if names is None:
            names = [x509.DNSName(item) for item in dns]
            if identity is not None:
                who = CertificateIdentity(environment or self.environment, Identifier.parse_subject(identity))
                names = [*names, encode_identity(who)]
        extensions: list[tuple[x509.ExtensionType, bool]] = [
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (key_usage("digital_signature"), True),
        ]
        if names:
            extensions.append((x509.SubjectAlternativeName(names), False))
        if eku is not None:
            extensions.append((x509.ExtendedKeyUsage(eku), False))
        return self._sign(
            name(dns[0] if dns else "client", organization),
            key or ec.generate_private_key(ec.SECP256R1()),
            issuer or self.issuing,
            extensions=extensions,
            odd=odd or Odd(),
            validity=validity,
        )

    def expired(self, identity: str = "uzovi:5000") -> FakeCertificate:
        return self.issue(identity, not_before=self.now - timedelta(days=30), not_after=self.now - timedelta(seconds=1))

    def not_yet_valid(self, identity: str = "uzovi:5000") -> FakeCertificate:
        return self.issue(identity, not_before=self.now + timedelta(seconds=1), not_after=self.now + timedelta(days=30))

    def ca_as_leaf(self, identity: str = "uzovi:5000") -> FakeCertificate:
        """Everything a client certificate has, and the right to sign certificates."""
        return self.issue(
            identity,
            odd=Odd(
                [
                    (x509.BasicConstraints(ca=True, path_length=None), True),
                    (key_usage("digital_signature", "key_cert_sign"), True),
                ]
            ),
        )

    def self_signed(self, like: FakeCertificate) -> FakeCertificate:
        """Signed with its own key, with the subject and names of another certificate."""
        key = ec.generate_private_key(ec.SECP256R1())
        extensions = [(item.value, item.critical) for item in like.certificate.extensions]
        return self._sign(like.certificate.subject, key, None, extensions=extensions, odd=Odd(), validity={})

    def revoke(self, leaf: FakeCertificate) -> None:
        """The next `crl()` lists it."""
        self.revoked.append(leaf.certificate.serial_number)

    def crl(
        self,
        *,
        at: datetime | None = None,
        number: int | None = None,
        life: timedelta = timedelta(hours=2),
        issuer: FakeCertificate | None = None,
        revoked: Sequence[int] | None = None,
        extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    ) -> bytes:
        """DER CRL of the issuing CA (or of `issuer`), made at `at`, by default now."""
        signer = issuer or self.issuing
        moment = at or self.now
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(signer.certificate.subject)
            .last_update(moment)
            .next_update(moment + life)
            .add_extension(x509.CRLNumber(number if number is not None else int(moment.timestamp())), critical=False)
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        for serial_number in self.revoked if revoked is None else revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(serial_number).revocation_date(moment)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(signer.key, hashes.SHA256()).public_bytes(Encoding.DER)

    def root_crl(self, *, at: datetime | None = None) -> bytes:
        """DER CRL of the root."""
        return self.crl(at=at, life=timedelta(days=180), issuer=self.root, revoked=self.revoked_authorities)

    @property
    def pin(self) -> PinnedIssuer:
        return PinnedIssuer(self.issuing.spki_sha256, "sluis", self.environment)

    def crl_store(self, *crls: bytes) -> CrlStore:
        """A store that knows both CAs, holding `crls`, or fresh ones of both when none are given."""
        store = CrlStore([self.root.der, self.issuing.der])
        for crl in crls or (self.root_crl(), self.crl()):
            store.put(crl)
        return store

    def validator(self, crls: CrlStore | None = None, **options: Any) -> CertificateValidator:
        """A validator that trusts this authority; `options` go to `CertificateValidator`."""
        settings: dict[str, Any] = {
            "anchors": [self.root.der],
            "issuers": [self.pin],
            "intermediates": [self.issuing.der],
            "crls": crls if crls is not None else self.crl_store(),
        }
        return CertificateValidator(**(settings | options))

    def _sign(
        self,
        subject: x509.Name,
        key: PrivateKey,
        issuer: FakeCertificate | None,
        *,
        extensions: Sequence[tuple[x509.ExtensionType, bool]],
        odd: Odd,
        validity: dict[str, datetime],
    ) -> FakeCertificate:
        signing_key = issuer.key if issuer else key
        issuer_name = odd.issuer or (issuer.certificate.subject if issuer else subject)
        builder = (
            x509.CertificateBuilder()
            .subject_name(odd.subject or subject)
            .issuer_name(issuer_name)
            .public_key(key.public_key())
            .serial_number(odd.serial_number or x509.random_serial_number())
            .not_valid_before(validity.get("not_before", self.now - timedelta(days=1)))
            .not_valid_after(validity.get("not_after", self.now + timedelta(days=397)))
        )
        good: dict[x509.ObjectIdentifier, tuple[x509.ExtensionType, bool]] = {}
        good |= {item.oid: (item, critical) for item, critical in extensions}
        keys = (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        good.setdefault(x509.SubjectKeyIdentifier.oid, keys)
        authority = (x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()), False)
        good[x509.AuthorityKeyIdentifier.oid] = authority
        good |= {item.oid: (item, critical) for item, critical in odd.extensions}
        for oid, (item, critical) in good.items():
            if oid not in {kind.oid for kind in odd.without}:
                builder = builder.add_extension(item, critical=critical)
        certificate = builder.sign(signing_key, odd.signature_hash or hashes.SHA256())
        chain = (
            (issuer.certificate, *issuer.chain) if issuer and issuer.chain else (issuer.certificate,) if issuer else ()
        )
        # The root is not sent along: whoever trusts it has it.
        return FakeCertificate(certificate, key, tuple(item for item in chain if item.subject != item.issuer))
