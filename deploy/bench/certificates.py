"""What one validation of a certificate costs: seen for the first time, and seen before.

Nothing is served here: the validator is a plain function, and its cost is measured without network. Two kinds of
chains: one of our own CA (P-256, two levels) and one like PKIoverheid G4 (RSA, RSASSA-PSS, three CA levels, both UZI
names). Run alone with `python -m deploy.bench.certificates`; `measure()` gives the rows to whoever prints a table.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from asn1crypto import core
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from authz.domain.identifiers import Identifier
from deploy.bench.rows import Row
from pki.keys import spki_sha256
from pki.names import CertificateIdentity, encode_identity
from pki.validation.validator import CertificateValidator, CrlStore, PinnedIssuer

WARM_BUDGET: Final = 1.0
"""Milliseconds of a certificate that was seen before (budget of the issue on certificates)."""
_AT: Final = datetime(2026, 11, 22, 12, tzinfo=UTC)
_COLD: Final = 100
_WARM: Final = 20_000
_REVOKED: Final = 10_000
"""Entries on the CRL of the issuing CA, so that looking one up is not free."""
_Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True)
class _Ca:
    certificate: x509.Certificate
    key: _Key

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)


def measure() -> list[Row]:
    """Validate certificates of both kinds, cold and warm. Takes about five seconds, most of it making RSA keys."""
    rows = []
    for what, keys, scheme, name in (
        ("own CA, P-256", [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)], "sluis", _own_name()),
        ("PKIoverheid G4, RSA-PSS", [rsa.generate_private_key(65537, 3072) for _ in range(3)], "uzi", _uzi_name()),
    ):
        authorities = _authorities(keys)
        leaves = [_leaf(authorities[-1], name) for _ in range(_COLD)]
        validator = _validator(authorities, scheme)
        for _ in range(2):  # the first use of a library is not what is measured
            validator.validate(_leaf(authorities[-1], name), (), _AT)
        cold = _times(validator, leaves)
        warm = _times(validator, leaves[:1] * _WARM)
        rows.append(Row(f"certificate validation, first time ({what})", statistics.median(cold), "ms"))
        rows.append(Row(f"certificate validation, warm ({what})", statistics.median(warm), "ms", WARM_BUDGET))
        worst = statistics.quantiles(warm, n=100)[98]
        rows.append(Row(f"certificate validation, warm, p99 ({what})", worst, "ms", WARM_BUDGET))
    return rows


def _times(validator: CertificateValidator, leaves: Sequence[bytes]) -> list[float]:
    taken = []
    for der in leaves:
        started = time.perf_counter()
        validator.validate(der, (), _AT)
        taken.append((time.perf_counter() - started) * 1000)
    return taken


def _validator(authorities: Sequence[_Ca], scheme: str) -> CertificateValidator:
    crls = CrlStore([ca.der for ca in authorities])
    for ca in authorities:
        crls.put(_crl(ca, _REVOKED if ca is authorities[-1] else 0))
    return CertificateValidator(
        anchors=[authorities[0].der],
        intermediates=[ca.der for ca in authorities[1:]],
        issuers=[PinnedIssuer(spki_sha256(authorities[-1].certificate), scheme, "TST")],
        crls=crls,
    )


def _authorities(keys: Sequence[_Key]) -> list[_Ca]:
    made: list[_Ca] = []
    usage = _key_usage(signs=False)
    for level, key in enumerate(keys):
        extensions: list[tuple[x509.ExtensionType, bool]] = [(x509.BasicConstraints(ca=True, path_length=None), True)]
        issuer = made[-1] if made else None
        certificate = _sign(_name(f"Bench CA level {level}"), key, issuer, [*extensions, (usage, True)])
        made.append(_Ca(certificate, key))
    return made


def _leaf(issuer: _Ca, name: Sequence[x509.GeneralName]) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_key_usage(signs=True), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False),
        (x509.SubjectAlternativeName([x509.DNSName("client.test"), *name]), False),
    ]
    return _sign(_name("client.test"), key, issuer, extensions).public_bytes(Encoding.DER)


def _sign(
    subject: x509.Name, key: _Key, issuer: _Ca | None, extensions: Sequence[tuple[x509.ExtensionType, bool]]
) -> x509.Certificate:
    signer = issuer.key if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_AT - timedelta(days=1))
        .not_valid_after(_AT + timedelta(days=397))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(signer, hashes.SHA256(), rsa_padding=_padding(signer))


def _crl(ca: _Ca, entries: int) -> bytes:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ca.certificate.subject)
        .last_update(_AT)
        .next_update(_AT + timedelta(hours=2))
        .add_extension(x509.CRLNumber(1), critical=False)
    )
    revoked = (
        x509.RevokedCertificateBuilder().serial_number(number).revocation_date(_AT).build()
        for number in range(1, entries + 1)
    )
    for entry in revoked:
        builder = builder.add_revoked_certificate(entry)
    signed = builder.sign(ca.key, hashes.SHA256(), rsa_padding=_padding(ca.key))
    return signed.public_bytes(Encoding.DER)


def _padding(key: _Key) -> padding.PSS | None:
    if isinstance(key, rsa.RSAPrivateKey):
        return padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    return None


def _key_usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=not signs,
        crl_sign=not signs,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "NL"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Bench"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _own_name() -> list[x509.GeneralName]:
    return [encode_identity(CertificateIdentity("TST", Identifier.parse_subject("agbcode:01234567")))]


def _uzi_name() -> list[x509.GeneralName]:
    text = core.IA5String("2.16.528.1.1007.99.2110-1-900012345-S-90000123-00.000-01234567").dump()
    ura = core.UTF8String("90000123").dump()
    return [
        x509.OtherName(x509.ObjectIdentifier("2.5.5.5"), text),
        x509.OtherName(x509.ObjectIdentifier("1.3.6.1.5.5.7.8.3"), bytes((0x30, len(ura))) + ura),
    ]


if __name__ == "__main__":
    for row in measure():
        print(f"{row.measured:9.4f} {row.unit}  {row.what}")
