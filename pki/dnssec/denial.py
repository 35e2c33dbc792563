"""Signed proofs that something is not there: the common part, and NSEC.

Specification: shared `spec/dnssec.md`, steps 3 and 5; RFC 4035 section 5.4, RFC 6840 sections 4.1 to 4.4. NSEC3 is
`nsec3`. A proof is built from record sets that `signatures.verify` accepted for one zone; nothing else is looked at.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import dns.name
import dns.rdatatype
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.NSEC import NSEC
from dns.rdtypes.ANY.NSEC3 import NSEC3

from pki.dnssec.signatures import Verified


class Proof(Enum):
    """What a denial proves.

    `OPT_OUT`: the name lies in a span in which unsigned delegations may hide, so the answer is insecure, not bogus.
    """

    NONE = "none"
    PROVEN = "proven"
    OPT_OUT = "opt_out"


class Cut(Enum):
    """What a proof says about a zone cut at a name for which there is no DS."""

    UNPROVEN = "unproven"
    NO_CUT = "no_cut"
    NO_NAME = "no_name"
    UNSIGNED = "unsigned"
    OPT_OUT = "opt_out"


class Denial(Protocol):
    """The proofs that one answer offers for one zone."""

    def no_name(self, name: dns.name.Name) -> Proof:
        """NXDOMAIN: neither the name nor a wildcard that would match it exists."""
        ...

    def no_type(self, name: dns.name.Name, rdtype: RdataType) -> Proof:
        """NODATA: the name (or the wildcard that matches it) exists and has neither the type nor a CNAME."""
        ...

    def no_closer(self, name: dns.name.Name, closest_encloser: dns.name.Name) -> Proof:
        """A wildcard answer is legitimate: nothing between `closest_encloser` and `name` exists."""
        ...

    def cut(self, name: dns.name.Name) -> Cut:
        """Whether there is a zone cut at a name without DS."""
        ...


class Types:
    """The types that the bitmap of an NSEC or NSEC3 record lists.

    They are looked up one at a time: a bitmap can list all 65536 types, and nobody asks for more than five of them.
    """

    __slots__ = ("_windows",)

    def __init__(self, record: NSEC | NSEC3) -> None:
        # Each window comes once and in order, or the record was malformed (RFC 4034 section 4.1.2).
        self._windows: dict[int, bytes] = dict(record.windows)

    def __contains__(self, rdtype: RdataType) -> bool:
        """Whether a type is listed (RFC 4034 section 4.1.2)."""
        window, position = divmod(int(rdtype), 256)
        octet, bit = divmod(position, 8)
        bitmap = self._windows.get(window, b"")
        return octet < len(bitmap) and bool(bitmap[octet] & (0x80 >> bit))


def is_delegation(types: Types) -> bool:
    """Whether the record is the parent's side of a zone cut: it says nothing about the child's names and types."""
    return RdataType.NS in types and RdataType.SOA not in types


def hides_below(types: Types) -> bool:
    """Whether names below the owner are somebody else's (delegation) or redirected (DNAME), RFC 6840 section 4.1."""
    return is_delegation(types) or RdataType.DNAME in types


def denies_type(types: Types, rdtype: RdataType, *, apex: bool) -> bool:
    """Whether a bitmap at the very name denies a type: the right side of a cut speaks, and no CNAME is there."""
    if rdtype in types or RdataType.CNAME in types:
        return False
    if rdtype == RdataType.DS:
        return apex or RdataType.SOA not in types
    return not is_delegation(types)


def cut_of(types: Types) -> Cut:
    """What the bitmap at the very name says about a cut, when asked for DS (RFC 4035 section 5.2)."""
    if RdataType.DS in types or RdataType.SOA in types:
        return Cut.UNPROVEN
    return Cut.UNSIGNED if RdataType.NS in types else Cut.NO_CUT


@dataclass(frozen=True, slots=True)
class _Span:
    """One verified NSEC: from its owner to the next owner in canonical order."""

    owner: dns.name.Name
    next: dns.name.Name
    types: Types


class NsecDenial:
    """Proofs from the NSEC records of one zone (implements `Denial`)."""

    def __init__(self, zone: dns.name.Name, records: list[Verified]) -> None:
        self._zone = zone
        self._spans = [
            _Span(verified.rrset.name, record.next, Types(record))
            for verified in records
            for record in verified.rrset
            if isinstance(record, NSEC) and record.next.is_subdomain(zone)
        ]

    def no_name(self, name: dns.name.Name) -> Proof:
        """See `Denial`: one NSEC covers the name, one covers the wildcard at its closest encloser."""
        span = self._covering(name)
        if span is None or span.next.is_subdomain(name):
            return Proof.NONE
        wildcard = dns.name.Name((b"*", *_closest_encloser(name, span).labels))
        return Proof.PROVEN if self._covering(wildcard) is not None else Proof.NONE

    def no_type(self, name: dns.name.Name, rdtype: RdataType) -> Proof:
        """See `Denial`: the name's own NSEC, an empty non-terminal, or the same two of the wildcard that matches."""
        own = self._at(name)
        if own is not None:
            return Proof.PROVEN if denies_type(own.types, rdtype, apex=name == dns.name.root) else Proof.NONE
        span = self._covering(name)
        if span is None:
            return Proof.NONE
        if span.next.is_subdomain(name):
            return Proof.PROVEN
        wildcard = dns.name.Name((b"*", *_closest_encloser(name, span).labels))
        matching = self._at(wildcard)
        if matching is not None:
            return Proof.PROVEN if denies_type(matching.types, rdtype, apex=False) else Proof.NONE
        # A wildcard can be an empty non-terminal as well, when there is a name below it (RFC 4592 section 2.2.2).
        around = self._covering(wildcard)
        return Proof.PROVEN if around is not None and around.next.is_subdomain(wildcard) else Proof.NONE

    def no_closer(self, name: dns.name.Name, closest_encloser: dns.name.Name) -> Proof:
        """See `Denial`: an NSEC covers the name and its closest encloser is the wildcard's."""
        span = self._covering(name)
        if span is None or span.next.is_subdomain(name) or _closest_encloser(name, span) != closest_encloser:
            return Proof.NONE
        return Proof.PROVEN

    def cut(self, name: dns.name.Name) -> Cut:
        """See `Denial`."""
        own = self._at(name)
        if own is not None:
            return cut_of(own.types)
        span = self._covering(name)
        if span is None:
            return Cut.UNPROVEN
        return Cut.NO_CUT if span.next.is_subdomain(name) else Cut.NO_NAME

    def _at(self, name: dns.name.Name) -> _Span | None:
        return next((span for span in self._spans if span.owner == name), None)

    def _covering(self, name: dns.name.Name) -> _Span | None:
        for span in self._spans:
            if name == span.owner or (name.is_subdomain(span.owner) and hides_below(span.types)):
                continue
            after, before = name > span.owner, name < span.next
            if (after and before) or (span.next <= span.owner and (after or before)):
                return span
        return None


def _closest_encloser(name: dns.name.Name, span: _Span) -> dns.name.Name:
    """The longest ancestor of a covered name that exists: what it shares with the owner or with the next owner."""
    shared = max(name.fullcompare(span.owner)[2], name.fullcompare(span.next)[2])
    return name.split(shared)[1]


class NoDenial:
    """The answer offered no proof at all (implements `Denial`)."""

    def no_name(self, name: dns.name.Name) -> Proof:  # noqa: ARG002  the protocol's parameters, here and below
        """Nothing is proven."""
        return Proof.NONE

    def no_type(self, name: dns.name.Name, rdtype: RdataType) -> Proof:  # noqa: ARG002
        """Nothing is proven."""
        return Proof.NONE

    def no_closer(self, name: dns.name.Name, closest_encloser: dns.name.Name) -> Proof:  # noqa: ARG002
        """Nothing is proven."""
        return Proof.NONE

    def cut(self, name: dns.name.Name) -> Cut:  # noqa: ARG002
        """Nothing is proven."""
        return Cut.UNPROVEN
