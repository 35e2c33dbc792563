"""Answers one DNS question from the lab's zones, the way a resolver would pass it on.

RFC 1034 section 4.3.2 (lookup), RFC 4035 section 3 and RFC 5155 section 7.2 (what goes beside an answer when DO is
set). Aliases are followed across the zones held here. A name under a delegation that is not held here is SERVFAIL,
as it would be from a resolver whose name servers do not answer.
"""

import base64
import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import dns.flags
import dns.message
import dns.name
import dns.node
import dns.rcode
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.rrset
import dns.zone
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.NSEC3 import NSEC3

from deploy.lab.dns.nsec3 import hashed
from deploy.lab.dns.signing import BuiltZone

MAX_ALIASES = 8
EDNS_PAYLOAD = 1232
_IN = dns.rdataclass.IN


class Denials:
    """The denial records of one zone, ready to be looked up."""

    def __init__(self, zone: dns.zone.Zone) -> None:
        self._nsec = sorted(name for name, node in zone.nodes.items() if node.get_rdataset(_IN, RdataType.NSEC))
        self._iterations = 0
        self._salt = b""
        by_text: dict[dns.name.Name, bytes] = {}
        for name, node in zone.nodes.items():
            rdataset = node.get_rdataset(_IN, RdataType.NSEC3)
            if rdataset is not None and isinstance(rdataset[0], NSEC3):
                self._iterations, self._salt = rdataset[0].iterations, rdataset[0].salt or b""
                by_text[name] = name.labels[0].lower()
        # base32hex keeps the order of the hashes, so labels can be compared as they are.
        self._nsec3 = sorted((label, name) for name, label in by_text.items())

    def covering(self, name: dns.name.Name) -> tuple[RdataType, dns.name.Name] | None:
        """Type and owner of the record that matches or spans a name."""
        if self._nsec3:
            position = bisect.bisect_right([label for label, _ in self._nsec3], self._label(name)) - 1
            return RdataType.NSEC3, self._nsec3[position][1]
        if self._nsec:
            return RdataType.NSEC, self._nsec[bisect.bisect_right(self._nsec, name) - 1]
        return None

    def matches(self, name: dns.name.Name) -> bool:
        """Whether a record stands for the very name."""
        if self._nsec3:
            return any(label == self._label(name) for label, _ in self._nsec3)
        return name in self._nsec

    @property
    def is_hashed(self) -> bool:
        """Whether the zone uses NSEC3."""
        return bool(self._nsec3)

    def _label(self, name: dns.name.Name) -> bytes:
        return base64.b32hexencode(hashed(name, self._iterations, self._salt)).lower()


@dataclass(frozen=True, slots=True)
class _Held:
    name: dns.name.Name
    zone: dns.zone.Zone
    signed: bool
    denials: Denials
    names: frozenset[dns.name.Name]


class Responder:
    """All zones of the lab behind one address.

    Args:
        zones: as built by `signing.build_zones`.
    """

    def __init__(self, zones: Iterable[BuiltZone] = ()) -> None:
        self._zones: dict[dns.name.Name, _Held] = {}
        for built in zones:
            self.hold(built)

    def hold(self, built: BuiltZone) -> None:
        """Serve a zone, in place of an earlier one of that name."""
        self.hold_zone(built.name, built.zone)

    def hold_zone(self, apex: dns.name.Name, zone: dns.zone.Zone) -> None:
        """Serve a zone that was signed elsewhere; its names are absolute."""
        there: set[dns.name.Name] = set()
        for owner in zone.nodes:
            name = owner
            while name not in there and name.is_subdomain(apex):
                there.add(name)
                if name == dns.name.root:
                    break
                name = name.parent()
        signed = zone.get_rdataset(apex, RdataType.DNSKEY) is not None
        self._zones[apex] = _Held(apex, zone, signed, Denials(zone), frozenset(there))

    def respond(self, query: dns.message.Message) -> dns.message.Message:
        """The answer to one query."""
        response = dns.message.make_response(query, our_payload=EDNS_PAYLOAD, recursion_available=True)
        response.flags |= dns.flags.AA
        # The bit is copied into the answer, by which a client sees that signatures are passed on (RFC 3225 section 3).
        if query.edns >= 0:
            response.ednsflags |= query.ednsflags & dns.flags.DO
        if query.opcode() != 0 or len(query.question) != 1 or query.question[0].rdclass != _IN:
            response.set_rcode(dns.rcode.NOTIMP)
            return response
        asked = query.question[0]
        _Lookup(self._zones, response, dnssec=bool(query.ednsflags & dns.flags.DO)).run(asked.name, asked.rdtype)
        return response


class _Lookup:
    """One lookup, writing into one response."""

    def __init__(self, zones: dict[dns.name.Name, _Held], response: dns.message.Message, *, dnssec: bool) -> None:
        self._zones = zones
        self._response = response
        self._dnssec = dnssec

    def run(self, name: dns.name.Name, rdtype: RdataType) -> None:
        for _ in range(MAX_ALIASES):
            held = self._zone_for(name, rdtype)
            if held is None:
                self._response.set_rcode(dns.rcode.REFUSED)
                return
            target = self._step(held, name, rdtype)
            if target is None:
                return
            name = target

    def _zone_for(self, name: dns.name.Name, rdtype: RdataType) -> _Held | None:
        # DS is answered from the parent's side.
        at_parent = rdtype == RdataType.DS and name != dns.name.root and name in self._zones
        candidate = name.parent() if at_parent else name
        while candidate not in self._zones:
            if candidate == dns.name.root:
                return None
            candidate = candidate.parent()
        return self._zones[candidate]

    def _step(self, held: _Held, name: dns.name.Name, rdtype: RdataType) -> dns.name.Name | None:
        """Answer from one zone; returns the alias to go on with, if any."""
        cut = self._unheld_cut(held, name, rdtype)
        if cut is not None:
            self._response.set_rcode(dns.rcode.SERVFAIL)
            return None
        for depth in range(len(held.name), len(name)):
            above = name.split(depth)[1]
            dname = held.zone.get_rdataset(above, RdataType.DNAME)
            if dname is not None:
                return self._redirect(held, name, above, dname)
        if name in held.names:
            return self._existing(held, name, name, rdtype)
        encloser = name
        while encloser not in held.names:
            encloser = encloser.parent()
        wildcard = dns.name.Name((b"*", *encloser.labels))
        next_closer = name.split(len(encloser) + 1)[1]
        if wildcard in held.names:
            self._prove(held, [next_closer if held.denials.is_hashed else name])
            return self._existing(held, wildcard, name, rdtype, encloser=encloser)
        self._response.set_rcode(dns.rcode.NXDOMAIN)
        self._soa(held)
        proofs = [encloser, next_closer, wildcard] if held.denials.is_hashed else [name, wildcard]
        self._prove(held, proofs)
        return None

    def _existing(
        self,
        held: _Held,
        stored: dns.name.Name,
        name: dns.name.Name,
        rdtype: RdataType,
        encloser: dns.name.Name | None = None,
    ) -> dns.name.Name | None:
        rdataset = held.zone.get_rdataset(stored, rdtype)
        if rdataset is not None:
            self._add(self._response.answer, held, stored, name, rdataset)
            return None
        alias = held.zone.get_rdataset(stored, RdataType.CNAME)
        if alias is not None and rdtype not in {RdataType.NSEC, RdataType.RRSIG}:
            self._add(self._response.answer, held, stored, name, alias)
            target: dns.name.Name = alias[0].target
            return target
        self._soa(held)
        proofs = [stored]
        if encloser is not None and held.denials.is_hashed:
            proofs.append(encloser)
        elif held.denials.is_hashed and not held.denials.matches(stored):
            # An unsigned delegation in an opt-out span: closest encloser and the span (RFC 5155 section 7.2.4).
            above = stored.parent()
            while not held.denials.matches(above):
                stored, above = above, above.parent()
            proofs = [above, stored]
        self._prove(held, proofs)
        return None

    def _redirect(
        self, held: _Held, name: dns.name.Name, owner: dns.name.Name, dname: dns.rdataset.Rdataset
    ) -> dns.name.Name | None:
        self._add(self._response.answer, held, owner, owner, dname)
        try:
            target: dns.name.Name = name.relativize(owner) + dname[0].target
        except dns.name.NameTooLong:
            self._response.set_rcode(dns.rcode.YXDOMAIN)
            return None
        self._response.answer.append(dns.rrset.from_text(name, dname.ttl, _IN, RdataType.CNAME, str(target)))
        return target

    def _unheld_cut(self, held: _Held, name: dns.name.Name, rdtype: RdataType) -> dns.name.Name | None:
        for depth in range(len(held.name) + 1, len(name) + 1):
            cut = name.split(depth)[1]
            if held.zone.get_rdataset(cut, RdataType.NS) is not None:
                return None if cut == name and rdtype == RdataType.DS else cut
        return None

    def _soa(self, held: _Held) -> None:
        self._add(
            self._response.authority, held, held.name, held.name, held.zone.find_rdataset(held.name, RdataType.SOA)
        )

    def _prove(self, held: _Held, names: Sequence[dns.name.Name]) -> None:
        if not self._dnssec or not held.signed:
            return
        for name in names:
            found = held.denials.covering(name)
            if found is None:
                continue
            rdtype, owner = found
            if not any(r.name == owner and r.rdtype == rdtype for r in self._response.authority):
                self._add(self._response.authority, held, owner, owner, held.zone.find_rdataset(owner, rdtype))

    def _add(
        self,
        section: list[dns.rrset.RRset],
        held: _Held,
        stored: dns.name.Name,
        shown: dns.name.Name,
        rdataset: dns.rdataset.Rdataset,
    ) -> None:
        section.append(dns.rrset.from_rdata_list(shown, rdataset.ttl, list(rdataset)))
        if not self._dnssec:
            return
        signatures = held.zone.get_rdataset(stored, RdataType.RRSIG, rdataset.rdtype)
        if signatures is not None:
            section.append(dns.rrset.from_rdata_list(shown, signatures.ttl, list(signatures)))
