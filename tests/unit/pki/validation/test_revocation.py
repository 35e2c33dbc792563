"""What is known about revoked certificates: deltas, lists signed with another key of the CA, OCSP answers."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.validation.crl_store import CrlStore
from pki.validation.ocsp_source import question_about
from pki.validation.ocsp_store import OcspStore
from pki.validation.validator import CertificateValidator
from tests.fakes.certificates import FakeAuthority, FakeCertificate, Odd, key_usage
from tests.fakes.ocsp import answer, responder

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def ca() -> FakeAuthority:
    return FakeAuthority()


def refusal(by: CertificateValidator, leaf: FakeCertificate, at: datetime) -> Reason:
    with pytest.raises(Refused) as caught:
        by.validate(leaf.der, (), at)
    return caught.value.reason


# -- delta CRLs -----------------------------------------------------------------------------------------------------


def delta(
    ca: FakeAuthority,
    base: int,
    number: int,
    revoked: Sequence[FakeCertificate],
    *,
    released: bool = False,
    **options: Any,
) -> bytes:
    """Changes since list `base`."""
    at = options.get("at", ca.now)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ca.issuing.certificate.subject)
        .last_update(at)
        .next_update(at + HOUR)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(x509.DeltaCRLIndicator(base), critical=True)
    )
    reason = x509.ReasonFlags.remove_from_crl if released else x509.ReasonFlags.certificate_hold
    for leaf in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(leaf.certificate.serial_number).revocation_date(at)
        builder = builder.add_revoked_certificate(entry.add_extension(x509.CRLReason(reason), critical=False).build())
    return builder.sign(ca.issuing.key, hashes.SHA256()).public_bytes(Encoding.DER)


def with_lists(ca: FakeAuthority, *lists: bytes) -> CertificateValidator:
    return ca.validator(ca.crl_store(ca.root_crl(), *lists))


def test_a_delta_revokes_and_releases(ca: FakeAuthority) -> None:
    held, free = ca.issue(), ca.issue()
    base = ca.crl(number=10, revoked=[held.certificate.serial_number])
    by = with_lists(ca, base, delta(ca, 10, 11, [free]))
    assert refusal(by, held, ca.now) is Reason.CERTIFICATE_REVOKED
    assert refusal(by, free, ca.now) is Reason.CERTIFICATE_REVOKED
    by = with_lists(ca, base, delta(ca, 10, 11, [held], released=True))
    assert by.validate(held.der, (), ca.now)
    assert by.validate(free.der, (), ca.now)


@pytest.mark.parametrize(("base", "number"), [(11, 12), (5, 10), (5, 9)])
def test_a_delta_that_does_not_follow_its_list_is_not_used(base: int, number: int, ca: FakeAuthority) -> None:
    leaf = ca.issue()
    by = with_lists(ca, ca.crl(number=10), delta(ca, base, number, [leaf]))
    assert by.validate(leaf.der, (), ca.now)
    assert refusal(with_lists(ca, ca.crl(number=10), delta(ca, 10, 11, [leaf])), leaf, ca.now)


def test_a_delta_alone_says_nothing(ca: FakeAuthority) -> None:
    assert refusal(with_lists(ca, delta(ca, 10, 11, [])), ca.issue(), ca.now) is Reason.CRL_MISSING


def test_a_delta_makes_a_list_as_fresh_as_itself(ca: FakeAuthority) -> None:
    leaf = ca.issue()
    old = ca.crl(number=10, at=ca.now - timedelta(days=3), life=timedelta(days=7))
    assert refusal(with_lists(ca, old), leaf, ca.now) is Reason.CRL_STALE
    by = with_lists(ca, old, delta(ca, 10, 11, []))
    assert by.validate(leaf.der, (), ca.now)
    assert refusal(by, leaf, ca.now + HOUR + timedelta(seconds=1)) is Reason.CRL_STALE


def test_an_entry_with_a_critical_extension_that_is_not_understood_spoils_the_list(ca: FakeAuthority) -> None:
    for critical in (True, False):
        unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
        entry = x509.RevokedCertificateBuilder().serial_number(7).revocation_date(ca.now)
        crl = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(ca.issuing.certificate.subject)
            .last_update(ca.now)
            .next_update(ca.now + HOUR)
            .add_extension(x509.CRLNumber(1), critical=False)
            .add_revoked_certificate(entry.add_extension(unknown, critical=critical).build())
            .sign(ca.issuing.key, hashes.SHA256())
            .public_bytes(Encoding.DER)
        )
        store = CrlStore([ca.issuing.der])
        if critical:
            with pytest.raises(Refused) as caught:
                store.put(crl)
            assert caught.value.reason is Reason.CRL_INVALID
        else:
            assert store.put(crl)


# -- lists signed with another key of the CA ------------------------------------------------------------------------


def list_signer(ca: FakeAuthority, *, issuer: FakeCertificate | None = None, **odd: Any) -> FakeCertificate:
    """A certificate in the name of the issuing CA whose key may sign lists and nothing else."""
    return ca.issue(
        names=[],
        eku=None,
        issuer=issuer or ca.root,
        odd=Odd([(key_usage("crl_sign"), True)], subject=ca.issuing.certificate.subject, **odd),
    )


def store_with_signer(ca: FakeAuthority, signer: FakeCertificate, *crls: bytes) -> CrlStore:
    store = CrlStore([ca.root.der, ca.issuing.der, signer.der])
    for crl in crls:
        assert store.put(crl)
    return store


def test_a_key_for_lists_alone_speaks_for_its_ca(ca: FakeAuthority) -> None:
    good, bad = ca.issue(), ca.issue()
    signer = list_signer(ca)
    crl = ca.crl(issuer=signer, revoked=[bad.certificate.serial_number])
    by = ca.validator(store_with_signer(ca, signer, ca.root_crl(), crl))
    assert by.validate(good.der, (), ca.now)
    assert refusal(by, bad, ca.now) is Reason.CERTIFICATE_REVOKED
    assert refusal(by, good, ca.now + HOUR + timedelta(seconds=1)) is Reason.CRL_STALE


def test_after_a_rollover_the_old_list_may_lapse(ca: FakeAuthority) -> None:
    leaf, signer = ca.issue(), list_signer(ca)
    old, new = ca.crl(at=ca.now - timedelta(days=2)), ca.crl(issuer=signer)
    assert ca.validator(store_with_signer(ca, signer, ca.root_crl(), old, new)).validate(leaf.der, (), ca.now)
    assert refusal(ca.validator(store_with_signer(ca, signer, ca.root_crl(), old)), leaf, ca.now) is Reason.CRL_STALE


def test_a_revoked_signer_and_one_of_whom_nothing_is_known(ca: FakeAuthority) -> None:
    signer, leaf = list_signer(ca), ca.issue()
    root_crl = ca.crl(issuer=ca.root, revoked=[signer.certificate.serial_number])
    by = ca.validator(store_with_signer(ca, signer, root_crl, ca.crl(issuer=signer)))
    assert refusal(by, leaf, ca.now) is Reason.CRL_MISSING
    by = ca.validator(store_with_signer(ca, signer, ca.crl(issuer=signer)))
    assert refusal(by, leaf, ca.now) is Reason.CRL_MISSING


def test_a_signer_with_the_same_name_below_another_anchor(ca: FakeAuthority) -> None:
    other = FakeAuthority(label="Another")
    signer = list_signer(ca, issuer=other.root)
    store = CrlStore([ca.root.der, ca.issuing.der, other.root.der, signer.der])
    for crl in (ca.root_crl(), other.root_crl(), ca.crl(issuer=signer)):
        assert store.put(crl)
    by = ca.validator(store, anchors=[ca.root.der, other.root.der])
    assert refusal(by, ca.issue(), ca.now) is Reason.CRL_MISSING


def test_a_signer_that_only_vouches_for_itself(ca: FakeAuthority) -> None:
    signer, leaf = list_signer(ca, issuer=ca.issuing), ca.issue()
    store = store_with_signer(ca, signer, ca.root_crl(), ca.crl(issuer=signer))
    assert refusal(ca.validator(store), leaf, ca.now) is Reason.CRL_MISSING


# -- OCSP -----------------------------------------------------------------------------------------------------------


def with_answers(ca: FakeAuthority, *answers: bytes, crls: CrlStore | None = None) -> CertificateValidator:
    store = OcspStore([ca.root.der, ca.issuing.der])
    for der in answers:
        assert store.put(der)
    return ca.validator(crls, ocsp=store)


def refused_answer(ca: FakeAuthority, der: bytes) -> None:
    store = OcspStore([ca.root.der, ca.issuing.der])
    with pytest.raises(Refused) as caught:
        store.put(der)
    assert caught.value.reason is Reason.OCSP_INVALID
    assert store.version == 0


def test_a_good_answer_stands_in_the_place_of_a_list(ca: FakeAuthority) -> None:
    leaf, other = ca.issue(), ca.issue()
    no_list = ca.crl_store(ca.root_crl())
    by = with_answers(ca, answer(ca, leaf), crls=no_list)
    assert by.validate(leaf.der, (), ca.now)
    assert refusal(by, other, ca.now) is Reason.CRL_MISSING
    # The same hour counts.
    assert refusal(by, leaf, ca.now + HOUR + timedelta(seconds=1)) is Reason.CRL_STALE


@pytest.mark.parametrize("status", [ocsp.OCSPCertStatus.REVOKED, ocsp.OCSPCertStatus.UNKNOWN])
def test_revoked_and_unknown_are_refused_whatever_the_list_says(status: ocsp.OCSPCertStatus, ca: FakeAuthority) -> None:
    leaf = ca.issue()
    by = with_answers(ca, answer(ca, leaf, status))
    assert refusal(by, leaf, ca.now) is Reason.CERTIFICATE_REVOKED
    assert refusal(by, leaf, ca.now + timedelta(days=1)) is Reason.CERTIFICATE_REVOKED


def test_a_good_answer_does_not_help_against_a_list(ca: FakeAuthority) -> None:
    leaf = ca.issue()
    crls = ca.crl_store(ca.root_crl(), ca.crl(revoked=[leaf.certificate.serial_number]))
    assert refusal(with_answers(ca, answer(ca, leaf), crls=crls), leaf, ca.now) is Reason.CERTIFICATE_REVOKED


def test_an_answer_ends_what_was_remembered(ca: FakeAuthority) -> None:
    leaf, store = ca.issue(), OcspStore([ca.issuing.der])
    by = ca.validator(ocsp=store)
    assert by.validate(leaf.der, (), ca.now)
    assert store.put(answer(ca, leaf, ocsp.OCSPCertStatus.REVOKED))
    assert refusal(by, leaf, ca.now) is Reason.CERTIFICATE_REVOKED


def test_an_older_answer_does_not_replace_a_newer_one(ca: FakeAuthority) -> None:
    leaf, store = ca.issue(), OcspStore([ca.issuing.der])
    assert store.put(answer(ca, leaf, ocsp.OCSPCertStatus.REVOKED))
    assert not store.put(answer(ca, leaf, at=ca.now - timedelta(minutes=1)))
    assert store.put(answer(ca, leaf, at=ca.now + timedelta(minutes=1)))


@pytest.mark.parametrize("digest", [hashes.SHA1(), hashes.SHA256()])  # noqa: S303
def test_a_responder_that_the_ca_certified(digest: hashes.HashAlgorithm, ca: FakeAuthority) -> None:
    leaf = ca.issue()
    by = with_answers(ca, answer(ca, leaf, signer=responder(ca), digest=digest), crls=ca.crl_store(ca.root_crl()))
    assert by.validate(leaf.der, (), ca.now)


def test_signers_that_do_not_speak_for_the_ca(ca: FakeAuthority) -> None:
    leaf, rogue = ca.issue(), ca.rogue()
    refused_answer(ca, answer(ca, leaf, signer=rogue.issuing))
    refused_answer(ca, answer(ca, leaf, signer=responder(rogue)))
    refused_answer(ca, answer(ca, leaf, signer=responder(ca, issuer=ca.root)))
    refused_answer(ca, answer(ca, leaf, signer=responder(ca, eku=False)))
    refused_answer(ca, answer(ca, leaf, signer=responder(ca, no_check=False)))
    refused_answer(ca, answer(ca, leaf, signer=leaf))


def test_answers_that_do_not_count(ca: FakeAuthority) -> None:
    leaf = ca.issue()
    good = answer(ca, leaf)
    refused_answer(ca, answer(ca, leaf, life=None))
    refused_answer(ca, answer(FakeAuthority(label="Other"), leaf))
    refused_answer(ca, good[:-1])
    refused_answer(ca, good[:-1] + bytes((good[-1] ^ 1,)))
    refused_answer(ca, b"")
    refused_answer(ca, bytes(70_000))
    trouble = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER)
    refused_answer(ca, trouble.public_bytes(Encoding.DER))


def test_an_answer_lives_no_longer_than_the_key_that_signed_it(ca: FakeAuthority) -> None:
    leaf = ca.issue()
    short = ca.issue(
        names=[],
        eku=[ExtendedKeyUsageOID.OCSP_SIGNING],
        odd=Odd([(x509.OCSPNoCheck(), False)]),
        not_after=ca.now + timedelta(minutes=5),
    )
    by = with_answers(ca, answer(ca, leaf, signer=short), crls=ca.crl_store(ca.root_crl()))
    assert by.validate(leaf.der, (), ca.now + timedelta(minutes=5))
    assert refusal(by, leaf, ca.now + timedelta(minutes=5, seconds=1)) is Reason.CRL_STALE


def test_the_question_names_the_certificate_and_carries_no_nonce(ca: FakeAuthority) -> None:
    leaf = ca.issue()
    asked = question_about(ca.issuing.certificate, leaf.certificate.serial_number, hashes.SHA256())
    # As pyca/cryptography itself would ask.
    same = ocsp.OCSPRequestBuilder().add_certificate(leaf.certificate, ca.issuing.certificate, hashes.SHA256()).build()
    assert asked == same.public_bytes(Encoding.DER)
    question = ocsp.load_der_ocsp_request(asked)
    assert ExtensionOID.EXTENDED_KEY_USAGE not in {item.oid for item in question.extensions}
    assert not list(question.extensions)


def test_the_curve_of_a_responder_is_looked_at(ca: FakeAuthority) -> None:
    weak = ca.issue(
        names=[],
        eku=[ExtendedKeyUsageOID.OCSP_SIGNING],
        odd=Odd([(x509.OCSPNoCheck(), False)]),
        key=ec.generate_private_key(ec.SECP521R1()),
    )
    refused_answer(ca, answer(ca, ca.issue(), signer=weak))
