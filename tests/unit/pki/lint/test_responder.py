"""A certificate that could say more than what is revoked, or say it for longer, is not signed."""

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.keys import spki_of
from pki.lint.responder import MAX_RESPONDER_LIFE, lint_responder
from pki.profiles import RESPONDER_LIFETIME, Extensions, ocsp_responder
from pki.signing.certifying import new_serial_number, prepare
from pki.signing.encoding import ToBeSigned
from pki.signing.signer import KeySigner, new_key
from tests.fakes.certificates import NOW, FakeAuthority, key_usage

KEY = KeySigner(new_key("ec-p256"))
CA_KEY = KeySigner(new_key("ec-p256"))


def authority() -> x509.Certificate:
    """The CA, with a subject key identifier as the profile of an issuing CA has."""
    ca = FakeAuthority()
    name = x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "NL"), x509.NameAttribute(NameOID.COMMON_NAME, "ca")])
    key = ca.issuing.key
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=9))
        .not_valid_after(NOW + timedelta(days=99))
        .add_extension(identifier, critical=False)
    )
    return made.sign(key, hashes.SHA256())


CA = authority()
SIGNER = KeySigner(new_key("ec-p256"))


GOOD = ToBeSigned(
    serial_number=new_serial_number(),
    algorithm=SIGNER.algorithm,
    issuer=CA.subject,
    subject=x509.Name(
        [x509.NameAttribute(NameOID.COUNTRY_NAME, "NL"), x509.NameAttribute(NameOID.COMMON_NAME, "OCSP responder")]
    ),
    public_key=KEY.public_key,
    not_before=NOW,
    not_after=NOW + RESPONDER_LIFETIME,
    extensions=ocsp_responder(KEY.public_key, spki_of(CA)),
)


def test_the_profile_passes() -> None:
    assert prepare(GOOD, SIGNER, lambda der: lint_responder(der, CA))


def other(value: x509.ExtensionType, *, critical: bool = False) -> Extensions:
    """The extensions with one of them in another form."""
    return [
        (value, critical) if type(item) is type(value) else (item, said)
        for item, said in ocsp_responder(KEY.public_key, spki_of(CA))
    ]


def without(kind: type[x509.ExtensionType]) -> Extensions:
    return [(item, critical) for item, critical in GOOD.extensions if not isinstance(item, kind)]


@pytest.mark.parametrize(
    "odd",
    [
        replace(GOOD, extensions=other(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]))),
        replace(
            GOOD,
            extensions=other(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING, ExtendedKeyUsageOID.CLIENT_AUTH])
            ),
        ),
        replace(GOOD, extensions=other(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]))),
        replace(GOOD, extensions=without(x509.ExtendedKeyUsage)),
        replace(GOOD, extensions=without(x509.OCSPNoCheck)),
        replace(GOOD, extensions=other(x509.OCSPNoCheck(), critical=True)),
        replace(GOOD, extensions=other(x509.BasicConstraints(ca=True, path_length=0), critical=True)),
        replace(GOOD, extensions=other(key_usage("digital_signature", "crl_sign"), critical=True)),
        replace(GOOD, extensions=other(key_usage("key_cert_sign"), critical=True)),
        replace(
            GOOD,
            extensions=[*GOOD.extensions, (x509.SubjectAlternativeName([x509.DNSName("pep.example.nl")]), False)],
        ),
        replace(GOOD, extensions=ocsp_responder(CA_KEY.public_key, spki_of(CA))),
        replace(GOOD, extensions=ocsp_responder(KEY.public_key, CA_KEY.public_key)),
        replace(GOOD, public_key=spki_of(CA), extensions=ocsp_responder(spki_of(CA), spki_of(CA))),
        replace(GOOD, not_after=NOW + MAX_RESPONDER_LIFE + timedelta(seconds=1)),
        replace(GOOD, not_before=CA.not_valid_before_utc - timedelta(seconds=1), not_after=NOW - timedelta(days=8)),
        replace(GOOD, not_before=NOW + timedelta(days=98), not_after=CA.not_valid_after_utc + timedelta(seconds=1)),
        replace(GOOD, issuer=GOOD.subject),
        replace(GOOD, subject=CA.subject),
        replace(GOOD, serial_number=2**63 - 1),
    ],
)
def test_one_that_could_do_more_or_longer_is_refused(odd: ToBeSigned) -> None:
    with pytest.raises(Refused) as refused:
        prepare(odd, SIGNER, lambda der: lint_responder(der, CA))
    assert refused.value.reason is Reason.LINT_FAILED
    assert "OCSP responder" in refused.value.detail
