"""KeyTrap by other doors: tags, long keys, digests, bitmaps, and a check that lets nobody else have their turn.

Each test replays an attack that a zone with a valid chain can make; beside it stands the near miss that must pass.
"""

import asyncio
import itertools
import os
import struct
import threading
import time
from datetime import timedelta

import dns.dnssec
import dns.message
import dns.name
import dns.rdata
import dns.rrset
import hypothesis.strategies as st
import pytest
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.NSEC import NSEC
from hypothesis import given

from deploy.lab.dns import ZoneKey
from pki.dnssec import ChainValidator, DnssecState, Limits
from pki.dnssec import keys as zone_keys
from pki.dnssec.apart import ApartValidator, CheckThread, apart
from pki.dnssec.denial import Types
from pki.dnssec.keys import ZoneKeys, is_sound_zone_key, key_tag
from pki.dnssec.metering import Meter
from pki.dnssec.model import Budget, LimitReached
from tests.fakes.dns import IN, NOW, FakeDns, find, name

APEX, HOST = "evil.nl.", "www.evil.nl."
DEEP = "www.a.b.c.d.e.f.g.h.evil.nl."
ZONE = {"name": "evil.nl", "records": {"www": ["127.0.0.1"], "www.a.b.c.d.e.f.g.h": ["127.0.0.1"]}}


def record(rdtype: RdataType, data: bytes) -> dns.rdata.Rdata:
    return dns.rdata.from_wire(IN, rdtype, data, 0, len(data))


def dnskey(algorithm: int, octets: bytes, flags: int = 256) -> DNSKEY:
    made = record(RdataType.DNSKEY, struct.pack("!HBB", flags, 3, algorithm) + octets)
    assert isinstance(made, DNSKEY)
    return made


def with_keys(network: FakeDns, *more: DNSKEY) -> None:
    """The zone's DNSKEY set has these too, and is signed with its real key."""

    def add(answer: dns.message.Message) -> dns.message.Message:
        keys = find(answer.answer, APEX, "DNSKEY")
        assert keys is not None
        for key in more:
            keys.add(key)
        return network.resign(answer, APEX, "DNSKEY", zone=APEX)

    network.tamper[APEX, "DNSKEY"] = add


def strangers(owner: dns.name.Name, avoid: set[int], number: int = 32) -> dns.rrset.RRset:
    """Signatures that are in time, by keys that nobody has: each makes the checker look for its key."""
    begins, ends = (int((NOW + timedelta(hours=h)).timestamp()) for h in (-1, 24))
    made = [
        dns.rdata.from_text(IN, RdataType.RRSIG, f"NSEC 13 2 60 {ends} {begins} {tag} {APEX} AAAA")
        for tag in [tag for tag in range(1, number + 1 + len(avoid)) if tag not in avoid][:number]
    ]
    return dns.rrset.from_rdata_list(owner, 60, made)


def junk(sets: int, network: FakeDns, *more: DNSKEY) -> list[dns.rrset.RRset]:
    """Sets signed by strangers only: no tag is by chance that of the zone's key, or of one of `more`."""
    own = network.zone(APEX).key
    assert own is not None
    avoid = {key_tag(key) for key in (own.public, *more)}
    owners = [name(f"n{i}.{APEX}") for i in range(sets)]
    pairs = [(dns.rrset.from_text(o, 60, "IN", "NSEC", f"z.{o} A"), strangers(o, avoid)) for o in owners]
    return list(itertools.chain.from_iterable(pairs))


async def test_tags_are_computed_once_whatever_number_of_signatures_ask_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """30 keys of 1.9 kB and 12 x 32 signatures took 1.2 seconds; nine such answers 10, and the outcome was secure."""
    network = FakeDns(ZONE)
    more = [ZoneKey.generate(13, flags=256).public for _ in range(20)]
    with_keys(network, *more)
    crowd = junk(12, network, *more)
    network.tamper[HOST, "DS"] = lambda answer: replaced(answer, crowd)
    tags = 0
    real = key_tag

    def count(key: DNSKEY) -> int:
        nonlocal tags
        tags += 1
        return real(key)

    monkeypatch.setattr(zone_keys, "key_tag", count)
    slow: list[object] = []
    slowly = dns.dnssec.key_id
    monkeypatch.setattr(dns.dnssec, "key_id", lambda key: slow.append(key) or slowly(key))  # type: ignore[func-returns-value]
    result = await network.check(HOST)
    assert result.state is DnssecState.BOGUS
    assert "does not vouch for" in result.message
    # Root and nl have one key each, the zone 21; those that the anchor and a DS mean are indexed once more.
    assert tags <= 1 + 1 + 21 + 3
    # The library computes one for the one key of each verification, of which there are five, and for our own signing.
    assert len(slow) <= 8


def replaced(answer: dns.message.Message, authority: list[dns.rrset.RRset]) -> dns.message.Message:
    answer.answer[:], answer.authority[:] = [], authority
    return answer


async def test_keys_of_no_length_that_their_algorithm_has_are_not_even_summed() -> None:
    network = FakeDns(ZONE)
    with_keys(network, *(dnskey(13, os.urandom(1900)) for _ in range(30)))
    assert (await network.check(HOST)).state is DnssecState.SECURE
    keys = find(network.tamper[APEX, "DNSKEY"](network.raw(APEX, "DNSKEY")).answer, APEX, "DNSKEY")  # type: ignore[union-attr]
    assert keys is not None
    assert len(keys) == 31
    assert len(zone_keys.usable_keys(keys)) == 1


@pytest.mark.parametrize(("algorithm", "length"), [(13, 64), (14, 96), (15, 32), (16, 57)])
def test_a_key_has_exactly_the_length_of_its_algorithm(algorithm: int, length: int) -> None:
    assert is_sound_zone_key(dnskey(algorithm, b"\x01" * length))
    for wrong in (0, 1, length - 1, length + 1, length * 2, 1900):
        assert not is_sound_zone_key(dnskey(algorithm, b"\x01" * wrong))


def rsa(exponent: int, modulus: int, header: bytes = b"", pad: bytes = b"") -> DNSKEY:
    raw = exponent.to_bytes((exponent.bit_length() + 7) // 8, "big")
    body = modulus.to_bytes((modulus.bit_length() + 7) // 8, "big")
    return dnskey(8, (header or bytes([len(raw)])) + raw + pad + body)


@pytest.mark.parametrize("exponent", [3, 65537, 2**32 + 1, 2**35 - 1])
@pytest.mark.parametrize("bits", [1024, 1280, 2048, 4096])
def test_rsa_keys_as_signers_make_them_count(exponent: int, bits: int) -> None:
    assert is_sound_zone_key(rsa(exponent, 2 ** (bits - 1) + 1))
    length = (exponent.bit_length() + 7) // 8
    assert is_sound_zone_key(rsa(exponent, 2 ** (bits - 1) + 1, b"\x00" + length.to_bytes(2, "big")))


@pytest.mark.parametrize(
    "key",
    [
        rsa(2**35 + 1, 2**2047 + 1),  # BIND's smallest limit is 35 bits
        rsa(2**3067 + 1, 2**3071 + 1, b"\x00\x01\x80"),  # 5.8 ms for one verification
        rsa(65537, 2**4096 + 1),
        rsa(65537, 2**1022 + 1),  # can be factored
        rsa(65537, 2**511 + 1),
        rsa(65537, 2**2047 + 1, pad=b"\x00"),  # a leading zero: RFC 3110 section 2
        dnskey(8, b"\x05\x00\x00\x01\x00\x01" + b"\x80" * 256),
        dnskey(8, b"\x00\x10\x00" + b"\x01" * 4096 + b"\x80" * 256),
        dnskey(8, b""),
        dnskey(8, b"\x00"),
        dnskey(8, b"\x00\x00\x01"),
        dnskey(8, b"\x03\x01\x00\x01"),
        dnskey(8, b"\xff" + b"\x01" * 100),
        dnskey(5, b"\x03\x01\x00\x01" + b"\x80" * 256),
        dnskey(200, b"\x01" * 64),
    ],
)
def test_rsa_keys_made_to_be_slow_or_weak_do_not_count(key: DNSKEY) -> None:
    assert not is_sound_zone_key(key)


@given(algorithm=st.sampled_from([8, 13, 14, 15, 16]), octets=st.binary(max_size=600), flags=st.integers(0, 65535))
def test_our_tag_is_the_published_one(algorithm: int, octets: bytes, flags: int) -> None:
    key = dnskey(algorithm, octets, flags)
    assert key_tag(key) == dns.dnssec.key_id(key)


async def test_signatures_looked_at_are_counted_over_the_whole_check_and_end_it() -> None:
    """The limit is no bad record: although the proofs beside the junk are good, the check is over."""
    network = FakeDns(ZONE)
    with_junk = [".".join(DEEP.split(".")[i:]) for i in range(9)]
    crowd = junk(8, network)
    for owner in with_junk:
        network.tamper[owner, "DS"] = lambda answer: replaced(answer, [*crowd, *answer.authority])
    result = await network.check(DEEP)
    assert result.state is DnssecState.BOGUS
    assert result.message == "more than 512 RRSIG records had to be looked at (limit against KeyTrap)"
    assert result.valid_until == NOW + timedelta(seconds=120)
    for owner in with_junk[1:]:
        del network.tamper[owner, "DS"]
    assert (await network.check(DEEP)).state is DnssecState.SECURE


def ds_set(network: FakeDns, wrong: int, digest: int = 2) -> None:
    """DS records with the tag of the real key, that are not of it, and the one that is."""
    key = network.zone(APEX).key
    assert key is not None
    good = key.ds(name(APEX))
    tag = dns.dnssec.key_id(key.public)
    bad = [
        dns.rdata.from_text(IN, RdataType.DS, f"{tag} 13 {digest} {n:0{64 if digest == 2 else 96}x}")
        for n in range(wrong)
    ]

    def add(answer: dns.message.Message) -> dns.message.Message:
        answer.answer = [dns.rrset.from_rdata_list(name(APEX), 60, [good, *bad])]
        return network.resign(answer, APEX, "DS", zone="nl.")

    network.tamper[APEX, "DS"] = add


@pytest.mark.parametrize("digest", [2, 4])
@pytest.mark.parametrize(
    ("wrong", "state"), [(15, DnssecState.SECURE), (16, DnssecState.BOGUS), (150, DnssecState.BOGUS)]
)
async def test_more_ds_records_than_a_rollover_needs_are_refused(wrong: int, state: DnssecState, digest: int) -> None:
    """Not the first sixteen of them: which ones those are would be chance."""
    network = FakeDns(ZONE)
    ds_set(network, wrong, digest)
    result = await network.check(HOST)
    assert result.state is state
    assert ("limit against KeyTrap" in result.message) is (state is DnssecState.BOGUS)


async def test_ds_records_that_do_not_count_are_not_counted() -> None:
    network = FakeDns(ZONE)
    key = network.zone(APEX).key
    assert key is not None
    foreign = [dns.rdata.from_text(IN, RdataType.DS, f"{n} 13 200 AB") for n in range(100)]

    def add(answer: dns.message.Message) -> dns.message.Message:
        answer.answer = [dns.rrset.from_rdata_list(name(APEX), 60, [key.ds(name(APEX)), *foreign])]
        return network.resign(answer, APEX, "DS", zone="nl.")

    network.tamper[APEX, "DS"] = add
    assert (await network.check(HOST)).state is DnssecState.SECURE


async def test_digests_of_keys_are_bounded_in_one_check() -> None:
    network = FakeDns(ZONE)
    ds_set(network, 15)
    assert (await network.check(HOST, ds_digests=18)).state is DnssecState.SECURE
    result = await network.check(HOST, ds_digests=10)
    assert result.state is DnssecState.BOGUS
    assert "DS digests" in result.message


def bitmap(*windows: tuple[int, bytes]) -> NSEC:
    body = b"".join(bytes([window, len(octets)]) + octets for window, octets in windows)
    made = record(RdataType.NSEC, (name("b.evil.nl.").to_wire() or b"") + body)
    assert isinstance(made, NSEC)
    return made


def test_a_bitmap_that_lists_every_type_costs_nothing_to_look_into() -> None:
    """65536 types took a third of a second for each record of nine kilobytes."""
    full = bitmap(*((window, b"\xff" * 32) for window in range(256)))
    started = time.thread_time()
    for _ in range(100):
        types = Types(full)
        assert RdataType.DS in types
        assert RdataType.make(65535) in types
    assert time.thread_time() - started < 5  # at a third of a second each it would be half a minute


def test_a_bitmap_lists_what_it_lists_and_no_more() -> None:
    assert RdataType.A in Types(bitmap((0, b"\x40")))
    assert RdataType.AAAA not in Types(bitmap((0, b"\x40")))
    assert RdataType.TLSA not in Types(bitmap())
    assert RdataType.A not in Types(bitmap((1, b"\x40")))
    assert RdataType.make(257) in Types(bitmap((1, b"\x40")))


@given(st.sets(st.integers(0, 65535), max_size=40))
def test_bitmaps_say_what_they_list(listed: set[int]) -> None:
    text = " ".join(["b.evil.nl.", *(f"TYPE{t}" for t in sorted(listed - {0}))])
    made = dns.rdata.from_text(IN, RdataType.NSEC, text)
    assert isinstance(made, NSEC)
    types = Types(made)
    assert all((RdataType.make(t) in types) is (t in listed) for t in {*listed, 1, 2, 43, 65535} - {0})


async def test_more_denial_records_than_a_proof_has_are_not_compared_with() -> None:
    """One owner with hundreds of NSEC3 records, all under one good signature."""
    network = FakeDns(ZONE | {"denial": "nsec3"})

    def crowd(answer: dns.message.Message, number: int) -> dns.message.Message:
        own = next(r for r in answer.authority if r.rdtype == RdataType.NSEC3)
        for i in range(number):
            own.add(record(RdataType.NSEC3, b"\x01\x00\x00\x00\x00\x14" + i.to_bytes(20, "big") + b"\x00\x01\x40"))
        return network.resign(answer, str(own.name), "NSEC3", zone=APEX)

    network.tamper[HOST, "DS"] = lambda answer: crowd(answer, 11)
    assert (await network.check(HOST)).state is DnssecState.SECURE
    network.tamper[HOST, "DS"] = lambda answer: crowd(answer, 12)
    assert (await network.check(HOST)).state is DnssecState.BOGUS


class Clock:
    """Processor time that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_processor_time_of_others_between_the_steps_is_not_counted() -> None:
    clock = Clock()
    meter = Meter(clock)

    async def work() -> str:
        clock.now += 0.1
        await asyncio.sleep(0)
        clock.now += 0.2
        await asyncio.sleep(0)
        assert meter.seconds == pytest.approx(0.3)
        return "done"

    async def neighbour() -> None:
        for _ in range(5):
            clock.now += 100
            await asyncio.sleep(0)

    result, _ = await asyncio.gather(meter.run(work()), neighbour())
    assert result == "done"
    assert meter.seconds == pytest.approx(0.3)


async def test_what_is_measured_can_be_cancelled_can_time_out_and_can_fail() -> None:
    meter = Meter()
    ended = []

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await meter.run(forever())

    async def outer() -> None:
        await meter.run(forever())

    task = asyncio.create_task(outer())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [True, True]

    async def fail() -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await meter.run(fail())


def test_a_check_that_computes_too_long_ends_at_its_next_step() -> None:
    clock = Clock()
    budget = Budget(Limits(), Meter(clock))
    budget.meter.begin()
    for spend in (
        budget.spend_query,
        budget.spend_signature,
        budget.spend_signature_seen,
        budget.spend_digest,
        budget.spend_hash,
        budget.look_at_clock,
    ):
        clock.now = 0.49
        spend()
        clock.now = 0.51
        with pytest.raises(LimitReached, match=r"more than 0\.5 seconds of computing") as caught:
            spend()
        assert caught.value.state is DnssecState.INDETERMINATE


class Slow(FakeDns):
    """Its answers take this much processor time to read."""

    seconds = 0.0

    async def ask(self, owner: dns.name.Name, rdtype: RdataType) -> dns.message.Message:
        answer = await super().ask(owner, rdtype)
        until = time.thread_time() + self.seconds
        while time.thread_time() < until:
            pass
        return answer


async def test_reading_answers_is_computing_too() -> None:
    network = Slow(ZONE)
    network.seconds = 0.05
    result = await network.check(HOST, processor_seconds=0.12)
    assert result.state is DnssecState.INDETERMINATE
    assert "seconds of computing" in result.message
    assert result.valid_until == NOW + timedelta(seconds=120)
    assert len(network.asked) <= 3
    network.seconds = 0.0
    assert (await network.check(HOST)).state is DnssecState.SECURE


class Computing(FakeDns):
    """Reading one answer computes until the event loop of who asks had its turn; without that it gives up."""

    def __init__(self, patience: float) -> None:
        super().__init__(ZONE)
        self.patience = patience
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.had_its_turn: list[bool] = []

    async def ask(self, owner: dns.name.Name, rdtype: RdataType) -> dns.message.Message:
        answer = await super().ask(owner, rdtype)
        if (str(owner), rdtype) == (APEX, RdataType.DNSKEY):
            self.begun.set()
            self.had_its_turn.append(self.go_on.wait(self.patience))
        return answer

    async def watch(self) -> None:
        """What the event loop of who asks has to do besides."""
        while not self.begun.is_set():  # noqa: ASYNC110  of another thread
            await asyncio.sleep(0.001)
        self.go_on.set()


async def test_the_event_loop_of_who_asks_goes_on_while_a_check_computes() -> None:
    for is_apart, patience in ((True, 60.0), (False, 0.05)):
        network = Computing(patience)
        validator = network.validator(seconds=120)
        check = ApartValidator(validator) if is_apart else validator
        result, _ = await asyncio.gather(check.check(HOST, NOW), network.watch())
        assert result.state is DnssecState.SECURE
        assert network.had_its_turn == [is_apart]


async def test_a_check_that_nobody_waits_for_any_more_ends_apart_too() -> None:
    home = asyncio.get_running_loop()
    begun, ended = asyncio.Event(), asyncio.Event()

    class Endless(FakeDns):
        async def ask(self, owner: dns.name.Name, rdtype: RdataType) -> dns.message.Message:
            home.call_soon_threadsafe(begun.set)
            try:
                await asyncio.Event().wait()
            finally:
                home.call_soon_threadsafe(ended.set)
            return await super().ask(owner, rdtype)

    network = Endless(ZONE)
    task = asyncio.create_task(ApartValidator(network.validator()).check(HOST, NOW))
    async with asyncio.timeout(30):
        await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(30):
        await ended.wait()


async def test_what_fails_apart_fails_here() -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await apart(fail)


def test_what_runs_apart_is_cancelled_when_the_process_ends() -> None:
    thread = CheckThread()
    ended: list[bool] = []

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    loop = thread.loop()
    running = asyncio.run_coroutine_threadsafe(forever(), loop)
    thread.stop()
    assert loop.is_closed()
    assert running.cancelled()
    assert len(ended) <= 1  # none, when it was cancelled before its first step
    thread.stop()
    assert thread.loop() is not loop
    thread.stop()


def test_a_zone_with_many_keys_under_one_tag_is_noticed() -> None:
    key = ZoneKey.generate(13).public
    keys = ZoneKeys(name(APEX), [key] * 3)
    assert keys.crowded(3) is None
    assert keys.crowded(2) == key_tag(key)
    assert keys.found(13, key_tag(key)) == [key] * 3
    assert keys.found(8, key_tag(key)) == ()


async def test_a_clean_check_stays_far_below_its_limits() -> None:
    network = FakeDns(ZONE)
    limits = {"signatures_seen_in_all": 9, "signatures": 9, "ds_digests": 3, "processor_seconds": 0.25}
    validator = ChainValidator(resolver=network, anchors=network.anchors(), limits=Limits(**limits))  # type: ignore[arg-type]
    # The best of some: a collection of garbage in the middle counts as computing too.
    states = [(await validator.check(HOST, NOW)).state for _ in range(5)]
    assert DnssecState.SECURE in states
    assert set(states) <= {DnssecState.SECURE, DnssecState.INDETERMINATE}
