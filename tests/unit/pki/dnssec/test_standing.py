"""The cached standing: never past its time, one run for many, bounded."""

import asyncio
from datetime import datetime, timedelta

import pytest

from pki.dnssec import Answer, CachedStanding, DnssecResult, DnssecState
from tests.fakes.dns import NOW, FakeDns

HOST = {"name": "ciz.nl", "records": {"register": ["127.0.0.1"], "other": ["127.0.0.2"]}}


class SlowValidator:
    """Answers when told to; counts its runs."""

    def __init__(self) -> None:
        self.runs = 0
        self.go = asyncio.Event()
        self.problem: Exception | None = None

    async def check(self, name: str, at: datetime, rdtype: str = "A") -> DnssecResult:  # noqa: ARG002  the protocol
        self.runs += 1
        await self.go.wait()
        if self.problem is not None:
            raise self.problem
        return DnssecResult(name, DnssecState.SECURE, "", at + timedelta(seconds=60), ())


async def test_an_outcome_is_remembered_until_its_ttl_and_not_a_second_longer() -> None:
    dns_ = FakeDns(HOST)
    standing = CachedStanding(dns_.validator())
    first = await standing.check("register.ciz.nl", NOW)
    asked = len(dns_.asked)
    assert await standing.check("REGISTER.ciz.nl.", NOW + timedelta(seconds=59)) is first
    assert len(dns_.asked) == asked
    await standing.check("register.ciz.nl", NOW + timedelta(seconds=60))
    assert len(dns_.asked) == 2 * asked


async def test_a_repaired_zone_passes_after_the_short_memory_of_failures() -> None:
    dns_ = FakeDns(HOST)
    dns_.tamper["register.ciz.nl.", "A"] = lambda _: None
    standing = CachedStanding(dns_.validator())
    assert (await standing.check("register.ciz.nl", NOW)).state is DnssecState.UNREACHABLE
    dns_.tamper.clear()
    assert (await standing.check("register.ciz.nl", NOW + timedelta(seconds=14))).state is DnssecState.UNREACHABLE
    assert (await standing.check("register.ciz.nl", NOW + timedelta(seconds=15))).state is DnssecState.SECURE


async def test_an_outcome_past_its_time_does_not_outlive_a_failure() -> None:
    dns_ = FakeDns(HOST)
    standing = CachedStanding(dns_.validator())
    assert (await standing.check("register.ciz.nl", NOW)).secure
    dns_.tamper["register.ciz.nl.", "A"] = lambda _: None
    assert not (await standing.check("register.ciz.nl", NOW + timedelta(seconds=61))).secure


async def test_a_moment_before_the_check_is_checked_anew() -> None:
    dns_ = FakeDns(HOST)
    standing = CachedStanding(dns_.validator())
    assert (await standing.check("register.ciz.nl", NOW)).secure
    earlier = await standing.check("register.ciz.nl", NOW - timedelta(days=1))
    assert earlier.state is DnssecState.BOGUS


async def test_types_and_names_are_kept_apart() -> None:
    dns_ = FakeDns(HOST)
    standing = CachedStanding(dns_.validator())
    assert (await standing.check("register.ciz.nl", NOW)).records == ("127.0.0.1",)
    assert (await standing.check("other.ciz.nl", NOW)).records == ("127.0.0.2",)
    assert (await standing.check("register.ciz.nl", NOW, "AAAA")).records == ()


async def test_concurrent_checks_of_one_name_share_one_run() -> None:
    validator = SlowValidator()
    standing = CachedStanding(validator)
    waiting = [asyncio.create_task(standing.check("ciz.nl", NOW)) for _ in range(50)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    validator.go.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert validator.runs == 1
    assert isinstance(results[0], asyncio.CancelledError)
    assert all(isinstance(result, DnssecResult) for result in results[1:])


async def test_a_run_that_fails_is_not_remembered() -> None:
    validator = SlowValidator()
    validator.go.set()
    validator.problem = ValueError("a bug")
    standing = CachedStanding(validator)
    with pytest.raises(ValueError, match="a bug"):
        await standing.check("ciz.nl", NOW)
    validator.problem = None
    assert (await standing.check("ciz.nl", NOW)).secure
    assert validator.runs == 2


async def test_memory_is_bounded_and_drops_the_least_recently_used() -> None:
    validator = SlowValidator()
    validator.go.set()
    standing = CachedStanding(validator, max_names=2)
    for name in ("a.nl", "b.nl", "a.nl", "c.nl", "a.nl"):
        await standing.check(name, NOW)
    assert validator.runs == 3
    await standing.check("b.nl", NOW)
    assert validator.runs == 4


async def test_forget_drops_one_name_or_all() -> None:
    validator = SlowValidator()
    validator.go.set()
    standing = CachedStanding(validator)
    for _ in range(2):
        await standing.check("a.nl", NOW)
        await standing.check("b.nl", NOW)
        standing.forget("A.nl.")
    assert validator.runs == 3
    standing.forget()
    await standing.check("b.nl", NOW)
    assert validator.runs == 4


@pytest.mark.parametrize("spelling", ["\u212aiwi.nl", "\uff4biwi.nl", "kiwi.nl..", "kiwi\uff0enl"])
async def test_a_name_that_only_looks_like_a_remembered_one_has_no_share_in_its_standing(spelling: str) -> None:
    """The lower case of the Kelvin sign is the letter k."""
    network = FakeDns({"name": "kiwi.nl", "records": {"@": ["127.0.0.1"]}})
    cached = CachedStanding(network.validator())
    assert (await cached.check("kiwi.nl", NOW)).secure
    result = await cached.check(spelling, NOW)
    assert result.state is DnssecState.INDETERMINATE
    assert (await cached.check("KIWI.nl.", NOW)).secure


async def test_zones_with_much_to_say_do_not_fill_the_memory() -> None:
    class Talkative:
        asked = 0

        async def check(self, name: str, at: datetime, rdtype: str = "A") -> DnssecResult:
            self.asked += 1
            until = at + timedelta(hours=1)
            return DnssecResult(name, DnssecState.SECURE, rdtype, until, (), Answer.DATA, ("x" * 1000,))

    validator = Talkative()
    cached = CachedStanding(validator, max_characters=5100)
    for number in range(20):
        await cached.check(f"a{number}.nl", NOW)
    for number in (15, 16, 17, 18, 19):
        await cached.check(f"a{number}.nl", NOW)
    assert validator.asked == 20
    cached.forget("a19.nl")
    await cached.check("a14.nl", NOW)
    await cached.check("a15.nl", NOW)
    assert validator.asked == 21
    await cached.check("a0.nl", NOW)
    await cached.check("a1.nl", NOW)
    await cached.check("a15.nl", NOW)
    assert validator.asked == 23
    cached.forget()
    await cached.check("a15.nl", NOW)
    assert validator.asked == 24
