"""A moment of each fuzz target: only the documented refusal may come out, whatever is fed."""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.mutating import mutations, search
from tests.fuzz.targets import TARGETS, Target

pytestmark = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
MANY = 150
FEW = frozenset({"anchor-look", "dns", "path"})
"""Targets whose single run is slow."""


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_well_formed_inputs_pass(name: str) -> None:
    for seed in TARGETS[name].seeds():
        TARGETS[name].run(seed)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_variations_of_well_formed_inputs_give_no_other_error(name: str) -> None:
    target = TARGETS[name]
    variations = mutations(list(target.seeds()), random.Random(name))  # noqa: S311  repeatable
    for _ in range(MANY // 5 if name in FEW else MANY):
        target.run(next(variations))


@pytest.mark.parametrize("name", sorted(TARGETS))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.binary(max_size=600))
def test_noise_gives_no_other_error(name: str, data: bytes) -> None:
    TARGETS[name].run(data)


def test_the_mutator_finds_what_is_to_be_found_and_is_repeatable() -> None:
    def breaks(data: bytes) -> None:
        if data[:2] == b"\x30\xff":
            raise KeyError

    target = Target(lambda: [b"\x30\x00\x00"], breaks)
    runs, found = search(target, seconds=60, seed=1)
    assert [item.why for item in found] == ["KeyError: "]
    assert search(target, seconds=60, seed=1) == (runs, found)
