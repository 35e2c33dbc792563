"""Adds the NSEC3 chain to a zone (RFC 5155 section 7.1), which dnspython's signer does not do. No salt (RFC 9276)."""

import base64

import dns.dnssec
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.zone
from dns.rdatatype import RdataType

_SHA1 = 1
_IN = dns.rdataclass.IN


def hashed(name: dns.name.Name, iterations: int, salt: bytes = b"") -> bytes:
    """The NSEC3 hash of a name."""
    return base64.b32hexdecode(dns.dnssec.nsec3_hash(name, salt, iterations, _SHA1))


def add_nsec3(zone: dns.zone.Zone, *, iterations: int, opt_out: bool, ttl: int) -> None:
    """Add NSEC3PARAM and one NSEC3 per authoritative name, delegation and empty non-terminal.

    Args:
        zone: absolute names, DNSKEY in place, unsigned.
        iterations: extra hash rounds.
        opt_out: leave unsigned delegations out of the chain and say so.
        ttl: seconds.

    Raises:
        ValueError: the zone has no origin.
    """
    apex = zone.origin
    if apex is None:
        raise ValueError("a zone needs an origin")
    parameter = dns.rdata.from_text(_IN, RdataType.NSEC3PARAM, f"{_SHA1} 0 {iterations} -")
    zone.find_rdataset(apex, RdataType.NSEC3PARAM, create=True).add(parameter, ttl)
    types = _types_by_name(zone, apex, opt_out=opt_out)
    chain = sorted((hashed(name, iterations), there) for name, there in types.items())
    for position, (digest, there) in enumerate(chain):
        following = chain[(position + 1) % len(chain)][0]
        after = base64.b32hexencode(following).decode()
        listed = " ".join(dns.rdatatype.to_text(rdtype) for rdtype in there)
        record = dns.rdata.from_text(_IN, RdataType.NSEC3, f"{_SHA1} {int(opt_out)} {iterations} - {after} {listed}")
        owner = dns.name.Name((base64.b32hexencode(digest).lower(), *apex.labels))
        zone.find_rdataset(owner, RdataType.NSEC3, create=True).add(record, ttl)


def _types_by_name(
    zone: dns.zone.Zone, apex: dns.name.Name, *, opt_out: bool
) -> dict[dns.name.Name, tuple[RdataType, ...]]:
    there = {name: {rdataset.rdtype for rdataset in node.rdatasets} for name, node in zone.nodes.items()}
    cuts = {name for name, types in there.items() if name != apex and RdataType.NS in types}
    found: dict[dns.name.Name, tuple[RdataType, ...]] = {}
    for name, types in there.items():
        if any(name != cut and name.is_subdomain(cut) for cut in cuts):
            continue
        if name in cuts:
            if opt_out and RdataType.DS not in types:
                continue
            seen = {RdataType.NS} | ({RdataType.DS, RdataType.RRSIG} if RdataType.DS in types else set())
        else:
            seen = types | {RdataType.RRSIG}
        found[name] = tuple(sorted(seen))
        above = name
        while above != apex and (above := above.parent()) != apex and above not in there:
            found.setdefault(above, ())
    return found
