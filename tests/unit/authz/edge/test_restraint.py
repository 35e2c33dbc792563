"""A few each minute, fairly, and the number of the rest: exactly, whatever is told in between."""

from datetime import UTC, datetime, timedelta

from authz.edge.restraint import Restraint

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def test_what_is_beyond_the_limit_is_counted_by_what_it_is() -> None:
    restraint: Restraint[str] = Restraint(3, 3)
    assert [restraint.admits("a", "192.0.2.1", NOW) for _ in range(5)] == [True] * 3 + [False] * 2
    assert not restraint.admits("b", "192.0.2.1", NOW)
    assert restraint.counted() == {"a": 2, "b": 1}


def test_one_address_leaves_room_for_others() -> None:
    restraint: Restraint[str] = Restraint(5, 2)
    assert sum(restraint.admits("a", "192.0.2.1", NOW) for _ in range(100)) == 2
    assert sum(restraint.admits("a", "192.0.2.2", NOW) for _ in range(100)) == 2
    assert sum(restraint.admits("a", None, NOW) for _ in range(100)) == 1
    # And together they are as many as they may be.
    assert not restraint.admits("a", "192.0.2.4", NOW)
    assert restraint.counted() == {"a": 98 + 98 + 99 + 1}


def test_the_next_minute_admits_again_and_a_clock_set_back_does_too() -> None:
    restraint: Restraint[str] = Restraint(1, 1)
    assert restraint.admits("a", "192.0.2.1", NOW)
    assert not restraint.admits("a", "192.0.2.1", NOW + timedelta(seconds=59))
    assert restraint.admits("a", "192.0.2.1", NOW + timedelta(seconds=60))
    assert restraint.admits("a", "192.0.2.1", NOW)


def test_what_is_counted_while_it_is_told_is_told_the_next_time() -> None:
    restraint: Restraint[str] = Restraint(1, 1)
    for _ in range(4):
        restraint.admits("a", "192.0.2.1", NOW)
    telling = restraint.counted()
    restraint.admits("a", "192.0.2.1", NOW)
    restraint.admits("b", "192.0.2.1", NOW)
    restraint.told(telling)
    assert restraint.counted() == {"a": 1, "b": 1}


def test_nothing_of_those_who_were_not_admitted_is_kept() -> None:
    restraint: Restraint[str] = Restraint(10, 1)
    for number in range(10_000):
        restraint.admits("a", f"2001:db8::{number:x}", NOW)
    assert len(restraint._admitted) == 10
    assert restraint.counted() == {"a": 9_990}
