"""Chain validation: from a configured anchor down to the answer, through any resolver, at an injected moment.

Specification: shared `spec/dnssec.md`, steps 1 to 5; RFC 4035 section 5, RFC 6840. The resolver is only a carrier:
whatever it claims (AD bit, response code) is proven or not believed. `walk` climbs down the zones; this module
validates the answer and follows aliases.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
from dns.rdatatype import RdataType

from authz.domain.errors import InvalidValue
from pki.dnssec.anchors import TrustAnchor
from pki.dnssec.asking import parse_question
from pki.dnssec.denial import Proof
from pki.dnssec.evidence import Evidence
from pki.dnssec.model import Answer, Budget, ChainBroken, DnssecResult, DnssecState, LimitReached, Limits, LinkKind
from pki.dnssec.signatures import Verified
from pki.dnssec.transport import DnsTransport
from pki.dnssec.walk import Walk
from pki.dnssec.zone import Zone


class ChainValidator:
    """Checks names against trust anchors.

    Args:
        resolver: carries the questions; not trusted.
        anchors: where trust begins; for each name the deepest zone with an anchor counts.
        limits: caps on the work of one check.
    """

    def __init__(self, *, resolver: DnsTransport, anchors: Sequence[TrustAnchor], limits: Limits = Limits()) -> None:  # noqa: B008  frozen
        self._resolver = resolver
        self._anchors = tuple(anchors)
        self._limits = limits

    async def check(self, name: str, at: datetime, rdtype: str = "A") -> DnssecResult:
        """Validate one name and type.

        DNS trouble never raises: it is the state of the result, with a message for the operator.

        Args:
            name: a host or domain name, with or without the final dot.
            at: the moment that signatures are compared with, timezone-aware.
            rdtype: for example `A`, `AAAA`, `TLSA`; not a meta-type such as `ANY`.
        """
        walk = Walk(self._resolver, self._anchors, Budget(self._limits), at)
        inquiry = _Inquiry(walk)
        try:
            wanted, kind = parse_question(name, rdtype)
        except InvalidValue as problem:
            return inquiry.result("", DnssecState.INDETERMINATE, str(problem))
        try:
            async with asyncio.timeout(self._limits.seconds):
                state, message = await walk.budget.meter.run(inquiry.run(wanted, kind))
        except LimitReached as reached:
            return inquiry.result(str(wanted), reached.state, reached.message, costly=True)
        except ChainBroken as broken:
            state, message = broken.state, broken.message
        except TimeoutError:
            state, message = DnssecState.UNREACHABLE, f"no outcome within {self._limits.seconds:g} seconds"
        return inquiry.result(str(wanted), state, message)


class _Inquiry:
    """The answer side of one check: asks, validates, follows aliases, collects the result."""

    def __init__(self, walk: Walk) -> None:
        self._walk = walk
        self._answer = Answer.UNKNOWN
        self._records: tuple[str, ...] = ()

    async def run(self, name: dns.name.Name, rdtype: RdataType) -> tuple[DnssecState, str]:
        """Follow the name through its aliases; the worst state wins.

        Raises:
            ChainBroken: at the first bogus, indeterminate or unreachable step.
        """
        insecure = ""
        asked = f"{name}/{dns.rdatatype.to_text(rdtype)}"
        visited = {name}
        for _ in range(self._walk.limits.aliases + 1):
            zone = await self._walk.zone_of(name, rdtype)
            insecure = insecure or zone.insecure
            target, reason = await self._step(name, rdtype, zone)
            insecure = insecure or reason
            if target is None:
                if insecure:
                    return DnssecState.INSECURE, insecure
                return DnssecState.SECURE, f"{asked} is secure ({self._answer})"
            if target in visited:
                raise ChainBroken(DnssecState.INDETERMINATE, f"the aliases of {name} run in a circle")
            visited.add(target)
            name = target
        raise ChainBroken(
            DnssecState.INDETERMINATE,
            f"{asked} leads over more than {self._walk.limits.aliases} aliases in a row: shorten the CNAME chain",
        )

    async def _step(self, name: dns.name.Name, rdtype: RdataType, zone: Zone) -> tuple[dns.name.Name | None, str]:
        """One question: the alias to follow, if any, and why the answer is insecure, if it is."""
        message = await self._walk.ask(name, rdtype)
        evidence = Evidence(message, zone, self._walk)
        rrset = evidence.answer(name, rdtype)
        if rrset is not None:
            reason = self._positive(evidence, rrset, name, LinkKind.ANSWER)
            self._answer, self._records = Answer.DATA, tuple(sorted(record.to_text() for record in rrset))
            return None, reason
        dname = evidence.dname_above(name)
        if dname is not None:
            reason = self._positive(evidence, dname, dname.name, LinkKind.ALIAS)
            return evidence.dname_target(name, dname), reason
        cname = evidence.answer(name, RdataType.CNAME)
        if cname is not None:
            reason = self._positive(evidence, cname, name, LinkKind.ALIAS)
            return cname[0].target.canonicalize(), reason
        return None, self._negative(evidence, message, name, rdtype)

    def _positive(self, evidence: Evidence, rrset: dns.rrset.RRset, name: dns.name.Name, kind: LinkKind) -> str:
        what = f"{name}/{dns.rdatatype.to_text(rrset.rdtype)}"
        zone = evidence.zone
        if zone.insecure:
            self._walk.link(kind, zone.depth, name, DnssecState.INSECURE, f"{what} is not signed", zone)
            return ""
        verified = evidence.verify(rrset)
        reason = ""
        if verified.closest_encloser is not None:
            reason = self._wildcard(evidence, verified, what)
        state = DnssecState.INSECURE if reason else DnssecState.SECURE
        self._walk.link(kind, zone.depth, name, state, f"{what} is signed by {zone.name}", zone, verified)
        return reason

    def _wildcard(self, evidence: Evidence, verified: Verified, what: str) -> str:
        encloser = verified.closest_encloser
        if encloser is None or verified.rrset.rdtype == RdataType.DNAME:
            raise ChainBroken(DnssecState.BOGUS, f"{what} cannot come from a wildcard")
        denial, costly = evidence.denial()
        proof = denial.no_closer(verified.rrset.name, encloser)
        if proof is Proof.NONE and not costly:
            raise ChainBroken(
                DnssecState.BOGUS, f"{what} comes from *.{encloser} without proof that no closer name exists"
            )
        if costly:
            return costly
        return f"{what} lies in an opt-out span of {evidence.zone.name}" if proof is Proof.OPT_OUT else ""

    def _negative(
        self, evidence: Evidence, message: dns.message.Message, name: dns.name.Name, rdtype: RdataType
    ) -> str:
        zone = evidence.zone
        what = f"{name}/{dns.rdatatype.to_text(rdtype)}"
        missing = message.rcode() == dns.rcode.NXDOMAIN
        if zone.insecure:
            self._answer = Answer.NXDOMAIN if missing else Answer.NODATA
            self._walk.link(LinkKind.DENIAL, zone.depth, name, DnssecState.INSECURE, f"{what} is not there", zone)
            return ""
        denial, costly = evidence.denial()
        if costly:
            self._answer = Answer.NXDOMAIN if missing else Answer.NODATA
            self._walk.link(LinkKind.DENIAL, zone.depth, name, DnssecState.INSECURE, costly, zone)
            return costly
        # The response code is not signed. NXDOMAIN with a proof of NODATA only is a NODATA (a server that mishandles
        # empty non-terminals); the reverse is not accepted.
        proof = denial.no_name(name) if missing else Proof.NONE
        self._answer = Answer.NXDOMAIN
        if proof is Proof.NONE:
            proof, self._answer = denial.no_type(name, rdtype), Answer.NODATA
        if proof is Proof.NONE:
            self._answer = Answer.UNKNOWN
            evidence.complain()
            raise ChainBroken(
                DnssecState.BOGUS, f"{zone.name} answers that {what} is not there, without a proof that holds"
            )
        opt_out = f"{what} lies in an opt-out span of {zone.name}" if proof is Proof.OPT_OUT else ""
        state = DnssecState.INSECURE if opt_out else DnssecState.SECURE
        self._walk.link(LinkKind.DENIAL, zone.depth, name, state, f"{what} is proven not to be there", zone)
        return opt_out

    def result(self, name: str, state: DnssecState, message: str, *, costly: bool = False) -> DnssecResult:
        """The outcome of this check as a value."""
        limits = self._walk.limits
        if state is DnssecState.SECURE:
            longest = self._walk.at + timedelta(seconds=limits.longest_seconds)
            until = min(self._walk.valid_until or longest, longest)
        else:
            until = self._walk.at + timedelta(seconds=limits.costly_seconds if costly else limits.negative_seconds)
        known = state in {DnssecState.SECURE, DnssecState.INSECURE}
        return DnssecResult(
            name=name,
            state=state,
            message=message,
            valid_until=until,
            chain=tuple(self._walk.links),
            answer=self._answer if known else Answer.UNKNOWN,
            records=self._records if state is DnssecState.SECURE else (),
        )
