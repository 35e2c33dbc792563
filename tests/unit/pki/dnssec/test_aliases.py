"""CNAME and DNAME: each target has its own chain, and the worst state wins."""

import dns.message
import dns.name
import dns.rrset
import pytest

from pki.dnssec import DnssecState
from tests.fakes.dns import FakeDns, strip

ZONES = (
    {
        "name": "ciz.nl",
        "records": {
            "register": ["127.0.0.1"],
            "www": {"CNAME": ["register.ciz.nl."]},
            "abroad": {"CNAME": ["host.example."]},
            "unsigned": {"CNAME": ["host.unsigned.nl."]},
            "bogus": {"CNAME": ["host.bogus.nl."]},
            "nowhere": {"CNAME": ["nope.ciz.nl."]},
            "loop": {"CNAME": ["pool.ciz.nl."]},
            "pool": {"CNAME": ["loop.ciz.nl."]},
            "moved": {"DNAME": ["ciz.nl."]},
            "moved-out": {"DNAME": ["unsigned.nl."]},
            **{f"hop{i}": {"CNAME": [f"hop{i + 1}.ciz.nl."]} for i in range(1, 11)},
            "hop11": ["127.0.0.1"],
        },
    },
    {"name": "example", "records": {"host": ["127.0.0.1"]}},
    {
        "name": "unsigned.nl",
        "state": "unsigned",
        "records": {"host": ["127.0.0.1"], "on": {"CNAME": ["host.bogus.nl."]}},
    },
    {"name": "bogus.nl", "state": "wrong-ds", "records": {"host": ["127.0.0.1"]}},
)


@pytest.mark.parametrize(
    ("owner", "state"),
    [
        ("www.ciz.nl", DnssecState.SECURE),
        ("abroad.ciz.nl", DnssecState.SECURE),
        ("nowhere.ciz.nl", DnssecState.SECURE),
        ("register.moved.ciz.nl", DnssecState.SECURE),
        ("unsigned.ciz.nl", DnssecState.INSECURE),
        ("host.moved-out.ciz.nl", DnssecState.INSECURE),
        ("bogus.ciz.nl", DnssecState.BOGUS),
        ("on.unsigned.nl", DnssecState.BOGUS),
        ("loop.ciz.nl", DnssecState.INDETERMINATE),
        ("hop3.ciz.nl", DnssecState.SECURE),
        ("hop2.ciz.nl", DnssecState.INDETERMINATE),
    ],
)
async def test_the_worst_state_of_the_aliases_wins(owner: str, state: DnssecState) -> None:
    result = await FakeDns(*ZONES).check(owner)
    assert result.state is state, result.message


async def test_an_alias_that_is_not_signed_is_bogus() -> None:
    dns_ = FakeDns(*ZONES)
    dns_.tamper["www.ciz.nl.", "A"] = lambda answer: strip(answer, "www.ciz.nl.", "CNAME")
    assert (await dns_.check("www.ciz.nl")).state is DnssecState.BOGUS


async def test_a_synthesised_cname_that_lies_about_its_dname_is_ignored() -> None:
    dns_ = FakeDns(*ZONES)
    owner = "register.moved.ciz.nl."

    def lie(answer: dns.message.Message) -> dns.message.Message:
        answer.answer = [r for r in answer.answer if r.rdtype.name != "CNAME"]
        answer.answer.append(dns.rrset.from_text(owner, 60, "IN", "CNAME", "evil.unsigned.nl."))
        return answer

    dns_.tamper[owner, "A"] = lie
    result = await dns_.check(owner)
    assert (result.state, result.records) == (DnssecState.SECURE, ("127.0.0.1",))
    assert ("evil.unsigned.nl.", "A") not in dns_.asked


async def test_records_of_the_target_in_the_same_answer_are_not_believed() -> None:
    """What is beside the alias in one answer may be forged; the target is asked for and validated by itself."""
    dns_ = FakeDns(*ZONES)

    def forge(answer: dns.message.Message) -> dns.message.Message:
        answer.answer = [r for r in answer.answer if str(r.name) == "www.ciz.nl."]
        answer.answer.append(dns.rrset.from_text("register.ciz.nl.", 60, "IN", "A", "127.6.6.6"))
        return answer

    dns_.tamper["www.ciz.nl.", "A"] = forge
    result = await dns_.check("www.ciz.nl")
    assert (result.state, result.records) == (DnssecState.SECURE, ("127.0.0.1",))


async def test_a_dname_expanded_from_a_wildcard_is_bogus() -> None:
    """RFC 6672 section 3.3: its meaning would depend on the name that was asked for."""
    dns_ = FakeDns({"name": "ciz.nl", "records": {"*.w": {"DNAME": ["example."]}}}, ZONES[1])
    donor = dns_.raw("*.w.ciz.nl.", "DNAME")

    def expand(answer: dns.message.Message) -> dns.message.Message:
        answer.answer = [
            dns.rrset.from_rdata_list(dns.name.from_text("x.w.ciz.nl."), r.ttl, list(r)) for r in donor.answer
        ]
        answer.authority = dns_.raw("x.w.ciz.nl.", "DNAME").authority
        return answer

    dns_.tamper["host.x.w.ciz.nl.", "A"] = expand
    assert (await dns_.check("host.x.w.ciz.nl")).state is DnssecState.BOGUS


@pytest.mark.parametrize(("denial", "state"), [("nsec3", DnssecState.SECURE), ("nsec3-opt-out", DnssecState.INSECURE)])
async def test_a_wildcard_answer_in_an_opt_out_span_is_insecure(denial: str, state: DnssecState) -> None:
    dns_ = FakeDns({"name": "ciz.nl", "denial": denial, "records": {"*.w": ["127.0.0.1"]}})
    assert (await dns_.check("x.w.ciz.nl")).state is state
