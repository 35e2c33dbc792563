"""Identity schemes on PKIoverheid-like chains: RSASSA-PSS, several levels, both otherNames.

Each refusal stands beside what passes.

cases/oauth.md 20, 24 and 25 for certificates of others; those of our own CA are in `test_validation.py`.
"""

from contextlib import suppress
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.validation.schemes import uzi
from pki.validation.validator import CertificateValidator, PinnedIssuer
from tests.fakes.certificates import FakeCertificate
from tests.fakes.pkioverheid import (
    PERSON_POLICY,
    SERVER_POLICY,
    UZI_NAME,
    FakePkioverheid,
    ia5_name,
    permanent,
    subject,
    uzi_name,
)


@pytest.fixture(scope="module")
def pki() -> FakePkioverheid:
    return FakePkioverheid()


@pytest.fixture(scope="module")
def by_uzi(pki: FakePkioverheid) -> CertificateValidator:
    return pki.validator("uzi")


@pytest.fixture(scope="module")
def by_subject(pki: FakePkioverheid) -> CertificateValidator:
    return pki.validator("pkio")


def named(validator: CertificateValidator, leaf: FakeCertificate, pki: FakePkioverheid) -> str:
    return validator.validate(leaf.der, leaf.chain_der, pki.now).identity.subject


def refusal(validator: CertificateValidator, leaf: FakeCertificate, pki: FakePkioverheid) -> Reason:
    with pytest.raises(Refused) as caught:
        validator.validate(leaf.der, leaf.chain_der, pki.now)
    assert "90000123" not in caught.value.detail
    return caught.value.reason


# -- the chain ------------------------------------------------------------------------------------------------------


def test_a_g4_server_certificate_of_the_uzi_register(pki: FakePkioverheid, by_uzi: CertificateValidator) -> None:
    leaf = pki.uzi()
    found = by_uzi.validate(leaf.der, leaf.chain_der, pki.now)
    assert found.identity.subject == "agbcode:01234567"
    assert found.environment == "TST"
    assert found.issuer_key == pki.tsp.spki_sha256
    assert found.dns_names == ("systeem.zorg.test",)
    assert leaf.certificate.signature_algorithm_oid.dotted_string == "1.2.840.113549.1.1.10"
    # The levels between need not be sent along.
    assert by_uzi.validate(leaf.der, (), pki.now)


def test_20_a_rogue_hierarchy_with_the_same_names(pki: FakePkioverheid, by_uzi: CertificateValidator) -> None:
    rogue = FakePkioverheid(rogue=True)
    leaf = rogue.uzi()
    assert [item.subject for item in leaf.chain] == [item.subject for item in pki.uzi().chain]
    assert refusal(by_uzi, leaf, pki) is Reason.CERTIFICATE_UNTRUSTED


def test_another_ca_of_the_same_hierarchy_may_not_name_parties(
    pki: FakePkioverheid, by_uzi: CertificateValidator
) -> None:
    # With the names of the register's own certificates, and a path to the very same root.
    assert refusal(by_uzi, pki.uzi(issuer=pki.domain), pki) is Reason.CERTIFICATE_ISSUER_UNPINNED


@pytest.mark.parametrize(
    "pss",
    [
        padding.PSS(padding.MGF1(hashes.SHA256()), 48),
        padding.PSS(padding.MGF1(hashes.SHA384()), 20),
    ],
    ids=["other mask digest", "short salt"],
)
def test_odd_pss_parameters(pss: padding.PSS, pki: FakePkioverheid, by_uzi: CertificateValidator) -> None:
    assert refusal(by_uzi, pki.uzi(pss=pss), pki) is Reason.CERTIFICATE_ALGORITHM


def test_an_anchor_need_not_be_self_signed(pki: FakePkioverheid) -> None:
    validator = pki.validator(
        anchors=[pki.domain.der], intermediates=[pki.tsp.der], crls=pki.crl_store(pki.crl(pki.domain), pki.crl(pki.tsp))
    )
    leaf = pki.uzi()
    assert named(validator, leaf, pki) == "agbcode:01234567"
    # The root above it is then just another certificate.
    with pytest.raises(Refused) as caught:
        validator.validate(leaf.der, (pki.root.der,), pki.now + timedelta(days=400))
    assert caught.value.reason in {Reason.CERTIFICATE_EXPIRED, Reason.CERTIFICATE_PATH}


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_list_is_wanted_for_every_level(level: int, pki: FakePkioverheid) -> None:
    held = [pki.crl(item) for item in pki.authorities if item is not pki.authorities[level]]
    assert refusal(pki.validator(crls=pki.crl_store(*held)), pki.uzi(), pki) is Reason.CRL_MISSING


def test_a_revoked_domain_ca_takes_its_leaves_along() -> None:
    pki = FakePkioverheid()
    pki.revoked.append(pki.tsp.certificate.serial_number)
    assert refusal(pki.validator(), pki.uzi(), pki) is Reason.CERTIFICATE_REVOKED


def test_a_ca_that_publishes_every_three_hours_has_a_limit_of_its_own(pki: FakePkioverheid) -> None:
    crls = [pki.crl(item, at=pki.now - timedelta(hours=3)) for item in pki.authorities]
    leaf = pki.uzi()
    assert refusal(pki.validator(crls=pki.crl_store(*crls)), leaf, pki) is Reason.CRL_STALE
    patient = pki.validator(crls=pki.crl_store(*crls), max_crl_age=timedelta(hours=4))
    assert named(patient, leaf, pki) == "agbcode:01234567"
    with pytest.raises(Refused) as caught:
        patient.validate(leaf.der, (), pki.now + timedelta(hours=2))
    assert caught.value.reason is Reason.CRL_STALE


def test_a_ca_key_that_issues_to_people_too_is_narrowed_by_policy(pki: FakePkioverheid) -> None:
    validator = pki.validator(policies=(SERVER_POLICY.dotted_string,))
    assert named(validator, pki.uzi(), pki) == "agbcode:01234567"
    assert named(validator, pki.uzi(policies=[PERSON_POLICY, SERVER_POLICY]), pki)
    assert refusal(validator, pki.uzi(policies=[PERSON_POLICY]), pki) is Reason.CERTIFICATE_USAGE


# -- scheme uzi -----------------------------------------------------------------------------------------------------


def test_an_agb_of_zeros_is_none_and_the_ura_names_the_subscriber(
    pki: FakePkioverheid, by_uzi: CertificateValidator
) -> None:
    assert named(by_uzi, pki.uzi(uzi_name(agb="00000000"), permanent()), pki) == "ura:90000123"
    nobody = pki.uzi(uzi_name(agb="00000000", ura="00000000"))
    assert refusal(by_uzi, nobody, pki) is Reason.CERTIFICATE_IDENTITY


def test_before_g4_there_is_one_name(pki: FakePkioverheid, by_uzi: CertificateValidator) -> None:
    assert named(by_uzi, pki.uzi(uzi_name()), pki) == "agbcode:01234567"


def test_the_two_names_of_g4_must_agree(pki: FakePkioverheid, by_uzi: CertificateValidator) -> None:
    assert named(by_uzi, pki.uzi(uzi_name(ura="00000123"), permanent("123", None)), pki)
    for other in (
        permanent("90000124"),
        permanent("90000123", "2.16.528.1.1007.3.2"),
        permanent(None),
        permanent(""),
        permanent("90000123 "),
        permanent("\uff190000123"),  # a full-width digit
        x509.OtherName(permanent().type_id, b"\x0c\x0890000123"),
    ):
        assert refusal(by_uzi, pki.uzi(uzi_name(), other), pki) is Reason.CERTIFICATE_IDENTITY


@pytest.mark.parametrize("kind", ["Z", "N", "M", "s", "X"])
def test_a_card_of_a_person_is_no_system(kind: str, pki: FakePkioverheid, by_uzi: CertificateValidator) -> None:
    assert refusal(by_uzi, pki.uzi(uzi_name(kind=kind)), pki) is Reason.CERTIFICATE_IDENTITY


@pytest.mark.parametrize(
    "odd",
    [
        {"agb": "012345678"},
        {"agb": "0123456"},
        {"agb": "0123456X"},
        {"ura": "9000012"},
        {"ura": "900001234"},
        {"uzi": "90001234"},
        {"version": "2"},
        {"version": ""},
        {"role": "00000"},
        {"role": "1.000"},
        {"ca": "2.16.528.01"},
        {"ca": "9.16.528.1"},
        {"ca": ""},
        {"agb": "01234567-01234568"},
        {"agb": "01234567\x00"},
        {"agb": "01234567\n"},
        {"uzi": " 00012345"},
    ],
)
def test_a_name_in_any_other_layout(odd: dict[str, str], pki: FakePkioverheid, by_uzi: CertificateValidator) -> None:
    assert refusal(by_uzi, pki.uzi(uzi_name(**odd)), pki) is Reason.CERTIFICATE_IDENTITY


def test_25_the_name_in_another_string_type_or_place(pki: FakePkioverheid, by_uzi: CertificateValidator) -> None:
    text = uzi_name().value[2:].decode()
    for names in (
        [x509.OtherName(UZI_NAME, b"\x0c" + uzi_name().value[1:])],  # UTF8String
        [x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), uzi_name().value)],  # a Microsoft UPN
        [x509.RFC822Name("a@b.test"), uzi_name()],
        [x509.UniformResourceIdentifier(f"uzi:{text}")],
        [x509.DirectoryName(subject(text))],
        [uzi_name(), uzi_name(agb="01234568")],
        [uzi_name(), uzi_name()],
        [uzi_name(), permanent(), permanent()],
        [permanent()],
        [ia5_name("")],
    ):
        assert refusal(by_uzi, pki.uzi(*names), pki) is Reason.CERTIFICATE_IDENTITY
    assert refusal(by_uzi, pki.issue([], subject(text)), pki) is Reason.CERTIFICATE_IDENTITY


@pytest.mark.parametrize(
    "der",
    [
        b"\x16\x81" + uzi_name().value[1:],  # BER: a length in two bytes
        uzi_name().value + b"\x05\x00",
        uzi_name().value[:-1],
        b"",
    ],
)
def test_a_name_in_ber_with_more_or_with_less(der: bytes) -> None:
    assert uzi.parse_uzi_name(uzi_name().value).agb == "01234567"
    with pytest.raises(Refused):
        uzi.parse_uzi_name(der)


@pytest.mark.parametrize("der", [permanent().value + b"\x00", permanent().value[:-1], b"\x30\x00", b""])
def test_a_permanent_identifier_with_more_or_with_less(der: bytes) -> None:
    assert uzi.permanent_identifier(permanent().value) == "90000123"
    with pytest.raises(Refused):
        uzi.permanent_identifier(der)


@given(st.binary(max_size=140))
def test_no_bytes_break_the_readers(value: bytes) -> None:
    for read in (uzi.parse_uzi_name, uzi.permanent_identifier):
        for der in (value, bytes((0x16, len(value))) + value if len(value) < 128 else value):
            with suppress(Refused):
                assert read(der)


# -- scheme pkio ----------------------------------------------------------------------------------------------------

OIN = "00000001003214345000"


def test_an_organisation_by_its_kvk_number_or_its_oin(pki: FakePkioverheid, by_subject: CertificateValidator) -> None:
    assert named(by_subject, pki.organisation(kvk="NTRNL-12345678"), pki) == "kvk:12345678"
    assert named(by_subject, pki.organisation(serial=OIN), pki) == f"oin:{OIN}"
    # One certificate, one identity: with both, the KvK number.
    assert named(by_subject, pki.organisation(kvk="NTRNL-12345678", serial=OIN), pki) == "kvk:12345678"
    # A number that the issuer chose is no identity, and does not stand in the way of one.
    assert named(by_subject, pki.organisation(kvk="NTRNL-12345678", serial="QC-77"), pki) == "kvk:12345678"


def test_an_oin_made_of_another_kvk_number(pki: FakePkioverheid, by_subject: CertificateValidator) -> None:
    same = pki.organisation(kvk="NTRNL-12345678", serial="00000003123456780000")
    assert named(by_subject, same, pki) == "kvk:12345678"
    other = pki.organisation(kvk="NTRNL-12345678", serial="00000003123456790000")
    assert refusal(by_subject, other, pki) is Reason.CERTIFICATE_IDENTITY


@pytest.mark.parametrize(
    "identifiers",
    [
        {},
        {"kvk": "12345678"},
        {"kvk": "NTRNL-1234567"},
        {"kvk": "NTRNL-123456789"},
        {"kvk": "NTRNL-00000000"},
        {"kvk": "NTRBE-12345678"},
        {"kvk": "VATNL-12345678"},
        {"kvk": "ntrnl-12345678"},
        {"kvk": "NTRNL-12345678\x00"},
        {"kvk": "NTRNL-\uff112345678"},
        {"kvk": "VATNL-123456789B01", "serial": OIN},
        {"serial": OIN[:-1]},
        {"serial": OIN + "0"},
        {"serial": "0" * 20},
        {"serial": "agbcode:01234567"},
    ],
)
def test_a_subject_that_names_no_organisation(
    identifiers: dict[str, str], pki: FakePkioverheid, by_subject: CertificateValidator
) -> None:
    assert refusal(by_subject, pki.organisation(**identifiers), pki) is Reason.CERTIFICATE_IDENTITY


def test_24_reordered_repeated_and_multi_valued_subjects(
    pki: FakePkioverheid, by_subject: CertificateValidator
) -> None:
    good = list(subject("a.test", kvk="NTRNL-12345678"))
    twice = [*good, x509.NameAttribute(NameOID.ORGANIZATION_IDENTIFIER, "NTRNL-87654321")]
    dns = [x509.DNSName("a.test")]
    assert named(by_subject, pki.issue(dns, x509.Name(good[::-1])), pki) == "kvk:12345678"
    assert refusal(by_subject, pki.issue(dns, x509.Name(twice)), pki) is Reason.CERTIFICATE_IDENTITY
    together = x509.RelativeDistinguishedName
    multi = x509.Name([together([item]) for item in good[:2]] + [together(good[2:])])
    assert refusal(by_subject, pki.issue(dns, multi), pki) is Reason.CERTIFICATE_IDENTITY
    nul = [*good[:2], x509.NameAttribute(NameOID.COMMON_NAME, "a.test\x00.evil.test"), *good[3:]]
    assert refusal(by_subject, pki.issue(dns, x509.Name(nul)), pki) is Reason.CERTIFICATE_IDENTITY


def test_25_an_identity_in_the_names_is_not_read(pki: FakePkioverheid, by_subject: CertificateValidator) -> None:
    leaf = pki.issue([x509.DNSName("a.test"), uzi_name()], subject("a.test", kvk="NTRNL-12345678"))
    assert named(by_subject, leaf, pki) == "kvk:12345678"
    assert refusal(by_subject, pki.uzi(), pki) is Reason.CERTIFICATE_IDENTITY


def test_a_subject_needs_no_alternative_names(pki: FakePkioverheid, by_subject: CertificateValidator) -> None:
    leaf = pki.issue([], subject("a.test", kvk="NTRNL-12345678"))
    assert by_subject.validate(leaf.der, (), pki.now).dns_names == ()


# -- pins -----------------------------------------------------------------------------------------------------------


def test_one_key_has_one_pin(pki: FakePkioverheid) -> None:
    pins = [PinnedIssuer(pki.tsp.spki_sha256, scheme, "TST") for scheme in ("uzi", "pkio")]
    with pytest.raises(ValueError, match="twice"):
        pki.validator(issuers=pins)


@pytest.mark.parametrize(
    "odd",
    [
        {"scheme": "guess"},
        {"environment": "DEV"},
        {"spki_sha256": "ab" * 31},
        {"spki_sha256": "zz" * 32},
        {"scheme": "mapped"},
        {"policies": ("not an oid",)},
        {"policies": ("1.2.3",) * 17},
        {"max_crl_age": timedelta(0)},
    ],
)
def test_a_contradictory_pin(odd: dict[str, object]) -> None:
    good: dict[str, object] = {"spki_sha256": "ab" * 32, "scheme": "uzi", "environment": "TST"}
    assert PinnedIssuer(**good)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"expected|needs"):
        PinnedIssuer(**(good | odd))  # type: ignore[arg-type]
