"""Trust anchors: where a chain of trust begins.

Specification: shared `spec/dnssec.md`, step 1; RFC 4033 (DS or DNSKEY anchors); RFC 7958 for the root's. A private
anchor serves closed networks and the lab. How an anchor file is kept up to date (RFC 5011) is in `pki.dnssec.rollover`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.tokenizer
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.DS import DS

from authz.domain.errors import InvalidValue
from authz.domain.files import read_limited

MAX_ANCHORS = 32
"""Anchors in one file; a rollover needs two per zone."""
MAX_FILE = 128 * 1024
"""Bytes of an anchor file; comments may be long, anchors are not."""

ROOT_ANCHORS_TEXT = """\
. IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D
. IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16
"""
"""The root's two key-signing keys of the rollover in progress (KSK-2017 and KSK-2024)."""


@dataclass(frozen=True, slots=True)
class TrustAnchor:
    """One key that is trusted by configuration, as DS or as DNSKEY, for one zone."""

    zone: dns.name.Name
    record: DS | DNSKEY

    @classmethod
    def parse(cls, line: str) -> Self:
        """Read one line in presentation form: `nl. IN DS 12345 13 2 AB..`, TTL and class optional.

        Raises:
            InvalidValue: the line is not a DS or DNSKEY record.
        """
        words = line.partition(";")[0].split()
        # Owner, then optional TTL and class in any order, then the type (RFC 1035 section 5.1).
        position = next((i for i, word in enumerate(words) if word.upper() in {"DS", "DNSKEY"}), 0)
        between = words[1:position] if position else ["?"]
        if any(not word.isdecimal() and word.upper() != "IN" for word in between):
            raise InvalidValue("not a trust anchor: expected '<zone> IN DS|DNSKEY <data>'")
        try:
            zone = dns.name.from_text(words[0]).canonicalize()
            record = dns.rdata.from_text(
                dns.rdataclass.IN, dns.rdatatype.from_text(words[position]), " ".join(words[position + 1 :])
            )
        except (dns.exception.DNSException, ValueError) as problem:
            raise InvalidValue("not a trust anchor: its name or its data is malformed") from problem
        if not isinstance(record, DS | DNSKEY):
            raise InvalidValue("not a trust anchor: expected DS or DNSKEY")
        return cls(zone, record)


def parse_anchors(text: str) -> tuple[TrustAnchor, ...]:
    """Read an anchor file: one record a line, `;` or `#` starts a comment, empty lines are skipped.

    Raises:
        InvalidValue: a line is malformed (its number is named), there is no anchor at all, or there are more than
            `MAX_ANCHORS`.
    """
    anchors: list[TrustAnchor] = []
    for number, line in enumerate(text.splitlines(), start=1):
        meat = line.partition(";")[0].strip()
        if not meat or meat.startswith("#"):
            continue
        if len(anchors) == MAX_ANCHORS:
            raise InvalidValue(f"more than {MAX_ANCHORS} trust anchors")
        try:
            anchors.append(TrustAnchor.parse(meat))
        except InvalidValue as problem:
            raise InvalidValue(f"line {number}: {problem}") from problem
    if not anchors:
        raise InvalidValue("no trust anchor found: expected at least one DS or DNSKEY record")
    return tuple(anchors)


def read_anchors(path: Path) -> tuple[TrustAnchor, ...]:
    """Read an anchor file; see `parse_anchors`.

    Raises:
        InvalidValue: it holds something else.
        OSError: it cannot be read, is no regular file, or is larger than `MAX_FILE`.
    """
    try:
        text = read_limited(path, MAX_FILE).decode("utf-8")
    except UnicodeDecodeError as problem:
        raise InvalidValue("no trust anchor found: expected text in UTF-8") from problem
    return parse_anchors(text)


def root_anchors() -> tuple[TrustAnchor, ...]:
    """The anchors of the public root."""
    return parse_anchors(ROOT_ANCHORS_TEXT)


def anchors_for(name: dns.name.Name, anchors: Iterable[TrustAnchor]) -> tuple[TrustAnchor, ...]:
    """All anchors of the deepest anchored zone that contains `name`; empty when none does."""
    covering = [anchor for anchor in anchors if name.is_subdomain(anchor.zone)]
    if not covering:
        return ()
    deepest = max((anchor.zone for anchor in covering), key=len)
    return tuple(anchor for anchor in covering if anchor.zone == deepest)
