"""The mode that believes a local resolver: only a local one, and only its AD bit."""

from collections.abc import Callable

import dns.flags
import dns.message
import dns.rcode
import pytest

from deploy.lab.dns import Server
from pki.dnssec import Answer, DnssecResult, DnssecState, ResolverAdValidator
from tests.fakes.dns import NOW, FakeDns

HOST = {"name": "ciz.nl", "records": {"register": ["127.0.0.1"]}}


class Resolving:
    """The lab's answers as a validating resolver would give them."""

    def __init__(self, validated: Callable[[dns.message.Message], None]) -> None:
        self._responder = FakeDns(HOST).responder
        self._validated = validated

    def respond(self, query: dns.message.Message) -> dns.message.Message:
        answer = self._responder.respond(query)
        if not query.flags & dns.flags.CD:
            self._validated(answer)
        return answer


def say_ad(answer: dns.message.Message) -> None:
    answer.flags |= dns.flags.AD


def say_nothing(_: dns.message.Message) -> None:
    """Not validated, and no reason to refuse."""


def refuse(answer: dns.message.Message) -> None:
    answer.set_rcode(dns.rcode.SERVFAIL)


async def ask(validated: Callable[[dns.message.Message], None], name: str = "register.ciz.nl") -> DnssecResult:
    async with Server(Resolving(validated)) as server:
        return await ResolverAdValidator([("127.0.0.1", server.port)], timeout=1).check(name, NOW)


@pytest.mark.parametrize(
    ("validated", "state"),
    [(say_ad, DnssecState.SECURE), (say_nothing, DnssecState.INSECURE), (refuse, DnssecState.BOGUS)],
)
async def test_only_the_ad_bit_makes_it_secure(
    validated: Callable[[dns.message.Message], None], state: DnssecState
) -> None:
    result = await ask(validated)
    assert result.state is state
    assert result.records == (("127.0.0.1",) if state is DnssecState.SECURE else ())


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
