"""Parts of a CRL: what changes, what stays, and what is not a part."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.revocation.crl_parts import parts_of, read_part, take_up
from pki.signing.encoding import CrlEntry, encode_crl_entry
from tests.fakes.certificates import NOW

FIRST, SECOND = (CrlEntry(number, NOW, 4) for number in (0x1AB07, 0x2AB07))
TWO = encode_crl_entry(FIRST) + encode_crl_entry(SECOND)
_ENTRIES = st.builds(
    CrlEntry,
    st.integers(1, 2**159 - 1),
    st.integers(0, 10**8).map(lambda seconds: NOW + timedelta(seconds=seconds)),
    st.sampled_from((0, 1, 2, 3, 4, 5, 6, 9, 10)),
)


def test_only_the_parts_of_what_changed_are_made_and_the_newest_stands_last() -> None:
    parts = {0x07: TWO, 0x08: encode_crl_entry(CrlEntry(0x08, NOW, 4))}
    again = CrlEntry(FIRST.serial_number, NOW, 6)
    assert take_up(parts, {FIRST.serial_number: again}) == {0x07: encode_crl_entry(SECOND) + encode_crl_entry(again)}
    assert take_up(parts, {FIRST.serial_number: None}) == {0x07: encode_crl_entry(SECOND)}
    assert take_up(parts, {0x08: None}) == {0x08: b""}
    assert take_up(parts, {0x09: None}) == {0x09: b""}
    assert take_up(parts, {}) == {}


@given(st.lists(_ENTRIES, max_size=40), st.lists(_ENTRIES, max_size=10))
def test_a_list_that_is_changed_is_the_list_made_at_once(before: list[CrlEntry], after: list[CrlEntry]) -> None:
    parts = parts_of(before)
    new = {entry.serial_number: entry for entry in after}
    gone = {entry.serial_number for entry in before[::3]} - new.keys()
    parts |= take_up(parts, {**new, **dict.fromkeys(gone)})
    expected = {entry.serial_number: entry for entry in before} | new
    found = {number: entry for part, encoded in parts.items() for number, entry in read_part(part, encoded).items()}
    assert found == {number: encode_crl_entry(entry) for number, entry in expected.items() if number not in gone}


@pytest.mark.parametrize(
    "encoded",
    [
        TWO[:-1],
        TWO[:2],
        TWO + b"\x30",
        TWO + b"\x00" * 40,
        TWO + encode_crl_entry(FIRST),
        TWO + encode_crl_entry(CrlEntry(0x1AB08, NOW, 4)),
        b"\x30\x04\x02\x05\x07\x07\x07\x07\x07",  # a serial number that is longer than its entry
        b"\x30\x03\x04\x01\x07",  # no INTEGER
    ],
)
def test_what_is_no_part_is_not_read(encoded: bytes) -> None:
    assert list(read_part(0x07, TWO)) == [FIRST.serial_number, SECOND.serial_number]
    with pytest.raises(Refused) as caught:
        read_part(0x07, encoded)
    assert caught.value.reason is Reason.LINT_FAILED
    with pytest.raises(Refused):
        take_up({0x07: encoded}, {FIRST.serial_number: FIRST})
