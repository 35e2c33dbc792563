"""Whatever a resolver sends and whatever is asked: an outcome, never an exception, and never SECURE by damage."""

import dns.exception
import dns.message
import dns.name
import hypothesis.strategies as st
from dns.rdatatype import RdataType
from hypothesis import given, settings

from pki.dnssec import Answer, CachedStanding, ChainValidator, DnssecResult, DnssecState, ResolverUnreachable
from pki.dnssec.transport import question
from tests.fakes.dns import NOW, FakeDns

RECORDS = {
    "register": ["127.0.0.1"],
    "www": {"CNAME": ["register.ciz.nl."]},
    "*.w": ["127.0.0.2"],
    "m": {"DNAME": ["ciz.nl."]},
}
NETWORKS = tuple(
    FakeDns({"name": "ciz.nl", "denial": denial, "records": RECORDS}, {"name": "unsigned.nl", "state": "unsigned"})
    for denial in ("nsec", "nsec3")
)
QUESTIONS = (
    ("register.ciz.nl.", "A"),
    ("www.ciz.nl.", "A"),
    ("x.w.ciz.nl.", "A"),
    ("x.w.ciz.nl.", "AAAA"),
    ("nope.ciz.nl.", "A"),
    ("register.m.ciz.nl.", "A"),
    ("host.unsigned.nl.", "A"),
)


class Damaged:
    """The honest answers, with some octets of some answers changed."""

    def __init__(self, honest: FakeDns, damage: list[tuple[int, int, int]]) -> None:
        self._honest = honest
        self._damage = damage
        self._asked = 0

    async def ask(self, owner: dns.name.Name, rdtype: RdataType) -> dns.message.Message:
        wire = bytearray(self._honest.responder.respond(question(owner, rdtype)).to_wire(max_size=65535))
        for which, position, value in self._damage:
            if which == self._asked:
                # The header's id and the flags that make it a response are checked by the transport, not here.
                wire[4 + position % (len(wire) - 4)] ^= value
        self._asked += 1
        try:
            return dns.message.from_wire(bytes(wire))
        except dns.exception.DNSException as problem:
            raise ResolverUnreachable("malformed") from problem


damage = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 2000), st.integers(1, 255)), min_size=1, max_size=4)


@settings(max_examples=300, deadline=None)
@given(network=st.sampled_from(NETWORKS), asked=st.sampled_from(QUESTIONS), damage=damage)
async def test_damage_never_raises_and_never_makes_other_data_secure(
    network: FakeDns, asked: tuple[str, str], damage: list[tuple[int, int, int]]
) -> None:
    honest = await network.check(*asked)
    validator = ChainValidator(resolver=Damaged(network, damage), anchors=network.anchors())
    result = await validator.check(asked[0], NOW, asked[1])
    if result.state is DnssecState.SECURE:
        assert honest.state is DnssecState.SECURE
        assert result.records == honest.records
        # An unsigned response code may turn the proven NXDOMAIN into a refusal, never into data.
        assert (result.answer is Answer.DATA) is (honest.answer is Answer.DATA)


@settings(max_examples=300, deadline=None)
@given(name=st.one_of(st.text(max_size=80), st.from_regex(r"[a-z*_.\\0-9-]{0,300}", fullmatch=True)))
async def test_any_name_gets_an_outcome(name: str) -> None:
    network = NETWORKS[0]
    result = await CachedStanding(network.validator()).check(name, NOW)
    assert isinstance(result, DnssecResult)
    assert result.message


@settings(max_examples=100, deadline=None)
@given(rdtype=st.text(max_size=12))
async def test_any_type_gets_an_outcome(rdtype: str) -> None:
    assert (await NETWORKS[0].check("register.ciz.nl", rdtype)).message
