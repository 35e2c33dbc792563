"""Which key signs and which is published, at every moment of a rotation."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.domain.errors import InvalidValue
from authz.tokens.rotation import KeySchedule, KeyState, SigningKeyRecord

START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
OVERLAP = timedelta(seconds=960)


def key(kid: str, published: float, signs: float) -> SigningKeyRecord:
    """Times in seconds after START."""
    return SigningKeyRecord(kid, "ES256", {"kid": kid}, START + timedelta(0, published), START + timedelta(0, signs))


def states(schedule: KeySchedule, kid: str, *seconds: float) -> list[KeyState]:
    return [schedule.state(kid, START + timedelta(0, moment)) for moment in seconds]


def test_a_key_is_published_before_it_signs_and_after_until_its_last_token_expired() -> None:
    schedule = KeySchedule([key("b", 100, 200), key("a", 0, 0)], OVERLAP)
    assert states(schedule, "a", -1, 0, 199, 200, 1159, 1160) == [
        KeyState.WITHDRAWN,
        KeyState.SIGNING,
        KeyState.SIGNING,
        KeyState.RETIRED,
        KeyState.RETIRED,
        KeyState.WITHDRAWN,
    ]
    assert states(schedule, "b", 99, 100, 199, 200, 99999) == [
        KeyState.WITHDRAWN,
        KeyState.PREPUBLISH,
        KeyState.PREPUBLISH,
        KeyState.SIGNING,
        KeyState.SIGNING,
    ]


def test_a_withdrawn_key_neither_signs_nor_is_published_and_nothing_of_before_signs_again() -> None:
    at = START + timedelta(seconds=150)
    old, known = key("a", 0, 0), replace(key("b", 50, 100), withdrawn_at=at)
    schedule = KeySchedule([old, known], OVERLAP)
    before = at - timedelta(microseconds=1)
    assert (schedule.state("b", before), schedule.signing(before)) == (KeyState.SIGNING, known)
    assert (schedule.state("b", at), schedule.signing(at), schedule.published(at)) == (KeyState.WITHDRAWN, None, (old,))
    assert schedule.state("a", at) is KeyState.RETIRED
    new = key("c", 150, 150)
    assert KeySchedule([old, known, new], OVERLAP).signing(at) == new


def test_a_key_that_is_withdrawn_before_it_signs_ends_no_other() -> None:
    planned = replace(key("b", 0, 100), withdrawn_at=START + timedelta(seconds=100))
    schedule = KeySchedule([key("a", 0, 0), planned], OVERLAP)
    assert states(schedule, "a", 99, 100, 5000) == [KeyState.SIGNING] * 3
    assert states(schedule, "b", 99, 100) == [KeyState.PREPUBLISH, KeyState.WITHDRAWN]


def test_nothing_signs_before_the_first_key() -> None:
    assert KeySchedule([], OVERLAP).signing(START) is None
    assert KeySchedule([key("a", 0, 10)], OVERLAP).signing(START + timedelta(seconds=9)) is None


def test_a_key_that_signs_before_it_is_published_is_refused() -> None:
    with pytest.raises(InvalidValue):
        key("a", 1, 0)


def test_an_unknown_key_has_no_state() -> None:
    with pytest.raises(KeyError):
        KeySchedule([key("a", 0, 0)], OVERLAP).state("b", START)


@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 5000)), min_size=1, max_size=6), st.integers(0, 20_000))
def test_at_any_moment_at_most_one_key_signs_and_it_is_published(moments: list[tuple[int, int]], now: int) -> None:
    keys = [key(f"k{index}", published, published + wait) for index, (published, wait) in enumerate(moments)]
    schedule, at = KeySchedule(keys, OVERLAP), START + timedelta(0, now)
    signing = [item.kid for item in keys if schedule.state(item.kid, at) is KeyState.SIGNING]
    chosen = schedule.signing(at)
    assert signing == ([] if chosen is None else [chosen.kid])
    assert set(signing) <= {item.kid for item in schedule.published(at)}


@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 5000)), min_size=1, max_size=6), st.integers(0, 12_000))
def test_a_token_is_verifiable_for_as_long_as_it_lives(moments: list[tuple[int, int]], now: int) -> None:
    keys = [key(f"k{index}", published, published + wait) for index, (published, wait) in enumerate(moments)]
    schedule, at = KeySchedule(keys, OVERLAP), START + timedelta(0, now)
    chosen = schedule.signing(at)
    if chosen is not None:
        for later in (0, 1, 450, 959):
            assert chosen in schedule.published(at + timedelta(seconds=later))
