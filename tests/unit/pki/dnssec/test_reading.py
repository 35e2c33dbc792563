"""Answers that are small to send and long to read: what nobody asked for stays closed, and names are counted first."""

import struct
import time
from collections.abc import Callable

import dns.message
import dns.rrset
import hypothesis.strategies as st
import pytest
from dns.rdatatype import RdataType
from hypothesis import example, given, settings

from pki.dnssec.exchange import Unfit
from pki.dnssec.reading import MAX_RECORDS, read_answer
from pki.dnssec.transport import question
from tests.fakes.dns import FakeDns, name

LONG = b"\x01a" * 126 + b"\x00"
ASKED_AT = b"\xc0\x0c"


def message(*records: bytes, asked: bytes = LONG, sections: tuple[int, int, int] | None = None) -> bytes:
    counts = sections or (len(records), 0, 0)
    return struct.pack("!6H", 1, 0x8180, 1, *counts) + asked + struct.pack("!HH", 1, 1) + b"".join(records)


def record(kind: int, data: bytes, owner: bytes = ASKED_AT, group: int = 1) -> bytes:
    return owner + struct.pack("!HHIH", kind, group, 60, len(data)) + data


def least_time(act: Callable[[], object]) -> float:
    """Seconds of the processor, the best of some: one that collects garbage in between says nothing."""

    def once() -> float:
        started = time.thread_time()
        act()
        return time.thread_time() - started

    return min(once() for _ in range(5))


@pytest.mark.parametrize(
    "wire",
    [
        message(*(record(15, struct.pack("!H", i) + ASKED_AT) for i in range(256))),  # MX: 0.7 s for 4 kB
        message(*(record(6, ASKED_AT * 2 + struct.pack("!5I", i, 1, 1, 1, 1)) for i in range(250))),  # SOA: 1.3 s
        message(*(record(5, ASKED_AT) for _ in range(100))),
        message(*(record(1, struct.pack("!I", i)) for i in range(256))),
        message(*(record(46, struct.pack("!HBBIIIH", 1, 13, 2, 60, 2, 1, i) + LONG + b"x") for i in range(60))),
        message(*(record(47, LONG + b"\x00\x01\x40") for _ in range(60))),
    ],
    ids=["MX", "SOA", "CNAME", "A", "RRSIG", "NSEC"],
)
def test_many_long_names_are_refused_before_they_are_parsed(wire: bytes) -> None:
    def read() -> None:
        with pytest.raises(Unfit, match="longer names in one answer"):
            read_answer(wire, RdataType.A)

    assert least_time(read) < 0.05


@pytest.mark.parametrize(
    "closed",
    [
        record(16, b"\x00" * 32000),  # TXT: 98 ms
        record(55, struct.pack("!BBH", 1, 1, 1) + b"aa" + b"\x00" * 30000),  # HIP: 208 ms
        record(42, b"\x00\x01\x08\x01\x01" * 6000),  # APL
        record(64, b"\x00\x01\x00" + b"".join(struct.pack("!HH", i + 1000, 0) for i in range(7000))),  # SVCB
        record(35, b"garbage"),
        record(5, ASKED_AT, group=3),  # class CH
    ],
    ids=["TXT", "HIP", "APL", "SVCB", "malformed", "class"],
)
def test_what_nobody_asked_for_stays_closed(closed: bytes) -> None:
    wire = message(closed, record(1, b"\x7f\x00\x00\x01"), asked=b"\x01a\x00")
    answer = read_answer(wire, RdataType.A)
    assert least_time(lambda: read_answer(wire, RdataType.A)) < 0.05
    assert [r[0].to_text() for r in answer.answer if r.rdtype == RdataType.A] == ["127.0.0.1"]
    assert {r.rdtype for r in answer.answer} == {RdataType.A, RdataType.make(65534)}


def test_who_asks_for_the_type_that_stands_for_closed_ones_gets_no_other() -> None:
    wire = message(record(16, b"\x01x"), record(65534, b"\x01"), asked=b"\x01a\x00")
    answer = read_answer(wire, RdataType.make(65534))
    assert [(r.rdtype, len(r)) for r in answer.answer] == [(65533, 1), (65534, 1)]


@pytest.mark.parametrize(("number", "refused"), [(MAX_RECORDS, False), (MAX_RECORDS + 1, True)])
@pytest.mark.parametrize("section", [0, 1, 2])
def test_records_are_counted_in_all_sections(number: int, section: int, refused: bool) -> None:  # noqa: FBT001
    counts = [0, 0, 0]
    counts[section] = number
    records = [record(1, struct.pack("!I", i)) for i in range(number)]
    wire = message(*records, asked=b"\x01a\x00", sections=(counts[0], counts[1], counts[2]))
    if refused:
        with pytest.raises(Unfit, match="more than 256 records"):
            read_answer(wire, RdataType.A)
    else:
        assert sum(len(r) for r in read_answer(wire, RdataType.A).answer) == (number if section == 0 else 0)


def test_of_the_additional_section_only_edns_is_read() -> None:
    network = FakeDns({"name": "ciz.nl", "records": {"register": ["127.0.0.1"]}})
    honest = network.raw("register.ciz.nl.", "A")
    honest.additional.append(dns.rrset.from_text("register.ciz.nl.", 60, "IN", "A", "127.6.6.6"))
    answer = read_answer(honest.to_wire(), RdataType.A)
    assert answer.additional == []
    assert (answer.edns, answer.ednsflags) == (honest.edns, honest.ednsflags)
    assert answer.answer == honest.answer


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        b"\x00" * 11,
        message(ASKED_AT),
        message(record(1, b"1234")[:-1]),
        message(record(1, b"1234", owner=b"\xc0\xff")),
        message(record(1, b"1234", owner=b"\x40")),
        message(record(46, b"")),
        message(sections=(1, 0, 0)),
        struct.pack("!6H", 1, 0x8180, 1, 0, 0, 0) + b"\xc0\x0c\x00\x01\x00\x01",  # a name that points at itself
        struct.pack("!6H", 1, 0x8180, 9, 0, 0, 0) + b"\x00\x00\x01\x00\x01",
    ],
)
def test_what_is_malformed_is_unfit(wire: bytes) -> None:
    with pytest.raises(Unfit):
        read_answer(wire, RdataType.A)


def truths() -> list[bytes]:
    network = FakeDns({"name": "ciz.nl", "denial": "nsec3", "records": {"register": ["127.0.0.1"]}})
    questions = [("register.ciz.nl.", "A"), ("x.ciz.nl.", "A"), ("ciz.nl.", "DNSKEY"), ("ciz.nl.", "DS")]
    return [network.raw(*asked).to_wire() for asked in questions]


@settings(max_examples=300)
@given(
    st.sampled_from(truths()),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=6),
    st.sampled_from([RdataType.A, RdataType.DNSKEY, RdataType.SOA, RdataType.TXT]),
)
@example(b"", [], RdataType.A)
def test_whatever_comes_is_a_message_or_unfit(wire: bytes, damage: list[tuple[int, int]], asked: RdataType) -> None:
    spoilt = bytearray(wire)
    for position, value in damage:
        if spoilt:
            spoilt[position % len(spoilt)] = value
    try:
        answer = read_answer(bytes(spoilt), asked)
    except Unfit:
        return
    assert isinstance(answer, dns.message.Message)


@pytest.mark.parametrize("rdtype", ["A", "DNSKEY", "DS", "TXT", "AAAA", "NS"])
@pytest.mark.parametrize("denial", ["nsec", "nsec3"])
def test_nothing_that_bears_on_the_question_is_lost(rdtype: str, denial: str) -> None:
    network = FakeDns(
        {"name": "ciz.nl", "denial": denial, "records": {"register": ["127.0.0.1"], "c": {"CNAME": ["x."]}}}
    )
    for owner in ("register.ciz.nl.", "ciz.nl.", "nope.ciz.nl.", "c.ciz.nl.", "."):
        whole = network.responder.respond(question(name(owner), RdataType[rdtype]))
        left = read_answer(whole.to_wire(max_size=65535), RdataType[rdtype])
        matter = {RdataType[rdtype], RdataType.CNAME, RdataType.NSEC, RdataType.NSEC3}
        for before, after in ((whole.answer, left.answer), (whole.authority, left.authority)):
            kept = [r for r in before if r.rdtype in matter or (r.rdtype == RdataType.RRSIG and r.covers in matter)]
            assert [r for r in after if r.rdtype != 65534] == kept
        assert left.rcode() == whole.rcode()
