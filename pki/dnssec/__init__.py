"""DNSSEC: is a name secure, from a configured anchor down, at a given moment?

Specification: shared `spec/dnssec.md`. `ChainValidator` validates through any resolver; `CachedStanding` remembers
outcomes for as long as they may be relied on. Independent of the rest of `pki`, so a trust agent can use it alone.
"""

from pki.dnssec.anchors import TrustAnchor, parse_anchors, root_anchors
from pki.dnssec.chain import ChainValidator
from pki.dnssec.model import Answer, ChainLink, DnssecResult, DnssecState, Limits, LinkKind
from pki.dnssec.resolver_ad import ResolverAdValidator
from pki.dnssec.standing import CachedStanding
from pki.dnssec.transport import DnsTransport, Resolver, ResolverUnreachable

__all__ = [
    "Answer",
    "CachedStanding",
    "ChainLink",
    "ChainValidator",
    "DnsTransport",
    "DnssecResult",
    "DnssecState",
    "Limits",
    "LinkKind",
    "Resolver",
    "ResolverAdValidator",
    "ResolverUnreachable",
    "TrustAnchor",
    "parse_anchors",
    "root_anchors",
]
