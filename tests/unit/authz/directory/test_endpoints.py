"""Endpoints that must have DANE: looked at on a schedule, believed at a second look, remembered for a while."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authz.audit.log import AuditUnavailable
from authz.audit.own import OwnRecords
from authz.directory import endpoints as endpoints_module
from authz.directory.endpoints import FIRST_RETRY, LONGEST_RETRY, EndpointWatch
from authz.dnssec import DomainCare
from authz.domain.reasons import Reason
from authz.grants.audience import DaneState
from authz.participants.model import DaneRule
from tests.fakes.authorization_server import SCHEME, AuthorizationServer, authorization_server
from tests.fakes.clock import FixedClock
from tests.fakes.records import FakeLog

MATCHED, MISMATCHED, UNREACHABLE = DaneState.MATCHED, DaneState.MISMATCHED, DaneState.UNREACHABLE
ABSENT, UNCHECKED = DaneState.ABSENT, DaneState.UNCHECKED
EVERY = 3600.0


class Script:
    """Finds what comes next in the script; the last for ever."""

    def __init__(self) -> None:
        self.script: list[DaneState] = [MATCHED]
        self.looks: list[str] = []

    async def look(self, host: str, port: int) -> DaneState:
        self.looks.append(f"{host}:{port}")
        await asyncio.sleep(0)
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]


class Log(FakeLog):
    def told(self) -> list[tuple[str, str]]:
        return [(item.objects[0].details["before"], item.objects[0].details["dane"]) for item in self.records]


def service(holder: str, host: str, port: int = 443) -> Any:
    return SimpleNamespace(holder=holder, host=host, port=port, audience=f"https://{host}:{port}/x")


@dataclass
class Watched:
    watch: EndpointWatch
    eye: Script
    log: Log
    book: Any
    registry: Any
    seconds: float = 0.0

    def dane(self) -> DaneState | None:
        return self.watch.dane("https://a.nl:443/x")

    async def later(self, seconds: float) -> DaneState | None:
        self.seconds += seconds
        await self.watch.look()
        return self.dane()


def make() -> Watched:
    rules = {"must": DaneRule.REQUIRED, "may": DaneRule.OPTIONAL}
    book = SimpleNamespace(services=[service("must", "a.nl"), service("may", "b.nl")], version=1)
    registry = SimpleNamespace(
        by_identifier=lambda who: SimpleNamespace(id=who, dane=rules[who]) if who in rules else None,
        version=1,
        rules=rules,
    )
    eye, log = Script(), Log()
    own = OwnRecords(cast("Any", log), FixedClock(), "sluis/authz")
    found = Watched(cast("Any", None), eye, log, book, registry)
    found.watch = EndpointWatch(
        cast("Any", book), cast("Any", registry), eye, own, EVERY, pause=0, monotonic=lambda: found.seconds
    )
    return found


@pytest.fixture
def watched() -> Watched:
    return make()


async def test_only_endpoints_that_must_have_dane_are_looked_at_and_count_as_unchecked_before(watched: Watched) -> None:
    assert (watched.dane(), watched.watch.dane("https://b.nl:443/x")) == (UNCHECKED, None)
    assert watched.eye.looks == []
    await watched.watch.look()
    assert (watched.dane(), watched.eye.looks, watched.log.told()) == (MATCHED, ["a.nl:443"], [])


async def test_a_match_is_looked_at_again_after_the_interval_and_not_before(watched: Watched) -> None:
    await watched.watch.look()
    assert await watched.later(EVERY - 1) is MATCHED
    assert len(watched.eye.looks) == 1
    assert await watched.later(1) is MATCHED
    assert len(watched.eye.looks) == 2


async def test_a_mismatch_is_believed_at_the_second_look(watched: Watched) -> None:
    await watched.watch.look()
    watched.eye.script = [MISMATCHED, MATCHED]
    assert await watched.later(EVERY) is MATCHED
    assert watched.log.told() == []
    watched.eye.script = [MISMATCHED, MISMATCHED, UNREACHABLE]
    assert await watched.later(EVERY) is MISMATCHED
    assert watched.log.told() == [("matched", "mismatched")]
    # What was seen to be wrong is not forgiven because it cannot be looked at any more.
    assert await watched.later(LONGEST_RETRY) is UNREACHABLE


@pytest.mark.parametrize("pair", [[MISMATCHED, ABSENT], [UNREACHABLE, MISMATCHED], [MISMATCHED, UNREACHABLE]])
@pytest.mark.parametrize("third", [MATCHED, UNREACHABLE, ABSENT])
async def test_where_two_looks_differ_a_third_decides_and_to_be_out_of_reach_saves_nobody(
    watched: Watched, pair: list[DaneState], third: DaneState
) -> None:
    await watched.watch.look()
    watched.eye.script = [*pair, third]
    found = await watched.later(EVERY)
    assert len(watched.eye.looks) == 4
    if third is MATCHED:
        assert found is MATCHED
    elif third is ABSENT:
        assert found is ABSENT
    else:
        assert found is next(item for item in reversed(pair) if item is not UNREACHABLE)
    assert watched.watch.newest() == {"a.nl:443": found}
    watched.eye.script = [MATCHED]
    assert await watched.later(FIRST_RETRY) is MATCHED


async def test_unreachable_keeps_the_match_for_two_intervals_and_not_a_moment_longer(watched: Watched) -> None:
    await watched.watch.look()
    watched.eye.script = [UNREACHABLE]
    assert await watched.later(EVERY) is MATCHED
    assert watched.log.told() == [("matched", "unreachable")]
    assert await watched.later(EVERY) is MATCHED
    assert await watched.later(0.001) is UNREACHABLE
    watched.eye.script = [MATCHED]
    assert await watched.later(LONGEST_RETRY) is MATCHED
    assert watched.log.told() == [("matched", "unreachable"), ("unreachable", "matched")]


async def test_a_watch_that_stands_still_lets_nothing_pass_after_two_intervals(watched: Watched) -> None:
    await watched.watch.look()
    watched.seconds += 2 * EVERY
    assert watched.dane() is MATCHED
    watched.seconds += 0.001
    assert watched.dane() is UNCHECKED


async def test_what_does_not_match_is_looked_at_ever_more_seldom_up_to_a_minute(watched: Watched) -> None:
    watched.eye.script = [ABSENT]
    moments = []
    for _ in range(4000):
        before = len(watched.eye.looks)
        await watched.later(0.125)
        if len(watched.eye.looks) > before:
            moments.append(watched.seconds)
    gaps = [later - sooner for sooner, later in itertools.pairwise(moments)]
    assert gaps[:4] == [0.5, 1.0, 2.0, 4.0]
    assert gaps[-1] == LONGEST_RETRY
    assert watched.log.told() == [("unchecked", "absent")]


async def test_requiring_it_from_now_on_refuses_until_it_was_looked_at(watched: Watched) -> None:
    await watched.watch.look()
    watched.registry.rules["may"], watched.registry.version = DaneRule.REQUIRED, 2
    assert watched.watch.dane("https://b.nl:443/x") is UNCHECKED
    await watched.watch.look()
    assert watched.watch.states() == {"a.nl:443": MATCHED, "b.nl:443": MATCHED}
    assert watched.watch.counts()["matched"] == 2


async def test_what_is_no_longer_required_is_forgotten(watched: Watched) -> None:
    await watched.watch.look()
    watched.book.services, watched.book.version = watched.book.services[1:], 2
    assert watched.dane() is None
    await watched.watch.look()
    watched.book.services, watched.book.version = [service("must", "a.nl"), service("must", "a.nl", 8443)], 3
    assert watched.dane() is UNCHECKED
    await watched.watch.look()
    assert watched.eye.looks == ["a.nl:443", "a.nl:443", "a.nl:8443"]


async def test_a_holder_that_is_not_known_may_require_it(watched: Watched) -> None:
    watched.book.services, watched.book.version = [service("unknown", "a.nl")], 2
    assert watched.dane() is UNCHECKED


async def test_a_change_that_can_not_be_recorded_counts_and_is_recorded_later(watched: Watched) -> None:
    watched.eye.script, watched.log.full = [MISMATCHED], True
    with pytest.raises(AuditUnavailable):
        await watched.watch.look()
    assert watched.dane() is MISMATCHED
    watched.log.full = False
    await watched.watch.look()
    assert watched.log.told() == [("unchecked", "mismatched")]


async def test_it_runs_until_it_is_stopped_and_metrics_tell(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints_module, "TICK", 0.005)
    watched.eye.script = [MISMATCHED]
    domains = SimpleNamespace(run=lambda stop: stop.wait(), counts=dict, states={})
    care = DomainCare(cast("Any", domains), watched.watch, None, None)
    stop = asyncio.Event()
    running = [asyncio.create_task(work) for work in care.work(stop)]
    await asyncio.wait_for(care.looked(stop), 25)
    _, _, body = await care.page()
    assert b'sluis_authz_dane_endpoints{state="mismatched"} 1\n' in body
    assert b'sluis_authz_dane_not_matched{endpoint="a.nl:443",state="mismatched"} 1\n' in body
    stop.set()
    await asyncio.wait_for(asyncio.gather(*running), 25)


async def test_a_look_that_fails_does_not_end_the_watch(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints_module, "PATIENCE", 0.005)
    failures = iter([RuntimeError("a mistake of ours")])

    async def look(_host: str, _port: int) -> DaneState:
        if (failure := next(failures, None)) is not None:
            raise failure
        return MATCHED

    monkeypatch.setattr(watched.eye, "look", look)
    stop = asyncio.Event()
    running = asyncio.create_task(watched.watch.run(stop))
    await asyncio.wait_for(watched.watch.looked.wait(), 25)
    assert watched.dane() is UNREACHABLE
    watched.seconds += FIRST_RETRY
    async with asyncio.timeout(50):
        while watched.dane() is not MATCHED:  # noqa: ASYNC110  what is waited for has no event
            await asyncio.sleep(0.005)
    stop.set()
    await running


@settings(deadline=None, max_examples=150)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.25, 1.0, LONGEST_RETRY, EVERY / 2, EVERY, 2 * EVERY, 3 * EVERY]),
            st.lists(st.sampled_from([MATCHED, MISMATCHED, ABSENT, UNREACHABLE]), min_size=3, max_size=3),
        ),
        max_size=12,
    )
)
async def test_whatever_is_found_only_a_young_match_counts_that_nothing_proved_wrong(
    history: list[tuple[float, list[DaneState]]],
) -> None:
    watched = make()
    proof: float | None = None
    for seconds, found in history:
        watched.seconds += seconds
        watched.eye.script, before = list(found), len(watched.eye.looks)
        await watched.watch.look()
        looks = found[: len(watched.eye.looks) - before]
        if MATCHED in looks:
            proof = watched.seconds
        elif set(looks) - {UNREACHABLE}:
            proof = None
        young = proof is not None and watched.seconds - proof <= 2 * EVERY
        assert (watched.dane() is MATCHED) == young


@pytest.fixture
async def authz(tmp_path: Path) -> AsyncIterator[AuthorizationServer]:
    async with authorization_server(tmp_path) as server:
        yield server


async def test_a_deelnemer_of_whom_it_is_required_loses_tokens_until_its_endpoint_was_looked_at(
    authz: AuthorizationServer, tmp_path: Path
) -> None:
    assert (await authz.iwlz()).status_code == 200
    (tmp_path / "scheme.toml").write_text(SCHEME.replace('name = "CIZ"', 'name = "CIZ"\ndane = "required"'))
    await authz.operations.import_scheme(tmp_path / "scheme.toml")
    await authz.changed()
    assert (await authz.iwlz()).status_code == 403
    assert (await authz.last_record()).reason == Reason.DANE_UNCHECKED
    assert authz.eye.looks == []
    await authz.server.care.endpoints.look()
    assert authz.eye.looks == ["pep.ciz.test.nl:443"]
    assert (await authz.iwlz()).status_code == 200
