"""The second opinion: what pkilint finds stops the signature, and nothing of ours is excused by more than it needs."""

import subprocess
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from authz.domain.errors import Refused
from authz.domain.identifiers import Identifier
from authz.domain.reasons import Reason
from pki.enrolment.requests import CertificateRequest
from pki.issuing import Holder, IssuingCa
from pki.lint import second_opinion
from pki.lint.second_opinion import LinterMissing, lint_certificate
from pki.names import CertificateIdentity, identity_of, subject_name
from pki.profiles import Extensions, Publication, system_certificate
from pki.signing.encoding import ToBeSigned
from pki.signing.signer import KeySigner
from pki.signing.throwaway import certificate_to_lint
from tests.fakes.certificates import NOW, FakeAuthority

ROOT = Path(__file__).parents[4]
PROVIDER = Identifier.parse_subject("agbcode:01234567")
PUBLISHED = Publication("http://127.0.0.1:18080", "issuing-tst", has_ocsp=True)
OID_OF_CA = "2.16.528.1.1007.99.1"


@pytest.fixture(scope="module")
def fake() -> FakeAuthority:
    return FakeAuthority()


def ca(fake: FakeAuthority, **options: str) -> IssuingCa:
    assert isinstance(fake.issuing.key, ec.EllipticCurvePrivateKey)
    return IssuingCa(fake.issuing.der, KeySigner(fake.issuing.key), PUBLISHED, "TST", **options)


def new_request() -> CertificateRequest:
    return CertificateRequest(KeySigner(ec.generate_private_key(ec.SECP256R1())).public_key)


def made(fake: FakeAuthority, extensions: Extensions | None = None, subject: x509.Name | None = None) -> bytes:
    request = new_request()
    signer = ca(fake).signer
    identity = CertificateIdentity("TST", PROVIDER)
    good = system_certificate(request.public_key, signer.public_key, PUBLISHED, identity, ["a.example.nl"])
    tbs = ToBeSigned(
        serial_number=1 << 158,
        algorithm=signer.algorithm,
        issuer=fake.issuing.certificate.subject,
        subject=subject or subject_name(organization="De Linde", common_name="x", kvk="12345678", identifier=PROVIDER),
        public_key=request.public_key,
        not_before=NOW,
        not_after=NOW + timedelta(days=397, seconds=-1),
        extensions=extensions if extensions is not None else good,
    ).encode()
    return certificate_to_lint(tbs, signer)


def changed(fake: FakeAuthority, *changes: tuple[x509.ExtensionType, bool]) -> Extensions:
    extensions = {item.oid: (item, critical) for item, critical in _extensions(made(fake))}
    extensions |= {item.oid: (item, critical) for item, critical in changes}
    return list(extensions.values())


def _extensions(der: bytes) -> Extensions:
    return [(item.value, item.critical) for item in x509.load_der_x509_certificate(der).extensions]


def test_a_certificate_of_the_profile_has_no_finding(fake: FakeAuthority) -> None:
    lint_certificate(made(fake))


_WEB_PAGE = x509.PolicyInformation(x509.ObjectIdentifier("2.5.29.32.0"), ["not a uri"])
_WRONG: Sequence[tuple[str, tuple[x509.ExtensionType, bool]]] = [
    ("pkix.invalid_uri_syntax", (x509.CertificatePolicies([_WEB_PAGE]), False)),
    ("pkix.invalid_domain_name_syntax", (x509.SubjectAlternativeName([x509.DNSName("-a-.example.nl")]), False)),
    ("pkix.invalid_domain_name_syntax", (x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)),
    ("pkix.authority_key_identifier_critical", (x509.AuthorityKeyIdentifier(b"1" * 20, None, None), True)),
]


@pytest.mark.parametrize(("finding", "change"), _WRONG)
def test_what_pkilint_finds_is_refused_by_name(
    finding: str, change: tuple[x509.ExtensionType, bool], fake: FakeAuthority
) -> None:
    with pytest.raises(Refused) as caught:
        lint_certificate(made(fake, changed(fake, change)))
    assert caught.value.reason is Reason.LINT_FAILED
    assert finding in caught.value.detail


def test_only_the_local_name_that_is_allowed_is_excused(fake: FakeAuthority) -> None:
    local = made(fake, changed(fake, (x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)))
    lint_certificate(local, ["localhost"])
    with pytest.raises(Refused):
        lint_certificate(local, ["localhos"])


def test_a_subject_beyond_the_upper_bounds_is_refused(fake: FakeAuthority) -> None:
    with pytest.warns(UserWarning, match="length"):
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x" * 65, _validate=False)])
    with pytest.raises(Refused) as caught:
        lint_certificate(made(fake, subject=name))
    assert caught.value.reason is Reason.LINT_FAILED


def test_bytes_that_are_no_certificate_are_refused() -> None:
    with pytest.raises(Refused):
        lint_certificate(b"\x30\x03\x02\x01\x01")


def test_nothing_is_signed_where_pkilint_is_missing(fake: FakeAuthority, monkeypatch: pytest.MonkeyPatch) -> None:
    second_opinion._certificates.cache_clear()
    monkeypatch.setitem(sys.modules, "pkilint.pkix", None)
    monkeypatch.setitem(sys.modules, "pkilint", None)
    with pytest.raises(LinterMissing):
        ca(fake).prepare(Holder(PROVIDER, "De Linde", "12345678"), new_request(), NOW)
    monkeypatch.undo()
    second_opinion._certificates.cache_clear()


def test_trust_agents_and_the_token_server_do_not_load_pkilint() -> None:
    code = (
        "import sys, pki.validation, pki.names, authz.app, trust_agent.app, pki.app;"
        "print([name for name in sys.modules if name.startswith('pkilint')])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "[]"


def test_the_uzi_layout_repeats_an_agb_code_and_nothing_else(fake: FakeAuthority) -> None:
    authority = ca(fake, uzi_authority=OID_OF_CA)
    holder = Holder(PROVIDER, "De Linde", "12345678", ("a.example.nl",))
    leaf = x509.load_der_x509_certificate(authority.redeem(authority.prepare(holder, new_request(), NOW)))
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uzi = [name.value for name in names if isinstance(name, x509.OtherName) and name.type_id.dotted_string == "2.5.5.5"]
    assert len(uzi) == 1
    assert uzi[0][:2] == bytes((0x16, len(uzi[0]) - 2))
    assert uzi[0][2:].decode("ascii") == f"{OID_OF_CA}-1-000000000-S-00000000-00.000-01234567"
    assert identity_of(leaf) == CertificateIdentity("TST", PROVIDER)
    zorgkantoor = Holder(Identifier.parse_subject("uzovi:5000"), "Zorgkantoor", "12345678")
    leaf = x509.load_der_x509_certificate(authority.redeem(authority.prepare(zorgkantoor, new_request(), NOW)))
    assert "2.5.5.5" not in {
        name.type_id.dotted_string
        for name in leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        if isinstance(name, x509.OtherName)
    }


@pytest.mark.parametrize(
    "text",
    [
        f"{OID_OF_CA}-1-000000000-S-00000000-00.000-01234568",  # another party
        f"{OID_OF_CA}-1-000000000-Z-00000000-00.000-01234567",  # a person
        f"{OID_OF_CA}-1-900012345-S-90000123-00.000-01234567",  # numbers that we did not vet
        f"{OID_OF_CA}-1-000000000-S-00000000-00.000-01234567\0",
        f"{OID_OF_CA}-1-000000000-S-00000000-00.000-01234567 ",
    ],
)
def test_two_identity_names_that_differ_are_refused(text: str, fake: FakeAuthority) -> None:
    good = x509.load_der_x509_certificate(made(fake)).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    other = x509.OtherName(x509.ObjectIdentifier("2.5.5.5"), b"\x16" + bytes((len(text),)) + text.encode())
    odd = made(fake, changed(fake, (x509.SubjectAlternativeName([*good.value, other]), False)))
    with pytest.raises(Refused) as caught:
        identity_of(x509.load_der_x509_certificate(odd))
    assert caught.value.reason is Reason.CERTIFICATE_IDENTITY


def test_a_responder_is_named_only_when_there_is_one(fake: FakeAuthority) -> None:
    def urls(authority: IssuingCa) -> list[str]:
        prepared = authority.prepare(Holder(PROVIDER, "De Linde", "12345678"), new_request(), NOW)
        leaf = x509.load_der_x509_certificate(authority.redeem(prepared))
        access = leaf.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
        return [str(item.access_location.value) for item in access]

    base = "http://127.0.0.1:18080"
    assert urls(ca(fake)) == [f"{base}/ca/issuing-tst.crt", f"{base}/ocsp/issuing-tst"]
    assert isinstance(fake.issuing.key, ec.EllipticCurvePrivateKey)
    without = IssuingCa(fake.issuing.der, KeySigner(fake.issuing.key), Publication(base, "issuing-tst"), "TST")
    assert urls(without) == [f"{base}/ca/issuing-tst.crt"]
