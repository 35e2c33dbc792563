"""Health tells beforehand what the validator would refuse for: every pinned CA, every part, and the CAs above."""

from datetime import timedelta

import pytest
from cryptography import x509

from authz.domain.errors import Refused
from pki.validation.ages import MAX_AUTHORITY_CRL_AGE
from pki.validation.crl_health import crl_problems, crl_states
from pki.validation.crl_store import CrlStore
from tests.fakes.certificates import NOW, FakeAuthority, issuing_distribution_point

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def ca() -> FakeAuthority:
    return FakeAuthority()


def problems(ca: FakeAuthority, *crls: bytes, at: timedelta = timedelta()) -> list[str]:
    store = CrlStore([ca.root.der, ca.issuing.der])
    for crl in crls:
        store.put(crl)
    found = sorted(crl_problems(store, {ca.pin.spki_sha256: HOUR}, NOW + at))
    # What is told is what happens to everybody.
    refused = False
    try:
        ca.validator(store).validate(ca.issue("uzovi:5000").der, (), NOW + at)
    except Refused:
        refused = True
    assert refused == bool(found)
    return found


def part(url: str) -> tuple[x509.ExtensionType, bool]:
    return issuing_distribution_point(full_name=[x509.UniformResourceIdentifier(url)]), True


def test_all_is_well(ca: FakeAuthority) -> None:
    assert problems(ca, ca.crl(), ca.root_crl()) == []


@pytest.mark.parametrize(
    ("held", "expected"),
    [("", ["crl_missing", "crl_missing"]), ("issuing", ["crl_missing"]), ("root", ["crl_missing"])],
)
def test_a_list_that_is_not_there(ca: FakeAuthority, held: str, expected: list[str]) -> None:
    crls = {"": (), "issuing": (ca.crl(),), "root": (ca.root_crl(),)}[held]
    assert problems(ca, *crls) == expected


def test_a_list_of_the_issuing_ca_ends_after_its_limit(ca: FakeAuthority) -> None:
    assert problems(ca, ca.crl(), ca.root_crl(), at=HOUR) == []
    assert problems(ca, ca.crl(), ca.root_crl(), at=HOUR + timedelta(seconds=1)) == ["crl_stale"]


def test_a_list_from_the_future_does_not_count_yet(ca: FakeAuthority) -> None:
    assert problems(ca, ca.crl(at=NOW + timedelta(minutes=2)), ca.root_crl()) == ["crl_stale"]


def test_the_list_of_the_root_has_its_own_limit(ca: FakeAuthority) -> None:
    made = NOW - MAX_AUTHORITY_CRL_AGE
    root = ca.crl(at=made, life=timedelta(days=400), issuer=ca.root, revoked=())
    assert problems(ca, ca.crl(), root) == []
    older = ca.crl(at=made - timedelta(seconds=1), life=timedelta(days=400), issuer=ca.root, revoked=())
    assert problems(ca, ca.crl(), older) == ["crl_stale"]


def test_a_stale_delta_makes_the_whole_stale_in_whichever_order_they_came(ca: FakeAuthority) -> None:
    complete = ca.crl(number=5, at=NOW)
    delta = ca.crl(number=6, at=NOW + HOUR, extensions=[(x509.DeltaCRLIndicator(5), True)])
    for crls in ((complete, delta), (delta, complete)):
        # The delta makes it as fresh as itself, and no fresher.
        assert problems(ca, *crls, ca.root_crl(), at=2 * HOUR) == []
        assert problems(ca, *crls, ca.root_crl(), at=2 * HOUR + timedelta(seconds=1)) == ["crl_stale"]


def test_one_stale_part_of_several_is_told_whichever_came_last(ca: FakeAuthority) -> None:
    fresh = ca.crl(number=9, at=NOW + HOUR, extensions=[part("http://pki.test/1.crl")])
    stale = ca.crl(number=9, extensions=[part("http://pki.test/2.crl")])
    for crls in ((fresh, stale), (stale, fresh)):
        store = CrlStore([ca.root.der, ca.issuing.der])
        for crl in (*crls, ca.root_crl()):
            store.put(crl)
        at = NOW + HOUR + timedelta(minutes=1)
        assert list(crl_problems(store, {ca.pin.spki_sha256: HOUR}, at)) == ["crl_stale"]
        # One row for each CA: measurements with the same labels twice are refused by who collects them.
        keys = [state.issuer_key for state in crl_states(store, {ca.pin.spki_sha256: HOUR}, at)]
        assert keys == [ca.pin.spki_sha256, ca.root.spki_sha256]


def test_a_list_of_a_rogue_with_the_same_name_is_no_list(ca: FakeAuthority) -> None:
    store = CrlStore([ca.root.der, ca.issuing.der])
    with pytest.raises(Refused):
        store.put(ca.rogue().crl())
    assert "crl_missing" in set(crl_problems(store, {ca.pin.spki_sha256: HOUR}, NOW))
