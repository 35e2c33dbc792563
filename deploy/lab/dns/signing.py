"""Builds and signs the lab's zones in-process: real keys, real signatures, one key per zone that signs everything.

Not a signer for production: keys live in memory only, and signatures are not renewed while it runs.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import dns.dnssec
import dns.dnssectypes
import dns.name
import dns.node
import dns.rdata
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.rrset
import dns.zone
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from dns.dnssecalgs import get_algorithm_cls_from_dnskey
from dns.dnssecalgs.base import GenericPrivateKey
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.DS import DS

from deploy.lab.dns.config import DenialKind, ZoneSpec, ZoneState
from deploy.lab.dns.nsec3 import add_nsec3

TTL = 60
"""Seconds; short, so that a change in the lab shows soon."""
LIFETIME = timedelta(days=30)
SKEW = timedelta(hours=1)
"""Signatures begin this much before now."""
EXPIRED_SINCE = timedelta(days=20)
_KEY_FLAGS = 257
_IN = dns.rdataclass.IN

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey


@dataclass(frozen=True, slots=True)
class ZoneKey:
    """One key pair of a zone."""

    private: PrivateKey
    public: DNSKEY

    @classmethod
    def generate(cls, algorithm: int, flags: int = _KEY_FLAGS) -> "ZoneKey":
        """A new key of a DNSSEC algorithm: 8, 13, 14, 15 or 16.

        Raises:
            ValueError: another algorithm.
        """
        private: PrivateKey
        match algorithm:
            case 8:
                private = rsa.generate_private_key(65537, 2048)
            case 13:
                private = ec.generate_private_key(ec.SECP256R1())
            case 14:
                private = ec.generate_private_key(ec.SECP384R1())
            case 15:
                private = ed25519.Ed25519PrivateKey.generate()
            case 16:
                private = ed448.Ed448PrivateKey.generate()
            case _:
                raise ValueError("an algorithm that the lab cannot sign with")
        number = dns.dnssectypes.Algorithm.make(algorithm)
        return cls(private, dns.dnssec.make_dnskey(private.public_key(), number, flags=flags))

    def ds(self, zone: dns.name.Name) -> DS:
        """The SHA-256 DS of this key for the parent."""
        return dns.dnssec.make_ds(zone, self.public, dns.dnssectypes.DSDigest.SHA256)

    def signer(self) -> GenericPrivateKey:
        """The key as dnspython's signing interface wants it."""
        return get_algorithm_cls_from_dnskey(self.public)(key=self.private)


@dataclass(slots=True)
class BuiltZone:
    """A zone ready to serve: absolute names, signatures and denial records in place."""

    spec: ZoneSpec
    zone: dns.zone.Zone
    key: ZoneKey | None

    @property
    def name(self) -> dns.name.Name:
        """The apex."""
        return self.spec.name


def complete(specs: Iterable[ZoneSpec]) -> tuple[ZoneSpec, ...]:
    """The zones with their missing parents: the root and the top-level domains, parents before children."""
    known = {spec.name: spec for spec in specs}
    for name in list(known):
        if len(name) > 1:
            top = name.split(2)[1]
            known.setdefault(top, ZoneSpec(top))
    known.setdefault(dns.name.root, ZoneSpec(dns.name.root))
    return tuple(sorted(known.values(), key=lambda spec: len(spec.name)))


def build_zones(
    specs: Iterable[ZoneSpec],
    now: datetime,
    *,
    before: Iterable[BuiltZone] = (),
    lifetime: timedelta = LIFETIME,
) -> tuple[BuiltZone, ...]:
    """Build and sign all zones, delegations included.

    Args:
        specs: missing parents are added.
        now: signatures begin an hour before; those of an expired zone ended 20 days before.
        before: what was served until now: a zone keeps its key, so that the anchor stays what it is.
        lifetime: of signatures.
    """
    ordered = complete(specs)
    keys = {zone.name: zone.key for zone in before if zone.key is not None}
    built = [_unsigned(spec, keys) for spec in ordered]
    for child in built:
        parent = _parent(child.name, built)
        if parent is not None:
            _delegate(parent, child)
    for zone in built:
        if zone.key is not None:
            sign(zone, now, lifetime)
    return tuple(built)


def anchor_lines(zones: Sequence[BuiltZone], at: dns.name.Name = dns.name.root) -> str:
    """The DS lines of one zone (the root), one record a line.

    Raises:
        ValueError: the zone is not there or not signed.
    """
    for zone in zones:
        if zone.name == at and zone.key is not None:
            return f"{at} IN DS {zone.key.ds(at).to_text()}\n"
    raise ValueError("no such signed zone")


def sign(built: BuiltZone, now: datetime, lifetime: timedelta = LIFETIME) -> None:
    """Sign a zone that has a key: DNSKEY, denial records and signatures."""
    if built.key is None:
        raise ValueError("an unsigned zone has no key to sign with")
    ends = now + lifetime
    if built.spec.state is ZoneState.EXPIRED:
        ends = now - EXPIRED_SINCE
    begins = min(now - SKEW, ends - LIFETIME) if ends < now else now - SKEW
    pair = (built.key.signer(), built.key.public)
    if built.spec.denial is DenialKind.NSEC:
        dns.dnssec.sign_zone(built.zone, keys=[pair], inception=begins, expiration=ends)
        return
    _put(built.zone, built.name, built.key.public)
    add_nsec3(
        built.zone,
        iterations=built.spec.iterations,
        opt_out=built.spec.denial is DenialKind.NSEC3_OPT_OUT,
        ttl=TTL,
    )
    sign_sets(built, begins, ends)


def sign_sets(built: BuiltZone, begins: datetime, ends: datetime) -> None:
    """Sign every authoritative record set of a zone as it stands, without adding denial records."""
    cuts = [n for n, node in built.zone.nodes.items() if n != built.name and node.get_rdataset(_IN, RdataType.NS)]
    for name, node in list(built.zone.nodes.items()):
        below = any(name != cut and name.is_subdomain(cut) for cut in cuts)
        for rdataset in list(node.rdatasets):
            unsigned_at_cut = name in cuts and rdataset.rdtype not in {RdataType.DS, RdataType.NSEC}
            if below or unsigned_at_cut or rdataset.rdtype == RdataType.RRSIG:
                continue
            sign_set(built, name, rdataset, begins, ends)


def sign_set(
    built: BuiltZone, name: dns.name.Name, rdataset: dns.rdataset.Rdataset, begins: datetime, ends: datetime
) -> None:
    """Sign one record set with the zone's key, in place of earlier signatures over it."""
    if built.key is None:
        raise ValueError("an unsigned zone has no key to sign with")
    rrset = dns.rrset.from_rdata_list(name, rdataset.ttl, list(rdataset))
    rrsig = dns.dnssec.sign(rrset, built.key.signer(), built.name, built.key.public, inception=begins, expiration=ends)
    node = built.zone.find_node(name, create=True)
    signatures = dns.rdataset.from_rdata(rdataset.ttl, rrsig)
    node.replace_rdataset(signatures)


def _unsigned(spec: ZoneSpec, keys: Mapping[dns.name.Name, ZoneKey]) -> BuiltZone:
    zone = dns.zone.Zone(spec.name, relativize=False)
    _put_text(zone, spec.name, "SOA", f"ns. hostmaster. 1 3600 600 86400 {TTL}")
    # One name server name for all zones, in the root: the lab's server is the only one there is.
    _put_text(zone, spec.name, "NS", "ns.")
    if spec.name == dns.name.root:
        _put_text(zone, dns.name.from_text("ns."), "A", "127.0.0.1")
    for owner, sets in spec.records.items():
        name = spec.name if owner == "@" else dns.name.from_text(owner, spec.name)
        for rdtype, values in sets.items():
            for value in values:
                _put_text(zone, name, rdtype, value)
    if spec.state is ZoneState.UNSIGNED:
        return BuiltZone(spec, zone, None)
    key = keys.get(spec.name)
    if key is None or key.public.algorithm != spec.algorithm:
        key = ZoneKey.generate(spec.algorithm)
    return BuiltZone(spec, zone, key)


def _delegate(parent: BuiltZone, child: BuiltZone) -> None:
    _put_text(parent.zone, child.name, "NS", "ns.")
    if child.key is None or child.spec.state is ZoneState.NO_DS:
        return
    vouched = ZoneKey.generate(child.spec.algorithm) if child.spec.state is ZoneState.WRONG_DS else child.key
    _put(parent.zone, child.name, vouched.ds(child.name))


def _parent(name: dns.name.Name, built: Sequence[BuiltZone]) -> BuiltZone | None:
    above = [zone for zone in built if zone.name != name and name.is_subdomain(zone.name)]
    return max(above, key=lambda zone: len(zone.name), default=None)


def _put(zone: dns.zone.Zone, name: dns.name.Name, record: dns.rdata.Rdata) -> None:
    zone.find_rdataset(name, record.rdtype, create=True).add(record, TTL)


def _put_text(zone: dns.zone.Zone, name: dns.name.Name, rdtype: str, value: str) -> None:
    _put(
        zone,
        name,
        dns.rdata.from_text(_IN, dns.rdatatype.from_text(rdtype), value, origin=dns.name.root, relativize=False),
    )
