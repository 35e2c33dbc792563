"""One record set against the keys of one zone: our own checks around dnspython's arithmetic.

Specification: shared `spec/dnssec.md`, "What dnspython does not do"; RFC 4035 section 5.3, RFC 6840 section 5,
RFC 9904 and RFC 9905 (no SHA-1). dnspython computes the signature; that the signer is the zone, the owner lies in
it, the label count fits, the time is right, and that the work stays bounded, is checked here.

Not checked here: that a wildcard expansion was legitimate (`Verified.closest_encloser` tells that one happened; the
proof that no closer match exists is `denial`'s).
"""

import itertools
import struct
from dataclasses import dataclass
from datetime import UTC, datetime

import dns.dnssec
import dns.dnssectypes
import dns.exception
import dns.name
import dns.rdatatype
import dns.rrset
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.RRSIG import RRSIG

from pki.dnssec.keys import ALGORITHMS, DIGESTS, ZoneKeys
from pki.dnssec.model import Budget, ChainBroken, DnssecState


class _OwnPolicy(dns.dnssec.Policy):
    """Our algorithm policy in dnspython's terms, so that its own default never decides."""

    def __init__(self) -> None:
        """Nothing to keep; typed, which the base class's constructor is not."""

    def ok_to_validate(self, key: DNSKEY) -> bool:
        return int(key.algorithm) in ALGORITHMS

    def ok_to_validate_ds(self, algorithm: dns.dnssectypes.DSDigest) -> bool:
        return int(algorithm) in DIGESTS


_POLICY = _OwnPolicy()


@dataclass(frozen=True, slots=True)
class Verified:
    """A record set whose signature was verified.

    Args:
        closest_encloser: set when the set was expanded from the wildcard `*.<closest_encloser>`.
        ttl: seconds, never more than was signed.
    """

    rrset: dns.rrset.RRset
    closest_encloser: dns.name.Name | None
    ttl: int
    expires: datetime
    key_tag: int
    algorithm: int


def moment(timestamp: int) -> datetime:
    """A signature time as a datetime in UTC."""
    return datetime.fromtimestamp(timestamp, UTC)


def show(when: datetime) -> str:
    """RFC 3339 in UTC with a Z, as operators write it."""
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def label_count(owner: dns.name.Name) -> int:
    """Labels as RRSIG counts them: without the root and without a leading asterisk (RFC 4034 section 3.1.3)."""
    return len(owner) - (2 if owner.is_wild() else 1)


def verify(
    rrset: dns.rrset.RRset, signatures: dns.rrset.RRset | None, trusted: ZoneKeys, at: datetime, budget: Budget
) -> Verified:
    """Verify a record set with the keys of its zone; one good signature is enough (RFC 6840 section 5.11).

    Args:
        rrset: the records.
        signatures: the RRSIG set that covers them, if the answer had one.
        trusted: the only keys, and the only signer, that count.
        at: the moment of the check.
        budget: the work of this check.

    Raises:
        ChainBroken: BOGUS, with the reason of the most promising signature.
    """
    what = f"{rrset.name}/{dns.rdatatype.to_text(rrset.rdtype)}"
    if signatures is None or not len(signatures):
        raise ChainBroken(
            DnssecState.BOGUS,
            f"no RRSIG on {what} although {trusted.zone} is signed: sign it completely, let no server strip signatures",
        )
    problems: list[tuple[int, str]] = []
    attempts = 0
    for rrsig in itertools.islice(signatures, budget.limits.signatures_seen):
        if not isinstance(rrsig, RRSIG):
            continue
        budget.spend_signature_seen()
        problem = _unfit(rrset, rrsig, trusted.zone, at, what)
        if problem is not None:
            problems.append(problem)
            continue
        candidates = trusted.found(int(rrsig.algorithm), rrsig.key_tag)
        if not candidates:
            problems.append((3, f"RRSIG of {what} is by key {rrsig.key_tag} that {trusted.zone} does not vouch for"))
        for key in candidates[: budget.limits.keys_per_tag]:
            attempts += 1
            if attempts > budget.limits.signatures_per_rrset:
                raise ChainBroken(
                    DnssecState.BOGUS, f"too many signatures and keys to try on {what} (limit against KeyTrap)"
                )
            budget.spend_signature()
            if _signature_is_good(rrset, rrsig, trusted.zone, key, at):
                return _verified(rrset, rrsig)
            problems.append(
                (6, f"RRSIG of {what} by key {rrsig.key_tag} does not fit the data: re-sign {trusted.zone}")
            )
    raise ChainBroken(DnssecState.BOGUS, max(problems)[1] if problems else f"no usable RRSIG on {what}")


def _unfit(  # noqa: PLR0911  one return for each clause of RFC 4035 section 5.3.1
    rrset: dns.rrset.RRset, rrsig: RRSIG, zone: dns.name.Name, at: datetime, what: str
) -> tuple[int, str] | None:
    """Why a signature cannot count, before any arithmetic, with how telling that is; None when it may."""
    if rrsig.type_covered != rrset.rdtype:
        return 0, f"RRSIG beside {what} covers another type"
    if rrsig.signer != zone:
        return 1, f"RRSIG of {what} names signer {rrsig.signer}, expected {zone}"
    if not rrset.name.is_subdomain(zone):
        return 1, f"{what} lies outside its signer {zone}"
    if not label_count(zone) <= rrsig.labels <= label_count(rrset.name):
        return 2, f"RRSIG of {what} has an impossible label count"
    if int(rrsig.algorithm) not in ALGORITHMS:
        return 2, f"RRSIG of {what} uses algorithm {int(rrsig.algorithm)}, which is not accepted"
    expires, begins = moment(rrsig.expiration), moment(rrsig.inception)
    if expires <= begins:
        return 2, f"RRSIG of {what} ends before it begins"
    if at > expires:
        return 5, f"RRSIG of {what} expired {show(expires)}: re-sign {zone}"
    if at < begins:
        return 4, f"RRSIG of {what} is not valid before {show(begins)}: check the clock of the signer of {zone}"
    return None


def _signature_is_good(rrset: dns.rrset.RRset, rrsig: RRSIG, zone: dns.name.Name, key: DNSKEY, at: datetime) -> bool:
    keys = dns.rrset.from_rdata(zone, 0, key)
    try:
        dns.dnssec.validate_rrsig(rrset, rrsig, {zone: keys}, now=at.timestamp(), policy=_POLICY)
    except (
        dns.exception.DNSException,  # what dnspython means to raise
        InvalidSignature,
        UnsupportedAlgorithm,
        ValueError,  # and what a malformed key or signature makes the layers below raise
        IndexError,
        struct.error,
    ):
        return False
    return True


def _verified(rrset: dns.rrset.RRset, rrsig: RRSIG) -> Verified:
    expanded = rrsig.labels < label_count(rrset.name)
    return Verified(
        rrset=rrset,
        closest_encloser=rrset.name.split(rrsig.labels + 1)[1] if expanded else None,
        ttl=min(rrset.ttl, rrsig.original_ttl),
        expires=moment(rrsig.expiration),
        key_tag=rrsig.key_tag,
        algorithm=int(rrsig.algorithm),
    )
