"""Chains as PKIoverheid and the UZI-register make them, with real keys: RSA 4096, RSASSA-PSS, four levels.

Root (G4) -> domain CA -> TSP CA that issues -> server certificate, every certificate and CRL signed with RSASSA-PSS
and SHA-512 or SHA-384. Generating RSA keys is slow, so the CA keys are made once for a whole test run, and leaves have
P-256 keys unless a test brings one.

    pki = FakePkioverheid()
    leaf = pki.uzi()                          # UZI server certificate of G4: both otherNames
    validator = pki.validator("uzi")
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from asn1crypto import core
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from pki.validation.validator import CertificateValidator, CrlStore, PinnedIssuer
from tests.fakes.certificates import CLIENT_AND_SERVER, NOW, FakeCertificate, key_usage

UZI_NAME = x509.ObjectIdentifier("2.5.5.5")
PERMANENT_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.8.3")
URA_REGISTER = "2.16.528.1.1007.3.3"
UZI_CA = "2.16.528.1.1007.99.2110"
"""An OID in the test branch of the UZI-register."""
SERVER_POLICY = x509.ObjectIdentifier("2.16.528.1.1003.1.2.44.13.11")
PERSON_POLICY = x509.ObjectIdentifier("2.16.528.1.1003.1.2.44.13.21")


@cache
def _ca_key(number: int) -> rsa.RSAPrivateKey:
    # The number only tells keys apart: the same CA has the same key throughout a test run.
    return rsa.generate_private_key(65537, 4096 if number < 2 else 3072)


def uzi_name(
    *,
    ca: str = UZI_CA,
    version: str = "1",
    uzi: str = "900012345",
    kind: str = "S",
    ura: str = "90000123",
    role: str = "00.000",
    agb: str = "01234567",
) -> x509.OtherName:
    return ia5_name(f"{ca}-{version}-{uzi}-{kind}-{ura}-{role}-{agb}")


def ia5_name(text: str) -> x509.OtherName:
    return x509.OtherName(UZI_NAME, core.IA5String(text).dump())


def permanent(value: str | None = "90000123", assigner: str | None = URA_REGISTER) -> x509.OtherName:
    """RFC 4043: SEQUENCE { UTF8String OPTIONAL, OBJECT IDENTIFIER OPTIONAL }."""
    body = b"" if value is None else core.UTF8String(value).dump()
    body += b"" if assigner is None else core.ObjectIdentifier(assigner).dump()
    return x509.OtherName(PERMANENT_IDENTIFIER, bytes((0x30, len(body))) + body)


def subject(
    common_name: str,
    organization: str = "Zorginstelling Test",
    *,
    kvk: str | None = None,
    serial: str | None = None,
) -> x509.Name:
    parts = [
        x509.NameAttribute(NameOID.COUNTRY_NAME, "NL"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
        x509.NameAttribute(NameOID.COMMON_NAME, common_name),
    ]
    if kvk is not None:
        parts.append(x509.NameAttribute(NameOID.ORGANIZATION_IDENTIFIER, kvk))
    if serial is not None:
        parts.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, serial))
    return x509.Name(parts)


class FakePkioverheid:
    """Three CAs above the leaves.

    Args:
        rogue: the same names throughout, other keys.
        now: certificates are valid from a day before; CRLs are made at this moment.
    """

    def __init__(self, *, rogue: bool = False, now: datetime = NOW) -> None:
        self.now = now
        self.revoked: list[int] = []
        first = 10 if rogue else 0
        self.root = self._ca("Staat der Nederlanden Test Root CA - G4", first, None, hashes.SHA512())
        self.domain = self._ca("Staat der Nederlanden Test Domein CA - G4", first + 1, self.root, hashes.SHA512())
        self.tsp = self._ca("Test UZI-register Private Server CA G4", first + 2, self.domain, hashes.SHA384())

    @property
    def authorities(self) -> tuple[FakeCertificate, ...]:
        return (self.root, self.domain, self.tsp)

    def uzi(self, *names: x509.GeneralName, **options: Any) -> FakeCertificate:
        """A server certificate of the UZI-register; by default with both otherNames of G4."""
        names = names or (uzi_name(), permanent())
        return self.issue([x509.DNSName("systeem.zorg.test"), *names], subject("systeem.zorg.test"), **options)

    def organisation(self, *, kvk: str | None = None, serial: str | None = None) -> FakeCertificate:
        """A server certificate of another TSP under the same root, named by its subject."""
        who = subject("dienst.overheid.test", kvk=kvk, serial=serial)
        return self.issue([x509.DNSName("dienst.overheid.test")], who)

    def issue(
        self,
        names: Sequence[x509.GeneralName],
        who: x509.Name,
        *,
        issuer: FakeCertificate | None = None,
        policies: Sequence[x509.ObjectIdentifier] = (SERVER_POLICY,),
        pss: padding.PSS | None = None,
    ) -> FakeCertificate:
        key = ec.generate_private_key(ec.SECP256R1())
        extensions: list[tuple[x509.ExtensionType, bool]] = [
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (key_usage("digital_signature", "key_encipherment"), True),
            (x509.ExtendedKeyUsage(CLIENT_AND_SERVER), False),
            (x509.CertificatePolicies([x509.PolicyInformation(item, None) for item in policies]), False),
        ]
        if names:
            extensions.append((x509.SubjectAlternativeName(names), False))
        return self._sign(who, key, issuer or self.tsp, extensions, digest=hashes.SHA384(), pss=pss)

    def crl(
        self,
        issuer: FakeCertificate,
        *,
        at: datetime | None = None,
        life: timedelta = timedelta(days=2),
        base: int | None = None,
    ) -> bytes:
        """A complete CRL, or a delta on the list with number `base`."""
        moment = at or self.now
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(issuer.certificate.subject)
            .last_update(moment)
            .next_update(moment + life)
            .add_extension(x509.CRLNumber(int(moment.timestamp())), critical=False)
        )
        if base is not None:
            builder = builder.add_extension(x509.DeltaCRLIndicator(base), critical=True)
        for serial_number in self.revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(serial_number).revocation_date(moment)
            builder = builder.add_revoked_certificate(entry.build())
        assert isinstance(issuer.key, rsa.RSAPrivateKey)
        signed = builder.sign(issuer.key, hashes.SHA384(), rsa_padding=_pss(hashes.SHA384()))
        return signed.public_bytes(Encoding.DER)

    def crl_store(self, *crls: bytes) -> CrlStore:
        """A store that knows all three CAs, holding `crls`, or fresh ones of all when none are given."""
        store = CrlStore([item.der for item in self.authorities])
        for crl in crls or [self.crl(item) for item in self.authorities]:
            assert store.put(crl)
        return store

    def validator(self, scheme: str = "uzi", crls: CrlStore | None = None, **options: Any) -> CertificateValidator:
        """A validator that pins the TSP's CA; `table`, `policies` and `max_crl_age` go to the pin."""
        of_pin = {name: options.pop(name) for name in ("table", "policies", "max_crl_age") if name in options}
        settings: dict[str, Any] = {
            "anchors": [self.root.der],
            "intermediates": [self.domain.der, self.tsp.der],
            "issuers": [PinnedIssuer(self.tsp.spki_sha256, scheme, "TST", **of_pin)],
            "crls": crls if crls is not None else self.crl_store(),
        }
        return CertificateValidator(**(settings | options))

    def _ca(
        self, common_name: str, key: int, issuer: FakeCertificate | None, digest: hashes.HashAlgorithm
    ) -> FakeCertificate:
        extensions: list[tuple[x509.ExtensionType, bool]] = [
            (x509.BasicConstraints(ca=True, path_length=None), True),
            (key_usage("key_cert_sign", "crl_sign"), True),
        ]
        who = subject(common_name, "Staat der Nederlanden")
        return self._sign(who, _ca_key(key), issuer, extensions, digest=digest)

    def _sign(
        self,
        who: x509.Name,
        key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
        issuer: FakeCertificate | None,
        extensions: Sequence[tuple[x509.ExtensionType, bool]],
        *,
        digest: hashes.HashAlgorithm,
        pss: padding.PSS | None = None,
    ) -> FakeCertificate:
        signing = issuer.key if issuer else key
        assert isinstance(signing, rsa.RSAPrivateKey)
        builder = (
            x509.CertificateBuilder()
            .subject_name(who)
            .issuer_name(issuer.certificate.subject if issuer else who)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.now - timedelta(days=1))
            .not_valid_after(self.now + timedelta(days=397))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False)
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        certificate = builder.sign(signing, digest, rsa_padding=pss or _pss(digest))  # type: ignore[arg-type]
        return FakeCertificate(certificate, key, (issuer.certificate, *issuer.chain) if issuer else ())


def _pss(digest: hashes.HashAlgorithm) -> padding.PSS:
    return padding.PSS(padding.MGF1(digest), padding.PSS.DIGEST_LENGTH)
