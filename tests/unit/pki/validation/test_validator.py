"""Validation of presented certificates: each refusal beside what passes (cases/oauth.md 17-25, 29-32, 39)."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from authz.domain.errors import Refused
from authz.domain.identifiers import Identifier
from authz.domain.reasons import Reason
from pki.names import IDENTITY_OID, CertificateIdentity, encode_identity
from pki.validation.validator import CertificateValidator, CrlStore, PinnedIssuer, thumbprint_of
from tests.fakes.certificates import FakeAuthority, FakeCertificate, Odd, key_usage, name


@pytest.fixture(scope="module")
def ca() -> FakeAuthority:
    return FakeAuthority()


@pytest.fixture
def validator(ca: FakeAuthority) -> CertificateValidator:
    return ca.validator()


def refusal(validator: CertificateValidator, leaf: FakeCertificate, ca: FakeAuthority, **late: float) -> Reason:
    with pytest.raises(Refused) as caught:
        validator.validate(leaf.der, leaf.chain_der, ca.now + timedelta(**late))
    return caught.value.reason


def test_a_good_certificate_names_its_party(ca: FakeAuthority, validator: CertificateValidator) -> None:
    leaf = ca.issue("agbcode:01234567", dns=("a.test", "b.test"))
    found = validator.validate(leaf.der, leaf.chain_der, ca.now)
    assert found.identity == Identifier.parse_subject("agbcode:01234567")
    assert found.environment == "TST"
    assert found.issuer_key == ca.issuing.spki_sha256
    assert found.thumbprint == thumbprint_of(leaf.der)
    assert len(found.thumbprint) == 43
    assert found.dns_names == ("a.test", "b.test")
    assert found.organization == "Zorgkantoor Test"


def test_the_chain_need_not_be_sent_along(ca: FakeAuthority, validator: CertificateValidator) -> None:
    assert validator.validate(ca.issue().der, (), ca.now).identity.value == "5000"


@pytest.mark.parametrize("garbage", [b"", b"\x00", b"not a certificate", b"0" * 20_000])
def test_garbage_is_malformed(garbage: bytes, ca: FakeAuthority, validator: CertificateValidator) -> None:
    with pytest.raises(Refused) as caught:
        validator.validate(garbage, (), ca.now)
    assert caught.value.reason is Reason.CERTIFICATE_MALFORMED


def test_a_truncated_or_extended_certificate_is_malformed(ca: FakeAuthority, validator: CertificateValidator) -> None:
    der = ca.issue().der
    for other in (der[:-1], der + b"\x00"):
        with pytest.raises(Refused) as caught:
            validator.validate(other, (), ca.now)
        assert caught.value.reason is Reason.CERTIFICATE_MALFORMED


def test_18_expired_and_not_yet_valid(ca: FakeAuthority, validator: CertificateValidator) -> None:
    assert refusal(validator, ca.expired(), ca) is Reason.CERTIFICATE_EXPIRED
    assert refusal(validator, ca.not_yet_valid(), ca) is Reason.CERTIFICATE_NOT_YET_VALID
    edge = ca.issue(not_before=ca.now, not_after=ca.now)
    assert validator.validate(edge.der, (), ca.now)


def test_19_an_unknown_ca_is_untrusted(ca: FakeAuthority, validator: CertificateValidator) -> None:
    assert refusal(validator, FakeAuthority(label="Somebody else").issue(), ca) is Reason.CERTIFICATE_UNTRUSTED


def test_20_a_rogue_ca_with_the_same_names_is_untrusted(ca: FakeAuthority, validator: CertificateValidator) -> None:
    rogue = ca.rogue()
    assert rogue.issuing.certificate.subject == ca.issuing.certificate.subject
    leaf = rogue.issue()
    assert refusal(validator, leaf, ca) is Reason.CERTIFICATE_UNTRUSTED
    # Also when it brings its own root along, and when nothing in it helps to tell the keys apart.
    with pytest.raises(Refused) as caught:
        validator.validate(leaf.der, (*leaf.chain_der, rogue.root.der), ca.now)
    assert caught.value.reason is Reason.CERTIFICATE_UNTRUSTED
    bare = rogue.issue(odd=Odd(without=[x509.AuthorityKeyIdentifier]))
    assert refusal(validator, bare, ca) is Reason.CERTIFICATE_UNTRUSTED


@pytest.mark.parametrize("chained", [True, False])
def test_20_a_signature_of_another_kind_than_the_key_of_the_ca_is_untrusted(
    ca: FakeAuthority, validator: CertificateValidator, *, chained: bool
) -> None:
    pretended = replace(ca.issuing, key=rsa.generate_private_key(65537, 3072))
    for odd in (Odd(), Odd(without=[x509.AuthorityKeyIdentifier])):
        leaf = ca.issue(issuer=pretended, odd=odd)
        with pytest.raises(Refused) as caught:
            validator.validate(leaf.der, (ca.issuing.der,) if chained else (), ca.now)
        assert caught.value.reason is Reason.CERTIFICATE_UNTRUSTED


def test_a_bogus_chain_beside_a_good_certificate_does_no_harm(
    ca: FakeAuthority, validator: CertificateValidator
) -> None:
    rogue = ca.rogue()
    assert validator.validate(ca.issue().der, (rogue.issuing.der, rogue.root.der), ca.now)


def test_a_sibling_ca_under_the_same_root_may_not_name_parties(
    ca: FakeAuthority, validator: CertificateValidator
) -> None:
    sibling = ca.make_ca("Another CA", ca.root)
    assert refusal(validator, ca.issue(issuer=sibling), ca) is Reason.CERTIFICATE_ISSUER_UNPINNED


def test_a_ca_below_the_issuing_ca_breaks_its_path_length(ca: FakeAuthority, validator: CertificateValidator) -> None:
    below = ca.make_ca("Below", ca.issuing)
    leaf = ca.issue(issuer=below)
    with pytest.raises(Refused) as caught:
        validator.validate(leaf.der, (below.der, ca.issuing.der), ca.now)
    assert caught.value.reason is Reason.CERTIFICATE_PATH


def test_a_leaf_that_signed_another_leaf_is_no_ca(ca: FakeAuthority, validator: CertificateValidator) -> None:
    leaf = ca.issue()
    child = ca.issue("uzovi:6000", issuer=leaf)
    with pytest.raises(Refused) as caught:
        validator.validate(child.der, (leaf.der, ca.issuing.der), ca.now)
    assert caught.value.reason is Reason.CERTIFICATE_PATH


@pytest.mark.parametrize("eku", [None, [ExtendedKeyUsageOID.SERVER_AUTH], [ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]])
def test_21_without_client_auth(
    eku: list[x509.ObjectIdentifier] | None, ca: FakeAuthority, validator: CertificateValidator
) -> None:
    assert refusal(validator, ca.issue(eku=eku), ca) is Reason.CERTIFICATE_USAGE
    assert validator.validate(ca.issue(eku=[ExtendedKeyUsageOID.CLIENT_AUTH]).der, (), ca.now)


def test_21_without_digital_signature(ca: FakeAuthority, validator: CertificateValidator) -> None:
    encipher = ca.issue(odd=Odd([(key_usage("key_encipherment"), True)]))
    assert refusal(validator, encipher, ca) is Reason.CERTIFICATE_USAGE
    assert refusal(validator, ca.issue(odd=Odd(without=[x509.KeyUsage])), ca) is Reason.CERTIFICATE_USAGE


def test_22_a_ca_certificate_as_leaf(ca: FakeAuthority, validator: CertificateValidator) -> None:
    assert refusal(validator, ca.ca_as_leaf(), ca) is Reason.CERTIFICATE_IS_CA
    assert refusal(validator, ca.issuing, ca) is Reason.CERTIFICATE_IS_CA
    assert refusal(validator, ca.root, ca) is Reason.CERTIFICATE_IS_CA
    signs = ca.issue(odd=Odd([(key_usage("digital_signature", "crl_sign"), True)]))
    assert refusal(validator, signs, ca) is Reason.CERTIFICATE_IS_CA


def test_23_revoked(ca: FakeAuthority) -> None:
    bad, good = ca.issue(), ca.issue("uzovi:6000")
    crl = ca.crl(revoked=[bad.certificate.serial_number])
    validator = ca.validator(ca.crl_store(ca.root_crl(), crl))
    assert refusal(validator, bad, ca) is Reason.CERTIFICATE_REVOKED
    assert validator.validate(good.der, (), ca.now)
    # A list that has become stale still says what it said.
    assert refusal(validator, bad, ca, hours=5) is Reason.CERTIFICATE_REVOKED


def test_23_a_revocation_ends_what_was_remembered(ca: FakeAuthority) -> None:
    leaf = ca.issue()
    store = ca.crl_store()
    validator = ca.validator(store)
    assert validator.validate(leaf.der, (), ca.now)
    store.put(ca.crl(at=ca.now + timedelta(seconds=1), revoked=[leaf.certificate.serial_number]))
    assert refusal(validator, leaf, ca, seconds=1) is Reason.CERTIFICATE_REVOKED


def test_23_a_revoked_issuing_ca(ca: FakeAuthority) -> None:
    root_crl = ca.crl(issuer=ca.root, revoked=[ca.issuing.certificate.serial_number])
    assert refusal(ca.validator(ca.crl_store(root_crl, ca.crl())), ca.issue(), ca) is Reason.CERTIFICATE_REVOKED


@pytest.mark.parametrize("which", ["root", "issuing"])
def test_23_a_missing_crl_for_any_certificate_of_the_path(which: str, ca: FakeAuthority) -> None:
    held = ca.crl() if which == "root" else ca.root_crl()
    assert refusal(ca.validator(ca.crl_store(held)), ca.issue(), ca) is Reason.CRL_MISSING


def test_23_stale_crl_by_age_by_next_update_and_from_the_future(ca: FakeAuthority) -> None:
    leaf = ca.issue()
    validator = ca.validator()
    assert validator.validate(leaf.der, (), ca.now + timedelta(hours=1))
    # The outcome is remembered, yet the age of the list is looked at every time.
    assert refusal(validator, leaf, ca, hours=1, seconds=1) is Reason.CRL_STALE
    short = ca.validator(ca.crl_store(ca.root_crl(), ca.crl(life=timedelta(minutes=10))))
    assert refusal(short, leaf, ca, minutes=11) is Reason.CRL_STALE
    future = ca.validator(ca.crl_store(ca.root_crl(), ca.crl(at=ca.now + timedelta(minutes=2))))
    assert refusal(future, leaf, ca) is Reason.CRL_STALE
    assert future.validate(leaf.der, (), ca.now + timedelta(minutes=2))


def test_23_the_root_list_may_be_old_but_not_too_old(ca: FakeAuthority) -> None:
    old = ca.root_crl(at=ca.now - timedelta(days=100))
    leaf = ca.issue()
    assert ca.validator(ca.crl_store(old, ca.crl())).validate(leaf.der, (), ca.now)
    strict = ca.validator(ca.crl_store(old, ca.crl()), max_authority_crl_age=timedelta(days=99))
    assert refusal(strict, leaf, ca) is Reason.CRL_STALE


def test_what_was_remembered_ends_with_the_certificate(ca: FakeAuthority) -> None:
    leaf = ca.issue(not_after=ca.now + timedelta(minutes=5))
    validator = ca.validator()
    assert validator.validate(leaf.der, (), ca.now + timedelta(minutes=5))
    assert refusal(validator, leaf, ca, minutes=5, seconds=1) is Reason.CERTIFICATE_EXPIRED
    assert refusal(validator, leaf, ca, days=-2) is Reason.CERTIFICATE_NOT_YET_VALID


def test_24_the_order_of_the_subject_is_no_identity_and_multi_valued_parts_are_refused(
    ca: FakeAuthority, validator: CertificateValidator
) -> None:
    subject = name("client.test")
    reordered = ca.issue(odd=Odd(subject=x509.Name(list(reversed(list(subject))))))
    assert validator.validate(reordered.der, (), ca.now).identity.value == "5000"
    multi = x509.Name([x509.RelativeDistinguishedName(list(subject))])
    assert refusal(validator, ca.issue(odd=Odd(subject=multi)), ca) is Reason.CERTIFICATE_IDENTITY


def test_24_an_issuer_with_its_name_in_another_order_is_another_issuer(
    ca: FakeAuthority, validator: CertificateValidator
) -> None:
    issuer = x509.Name(list(reversed(list(ca.issuing.certificate.subject))))
    assert refusal(validator, ca.issue(odd=Odd(issuer=issuer)), ca) is Reason.CERTIFICATE_UNTRUSTED


def test_24_an_embedded_nul_in_subject_or_names(ca: FakeAuthority, validator: CertificateValidator) -> None:
    nul = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Zorgkantoor\x00.evil")])
    assert refusal(validator, ca.issue(odd=Odd(subject=nul)), ca) is Reason.CERTIFICATE_IDENTITY
    assert refusal(validator, ca.issue(dns=("good.test\x00.evil.test",)), ca) is Reason.CERTIFICATE_IDENTITY


def test_25_an_identity_in_another_type_of_name(ca: FakeAuthority, validator: CertificateValidator) -> None:
    good = encode_identity(CertificateIdentity("TST", Identifier.parse_subject("uzovi:5000")))
    upn = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
    for names in (
        [x509.DNSName("uzovi:5000")],
        [x509.UniformResourceIdentifier("uzovi:5000")],
        [x509.RFC822Name("uzovi@5000.test")],
        [x509.OtherName(upn, good.value)],
        [x509.OtherName(IDENTITY_OID, b"\x0c\x0auzovi:5000")],
        [good, good],
        [good, x509.OtherName(upn, b"\x0c\x03abc")],
        [good, x509.RFC822Name("a@b.test")],
    ):
        assert refusal(validator, ca.issue(names=names), ca) is Reason.CERTIFICATE_IDENTITY
    assert validator.validate(ca.issue(names=[good]).der, (), ca.now)
    assert refusal(validator, ca.issue(names=[]), ca) is Reason.CERTIFICATE_IDENTITY


def test_29_self_signed_with_the_same_subject_and_names(ca: FakeAuthority, validator: CertificateValidator) -> None:
    leaf = ca.issue()
    assert refusal(validator, ca.self_signed(leaf), ca) is Reason.CERTIFICATE_UNTRUSTED


def test_30_both_certificates_of_a_renewal_work_with_the_same_or_another_key(
    ca: FakeAuthority, validator: CertificateValidator
) -> None:
    old = ca.issue()
    same, other = ca.issue(key=old.key), ca.issue()
    found = [validator.validate(item.der, (), ca.now) for item in (old, same, other)]
    assert {item.identity.subject for item in found} == {"uzovi:5000"}
    assert len({item.thumbprint for item in found}) == 3


def test_32_a_test_certificate_on_production(ca: FakeAuthority) -> None:
    production = FakeAuthority("PRD", label="Production")
    both = CertificateValidator(
        anchors=[ca.root.der, production.root.der],
        issuers=[ca.pin, production.pin],
        intermediates=[ca.issuing.der, production.issuing.der],
        crls=_all_crls(ca, production),
        environment="PRD",
    )
    assert refusal(both, ca.issue(), ca) is Reason.CERTIFICATE_ENVIRONMENT
    assert both.validate(production.issue().der, (), ca.now).environment == "PRD"


def test_32_an_issuing_ca_that_speaks_for_another_environment(
    ca: FakeAuthority, validator: CertificateValidator
) -> None:
    assert refusal(validator, ca.issue(environment="PRD"), ca) is Reason.CERTIFICATE_ENVIRONMENT


def test_weak_keys_and_algorithms(ca: FakeAuthority, validator: CertificateValidator) -> None:
    weak = ca.issue(key=rsa.generate_private_key(65537, 2048))
    assert refusal(validator, weak, ca) is Reason.CERTIFICATE_ALGORITHM
    curve = ca.issue(key=ec.generate_private_key(ec.SECP521R1()))
    assert refusal(validator, curve, ca) is Reason.CERTIFICATE_ALGORITHM
    sha3 = ca.issue(odd=Odd(signature_hash=hashes.SHA3_256()))
    assert refusal(validator, sha3, ca) is Reason.CERTIFICATE_ALGORITHM
    assert validator.validate(ca.issue(key=ec.generate_private_key(ec.SECP384R1())).der, (), ca.now)


def test_an_unknown_critical_extension(ca: FakeAuthority, validator: CertificateValidator) -> None:
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00")
    assert refusal(validator, ca.issue(odd=Odd([(unknown, True)])), ca) is Reason.CERTIFICATE_PATH
    assert validator.validate(ca.issue(odd=Odd([(unknown, False)])).der, (), ca.now)


def test_39_too_long_a_chain(ca: FakeAuthority, validator: CertificateValidator) -> None:
    leaf = ca.issue()
    with pytest.raises(Refused) as caught:
        validator.validate(leaf.der, [ca.issuing.der] * 6, ca.now)
    assert caught.value.reason is Reason.CERTIFICATE_PATH
    assert validator.validate(leaf.der, [ca.issuing.der] * 5, ca.now)


def test_an_expired_root_vouches_for_nobody(ca: FakeAuthority) -> None:
    old = FakeAuthority(label="Old")
    old.root = old.make_ca("Old root", None, path_length=1, not_after=old.now - timedelta(seconds=1))
    old.issuing = old.make_ca("Old issuing", old.root)
    assert refusal(old.validator(), old.issue(), old) is Reason.CERTIFICATE_PATH


def test_what_is_remembered_is_bounded(ca: FakeAuthority) -> None:
    validator = ca.validator(max_remembered=2)
    for _ in range(4):
        validator.validate(ca.issue().der, (), ca.now)
    assert len(validator._remembered) == 2


def test_nothing_to_trust_or_believe_is_an_error(ca: FakeAuthority) -> None:
    with pytest.raises(ValueError, match="anchor"):
        ca.validator(anchors=[])
    with pytest.raises(ValueError, match="issuer"):
        ca.validator(issuers=[])
    with pytest.raises(ValueError, match="scheme"):
        ca.validator(issuers=[PinnedIssuer(ca.issuing.spki_sha256, "guess", "TST")])


async def test_it_works_inside_a_running_event_loop(ca: FakeAuthority, validator: CertificateValidator) -> None:
    assert validator.validate(ca.issue().der, (), ca.now)


def _all_crls(*authorities: FakeAuthority) -> CrlStore:
    store = CrlStore([item.der for one in authorities for item in (one.root, one.issuing)])
    for one in authorities:
        store.put(one.root_crl())
        store.put(one.crl())
    return store


def test_a_refused_chain_that_comes_again_is_not_looked_at_again_within_a_second(
    ca: FakeAuthority, validator: CertificateValidator, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[bytes] = []
    real = CertificateValidator._validate

    def counted(self: CertificateValidator, leaf: bytes, *rest: Any) -> Any:
        looked.append(leaf)
        return real(self, leaf, *rest)

    monkeypatch.setattr(CertificateValidator, "_validate", counted)
    stranger, other = ca.rogue().issue(), ca.rogue().issue()
    for _ in range(3):
        assert refusal(validator, stranger, ca) is Reason.CERTIFICATE_UNTRUSTED
    assert len(looked) == 1
    assert refusal(validator, other, ca) is Reason.CERTIFICATE_UNTRUSTED
    assert refusal(validator, stranger, ca, seconds=1) is Reason.CERTIFICATE_UNTRUSTED
    assert len(looked) == 3


def test_a_remembered_refusal_ends_with_a_newer_crl(ca: FakeAuthority) -> None:
    crls = CrlStore([ca.root.der, ca.issuing.der])
    validator, leaf = ca.validator(crls), ca.issue()
    assert refusal(validator, leaf, ca) is Reason.CRL_MISSING
    crls.put(ca.root_crl())
    crls.put(ca.crl())
    assert validator.validate(leaf.der, leaf.chain_der, ca.now)
