"""The way down: from the anchor's keys to the keys of the zone that holds a name.

Specification: shared `spec/dnssec.md`, steps 1 to 3; RFC 4035 section 5.2. At each label DS is asked: present, its
keys are fetched and matched; absent, a signed proof decides between "no zone cut here" and "unsigned child".
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import dns.dnssec
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.DS import DS

from pki.dnssec.anchors import TrustAnchor, anchors_for
from pki.dnssec.denial import Cut, Proof
from pki.dnssec.evidence import Evidence
from pki.dnssec.keys import ZoneKeys, accepted, usable_keys
from pki.dnssec.model import Budget, ChainBroken, ChainLink, DnssecState, Limits, LinkKind
from pki.dnssec.signatures import Verified, verify
from pki.dnssec.transport import DnsTransport, ResolverUnreachable
from pki.dnssec.zone import Zone

_GOOD_CODES = frozenset({dns.rcode.NOERROR, dns.rcode.NXDOMAIN})


class Walk:
    """One check's way down, its questions (each asked once) and its links (implements `zone.Checker`)."""

    def __init__(self, resolver: DnsTransport, anchors: Sequence[TrustAnchor], budget: Budget, at: datetime) -> None:
        self.at = at
        self.budget = budget
        self.links: list[ChainLink] = []
        self.valid_until: datetime | None = None
        self._resolver = resolver
        self._anchors = anchors
        self._answers: dict[tuple[dns.name.Name, RdataType], dns.message.Message] = {}
        # What lies at a name: a zone of its own, the zone above (no cut), or None where nothing below can exist.
        self._found: dict[dns.name.Name, Zone | None] = {}

    @property
    def limits(self) -> Limits:
        """The limits of this check."""
        return self.budget.limits

    def rely_on(self, verified: Verified) -> None:
        """Note that the outcome holds no longer than this record set."""
        until = min(self.at + timedelta(seconds=verified.ttl), verified.expires)
        self.valid_until = until if self.valid_until is None else min(self.valid_until, until)

    def link(  # noqa: PLR0917  one call site shape, read top to bottom
        self,
        kind: LinkKind,
        depth: int,
        name: dns.name.Name,
        state: DnssecState,
        detail: str,
        zone: Zone | None = None,
        verified: Verified | None = None,
    ) -> None:
        """Add one link to the chain of trust."""
        self.links.append(
            ChainLink(
                kind=kind,
                depth=depth,
                name=str(name),
                state=state,
                detail=detail,
                zone=str(zone.name) if zone is not None and not zone.insecure else "",
                key_tag=verified.key_tag if verified else None,
                algorithm=verified.algorithm if verified else None,
                expires=verified.expires if verified else None,
            )
        )

    async def ask(self, name: dns.name.Name, rdtype: RdataType) -> dns.message.Message:
        """One question to the resolver, asked once per check.

        Raises:
            ChainBroken: UNREACHABLE (no answer, or an answer that says that there is none); INDETERMINATE (the
                resolver cannot carry DNSSEC, or too many questions).
        """
        if (name, rdtype) in self._answers:
            return self._answers[name, rdtype]
        self.budget.spend_query()
        what = f"{name}/{dns.rdatatype.to_text(rdtype)}"
        try:
            message = await self._resolver.ask(name, rdtype)
        except ResolverUnreachable as problem:
            raise ChainBroken(DnssecState.UNREACHABLE, f"{problem} for {what}") from problem
        # Reading the answer was computing as well.
        self.budget.look_at_clock()
        if message.rcode() not in _GOOD_CODES:
            code = dns.rcode.to_text(message.rcode())
            raise ChainBroken(
                DnssecState.UNREACHABLE,
                f"the resolver answers {code} for {what}: its name servers are silent, lame or refuse",
            )
        if not _carries_dnssec(message):
            raise ChainBroken(
                DnssecState.INDETERMINATE,
                f"the resolver does not pass on DNSSEC records (its answer for {what} has neither DO nor RRSIG)",
            )
        self._answers[name, rdtype] = message
        return message

    async def zone_of(self, name: dns.name.Name, rdtype: RdataType) -> Zone:
        """The zone that answers for a name: its keys, or why it is insecure.

        Raises:
            ChainBroken: the chain is broken above the name.
        """
        # DS lives on the parent's side of a cut (RFC 4035 section 3.1.4.1).
        lowest = name.parent() if rdtype == RdataType.DS and name != dns.name.root else name
        zone = await self._enter(lowest)
        for length in range(len(zone.name) + 1, len(lowest) + 1):
            if zone.insecure:
                break
            child = lowest.split(length)[1]
            if child not in self._found:
                self._found[child] = await self._descend(zone, child)
            below = self._found[child]
            if below is None:
                break
            zone = below
        return zone

    async def _enter(self, name: dns.name.Name) -> Zone:
        """Step 1 and 2 for the deepest anchored zone above `name`."""
        anchors = anchors_for(name, self._anchors)
        if not anchors:
            raise ChainBroken(DnssecState.INDETERMINATE, f"no trust anchor is configured for {name}")
        top = anchors[0].zone
        if top not in self._found:
            self.link(LinkKind.ANCHOR, 0, top, DnssecState.SECURE, f"{len(anchors)} trust anchor(s) for {top}")
            self._found[top] = await self._keys(top, 0, [anchor.record for anchor in anchors], "the trust anchor")
        zone = self._found[top]
        if zone is None:
            raise ChainBroken(DnssecState.INDETERMINATE, f"no keys for {top}")
        return zone

    async def _descend(self, zone: Zone, child: dns.name.Name) -> Zone | None:
        """Step 3: what lies at `child`, one label or more below `zone`."""
        message = await self.ask(child, RdataType.DS)
        evidence = Evidence(message, zone, self)
        ds = evidence.answer(child, RdataType.DS)
        if ds is not None:
            verified = evidence.verify(ds)
            if verified.closest_encloser is not None:
                raise ChainBroken(DnssecState.BOGUS, f"DS of {child} comes from a wildcard")
            self.link(
                LinkKind.DS, zone.depth + 1, child, DnssecState.SECURE, f"DS at {zone.name} for {child}", zone, verified
            )
            records = [record for record in ds if isinstance(record, DS)]
            return await self._keys(child, zone.depth + 1, records, f"the DS at {zone.name}")
        if evidence.dname_above(child) is not None:
            # Names below a DNAME are rewritten, never delegated; the answer itself is validated later.
            return None
        if (cname := evidence.answer(child, RdataType.CNAME)) is not None:
            # A CNAME stands alone at its name, so there is no NS and no cut (RFC 1034 section 3.6.2).
            verified = evidence.verify(cname)
            if verified.closest_encloser is None:
                return zone
            denial, costly = evidence.denial()
            if costly:
                return self._unsigned(zone, child, costly)
            if denial.no_closer(child, verified.closest_encloser) is not Proof.NONE:
                return None
        return self._absent(zone, child, evidence)

    def _absent(self, zone: Zone, child: dns.name.Name, evidence: Evidence) -> Zone | None:
        denial, costly = evidence.denial()
        if costly:
            return self._unsigned(zone, child, costly)
        cut = denial.cut(child)
        if cut is Cut.UNSIGNED:
            return self._unsigned(zone, child, f"no DS at {zone.name} for {child}")
        if cut is Cut.OPT_OUT:
            return self._unsigned(zone, child, f"no DS at {zone.name} for {child} (opt-out)")
        if cut is Cut.UNPROVEN:
            evidence.complain()
            raise ChainBroken(
                DnssecState.BOGUS,
                f"no DS at {zone.name} for {child}, and no signed proof of its absence: a server strips NSEC records, "
                "or answers from the child's side",
            )
        return zone if cut is Cut.NO_CUT else None

    def _unsigned(self, zone: Zone, child: dns.name.Name, reason: str) -> Zone:
        self.link(LinkKind.NO_DS, zone.depth + 1, child, DnssecState.INSECURE, reason, zone)
        return Zone(child, zone.depth + 1, insecure=reason)

    async def _keys(self, name: dns.name.Name, depth: int, references: Sequence[DS | DNSKEY], source: str) -> Zone:
        """Step 2: the keys of a zone, its whole DNSKEY set signed by a key that `references` name."""
        supported = accepted(references)
        if not supported:
            used = ", ".join(sorted({str(int(r.algorithm)) for r in references}))
            reason = f"{source} for {name} names only algorithms or digests that are not accepted (algorithm {used})"
            self.link(LinkKind.DNSKEY, depth, name, DnssecState.INSECURE, reason)
            return Zone(name, depth, insecure=reason)
        if len(supported) > self.limits.ds_records:
            raise ChainBroken(
                DnssecState.BOGUS, f"{source} for {name} has more than {self.limits.ds_records} (limit against KeyTrap)"
            )
        message = await self.ask(name, RdataType.DNSKEY)
        evidence = Evidence(message, Zone(name, depth), self)
        rrset = evidence.answer(name, RdataType.DNSKEY)
        if rrset is None:
            raise ChainBroken(DnssecState.BOGUS, f"{name} publishes no DNSKEY although {source} says that it is signed")
        if len(rrset) > self.limits.keys:
            raise ChainBroken(
                DnssecState.BOGUS,
                f"{name} has more than {self.limits.keys} keys (limit against KeyTrap)",
            )
        keys = ZoneKeys(name, usable_keys(rrset))
        crowded = keys.crowded(self.limits.keys_per_tag)
        if crowded is not None:
            raise ChainBroken(
                DnssecState.BOGUS,
                f"{name} has more than {self.limits.keys_per_tag} keys with tag {crowded} (limit against KeyTrap)",
            )
        trusted = keys.named_by(supported, self.budget)
        if not trusted.tags:
            there = ", ".join(str(tag) for tag in keys.tags) or "none"
            named = ", ".join(str(r.key_tag if isinstance(r, DS) else dns.dnssec.key_id(r)) for r in supported)
            raise ChainBroken(
                DnssecState.BOGUS,
                f"{source} for {name} (key tag {named}) matches no DNSKEY of {name} (key tags {there}): "
                "publish the DS of a present key in the parent",
            )
        signatures = message.get_rrset(message.answer, name, rrset.rdclass, RdataType.RRSIG, RdataType.DNSKEY)
        verified = verify(rrset, signatures, trusted, self.at, self.budget)
        self.rely_on(verified)
        zone = Zone(name, depth, keys=keys)
        self.link(LinkKind.DNSKEY, depth, name, DnssecState.SECURE, f"DNSKEY of {name} fits {source}", zone, verified)
        return zone


def _carries_dnssec(message: dns.message.Message) -> bool:
    """Whether the resolver knows that signatures are wanted: it copies DO (RFC 4035 section 3.2.1) or sends some."""
    if message.edns < 0:
        return False
    signed = any(rrset.rdtype == RdataType.RRSIG for section in message.sections for rrset in section)
    return signed or bool(message.ednsflags & dns.flags.DO)
