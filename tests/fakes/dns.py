"""A resolver in-process over the lab's real signed zones, with a place to tamper with what it answers."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import dns.dnssec
import dns.message
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from dns.rdatatype import RdataType

from deploy.lab.dns import BuiltZone, Responder, ZoneKey, anchor_lines, build_zones, parse_config
from pki.dnssec import ChainValidator, DnssecResult, Limits, ResolverUnreachable, TrustAnchor, parse_anchors
from pki.dnssec.transport import question
from tests.fakes.clock import FixedClock

NOW = FixedClock().now()
IN = dns.rdataclass.IN

Tamper = Callable[[dns.message.Message], dns.message.Message | None]


def name(text: str) -> dns.name.Name:
    return dns.name.from_text(text)


class FakeDns:
    """Zones (in the lab's JSON form) behind a resolver; implements `pki.dnssec.DnsTransport`.

    `tamper[(owner, type)]` changes the answer to that question; returning None is silence.
    """

    def __init__(self, *zones: Mapping[str, Any], at: datetime = NOW) -> None:
        self.built = {zone.name: zone for zone in build_zones(parse_config(json.dumps({"zones": zones})), at)}
        self.responder = Responder(self.built.values())
        self.tamper: dict[tuple[str, str], Tamper] = {}
        self.asked: list[tuple[str, str]] = []
        self.at = at

    def zone(self, apex: str) -> BuiltZone:
        return self.built[name(apex)]

    def serve_again(self) -> None:
        """After a zone was changed in place."""
        self.responder = Responder(self.built.values())

    def anchors(self, apex: str = ".") -> tuple[TrustAnchor, ...]:
        return parse_anchors(anchor_lines(tuple(self.built.values()), name(apex)))

    async def ask(self, owner: dns.name.Name, rdtype: RdataType) -> dns.message.Message:
        key = (str(owner), dns.rdatatype.to_text(rdtype))
        self.asked.append(key)
        answer: dns.message.Message | None = self.raw(*key)
        if key in self.tamper and answer is not None:
            answer = self.tamper[key](answer)
        if answer is None:
            raise ResolverUnreachable("no answer from resolver")
        return dns.message.from_wire(answer.to_wire(max_size=65535))

    def raw(self, owner: str, rdtype: str) -> dns.message.Message:
        """What is answered without tampering."""
        return self.responder.respond(question(name(owner), dns.rdatatype.from_text(rdtype)))

    def validator(self, **limits: Any) -> ChainValidator:
        # Unless computing too long is the point: a slow machine, or a collection of garbage, is no attack.
        given: dict[str, Any] = {"processor_seconds": 60.0, "seconds": 120.0} | limits
        return ChainValidator(resolver=self, anchors=self.anchors(), limits=Limits(**given))

    async def check(self, owner: str, rdtype: str = "A", **limits: Any) -> DnssecResult:
        return await self.validator(**limits).check(owner, self.at, rdtype)

    def resign(self, answer: dns.message.Message, owner: str, rdtype: str, **how: Any) -> dns.message.Message:
        """Replace the signatures over one set of an answer.

        `how`: key (ZoneKey), signer (zone name), begins, ends; by default those of the zone that holds the owner.
        """
        for section in (answer.answer, answer.authority):
            rrset = find(section, owner, rdtype)
            if rrset is None:
                continue
            signer = name(how.get("signer") or how["zone"])
            key = how.get("key") or self.built[signer].key
            assert key is not None
            rrsig = dns.dnssec.sign(
                rrset,
                key.signer(),
                signer,
                key.public,
                inception=how.get("begins", self.at - timedelta(hours=1)),
                expiration=how.get("ends", self.at + timedelta(days=1)),
            )
            strip(answer, owner, rdtype)
            section.append(dns.rrset.from_rdata(rrset.name, rrset.ttl, rrsig))
        return answer


def stranger(*own: ZoneKey | None) -> ZoneKey:
    """A new key whose tag, also when it is revoked, is by chance not that of one of these."""
    taken = {tag for key in own if key is not None for tag in _tags(key)}
    while True:
        made = ZoneKey.generate(13)
        if not taken & _tags(made):
            return made


def _tags(key: ZoneKey) -> set[int]:
    public = key.public
    revoked = public.replace(flags=public.flags | 128)
    return {dns.dnssec.key_id(public), dns.dnssec.key_id(revoked)}  # type: ignore[arg-type]


def strip(answer: dns.message.Message, owner: str, rdtype: str) -> dns.message.Message:
    """Remove the signatures over one set."""
    covered = dns.rdatatype.from_text(rdtype)
    for section in (answer.answer, answer.authority):
        section[:] = [
            r for r in section if not (r.rdtype == RdataType.RRSIG and r.covers == covered and r.name == name(owner))
        ]
    return answer


def drop(answer: dns.message.Message, *rdtypes: str) -> dns.message.Message:
    """Remove all sets of these types and the signatures over them, in every section."""
    kinds = {dns.rdatatype.from_text(t) for t in rdtypes}
    for section in (answer.answer, answer.authority):
        section[:] = [r for r in section if r.rdtype not in kinds and r.covers not in kinds]
    return answer


def find(section: list[dns.rrset.RRset], owner: str, rdtype: str) -> dns.rrset.RRset | None:
    """One set of a section. dnspython's own lookup uses an index that edits of the section do not reach."""
    kind = dns.rdatatype.from_text(rdtype)
    return next((r for r in section if r.name == name(owner) and r.rdtype == kind), None)
