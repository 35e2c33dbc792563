"""The mode that believes a local resolver: only a local one, and only its AD bit."""

from collections.abc import Callable
from datetime import timedelta

import dns.flags
import dns.message
import dns.name
import dns.rcode
import pytest

from deploy.lab.dns import Server
from pki.dnssec import Answer, DnssecResult, DnssecState, ResolverAdValidator
from pki.dnssec.advice import advise
from pki.dnssec.choosing import DnssecMode, choose_validator
from tests.fakes.dns import NOW, FakeDns

INDETERMINATE = DnssecState.INDETERMINATE
HOST = {"name": "ciz.nl", "records": {"register": ["127.0.0.1"]}}


class Resolving:
    """The lab's answers as a validating resolver would give them."""

    def __init__(self, validated: Callable[[dns.message.Message], None]) -> None:
        self._responder = FakeDns(HOST).responder
        self._validated = validated
        self.asked: list[str] = []

    def respond(self, query: dns.message.Message) -> dns.message.Message:
        self.asked.append(query.question[0].to_text())
        answer = self._responder.respond(query)
        if not query.flags & dns.flags.CD:
            self._validated(answer)
        return answer


def say_ad(answer: dns.message.Message) -> None:
    answer.flags |= dns.flags.AD


def say_nothing(_: dns.message.Message) -> None:
    """It validates nothing, as a resolver without an anchor."""


def say_ad_of_the_root(answer: dns.message.Message) -> None:
    """It validates, and what is asked is below a zone that is not signed."""
    if answer.question[0].name == dns.name.root:
        say_ad(answer)


def refuse(answer: dns.message.Message) -> None:
    answer.set_rcode(dns.rcode.SERVFAIL)


async def ask(validated: Callable[[dns.message.Message], None], name: str = "register.ciz.nl") -> DnssecResult:
    async with Server(Resolving(validated)) as server:
        return await ResolverAdValidator([("127.0.0.1", server.port)], timeout=1).check(name, NOW)


@pytest.mark.parametrize(
    ("validated", "state"),
    [
        (say_ad, DnssecState.SECURE),
        (say_ad_of_the_root, DnssecState.INSECURE),
        (say_nothing, DnssecState.INDETERMINATE),
        (refuse, DnssecState.BOGUS),
    ],
)
async def test_only_the_ad_bit_makes_it_secure(
    validated: Callable[[dns.message.Message], None], state: DnssecState
) -> None:
    result = await ask(validated)
    assert result.state is state
    assert result.records == (("127.0.0.1",) if state is DnssecState.SECURE else ())


async def test_a_resolver_that_does_not_validate_is_named_and_no_zone_is_blamed() -> None:
    for name in ("register.ciz.nl", "nope.ciz.nl"):
        result = await ask(say_nothing, name)
        assert (result.state, result.standing.value) == (DnssecState.INDETERMINATE, "indeterminate")
        assert "the resolver at 127.0.0.1:" in result.message
        assert "does not validate" in result.message
        advice = advise(result)
        assert advice is not None
        assert advice.where.startswith("the resolver 127.0.0.1:")


async def test_whether_it_validates_is_asked_once_a_minute() -> None:
    resolving = Resolving(say_nothing)
    async with Server(resolving) as server:
        validator = ResolverAdValidator([("127.0.0.1", server.port)], timeout=1)
        for seconds in (0, 1, 59):
            assert (await validator.check("ciz.nl", NOW + timedelta(seconds=seconds))).state is INDETERMINATE
        assert resolving.asked.count(". IN DNSKEY") == 1
        resolving._validated = say_ad_of_the_root
        assert (await validator.check("ciz.nl", NOW + timedelta(seconds=59))).state is INDETERMINATE
        assert (await validator.check("ciz.nl", NOW + timedelta(seconds=60))).state is DnssecState.INSECURE
        assert resolving.asked.count(". IN DNSKEY") == 2


async def test_a_configured_anchor_shows_it_where_the_root_has_none() -> None:
    def say_ad_of_nl(answer: dns.message.Message) -> None:
        if answer.question[0].name == dns.name.from_text("nl"):
            say_ad(answer)

    async with Server(Resolving(say_ad_of_nl)) as server:
        address = [("127.0.0.1", server.port)]
        nl = choose_validator(DnssecMode.RESOLVER_AD, address, tuple, zones=[dns.name.from_text("nl")])
        assert (await nl.check("ciz.nl", NOW)).state is DnssecState.INSECURE
        assert (await choose_validator(DnssecMode.RESOLVER_AD, address, tuple).check("ciz.nl", NOW)).state is (
            INDETERMINATE
        )


async def test_absence_is_told_apart() -> None:
    assert (await ask(say_ad, "nope.ciz.nl")).answer is Answer.NXDOMAIN


@pytest.mark.parametrize("address", ["192.0.2.1", "10.0.0.1", "::", "2001:db8::1", "0.0.0.0"])  # noqa: S104
def test_a_resolver_elsewhere_is_refused(address: str) -> None:
    ResolverAdValidator([("127.0.0.1", 53), ("::1", 53)])
    with pytest.raises(ValueError, match="loopback only"):
        ResolverAdValidator([("127.0.0.1", 53), (address, 53)])


async def test_a_silent_resolver_is_unreachable() -> None:
    server = Server(Resolving(say_ad))
    port = await server.start()
    await server.stop()
    result = await ResolverAdValidator([("127.0.0.1", port)], timeout=0.1).check("ciz.nl", NOW)
    assert result.state is DnssecState.UNREACHABLE
