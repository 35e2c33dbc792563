"""CRLs are verified when they come in; what cannot be relied on is not taken."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from asn1crypto import crl as asn1
from cryptography import x509

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.validation import crl as crl_module
from pki.validation.crl_store import CrlStore
from tests.fakes.certificates import CRL_URL, FakeAuthority, Odd, issuing_distribution_point


@pytest.fixture(scope="module")
def ca() -> FakeAuthority:
    return FakeAuthority()


@pytest.fixture
def store(ca: FakeAuthority) -> CrlStore:
    return CrlStore([ca.root.der, ca.issuing.der])


def refused(store: CrlStore, der: bytes) -> None:
    with pytest.raises(Refused) as caught:
        store.put(der)
    assert caught.value.reason is Reason.CRL_INVALID
    assert store.version == 0


def point(**odd: object) -> tuple[x509.ExtensionType, bool]:
    return issuing_distribution_point(**odd), True


def test_a_newer_one_replaces_and_an_older_or_the_same_does_not(ca: FakeAuthority, store: CrlStore) -> None:
    first, second = ca.crl(), ca.crl(at=ca.now + timedelta(minutes=1))
    assert store.put(second)
    assert not store.put(first)
    assert not store.put(second)
    assert store.version == 1
    assert [crl.der for crl in store.held()] == [second]


def test_a_rogue_ca_with_the_same_name_cannot_say_what_is_revoked(ca: FakeAuthority, store: CrlStore) -> None:
    refused(store, ca.rogue().crl(at=ca.now + timedelta(days=1)))


def test_an_unknown_issuer_and_garbage(ca: FakeAuthority, store: CrlStore) -> None:
    refused(store, FakeAuthority(label="Somebody else").crl())
    refused(store, b"")
    refused(store, ca.crl()[:-1])
    refused(store, ca.issuing.der)


def test_a_changed_byte_breaks_the_signature(ca: FakeAuthority, store: CrlStore) -> None:
    der = bytearray(ca.crl(revoked=[12345]))
    der[der.index(b"\x02\x02\x30\x39") + 3] ^= 1
    refused(store, bytes(der))


def test_a_leaf_cannot_sign_a_crl(ca: FakeAuthority) -> None:
    leaf = ca.issue(odd=Odd(subject=ca.issuing.certificate.subject))
    store = CrlStore([leaf.der])
    refused(store, ca.crl(issuer=leaf))


@pytest.mark.parametrize(
    "odd",
    [
        {"indirect_crl": True},
        {"only_contains_attribute_certs": True},
        {"only_some_reasons": frozenset([x509.ReasonFlags.key_compromise])},
        {"full_name": [x509.DNSName("a.test")]},
    ],
)
def test_partial_and_indirect_lists_are_refused(odd: dict[str, object], ca: FakeAuthority, store: CrlStore) -> None:
    refused(store, ca.crl(extensions=[point(**odd)]))


def test_a_delta_must_say_so_critically(ca: FakeAuthority, store: CrlStore) -> None:
    refused(store, ca.crl(extensions=[(x509.DeltaCRLIndicator(1), False)]))
    assert store.put(ca.crl(extensions=[(x509.DeltaCRLIndicator(1), True)]))


def test_unknown_critical_extensions_are_refused(ca: FakeAuthority, store: CrlStore) -> None:
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00")
    refused(store, ca.crl(extensions=[(unknown, True)]))
    assert store.put(ca.crl(extensions=[(unknown, False)]))


def test_a_list_about_other_certificates_does_not_cover(ca: FakeAuthority) -> None:
    leaf = ca.issue(odd=Odd([_distribution_point(CRL_URL)]))
    for odd, missing in (
        ({"full_name": [x509.UniformResourceIdentifier(CRL_URL)]}, False),
        ({"full_name": [x509.UniformResourceIdentifier(CRL_URL + "2")]}, True),
        ({"only_contains_user_certs": True}, False),
        ({"only_contains_ca_certs": True}, True),
    ):
        store = ca.crl_store(ca.root_crl(), ca.crl(extensions=[point(**odd)]))
        if not missing:
            assert ca.validator(store).validate(leaf.der, (), ca.now)
            continue
        with pytest.raises(Refused) as caught:
            ca.validator(store).validate(leaf.der, (), ca.now)
        assert caught.value.reason is Reason.CRL_MISSING


def _distribution_point(url: str) -> tuple[x509.ExtensionType, bool]:
    name = x509.UniformResourceIdentifier(url)
    return x509.CRLDistributionPoints([x509.DistributionPoint([name], None, None, None)]), False


def test_a_list_with_another_spelling_of_its_signature_is_not_taken(ca: FakeAuthority, store: CrlStore) -> None:
    """The parts outside the signature can be rewritten by anybody where a reader is lenient about them."""
    der = ca.crl()
    signature = asn1.CertificateList.load(der)["signature"].contents
    at = len(der) - len(signature)
    assert der[at] == 0
    refused(store, der[:at] + b"\x01" + der[at + 1 :])
    assert store.put(der)


def forged(ca: FakeAuthority, entries: int) -> bytes:
    """A list in the name of the CA, with entries whose extensions have to be read one by one, and no signature."""
    found = asn1.CertificateList.load(ca.crl())
    entry = asn1.RevokedCertificate(
        {
            "user_certificate": 7,
            "revocation_date": asn1.Time({"utc_time": ca.now}),
            "crl_entry_extensions": [{"extn_id": "crl_reason", "critical": True, "extn_value": "key_compromise"}],
        }
    )
    found["tbs_cert_list"]["revoked_certificates"] = [entry] * entries
    return bytes(found.dump(force=True))


def test_the_entries_of_a_list_are_not_looked_at_before_its_signature(
    ca: FakeAuthority, store: CrlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_early(*_: object) -> None:
        raise AssertionError("entries of a forged list were read")

    genuine = ca.crl()
    with monkeypatch.context() as patched:
        patched.setattr(crl_module, "_require_plain_entries", too_early)
        patched.setattr(crl_module, "_read_extensions", too_early)
        for der in (forged(ca, 3), ca.rogue().crl()):
            with pytest.raises(Refused) as caught:
                store.put(der)
            assert "signature is not of the issuer" in caught.value.detail
    assert store.put(genuine)


def test_a_list_beyond_the_cap_is_not_even_parsed(
    ca: FakeAuthority, store: CrlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = ca.crl()
    monkeypatch.setattr(crl_module, "MAX_CRL_BYTES", len(genuine) - 1)
    refused(store, genuine)
    monkeypatch.setattr(crl_module, "MAX_CRL_BYTES", len(genuine))
    assert store.put(genuine)


def test_lists_put_from_several_threads_are_all_kept(ca: FakeAuthority, store: CrlStore) -> None:
    lists = [ca.root_crl(), *(ca.crl(number=number) for number in range(20))]
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(store.put, lists))
    assert store.version == sum(taken)
    assert {crl.number for crl in store.held()} >= {19}
    assert len(store.held()) == 2
