"""Places to wait are counted: of all together, and of each source."""

import contextlib

from authz.edge.waiters import Waiters


def test_one_source_has_so_many_places_and_leaves_the_others_theirs() -> None:
    waiters = Waiters(most=10, most_each=2)
    with contextlib.ExitStack() as stack:
        assert [stack.enter_context(waiters.place("a")) for _ in range(3)] == [True, True, False]
        assert stack.enter_context(waiters.place("b"))
        assert len(waiters) == 3


def test_all_sources_together_have_so_many_places() -> None:
    waiters = Waiters(most=3, most_each=2)
    with contextlib.ExitStack() as stack:
        assert [stack.enter_context(waiters.place(str(number))) for number in range(4)] == [True, True, True, False]


def test_a_place_is_free_again_whatever_ended_the_waiting() -> None:
    waiters = Waiters(most=1, most_each=1)
    for _ in range(3):
        with contextlib.suppress(RuntimeError), waiters.place("a") as found:
            assert found
            raise RuntimeError
    assert len(waiters) == 0
