"""Attacks on the chain of trust, each beside the honest answer that it differs from by one thing."""

from datetime import timedelta
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rdata
import dns.rrset
import pytest
from dns.rdatatype import RdataType

from deploy.lab.dns import ZoneKey
from pki.dnssec import Answer, ChainValidator, DnssecState, LinkKind, parse_anchors
from tests.fakes.dns import NOW, FakeDns, drop, find, stranger, strip

REGISTER = "register.ciz.nl."
HOST = {"name": "ciz.nl", "records": {"register": ["127.0.0.1"]}}


def network(**knobs: Any) -> FakeDns:
    return FakeDns(HOST | knobs)


async def test_a_name_in_a_signed_zone_is_secure_and_its_chain_is_told() -> None:
    result = await network().check(REGISTER)
    assert (result.state, result.answer) == (DnssecState.SECURE, Answer.DATA)
    assert result.records == ("127.0.0.1",)
    assert [(link.kind, link.depth, link.name) for link in result.chain] == [
        (LinkKind.ANCHOR, 0, "."),
        (LinkKind.DNSKEY, 0, "."),
        (LinkKind.DS, 1, "nl."),
        (LinkKind.DNSKEY, 1, "nl."),
        (LinkKind.DS, 2, "ciz.nl."),
        (LinkKind.DNSKEY, 2, "ciz.nl."),
        (LinkKind.ANSWER, 2, REGISTER),
    ]
    assert result.valid_until == NOW + timedelta(seconds=60)


@pytest.mark.parametrize("algorithm", [8, 13, 14, 15, 16])
async def test_each_accepted_algorithm_is_secure_and_its_wrong_ds_bogus(algorithm: int) -> None:
    assert (await network(algorithm=algorithm).check(REGISTER)).state is DnssecState.SECURE
    result = await network(algorithm=algorithm, state="wrong-ds").check(REGISTER)
    assert result.state is DnssecState.BOGUS
    assert "matches no DNSKEY of ciz.nl." in result.message


@pytest.mark.parametrize("denial", ["nsec", "nsec3"])
async def test_missing_ds_is_insecure_and_names_the_parent(denial: str) -> None:
    dns_ = FakeDns({"name": "nl", "denial": denial}, HOST | {"state": "no-ds"})
    result = await dns_.check(REGISTER)
    assert (result.state, result.message) == (DnssecState.INSECURE, "no DS at nl. for ciz.nl.")
    assert result.records == ()


async def test_an_unsigned_child_is_insecure() -> None:
    result = await network(state="unsigned").check(REGISTER)
    assert (result.state, result.message) == (DnssecState.INSECURE, "no DS at nl. for ciz.nl.")


async def test_a_stripped_ds_without_proof_is_bogus_not_insecure() -> None:
    dns_ = network()
    dns_.tamper["ciz.nl.", "DS"] = lambda answer: drop(answer, "DS")
    result = await dns_.check(REGISTER)
    assert result.state is DnssecState.BOGUS
    assert "no signed proof of its absence" in result.message


async def test_a_proof_of_no_ds_that_is_replayed_from_another_delegation_is_bogus() -> None:
    dns_ = FakeDns(HOST, {"name": "unsigned.nl", "state": "unsigned"})
    other = dns_.raw("unsigned.nl.", "DS")

    def replay(answer: dns.message.Message) -> dns.message.Message:
        answer.answer = []
        answer.authority = other.authority
        return answer

    dns_.tamper["ciz.nl.", "DS"] = replay
    assert (await dns_.check(REGISTER)).state is DnssecState.BOGUS


async def test_an_expired_zone_is_bogus_and_the_date_is_told() -> None:
    result = await network(state="expired").check(REGISTER)
    assert result.state is DnssecState.BOGUS
    assert result.message == "RRSIG of ciz.nl./DNSKEY expired 2026-11-02T12:00:00Z: re-sign ciz.nl."


@pytest.mark.parametrize(("seconds", "state"), [(0, DnssecState.SECURE), (-1, DnssecState.BOGUS)])
async def test_an_answer_expires_after_its_last_second(seconds: int, state: DnssecState) -> None:
    dns_ = network()
    ends = NOW + timedelta(seconds=seconds)
    dns_.tamper[REGISTER, "A"] = lambda answer: dns_.resign(answer, REGISTER, "A", zone="ciz.nl", ends=ends)
    result = await dns_.check(REGISTER)
    assert result.state is state
    assert ("expired" in result.message) is (state is DnssecState.BOGUS)


@pytest.mark.parametrize(("seconds", "state"), [(0, DnssecState.SECURE), (1, DnssecState.BOGUS)])
async def test_an_answer_is_not_valid_before_its_first_second(seconds: int, state: DnssecState) -> None:
    dns_ = network()
    begins = NOW + timedelta(seconds=seconds)
    dns_.tamper[REGISTER, "A"] = lambda answer: dns_.resign(answer, REGISTER, "A", zone="ciz.nl", begins=begins)
    result = await dns_.check(REGISTER)
    assert result.state is state
    assert ("not valid before" in result.message) is (state is DnssecState.BOGUS)


async def test_the_outcome_is_relied_on_no_longer_than_the_first_signature() -> None:
    dns_ = network()
    ends = NOW + timedelta(seconds=7)
    dns_.tamper[REGISTER, "A"] = lambda answer: dns_.resign(answer, REGISTER, "A", zone="ciz.nl", ends=ends)
    assert (await dns_.check(REGISTER)).valid_until == ends


@pytest.mark.parametrize("signer", ["nl.", ".", "other.nl."])
async def test_a_signer_that_is_not_the_zone_is_refused(signer: str) -> None:
    dns_ = FakeDns(HOST, {"name": "other.nl"})
    dns_.tamper[REGISTER, "A"] = lambda answer: dns_.resign(answer, REGISTER, "A", signer=signer)
    result = await dns_.check(REGISTER)
    assert result.state is DnssecState.BOGUS
    assert f"names signer {signer}, expected ciz.nl." in result.message


async def test_a_key_that_the_zone_does_not_have_is_refused() -> None:
    dns_ = network()
    other = stranger(dns_.zone("ciz.nl").key)
    dns_.tamper[REGISTER, "A"] = lambda answer: dns_.resign(answer, REGISTER, "A", zone="ciz.nl", key=other)
    result = await dns_.check(REGISTER)
    assert result.state is DnssecState.BOGUS
    assert "that ciz.nl. does not vouch for" in result.message


async def test_an_extra_key_slipped_into_the_dnskey_set_is_refused() -> None:
    dns_ = network()
    other = stranger(dns_.zone("ciz.nl").key)

    def slip_in(answer: dns.message.Message) -> dns.message.Message:
        keys = find(answer.answer, "ciz.nl.", "DNSKEY")
        assert keys is not None
        keys.add(other.public)
        return answer

    def signed_by_stranger(answer: dns.message.Message) -> dns.message.Message:
        return dns_.resign(slip_in(answer), "ciz.nl.", "DNSKEY", signer="ciz.nl.", key=other)

    for tamper in (slip_in, signed_by_stranger):
        dns_.tamper["ciz.nl.", "DNSKEY"] = tamper
        assert (await dns_.check(REGISTER)).state is DnssecState.BOGUS


async def test_changed_data_is_bogus() -> None:
    dns_ = network()

    def change(answer: dns.message.Message) -> dns.message.Message:
        signatures = [r for r in answer.answer if r.rdtype == RdataType.RRSIG]
        answer.answer = [dns.rrset.from_text(REGISTER, 60, "IN", "A", "127.6.6.6"), *signatures]
        return answer

    dns_.tamper[REGISTER, "A"] = change
    result = await dns_.check(REGISTER)
    assert result.state is DnssecState.BOGUS
    assert "does not fit the data" in result.message
    assert result.records == ()


@pytest.mark.parametrize(
    ("owner", "rdtype"), [(REGISTER, "A"), ("ciz.nl.", "DNSKEY"), ("ciz.nl.", "DS"), (".", "DNSKEY"), ("nl.", "DS")]
)
async def test_a_stripped_signature_is_bogus_at_each_link(owner: str, rdtype: str) -> None:
    dns_ = network()
    dns_.tamper[owner, rdtype] = lambda answer: strip(answer, owner, rdtype)
    result = await dns_.check(REGISTER)
    assert result.state is DnssecState.BOGUS
    assert f"no RRSIG on {owner}/{rdtype}" in result.message


@pytest.mark.parametrize(("flags", "state"), [(257, DnssecState.SECURE), (257 | 128, DnssecState.BOGUS)])
async def test_a_revoked_key_signs_nothing(flags: int, state: DnssecState) -> None:
    dns_ = network()
    key = ZoneKey.generate(13, flags=flags)
    apex = dns_.zone("ciz.nl")
    apex.key = key
    dns_.tamper["ciz.nl.", "DS"] = lambda answer: replaced(dns_, answer, "nl.", "DS", key.ds(apex.name))
    dns_.tamper["ciz.nl.", "DNSKEY"] = lambda answer: replaced(dns_, answer, "ciz.nl.", "DNSKEY", key.public)
    for rdtype in ("A", "DS"):
        dns_.tamper[REGISTER, rdtype] = lambda answer: resigned(dns_, answer)
    assert (await dns_.check(REGISTER)).state is state


def replaced(
    dns_: FakeDns, answer: dns.message.Message, signer: str, rdtype: str, record: dns.rdata.Rdata
) -> dns.message.Message:
    answer.answer = [dns.rrset.from_rdata(dns_.zone("ciz.nl").name, 60, record)]
    return dns_.resign(answer, "ciz.nl.", rdtype, signer=signer)


def resigned(dns_: FakeDns, answer: dns.message.Message) -> dns.message.Message:
    for section in (answer.answer, answer.authority):
        for rrset in [r for r in section if r.rdtype != RdataType.RRSIG]:
            dns_.resign(answer, str(rrset.name), rrset.rdtype.name, signer="ciz.nl.")
    return answer


async def test_a_ttl_above_the_signed_one_is_not_believed() -> None:
    asked = network()
    await asked.check(REGISTER)
    only = network()
    for question in asked.asked:
        only.tamper[question] = stretch_all
    assert (await only.check(REGISTER)).valid_until == NOW + timedelta(seconds=60)


def stretch_all(answer: dns.message.Message) -> dns.message.Message:
    for section in (answer.answer, answer.authority):
        for rrset in section:
            rrset.ttl = 86400
    return answer


async def test_one_good_signature_among_bad_ones_is_enough() -> None:
    dns_ = network()
    good = dns_.raw(REGISTER, "A")
    good_signature = next(r for r in good.answer if r.rdtype == RdataType.RRSIG)[0]

    def add_bad(answer: dns.message.Message) -> dns.message.Message:
        dns_.resign(answer, REGISTER, "A", zone="ciz.nl", ends=NOW - timedelta(days=1), begins=NOW - timedelta(days=2))
        next(r for r in answer.answer if r.rdtype == RdataType.RRSIG).add(good_signature)
        return answer

    dns_.tamper[REGISTER, "A"] = add_bad
    assert (await dns_.check(REGISTER)).state is DnssecState.SECURE


async def test_only_sha1_keys_count_as_unsigned() -> None:
    dns_ = network()

    def weaken(answer: dns.message.Message) -> dns.message.Message:
        ds = find(answer.answer, "ciz.nl.", "DS")
        assert ds is not None
        answer.answer = [dns.rrset.from_rdata(ds.name, ds.ttl, ds[0].replace(algorithm=7))]
        return dns_.resign(answer, "ciz.nl.", "DS", zone="nl.")

    dns_.tamper["ciz.nl.", "DS"] = weaken
    result = await dns_.check(REGISTER)
    assert result.state is DnssecState.INSECURE
    assert "not accepted (algorithm 7)" in result.message


async def test_the_anchor_of_another_network_is_refused() -> None:
    mine, other = network(), network()
    validator = ChainValidator(resolver=mine, anchors=other.anchors())
    result = await validator.check(REGISTER, NOW)
    assert result.state is DnssecState.BOGUS
    assert "the trust anchor for ." in result.message
    both = ChainValidator(resolver=mine, anchors=(*other.anchors(), *mine.anchors()))
    assert (await both.check(REGISTER, NOW)).state is DnssecState.SECURE


async def test_an_anchor_deeper_in_the_tree_is_where_the_chain_begins() -> None:
    dns_ = FakeDns(HOST | {"state": "no-ds"})
    validator = ChainValidator(resolver=dns_, anchors=(*dns_.anchors(), *dns_.anchors("ciz.nl")))
    result = await validator.check(REGISTER, NOW)
    assert result.state is DnssecState.SECURE
    assert result.chain[0].name == "ciz.nl."
    assert ("nl.", "DS") not in dns_.asked


async def test_a_dnskey_anchor_works_like_a_ds_anchor() -> None:
    dns_ = network()
    key = dns_.zone(".").key
    assert key is not None
    for text, state in (
        (key.public.to_text(), DnssecState.SECURE),
        (ZoneKey.generate(13).public.to_text(), DnssecState.BOGUS),
    ):
        validator = ChainValidator(resolver=dns_, anchors=parse_anchors(f". IN DNSKEY {text}"))
        assert (await validator.check(REGISTER, NOW)).state is state


async def test_a_name_outside_every_anchor_is_indeterminate() -> None:
    dns_ = network()
    validator = ChainValidator(resolver=dns_, anchors=dns_.anchors("ciz.nl"))
    result = await validator.check("register.other.nl", NOW)
    assert (result.state, result.message) == (
        DnssecState.INDETERMINATE,
        "no trust anchor is configured for register.other.nl.",
    )


async def test_a_resolver_that_drops_dnssec_is_indeterminate() -> None:
    dns_ = network()

    def plain(answer: dns.message.Message) -> dns.message.Message:
        answer.use_edns(False)  # noqa: FBT003  dnspython's signature
        return drop(answer, "RRSIG")

    dns_.tamper[".", "DNSKEY"] = plain
    result = await dns_.check(REGISTER)
    assert result.state is DnssecState.INDETERMINATE
    assert "does not pass on DNSSEC records" in result.message


@pytest.mark.parametrize("rdtype", ["DNSKEY", "A"])
async def test_silence_is_unreachable(rdtype: str) -> None:
    dns_ = network()
    dns_.tamper["." if rdtype == "DNSKEY" else REGISTER, rdtype] = lambda _: None
    result = await dns_.check(REGISTER)
    assert result.state is DnssecState.UNREACHABLE
    assert result.valid_until - NOW == timedelta(seconds=15)


@pytest.mark.parametrize("code", [dns.rcode.SERVFAIL, dns.rcode.REFUSED, dns.rcode.NOTIMP])
async def test_a_lame_zone_is_unreachable_not_bogus(code: dns.rcode.Rcode) -> None:
    dns_ = network()

    def fail(answer: dns.message.Message) -> dns.message.Message:
        answer.set_rcode(code)
        return answer

    dns_.tamper["ciz.nl.", "DNSKEY"] = fail
    result = await dns_.check(REGISTER)
    assert result.state is DnssecState.UNREACHABLE
    assert f"{dns.rcode.to_text(code)} for ciz.nl./DNSKEY" in result.message


@pytest.mark.parametrize("text", ["..", "a..nl", "x" * 64 + ".nl", ".".join(["a" * 60] * 5)])
async def test_a_malformed_name_is_indeterminate_and_asks_nothing(text: str) -> None:
    dns_ = network()
    assert (await dns_.check(text)).state is DnssecState.INDETERMINATE
    assert dns_.asked == []


@pytest.mark.parametrize("rdtype", ["ANY", "AXFR", "RRSIG", "NONSENSE"])
async def test_a_type_that_cannot_be_checked_is_indeterminate(rdtype: str) -> None:
    assert (await network().check(REGISTER, rdtype)).state is DnssecState.INDETERMINATE


async def test_the_ad_bit_of_a_resolver_is_not_believed() -> None:
    dns_ = network(state="wrong-ds")

    def claim(answer: dns.message.Message) -> dns.message.Message:
        answer.flags |= dns.flags.AD
        return answer

    dns_.tamper[REGISTER, "A"] = claim
    assert (await dns_.check(REGISTER)).state is DnssecState.BOGUS
