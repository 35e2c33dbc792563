"""Whatever bytes come in: a refusal with a reason, never another error, and never a pass for what was changed."""

import contextlib
import warnings
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from authz.domain.errors import Refused
from pki.validation.crl_store import CrlStore
from pki.validation.ocsp_store import OcspStore
from pki.validation.validator import PinnedIssuer
from tests.fakes.certificates import FakeAuthority
from tests.fakes.ocsp import answer, responder

CA = FakeAuthority()
LEAF = CA.issue()
VALIDATOR = CA.validator(
    issuers=[CA.pin, PinnedIssuer("ab" * 32, "uzi", "TST")],
)
CRL = CA.crl(revoked=[1, 2, 3])
ANSWERS = (answer(CA, LEAF), answer(CA, LEAF, signer=responder(CA)))

places = st.integers(min_value=0)
masks = st.integers(min_value=1, max_value=255)


def changed(der: bytes, place: int, mask: int) -> bytes:
    at = place % len(der)
    return der[:at] + bytes((der[at] ^ mask,)) + der[at + 1 :]


@settings(max_examples=150)
@given(places, masks)
def test_a_certificate_with_one_changed_byte(place: int, mask: int) -> None:
    der = changed(LEAF.der, place, mask)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the parser, about a negative serial number
        try:
            VALIDATOR.validate(der, LEAF.chain_der, CA.now)
        except Refused:
            return
    raise AssertionError("a changed certificate passed")


@settings(max_examples=75)
@given(places, masks, st.booleans())
def test_a_chain_with_one_changed_byte_harms_nobody(place: int, mask: int, which: bool) -> None:  # noqa: FBT001
    chain = [changed(CA.issuing.der if which else CA.root.der, place, mask)]
    fresh = CA.validator(crls=CA.crl_store())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(Refused):
            assert fresh.validate(LEAF.der, chain, CA.now).identity.value == "5000"


@settings(max_examples=150)
@given(places, masks)
def test_a_list_with_one_changed_byte(place: int, mask: int) -> None:
    store = CrlStore([CA.root.der, CA.issuing.der])
    try:
        store.put(changed(CRL, place, mask))
    except Refused:
        return
    raise AssertionError("a changed list was taken")


@settings(max_examples=150)
@given(places, masks, st.sampled_from(ANSWERS))
def test_an_answer_with_one_changed_byte(place: int, mask: int, der: bytes) -> None:
    store = OcspStore([CA.root.der, CA.issuing.der])
    with contextlib.suppress(Refused):
        store.put(changed(der, place, mask))
    known = store.about(CA.issuing.spki_sha256, LEAF.certificate.serial_number)
    # Certificates sent along are not under the signature of the answer; what is said may not change.
    assert known is None or (not known.revoked and known.this_update == CA.now)
    assert known is None or known.next_update <= CA.now + timedelta(hours=2)


@given(st.binary(max_size=400))
def test_any_bytes_at_all(data: bytes) -> None:
    for take in (
        lambda: VALIDATOR.validate(data, (), CA.now),
        lambda: VALIDATOR.validate(LEAF.der, [data], CA.now),
        lambda: CrlStore([CA.issuing.der]).put(data),
        lambda: OcspStore([CA.issuing.der]).put(data),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with contextlib.suppress(Refused):
                take()
