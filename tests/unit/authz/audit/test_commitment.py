"""What the commitment binds: every part of it, each on its own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.audit.commitment import SALT_BYTES, commit, leaf_of, new_salts
from authz.audit.merkle import leaf_hash

SALT = bytes(16)


@pytest.mark.parametrize(
    "other",
    [
        (b"\x01" + SALT[1:], 1, 2, b"p"),
        (SALT, 2, 2, b"p"),
        (SALT, 1, 3, b"p"),
        (SALT, 1, 2, b"q"),
        (SALT, 1, 2, b"p\x00"),
    ],
)
def test_another_part_is_another_commitment(other: tuple[bytes, int, int, bytes]) -> None:
    assert commit(SALT, 1, 2, b"p") == commit(SALT, 1, 2, b"p")
    assert commit(SALT, 1, 2, b"p") != commit(*other)


@given(st.binary(max_size=40), st.integers(0, 2**63), st.integers(-(2**63), 2**63 - 1))
def test_without_the_salt_equal_payloads_look_unrelated(payload: bytes, index: int, received: int) -> None:
    one, two = new_salts(2)
    assert commit(one, index, received, payload) != commit(two, index, received, payload)


def test_salts_are_fresh_and_of_full_length() -> None:
    salts = new_salts(100)
    assert len(set(salts)) == 100
    assert {len(salt) for salt in salts} == {SALT_BYTES}
    assert new_salts(0) == []


def test_the_leaf_is_the_tree_s_leaf_over_the_commitment() -> None:
    assert leaf_of(b"c" * 32) == leaf_hash(b"c" * 32)
