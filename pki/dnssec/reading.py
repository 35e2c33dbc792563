"""Reading an answer: only what bears on the question, and no more than a bounded amount of work.

Specification: RFC 1035 section 4.1. A record of sixteen octets can point at a name of 127 labels, and handling such a
name takes time that grows with the square of its labels: a datagram of four kilobytes kept the library that parses
messages busy for a second. So the octets are looked through first; what nobody asked for stays closed.
Nothing is verified here.
"""

import struct
from typing import Final

import dns.exception
import dns.message
from dns.rdataclass import RdataClass
from dns.rdatatype import RdataType

from pki.dnssec.exchange import Unfit

MAX_RECORDS: Final = 256
"""Records of one answer; one of the root with all its addresses and signatures has about sixty."""
MAX_LABEL_SQUARES: Final = 1 << 17
"""Of the names in one answer: room for 500 names of 16 labels, or for 8 of the longest."""
MAX_OPTIONS: Final = 4096
"""Octets of EDNS options."""
_ALWAYS: Final = frozenset({RdataType.CNAME, RdataType.DNAME, RdataType.NSEC, RdataType.NSEC3})
"""Types that bear on every question."""
_NAME_FIRST: Final = frozenset({RdataType.CNAME, RdataType.DNAME, RdataType.NSEC, RdataType.NS, RdataType.SOA})
"""Types whose data begin with a name."""
_SIGNER_AT: Final = 18
"""Where the signer stands in an RRSIG (RFC 4034 section 3.1)."""
_CLOSED: Final = (65534, 65533)
"""Private types (RFC 6895 section 3.1): data of such a type are kept as they are. The second, if the first is asked."""
_HEADER: Final = 12
_POINTER, _LONGEST_LABEL, _MOST_LABELS = 0xC0, 63, 127
_MALFORMED: Final = "a malformed answer"


def read_answer(wire: bytes, asked: RdataType) -> dns.message.Message:
    """The message, with the records of other types closed and without the additional section but for EDNS.

    Raises:
        Unfit: malformed, or more to read than an honest answer has.
    """
    try:
        return dns.message.from_wire(_Trimming(wire, asked).result())
    except (dns.exception.DNSException, struct.error, ValueError, LookupError) as problem:
        raise Unfit(_MALFORMED) from problem


class _Trimming:
    """One pass over the octets of a message."""

    def __init__(self, wire: bytes, asked: RdataType) -> None:
        self._wire = wire
        self._trimmed = bytearray(wire)
        self._open = _ALWAYS | {asked}
        self._closed = _CLOSED[asked == _CLOSED[0]]
        self._squares = 0

    def result(self) -> bytes:
        """The message that is left to read.

        Raises:
            Unfit: too much.
            IndexError, struct.error, ValueError: malformed.
        """
        questions, answers, authorities, others = struct.unpack_from("!HHHH", self._wire, 4)
        if answers + authorities + others > MAX_RECORDS:
            raise Unfit(f"more than {MAX_RECORDS} records in one answer (limit against KeyTrap)")
        at = _HEADER
        for _ in range(min(questions, 2)):
            at = self._name(at) + 4
        for _ in range(answers + authorities):
            at = self._record(at)
        end = at
        options = b""
        for _ in range(others):
            begin, at = at, self._skip(at)
            if self._wire[begin : begin + 3] == bytes((0, 0, RdataType.OPT)):
                options = self._wire[begin:at]
        if len(options) > MAX_OPTIONS:
            raise Unfit(f"more than {MAX_OPTIONS} octets of options in one answer")
        struct.pack_into("!H", self._trimmed, 10, 1 if options else 0)
        return bytes(self._trimmed[:end]) + options

    def _record(self, at: int) -> int:
        """Count the names of a record that is open, close any other; returns where the next one begins."""
        fixed = self._name(at)
        kind, group, _, length = struct.unpack_from("!HHIH", self._wire, fixed)
        data = fixed + 10
        about = kind
        if kind == RdataType.RRSIG:
            (about,) = struct.unpack_from("!H", self._wire, data)
        if group != RdataClass.IN or about not in self._open:
            struct.pack_into("!H", self._trimmed, fixed, self._closed)
        elif kind == RdataType.RRSIG:
            self._name(data + _SIGNER_AT)
        elif kind in _NAME_FIRST:
            self._name(data)
        return data + int(length)

    def _skip(self, at: int) -> int:
        fixed = self._name(at)
        (length,) = struct.unpack_from("!H", self._wire, fixed + 8)
        return fixed + 10 + int(length)

    def _name(self, at: int) -> int:
        """Count a name; returns where what follows it begins."""
        end, lowest, labels = 0, at, 0
        while (octet := self._wire[at]) != 0:
            if octet >= _POINTER:
                end = end or at + 2
                at = int.from_bytes(self._wire[at : at + 2], "big") & 0x3FFF
                if at >= lowest:
                    raise ValueError(_MALFORMED)
                lowest = at
                continue
            labels += 1
            if octet > _LONGEST_LABEL or labels > _MOST_LABELS:
                raise ValueError(_MALFORMED)
            at += octet + 1
        self._squares += labels * labels
        if self._squares > MAX_LABEL_SQUARES:
            raise Unfit("longer names in one answer than it has use for (limit against KeyTrap)")
        return end or at + 1
