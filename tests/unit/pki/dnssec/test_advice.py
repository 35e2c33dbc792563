"""Every outcome that is not secure says who repairs what; found on real signed zones, tampered with."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import dns.message
import pytest

from pki.dnssec import Answer, DnssecResult, DnssecState
from pki.dnssec.advice import _BY_STATE, Advice, advise, warnings
from tests.fakes.dns import NOW, FakeDns, drop, strip

RECORDS = {"register": ["127.0.0.1"], "www": {"CNAME": ["register.ciz.nl."]}}
Prepare = Callable[[FakeDns], None]


def tampered(owner: str, rdtype: str, how: Callable[[dns.message.Message], Any]) -> Prepare:
    def prepare(network: FakeDns) -> None:
        network.tamper[owner, rdtype] = how

    return prepare


def silence(_message: dns.message.Message) -> None:
    return None


@pytest.mark.parametrize(
    ("zone", "prepare", "state", "where", "what"),
    [
        ({"state": "unsigned"}, None, DnssecState.INSECURE, "registrar of ciz.nl (it publishes in nl)", "DS record"),
        ({"state": "no-ds"}, None, DnssecState.INSECURE, "registrar of ciz.nl", "DS record"),
        ({"state": "wrong-ds"}, None, DnssecState.BOGUS, "registrar of ciz.nl", "Replace the DS in nl"),
        ({"state": "expired"}, None, DnssecState.BOGUS, "signer of ciz.nl", "Sign ciz.nl again"),
        (
            {},
            tampered("register.ciz.nl.", "A", lambda m: strip(m, "register.ciz.nl.", "A")),
            DnssecState.BOGUS,
            "name servers of ciz.nl",
            "dig +dnssec",
        ),
        (
            {"state": "unsigned"},
            tampered("ciz.nl.", "DS", lambda m: drop(m, "NSEC", "NSEC3")),
            DnssecState.BOGUS,
            "name servers of nl",
            "NSEC",
        ),
        ({}, tampered(".", "DNSKEY", silence), DnssecState.UNREACHABLE, "resolver", "--resolver"),
    ],
    ids=["unsigned", "no DS", "wrong DS", "expired", "stripped RRSIG", "no proof of absence", "silence"],
)
async def test_the_advice_names_who_repairs_what(
    zone: dict[str, Any], prepare: Prepare | None, state: DnssecState, where: str, what: str
) -> None:
    network = FakeDns({"name": "ciz.nl", "records": RECORDS} | zone)
    if prepare is not None:
        prepare(network)
    result = await network.check("register.ciz.nl")
    advice = advise(result)
    assert result.state is state
    assert advice is not None
    if state is not DnssecState.UNREACHABLE:
        assert advice not in _BY_STATE.values()
    assert where in advice.where
    assert what in advice.what
    assert ".." not in advice.what


async def test_a_secure_name_has_no_advice_and_one_that_is_not_there_has() -> None:
    network = FakeDns({"name": "ciz.nl", "records": RECORDS})
    assert advise(await network.check("register.ciz.nl")) is None
    missing = await network.check("nothing.ciz.nl")
    assert missing.answer is Answer.NXDOMAIN
    assert "nothing.ciz.nl" in (advise(missing) or Advice("", "")).what


@pytest.mark.parametrize("state", [state for state in DnssecState if state is not DnssecState.SECURE])
def test_a_message_that_no_rule_knows_still_has_advice(state: DnssecState) -> None:
    assert advise(DnssecResult("x.", state, "something new", NOW, ())) is _BY_STATE[state]


async def test_a_signature_that_ends_soon_is_warned_about_and_one_that_lasts_is_not() -> None:
    network = FakeDns({"name": "ciz.nl", "records": RECORDS})
    result = await network.check("register.ciz.nl")
    assert warnings(result, NOW) == ()
    ending = tuple(replace(link, expires=NOW + timedelta(days=2)) for link in result.chain)
    assert "is the signer of ciz.nl. running" in warnings(replace(result, chain=ending), NOW)[-1]


@pytest.mark.parametrize(
    ("message", "where", "what"),
    [
        ("no answer from resolver 127.0.0.1:53 for a.nl./A", "the resolver 127.0.0.1:53", "that it runs"),
        (
            "no answer from resolver 127.0.0.1:53 (an answer of 57699 bytes; expected 12 to 32768) for a.nl./DNSKEY",
            "the zone, or the resolver 127.0.0.1:53",
            "an answer of 57699 bytes",
        ),
        (
            "no answer from resolver 127.0.0.1:53 (more than 256 records (limit against KeyTrap)) for a.nl./A",
            "the signer of the zone",
            "not in use",
        ),
        (
            "more than 0.5 seconds of computing were needed (limit against KeyTrap)",
            "the signer of the zone",
            "not in use",
        ),
    ],
)
def test_an_answer_that_is_not_used_is_told_from_none(message: str, where: str, what: str) -> None:
    advice = advise(DnssecResult("a.nl.", DnssecState.UNREACHABLE, message, NOW, ()))
    assert advice is not None
    assert advice.where == where
    assert what in advice.what
