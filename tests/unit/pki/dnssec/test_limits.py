"""KeyTrap and its kin: work that an attacker asks for is refused before it is done."""

import asyncio
from datetime import timedelta

import dns.dnssec
import dns.message
import dns.name
import dns.rrset
import pytest
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.DNSKEY import DNSKEY

from deploy.lab.dns import ZoneKey
from pki.dnssec import DnssecState
from tests.fakes.dns import NOW, FakeDns, find

CAP = 8
REGISTER = "register.ciz.nl."
HOST = {"name": "ciz.nl", "records": {"register": ["127.0.0.1"]}}


def many_signatures(dns_: FakeDns, bad: int) -> None:
    """`bad` signatures by the right key over the wrong data; the right one among them while the cap leaves room.

    Their order on the wire is shuffled by dnspython, so with more than the cap the right one might still be met.
    """

    def crowd(answer: dns.message.Message) -> dns.message.Message:
        good = find(answer.answer, REGISTER, "RRSIG")
        key = dns_.zone("ciz.nl").key
        assert good is not None
        assert key is not None
        wrong = dns.rrset.from_text(REGISTER, 60, "IN", "A", "127.6.6.6")
        forged = [
            dns.dnssec.sign(
                wrong,
                key.signer(),
                dns_.zone("ciz.nl").name,
                key.public,
                inception=NOW - timedelta(hours=1 + i),
                lifetime=86400,
            )
            for i in range(bad)
        ]
        crowded = dns.rrset.from_rdata_list(good.name, 60, forged + [good[0]] * (bad < CAP))
        answer.answer = [r for r in answer.answer if r.rdtype != RdataType.RRSIG] + [crowded]
        return answer

    dns_.tamper[REGISTER, "A"] = crowd


@pytest.mark.parametrize(("bad", "state"), [(7, DnssecState.SECURE), (8, DnssecState.BOGUS), (40, DnssecState.BOGUS)])
async def test_signatures_beyond_the_cap_are_not_tried(
    bad: int, state: DnssecState, monkeypatch: pytest.MonkeyPatch
) -> None:
    dns_ = FakeDns(HOST)
    many_signatures(dns_, bad)
    tried = 0
    real = dns.dnssec.validate_rrsig

    def count(*args: object, **kwargs: object) -> None:
        nonlocal tried
        tried += 1
        real(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(dns.dnssec, "validate_rrsig", count)
    result = await dns_.check(REGISTER)
    assert result.state is state
    assert tried <= 6 + 8


async def test_many_keys_with_one_tag_are_refused() -> None:
    """Keys that collide on their tag are what makes the work quadratic."""
    dns_ = FakeDns(HOST)
    key = dns_.zone("ciz.nl").key
    assert key is not None

    def collide(answer: dns.message.Message, copies: int) -> dns.message.Message:
        keys = find(answer.answer, "ciz.nl.", "DNSKEY")
        assert keys is not None
        for i in range(copies):
            # The tag is a sum of 16-bit words: moving a value from one word to another keeps it.
            raw = bytearray(key.public.key)
            high, low = int.from_bytes(raw[0:2], "big"), int.from_bytes(raw[2:4], "big")
            raw[0:2], raw[2:4] = ((high - i - 1) % 65535).to_bytes(2, "big"), ((low + i + 1) % 65535).to_bytes(2, "big")
            keys.add(key.public.replace(key=bytes(raw)))
        tags = [dns.dnssec.key_id(k) for k in keys]
        assert tags.count(dns.dnssec.key_id(key.public)) == copies + 1
        return dns_.resign(answer, "ciz.nl.", "DNSKEY", zone="ciz.nl.")

    dns_.tamper["ciz.nl.", "DNSKEY"] = lambda answer: collide(answer, 3)
    assert (await dns_.check(REGISTER)).state is DnssecState.SECURE
    dns_.tamper["ciz.nl.", "DNSKEY"] = lambda answer: collide(answer, 4)
    result = await dns_.check(REGISTER)
    assert result.state is DnssecState.BOGUS
    assert "more than 4 keys with tag" in result.message


@pytest.mark.parametrize(("extra", "state"), [(31, DnssecState.SECURE), (32, DnssecState.BOGUS)])
async def test_more_keys_than_a_zone_needs_are_refused(extra: int, state: DnssecState) -> None:
    dns_ = FakeDns(HOST)
    more = [ZoneKey.generate(15, flags=256).public for _ in range(extra)]

    def crowd(answer: dns.message.Message) -> dns.message.Message:
        keys = find(answer.answer, "ciz.nl.", "DNSKEY")
        assert keys is not None
        for key in more:
            keys.add(key)
        return dns_.resign(answer, "ciz.nl.", "DNSKEY", zone="ciz.nl.")

    dns_.tamper["ciz.nl.", "DNSKEY"] = crowd
    assert (await dns_.check(REGISTER)).state is state


async def test_a_flood_of_signatures_that_cannot_count_is_not_looked_through() -> None:
    dns_ = FakeDns(HOST)

    def flood(answer: dns.message.Message) -> dns.message.Message:
        good = find(answer.answer, REGISTER, "RRSIG")
        assert good is not None
        foreign = [good[0].replace(key_tag=i) for i in range(400) if i != good[0].key_tag]
        answer.answer = [r for r in answer.answer if r.rdtype != RdataType.RRSIG]
        answer.answer.append(dns.rrset.from_rdata_list(good.name, 60, foreign))
        return answer

    dns_.tamper[REGISTER, "A"] = flood
    result = await dns_.check(REGISTER)
    assert result.state is DnssecState.BOGUS
    assert "does not vouch for" in result.message


async def test_a_name_with_many_labels_ends_at_the_query_limit() -> None:
    deep = ".".join("abcdefghijklmnopqrstuvwxyz") + ".ciz.nl."
    dns_ = FakeDns({"name": "ciz.nl", "records": {deep.removesuffix(".ciz.nl."): ["127.0.0.1"]}})
    assert (await dns_.check(deep, queries=32)).state is DnssecState.SECURE
    assert len(dns_.asked) == 32
    result = await dns_.check(deep, queries=31)
    assert result.state is DnssecState.INDETERMINATE
    assert "more than 31 queries" in result.message


async def test_nsec3_hashing_is_bounded() -> None:
    dns_ = FakeDns({"name": "ciz.nl", "denial": "nsec3", "records": {"register": ["127.0.0.1"]}})
    owner = ".".join("abcdefgh") + ".ciz.nl."
    assert (await dns_.check(owner)).state is DnssecState.SECURE
    assert (await dns_.check(owner, nsec3_hashes=4)).state is DnssecState.BOGUS


async def test_signatures_in_one_check_are_bounded() -> None:
    dns_ = FakeDns(HOST)
    assert (await dns_.check(REGISTER, signatures=7)).state is DnssecState.SECURE
    assert (await dns_.check(REGISTER, signatures=6)).state is DnssecState.BOGUS


class Endless(FakeDns):
    """Takes each question and never comes back."""

    async def ask(self, owner: dns.name.Name, rdtype: RdataType) -> dns.message.Message:
        await asyncio.Event().wait()
        return await super().ask(owner, rdtype)


async def test_a_resolver_that_never_ends_is_unreachable() -> None:
    result = await Endless(HOST).check(REGISTER, seconds=0.01)
    assert result.state is DnssecState.UNREACHABLE
    assert result.message == "no outcome within 0.01 seconds"


@pytest.mark.parametrize("field", ["key", "signature"])
@pytest.mark.parametrize("octets", [b"", b"\x00", b"\x03\x01", b"\xff" * 64, b"\x00" * 300])
@pytest.mark.parametrize("algorithm", [8, 13, 14, 15, 16])
async def test_malformed_keys_and_signatures_are_bogus_and_raise_nothing(
    field: str, octets: bytes, algorithm: int
) -> None:
    dns_ = FakeDns(HOST | {"algorithm": algorithm})
    apex = dns_.zone("ciz.nl")

    def spoil(answer: dns.message.Message) -> dns.message.Message:
        for position, rrset in enumerate(answer.answer):
            if field == "signature" and rrset.rdtype == RdataType.RRSIG:
                answer.answer[position] = dns.rrset.from_rdata(rrset.name, 60, rrset[0].replace(signature=octets))
        return answer

    if field == "signature":
        dns_.tamper[REGISTER, "A"] = spoil
    else:
        assert apex.key is not None
        public = apex.key.public.replace(key=octets)
        assert isinstance(public, DNSKEY)
        bad = ZoneKey(apex.key.private, public)
        dns_.tamper["ciz.nl.", "DS"] = lambda answer: with_ds(dns_, answer, bad)
        dns_.tamper["ciz.nl.", "DNSKEY"] = lambda answer: with_key(answer, bad)
    assert (await dns_.check(REGISTER)).state is DnssecState.BOGUS


def with_ds(dns_: FakeDns, answer: dns.message.Message, key: ZoneKey) -> dns.message.Message:
    owner = dns_.zone("ciz.nl").name
    answer.answer = [dns.rrset.from_rdata(owner, 60, key.ds(owner))]
    return dns_.resign(answer, "ciz.nl.", "DS", zone="nl.")


def with_key(answer: dns.message.Message, key: ZoneKey) -> dns.message.Message:
    signature = find(answer.answer, "ciz.nl.", "RRSIG")
    assert signature is not None
    forged = signature[0].replace(key_tag=dns.dnssec.key_id(key.public))
    answer.answer = [
        dns.rrset.from_rdata(signature.name, 60, key.public),
        dns.rrset.from_rdata(signature.name, 60, forged),
    ]
    return answer
