"""The check at onboarding over real signed zones: which names pass, and what is said of each that does not."""

import asyncio
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from authz.domain.domains import MAX_TEXT, DomainFinding, DomainsNotSecure
from authz.domain.errors import InvalidValue
from authz.domain.reasons import Reason
from pki.dnssec import Answer, DnssecResult, DnssecState
from pki.dnssec.onboarding import CONCURRENT, _finding, examine
from pki.dnssec.opening import open_dnssec
from pki.dnssec.settings import DnssecSettings
from tests.fakes.clock import FixedClock
from tests.fakes.dns import FakeDns

HOST = {"pep": ["127.0.0.1"]}
ZONES = (
    {"name": "goed.nl", "records": HOST | {"six": {"AAAA": ["::1"]}}},
    {"name": "ongetekend.nl", "state": "unsigned", "records": HOST},
    {"name": "zonderds.nl", "state": "no-ds", "records": HOST},
    {"name": "fout.nl", "state": "wrong-ds", "records": HOST},
    {"name": "verlopen.nl", "state": "expired", "records": HOST},
)
CLOCK = FixedClock()


@pytest.fixture(scope="module")
def world() -> FakeDns:
    return FakeDns(*ZONES)


async def findings(world: FakeDns, *names: str) -> list[DomainFinding]:
    return list(await examine(world.validator(), names, CLOCK, seconds=10))


async def test_secure_names_pass_also_one_without_an_ipv4_address(world: FakeDns) -> None:
    assert await findings(world, "pep.goed.nl", "goed.nl", "six.goed.nl") == []


async def test_no_name_is_no_finding(world: FakeDns) -> None:
    assert await findings(world) == []


@pytest.mark.parametrize(
    ("name", "reason", "where", "to_do"),
    [
        ("pep.ongetekend.nl", Reason.DOMAIN_INSECURE, "registrar of ongetekend.nl", "DS record"),
        ("pep.zonderds.nl", Reason.DOMAIN_INSECURE, "registrar of zonderds.nl", "DS record"),
        ("pep.fout.nl", Reason.DOMAIN_BOGUS, "registrar of fout.nl", "Replace the DS"),
        ("pep.verlopen.nl", Reason.DOMAIN_BOGUS, "signer of verlopen.nl", "Sign verlopen.nl again"),
        # Sound, signed and proven: nobody can be reached there.
        ("pop.goed.nl", Reason.DOMAIN_ABSENT, "zone that would hold the name", "check the spelling"),
        ("pep.nergens.nl", Reason.DOMAIN_ABSENT, "zone that would hold the name", "check the spelling"),
        ("pep.goed.nl:443", Reason.DOMAIN_INDETERMINATE, "", "spelling"),
        ("pep..goed.nl", Reason.DOMAIN_INDETERMINATE, "", "spelling"),
    ],
)
async def test_each_outcome_has_its_reason_and_who_repairs_it(
    world: FakeDns, name: str, reason: Reason, where: str, to_do: str
) -> None:
    (finding,) = await findings(world, "pep.goed.nl", name)
    assert (finding.name, finding.reason) == (name, reason)
    assert where in finding.where
    assert to_do in finding.to_do
    assert finding.message


async def test_silence_and_no_anchor_are_not_secure() -> None:
    world = FakeDns(*ZONES)
    world.tamper["pep.goed.nl.", "A"] = lambda _: None
    (finding,) = await findings(world, "goed.nl", "pep.goed.nl")
    assert (finding.name, finding.reason) == ("pep.goed.nl", Reason.DOMAIN_UNREACHABLE)
    from pki.dnssec import ChainValidator  # noqa: PLC0415

    (finding,) = await examine(ChainValidator(resolver=FakeDns(*ZONES), anchors=()), ["goed.nl"], CLOCK, seconds=10)
    assert finding.reason is Reason.DOMAIN_INDETERMINATE


async def test_every_name_is_named_once_in_the_order_given(world: FakeDns) -> None:
    names = ("pep.fout.nl", "pep.goed.nl", "pop.goed.nl", "pep.fout.nl", "pep.ongetekend.nl")
    found = await findings(world, *names)
    assert [item.name for item in found] == ["pep.fout.nl", "pop.goed.nl", "pep.ongetekend.nl"]


class Slow:
    """Never answers for some names, and counts how many are asked at once."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self.cancelled = 0

    async def check(self, name: str, at: datetime, rdtype: str = "A") -> DnssecResult:
        assert rdtype == "A"
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await (asyncio.Event().wait() if name.startswith("slow") else asyncio.sleep(0))
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.now -= 1
        return DnssecResult(name, DnssecState.SECURE, "", at + timedelta(minutes=1), (), Answer.DATA, ("127.0.0.1",))


async def test_what_has_no_outcome_in_time_does_not_pass_and_does_not_go_on() -> None:
    slow = Slow()
    found = await examine(slow, ["fast.nl", "slow.nl"], CLOCK, seconds=0.05)
    assert [(item.name, item.reason) for item in found] == [("slow.nl", Reason.DOMAIN_UNREACHABLE)]
    assert "0.05 seconds" in found[0].message
    assert (slow.now, slow.cancelled) == (0, 1)


async def test_so_many_at_once_and_no_more() -> None:
    slow = Slow()
    names = [f"slow{number}.nl" for number in range(CONCURRENT * 2)]
    assert len(await examine(slow, names, CLOCK, seconds=0.05)) == len(names)
    assert slow.most == CONCURRENT


class Sound:
    """Claims that the chain is secure, but not what the answer is."""

    async def check(self, name: str, at: datetime, rdtype: str = "A") -> DnssecResult:
        assert rdtype == "A"
        return DnssecResult(name, DnssecState.SECURE, "", at, (), Answer.UNKNOWN)


async def test_a_secure_chain_without_an_answer_is_in_doubt_and_does_not_pass() -> None:
    (finding,) = await examine(Sound(), ["pep.goed.nl"], CLOCK, seconds=10)
    assert finding.reason is Reason.DOMAIN_INDETERMINATE
    assert finding.where
    assert finding.to_do


def test_the_gravest_reason_is_that_of_the_whole_and_every_name_is_named() -> None:
    reasons = [Reason.DOMAIN_UNREACHABLE, Reason.DOMAIN_ABSENT, Reason.DOMAIN_BOGUS, Reason.DOMAIN_INSECURE]
    refused = DomainsNotSecure([DomainFinding(f"{reason}.nl", reason, "found", "there", "That.") for reason in reasons])
    assert refused.reason is Reason.DOMAIN_BOGUS
    for text in (refused.detail, refused.lines(), str(refused.document()), str(refused.details())):
        assert all(f"{reason}.nl" in text for reason in reasons)
    assert "\n" not in refused.detail
    assert refused.lines().startswith("refused (domain_bogus): ")
    assert DomainsNotSecure(refused.findings[:2]).reason is Reason.DOMAIN_ABSENT


def test_a_refusal_without_a_finding_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="expected a finding"):
        DomainsNotSecure([])


def test_what_strangers_publish_moves_no_cursor_and_fills_no_log() -> None:
    found = DomainFinding(
        "a.nl", Reason.DOMAIN_BOGUS, "RRSIG\x1b[2J\nrefused (none): all well" + "x" * 9999, "\r", "\0"
    )
    refused = DomainsNotSecure([found])
    for text in (refused.detail, found.message, found.where, found.to_do):
        assert text.isprintable()
    assert len(found.message) == MAX_TEXT
    assert len(refused.lines().splitlines()) == 4


def test_anchors_that_cannot_be_used_are_said(tmp_path: Path) -> None:
    bad, state = tmp_path / "anchors.txt", tmp_path / "state.json"
    chosen = DnssecSettings.model_construct(resolvers=("127.0.0.1:53",), anchors=bad)
    with pytest.raises(InvalidValue):
        open_dnssec(chosen, state)
    bad.write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidValue):
        open_dnssec(chosen, state)
    with pytest.raises(InvalidValue):
        open_dnssec(DnssecSettings.model_construct(mode="resolver-ad", resolvers=("192.0.2.1:53",)), state)


async def test_an_anchor_file_that_was_damaged_meanwhile_stops_the_check(tmp_path: Path) -> None:
    state = tmp_path / "root-anchors.json"
    opened = open_dnssec(DnssecSettings(resolvers=("127.0.0.1:1",)), state)
    assert opened.keeper is None  # only the process that serves follows the root
    state.write_text("{")
    with pytest.raises(InvalidValue):
        await examine(opened.validator, ["pep.goed.nl"], CLOCK, seconds=10)


def test_a_name_that_is_nowhere_is_told_as_that_and_not_as_secure() -> None:
    result = DnssecResult("pep.goed.nl.", DnssecState.SECURE, "is secure (nxdomain)", CLOCK.now(), (), Answer.NXDOMAIN)
    finding = _finding("pep.goed.nl", result)
    assert finding is not None
    assert (finding.state, finding.message) == ("absent", "its zone proves that there is no such name.")


@pytest.mark.parametrize(
    ("state", "answer", "standing"),
    [
        (DnssecState.SECURE, Answer.DATA, "secure"),
        (DnssecState.SECURE, Answer.NODATA, "secure"),
        (DnssecState.SECURE, Answer.NXDOMAIN, "absent"),
        (DnssecState.SECURE, Answer.UNKNOWN, "indeterminate"),
        (DnssecState.BOGUS, Answer.DATA, "bogus"),
        (DnssecState.INSECURE, Answer.DATA, "insecure"),
        (DnssecState.INDETERMINATE, Answer.NXDOMAIN, "indeterminate"),
        (DnssecState.UNREACHABLE, Answer.UNKNOWN, "unreachable"),
    ],
)
def test_only_a_sound_chain_to_a_name_that_is_there_is_a_pass(
    state: DnssecState, answer: Answer, standing: str
) -> None:
    assert DnssecResult("pep.goed.nl.", state, "", CLOCK.now(), (), answer).standing == standing
