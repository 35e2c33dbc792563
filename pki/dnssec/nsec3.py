"""Hashed denial of existence (NSEC3), with opt-out and bounded work.

Specification: RFC 5155 sections 8.3 to 8.9; RFC 9276 (iterations); RFC 6840 section 4.1; shared `spec/dnssec.md`.
"""

import base64
from dataclasses import dataclass

import dns.dnssec
import dns.name
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.NSEC3 import NSEC3

from pki.dnssec.denial import Cut, Proof, Types, cut_of, denies_type, hides_below
from pki.dnssec.model import Budget
from pki.dnssec.signatures import Verified

_SHA1 = 1
_OPT_OUT = 0x01


@dataclass(frozen=True, slots=True)
class _HashedSpan:
    owner: bytes
    next: bytes
    opt_out: bool
    types: Types


@dataclass(frozen=True, slots=True)
class _Encloser:
    """A proven closest encloser, and whether the next closer name was denied by an opt-out span."""

    name: dns.name.Name
    proof: Proof


class Nsec3Denial:
    """Proofs from the NSEC3 records of one zone (implements `denial.Denial`).

    Records with other parameters than the first one's, an unknown hash or unknown flags are ignored (RFC 5155
    section 8.2).
    """

    def __init__(self, zone: dns.name.Name, records: list[Verified], budget: Budget) -> None:
        self._zone = zone
        self._budget = budget
        self._parameters: tuple[bytes, int] | None = None
        self._spans: list[_HashedSpan] = []
        self._hashes: dict[dns.name.Name, bytes] = {}
        self.iterations = 0
        for verified in records:
            for record in verified.rrset:
                if isinstance(record, NSEC3):
                    self._take(verified.rrset.name, record)

    @property
    def too_costly(self) -> bool:
        """More iterations than the limit: the zone counts as insecure (RFC 9276 section 3.2)."""
        return self.iterations > self._budget.limits.nsec3_iterations

    def no_name(self, name: dns.name.Name) -> Proof:
        """See `denial.Denial` (RFC 5155 section 8.4)."""
        encloser = self._closest_encloser(name)
        if encloser is None or encloser.name == name:
            return Proof.NONE
        if self._covering(dns.name.Name((b"*", *encloser.name.labels))) is None:
            return Proof.NONE
        return encloser.proof

    def no_type(self, name: dns.name.Name, rdtype: RdataType) -> Proof:
        """See `denial.Denial` (RFC 5155 sections 8.5 to 8.7)."""
        own = self._at(name)
        if own is not None:
            return Proof.PROVEN if denies_type(own.types, rdtype, apex=name == dns.name.root) else Proof.NONE
        encloser = self._closest_encloser(name)
        if encloser is None:
            return Proof.NONE
        wildcard = self._at(dns.name.Name((b"*", *encloser.name.labels)))
        if wildcard is not None and denies_type(wildcard.types, rdtype, apex=False):
            return encloser.proof
        # An empty non-terminal above unsigned delegations has no NSEC3 of its own (RFC 5155 erratum 3441).
        return Proof.OPT_OUT if wildcard is None and encloser.proof is Proof.OPT_OUT else Proof.NONE

    def no_closer(self, name: dns.name.Name, closest_encloser: dns.name.Name) -> Proof:
        """See `denial.Denial` (RFC 5155 section 8.8): the next closer name is covered."""
        span = self._covering(name.split(len(closest_encloser) + 1)[1])
        if span is None:
            return Proof.NONE
        return Proof.OPT_OUT if span.opt_out else Proof.PROVEN

    def cut(self, name: dns.name.Name) -> Cut:
        """See `denial.Denial` (RFC 5155 sections 8.6 and 8.9)."""
        own = self._at(name)
        if own is not None:
            return cut_of(own.types)
        encloser = self._closest_encloser(name)
        if encloser is None:
            return Cut.UNPROVEN
        return Cut.OPT_OUT if encloser.proof is Proof.OPT_OUT else Cut.NO_NAME

    def _take(self, owner: dns.name.Name, record: NSEC3) -> None:
        if record.algorithm != _SHA1 or record.flags & ~_OPT_OUT or owner.parent() != self._zone:
            return
        parameters = (record.salt, record.iterations)
        if self._parameters not in {None, parameters}:
            return
        try:
            hashed = base64.b32hexdecode(owner.labels[0].upper())
        except ValueError:
            return
        self._parameters = parameters
        self.iterations = record.iterations
        self._spans.append(_HashedSpan(hashed, record.next, bool(record.flags & _OPT_OUT), Types(record)))

    def _hash(self, name: dns.name.Name) -> bytes:
        if name not in self._hashes:
            salt, iterations = self._parameters or (b"", 0)
            self._budget.spend_hash()
            self._hashes[name] = base64.b32hexdecode(dns.dnssec.nsec3_hash(name, salt, iterations, _SHA1))
        return self._hashes[name]

    def _at(self, name: dns.name.Name) -> _HashedSpan | None:
        if not self._spans:
            return None
        hashed = self._hash(name)
        return next((span for span in self._spans if span.owner == hashed), None)

    def _covering(self, name: dns.name.Name) -> _HashedSpan | None:
        if not self._spans:
            return None
        hashed = self._hash(name)
        for span in self._spans:
            after, before = hashed > span.owner, hashed < span.next
            if (after and before) or (span.next <= span.owner and (after or before)):
                return span
        return None

    def _closest_encloser(self, name: dns.name.Name) -> _Encloser | None:
        """RFC 5155 section 8.3: the longest ancestor with an NSEC3, while the name one label longer is denied."""
        next_closer = name
        candidate = name
        while candidate.is_subdomain(self._zone):
            match = self._at(candidate)
            if match is not None:
                break
            next_closer = candidate
            if candidate == self._zone:
                return None
            candidate = candidate.parent()
        else:
            return None
        if candidate == name or hides_below(match.types):
            return None
        span = self._covering(next_closer)
        if span is None:
            return None
        return _Encloser(candidate, Proof.OPT_OUT if span.opt_out else Proof.PROVEN)
