"""Prepare, lint, redeem once; and each lint refuses a certificate that breaks just its rule."""

import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from authz.domain.errors import Refused
from authz.domain.identifiers import Identifier
from authz.domain.reasons import Reason
from pki.enrolment.requests import CertificateRequest
from pki.issuing import Holder, IssuingCa, IssuingError
from pki.lint.system import Around, lint_system_certificate
from pki.names import SYSTEM_POLICY_OID, CertificateIdentity
from pki.profiles import Publication, system_certificate
from pki.revocation.crl import CrlPlan, RevocationReason, make_crl
from pki.signing.encoding import CrlEntry, ToBeSigned, join_certificate
from pki.signing.signer import KeySigner
from tests.fakes.certificates import NOW, FakeAuthority, key_usage

ROOT = Path(__file__).parents[3]
HOLDER = Holder(Identifier.parse_subject("uzovi:5000"), "Zorgkantoor Test", "12345678", ("a.example.nl",))
PUBLISHED = Publication("http://127.0.0.1:18080", "issuing-tst")


@dataclass(frozen=True)
class World:
    fake: FakeAuthority
    ca: IssuingCa


@pytest.fixture(scope="module")
def world() -> World:
    fake = FakeAuthority()
    assert isinstance(fake.issuing.key, ec.EllipticCurvePrivateKey)
    return World(fake, IssuingCa(fake.issuing.der, KeySigner(fake.issuing.key), PUBLISHED, "TST"))


def new_request() -> CertificateRequest:
    return CertificateRequest(KeySigner(ec.generate_private_key(ec.SECP256R1())).public_key)


def test_what_was_prepared_is_signed_once_and_byte_for_byte(world: World) -> None:
    prepared = world.ca.prepare(HOLDER, new_request(), NOW)
    der = world.ca.redeem(prepared)
    certificate = x509.load_der_x509_certificate(der)
    assert certificate.tbs_certificate_bytes == prepared.tbs
    assert certificate.serial_number == prepared.serial_number
    with pytest.raises(IssuingError):
        world.ca.redeem(prepared)


def test_what_was_prepared_elsewhere_is_not_signed(world: World) -> None:
    other = IssuingCa(world.fake.issuing.der, world.ca.signer, PUBLISHED, "TST")
    prepared = other.prepare(HOLDER, new_request(), NOW)
    with pytest.raises(IssuingError):
        world.ca.redeem(prepared)


@pytest.mark.parametrize("part", ["serial_number", "last byte", "length"])
def test_what_was_changed_after_it_was_prepared_is_not_signed(part: str, world: World) -> None:
    prepared = world.ca.prepare(HOLDER, new_request(), NOW)
    tbs = {
        "serial_number": prepared.tbs.replace(prepared.serial_number.to_bytes(20, "big"), b"\x40" + b"\x01" * 19),
        "last byte": prepared.tbs[:-1] + bytes((prepared.tbs[-1] ^ 1,)),
        "length": prepared.tbs + b"\x05\x00",
    }[part]
    assert tbs != prepared.tbs
    with pytest.raises(IssuingError):
        world.ca.redeem(replace(prepared, tbs=tbs))
    # Fields beside the bytes decide nothing: what is signed is what was linted.
    other = replace(prepared, serial_number=1, not_after=NOW)
    assert x509.load_der_x509_certificate(world.ca.redeem(other)).serial_number == prepared.serial_number


def test_what_was_prepared_in_another_process_is_not_signed(world: World) -> None:
    here = world.ca.prepare(HOLDER, new_request(), NOW)
    key = world.fake.issuing.key_pem
    code = (
        "import pickle, sys\n"
        "from cryptography.hazmat.primitives.serialization import load_pem_private_key\n"
        "from pki.issuing import IssuingCa, IssuingError\n"
        "certificate, key, published, prepared = pickle.load(sys.stdin.buffer)\n"
        "from pki.signing.signer import KeySigner\n"
        "ca = IssuingCa(certificate, KeySigner(load_pem_private_key(key, None)), published, 'TST')\n"
        "try: ca.redeem(prepared); print('signed')\n"
        "except IssuingError: print('refused')\n"
    )
    given = pickle.dumps((world.fake.issuing.der, key, PUBLISHED, here))
    ran = subprocess.run([sys.executable, "-c", code], input=given, capture_output=True, check=True, cwd=ROOT)
    assert ran.stdout == b"refused\n"
    assert world.ca.redeem(here)


def test_397_days_from_not_before_to_not_after_and_not_a_second_more(world: World) -> None:
    days = timedelta(days=397)
    prepared = world.ca.prepare(HOLDER, new_request(), NOW, days)
    # Both ends belong to the life (RFC 5280 section 4.1.2.5).
    assert prepared.not_after - prepared.not_before + timedelta(seconds=1) == days
    with pytest.raises(Refused, match="397 days") as caught:
        world.ca.prepare(HOLDER, new_request(), NOW, days + timedelta(seconds=1))
    assert caught.value.reason is Reason.LINT_FAILED


def test_what_was_forgotten_is_not_signed(world: World) -> None:
    prepared = world.ca.prepare(HOLDER, new_request(), NOW)
    world.ca.forget(prepared)
    with pytest.raises(IssuingError):
        world.ca.redeem(prepared)


def test_a_signature_that_does_not_verify_is_not_handed_over(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = world.ca.prepare(HOLDER, new_request(), NOW)
    monkeypatch.setattr(world.ca, "signer", KeySigner(ec.generate_private_key(ec.SECP256R1())))
    with pytest.raises(IssuingError):
        world.ca.redeem(prepared)
    monkeypatch.undo()
    with pytest.raises(IssuingError):  # once is once
        world.ca.redeem(prepared)


def test_a_key_that_is_not_the_cas_is_refused_at_the_start(world: World) -> None:
    with pytest.raises(IssuingError):
        IssuingCa(world.fake.issuing.der, KeySigner(ec.generate_private_key(ec.SECP256R1())), PUBLISHED, "TST")


def test_a_certificate_does_not_outlive_its_issuer(world: World) -> None:
    late = world.fake.issuing.certificate.not_valid_after_utc - timedelta(days=10)
    prepared = world.ca.prepare(HOLDER, new_request(), late)
    assert prepared.not_after == world.fake.issuing.certificate.not_valid_after_utc


def test_an_rsa_key_may_also_encipher(world: World) -> None:
    key = KeySigner(rsa.generate_private_key(65537, 3072)).public_key
    der = world.ca.redeem(world.ca.prepare(HOLDER, CertificateRequest(key), NOW))
    usage = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert usage.key_encipherment


def around(world: World) -> Around:
    return Around(world.ca.certificate, PUBLISHED, "TST")


Change = Callable[[dict[str, object], dict[x509.ObjectIdentifier, tuple[x509.ExtensionType, bool]]], object]


def _extension(item: x509.ExtensionType, *, critical: bool = False) -> Change:
    return lambda _fields, extensions: extensions.update({item.oid: (item, critical)})


def _field(name: str, value: object) -> Change:
    return lambda fields, _extensions: fields.update({name: value})


def _without(kind: type[x509.ExtensionType]) -> Change:
    return lambda _fields, extensions: extensions.pop(kind.oid)


_POINT = x509.UniformResourceIdentifier("https://a.example.nl/crl")
_BREAKS: list[tuple[str, Change]] = [
    ("serial number", _field("serial_number", 12345)),
    ("397 days", _field("not_after", NOW + timedelta(days=397))),
    ("397 days", _field("not_before", NOW + timedelta(days=397))),
    ("subject of C, O", _field("subject", x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Zorg")]))),
    ("issuer is", _field("issuer", x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Somebody else")]))),
    ("key ECDSA", _field("public_key", KeySigner(rsa.generate_private_key(65537, 2048)).public_key)),
    ("exactly the extensions", _without(x509.CertificatePolicies)),
    ("exactly the extensions", _extension(x509.OCSPNoCheck())),
    ("exactly the extensions", _extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=True)),
    ("not a CA", _extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)),
    ("keyUsage", _extension(key_usage("digital_signature", "key_cert_sign"), critical=True)),
    ("keyUsage", _extension(key_usage("digital_signature", "key_encipherment"), critical=True)),
    ("extended key usage", _extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]))),
    ("subjectAltName", _extension(x509.SubjectAlternativeName([x509.DNSName("a.example.nl")]))),
    ("key identifiers", _extension(x509.SubjectKeyIdentifier(b"12345"))),
    ("key identifiers", _extension(x509.AuthorityKeyIdentifier(b"12345", None, None))),
    ("plain http", _extension(x509.CRLDistributionPoints([x509.DistributionPoint([_POINT], None, None, None)]))),
    (
        "certificate policy",
        _extension(x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier("2.5.29.32.0"), None)])),
    ),
]


@pytest.mark.parametrize(("clause", "change"), _BREAKS, ids=[f"{at}-{item[0]}" for at, item in enumerate(_BREAKS)])
def test_each_lint_refuses_what_breaks_its_rule(clause: str, change: Change, world: World) -> None:
    good = world.ca.redeem(world.ca.prepare(HOLDER, new_request(), NOW))
    lint_system_certificate(x509.load_der_x509_certificate(good), around(world))
    request = new_request()
    certificate = x509.load_der_x509_certificate(good)
    identity = CertificateIdentity("TST", HOLDER.identifier)
    made = system_certificate(request.public_key, world.ca.signer.public_key, PUBLISHED, identity, HOLDER.dns_names)
    extensions = {item.oid: (item, critical) for item, critical in made}
    fields: dict[str, object] = {
        "serial_number": certificate.serial_number,
        "algorithm": world.ca.signer.algorithm,
        "issuer": certificate.issuer,
        "subject": certificate.subject,
        "public_key": request.public_key,
        "not_before": NOW,
        "not_after": NOW + timedelta(days=397, seconds=-1),
    }
    change(fields, extensions)
    tbs = ToBeSigned(**fields, extensions=list(extensions.values())).encode()  # type: ignore[arg-type]
    odd = x509.load_der_x509_certificate(join_certificate(tbs, world.ca.signer.algorithm, b"\x30\x00"))
    with pytest.raises(Refused) as caught:
        lint_system_certificate(odd, around(world))
    assert caught.value.reason is Reason.LINT_FAILED
    assert clause in caught.value.detail


def test_a_name_of_one_label_only_where_it_is_allowed(world: World) -> None:
    holder = Holder(HOLDER.identifier, "Zorgkantoor Test", "12345678", ("localhost",))
    with pytest.raises(Refused) as caught:
        world.ca.prepare(holder, new_request(), NOW)
    assert caught.value.reason is Reason.LINT_FAILED
    lab = IssuingCa(world.fake.issuing.der, world.ca.signer, PUBLISHED, "TST", local_names=["localhost"])
    assert lab.prepare(holder, new_request(), NOW)


def test_a_crl_says_every_reason_and_reads_back(world: World) -> None:
    entries = [
        CrlEntry(2**158 + number, NOW - timedelta(days=number), reason.code)
        for number, reason in enumerate(RevocationReason)
        if reason is not RevocationReason.REMOVE_FROM_CRL
    ]
    plan = CrlPlan(2**70, NOW, NOW + timedelta(hours=2))
    der = make_crl(world.ca.signer, world.ca.certificate.subject, PUBLISHED, plan, entries)
    crl = x509.load_der_x509_crl(der)
    assert crl.is_signature_valid(world.fake.issuing.key.public_key())
    assert crl.public_bytes(Encoding.DER) == der
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 2**70
    for entry, found in zip(entries, crl, strict=True):
        assert (found.serial_number, found.revocation_date_utc) == (entry.serial_number, entry.revoked_at)
        reasons = [item.value for item in found.extensions]
        assert len(reasons) == (1 if entry.reason else 0)
        for reason in reasons:
            assert isinstance(reason, x509.CRLReason)
            assert RevocationReason(reason.reason.value).code == entry.reason


def test_the_policy_is_in_our_own_arc() -> None:
    assert SYSTEM_POLICY_OID.dotted_string.startswith("2.25.")
