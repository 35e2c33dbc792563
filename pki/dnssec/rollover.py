"""A trust anchor file that follows key rollovers by itself.

Specification: RFC 5011. A new key-signing key that a trusted key vouches for is trusted after a hold-down of 30 days
of being seen; a key that revokes itself is distrusted at once and for ever. How often to look is the caller's decision
(`pki.dnssec.keeping`). For one zone.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

import dns.dnssec
import dns.exception
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rrset
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.dnskeybase import Flag

from authz.domain.errors import InvalidValue
from authz.domain.files import read_limited, write_whole
from pki.dnssec.anchors import TrustAnchor
from pki.dnssec.keys import ZoneKeys, accepted, is_sound_zone_key, usable_keys
from pki.dnssec.model import Budget, ChainBroken, DnssecState, LimitReached, Limits
from pki.dnssec.signatures import verify
from pki.dnssec.transport import DnsTransport, ResolverUnreachable

HOLD_DOWN = timedelta(days=30)
"""How long a new key must be seen before it is trusted (RFC 5011 section 2.4.1)."""
MAX_KEYS = 32
"""Keys remembered for a zone; beyond it new ones are not taken up (an attacker with a stolen key could add many)."""
MAX_FILE = 256 * 1024
"""Bytes of an anchor file; 32 of the longest keys are a tenth of it."""
_DAMAGED = "the anchor file is malformed; restore it, or remove it to begin from the seed"


class KeyState(StrEnum):
    """Where a key is in its life (RFC 5011 section 4.2)."""

    PENDING = "pending"
    VALID = "valid"
    MISSING = "missing"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class TrackedKey:
    """One key-signing key, its REVOKE bit cleared, and since when it is in its state."""

    key: DNSKEY
    state: KeyState
    since: datetime

    @property
    def trusted(self) -> bool:
        """Whether chains may begin at it."""
        return self.state in {KeyState.VALID, KeyState.MISSING}


class AnchorFile:
    """The tracked keys of one zone, kept in a JSON file.

    Args:
        path: read if it is there; written whole or not at all.
        seed: configured anchors (DS or DNSKEY) for the first look, while there is no file.

    Raises:
        InvalidValue: the file is malformed, or the anchors are of more than one zone or of none.
        OSError: the file cannot be read, is no regular file, or is larger than `MAX_FILE`.
    """

    def __init__(self, path: Path, seed: tuple[TrustAnchor, ...]) -> None:
        zones = {anchor.zone for anchor in seed}
        if len(zones) != 1:
            raise InvalidValue("an anchor file follows exactly one zone")
        self.zone = zones.pop()
        self._path = path
        self._seed = seed
        self.keys: tuple[TrackedKey, ...] = _read(path, self.zone) if path.exists() else ()

    def anchors(self) -> tuple[TrustAnchor, ...]:
        """What to trust now: the seed before the first successful look, afterwards the valid and missing keys.

        Empty when every key was revoked: then nothing is trusted any more (RFC 5011 section 5), and an operator must
        configure a new anchor.
        """
        if not self.keys:
            return self._seed
        return tuple(TrustAnchor(self.zone, tracked.key) for tracked in self.keys if tracked.trusted)

    async def refresh(self, resolver: DnsTransport, at: datetime) -> tuple[str, ...]:
        """Look at the zone's DNSKEY set and write what changed.

        Returns:
            One sentence per change, for the audit log and an operator.

        Raises:
            ChainBroken: neither a trusted key nor a key that revokes itself vouches for the set; nothing is changed.
            ResolverUnreachable: no answer; nothing is changed.
            OSError: the file cannot be written; what is held in memory stays as it was.
        """
        message = await resolver.ask(self.zone, RdataType.DNSKEY)
        rrset = message.get_rrset(message.answer, self.zone, dns.rdataclass.IN, RdataType.DNSKEY)
        signatures = message.get_rrset(message.answer, self.zone, dns.rdataclass.IN, RdataType.RRSIG, RdataType.DNSKEY)
        if message.rcode() != dns.rcode.NOERROR or rrset is None:
            raise ResolverUnreachable(f"no DNSKEY of {self.zone} in the answer")
        after = self._observe(rrset, signatures, at)
        changes = _changes(self.keys, after)
        if changes:
            _write(self._path, self.zone, after)
            self.keys = after
        return changes

    def _observe(
        self, rrset: dns.rrset.RRset, signatures: dns.rrset.RRset | None, at: datetime
    ) -> tuple[TrackedKey, ...]:
        budget = Budget(Limits())
        if len(rrset) > budget.limits.keys:
            raise LimitReached(
                DnssecState.BOGUS, f"{self.zone} has more than {budget.limits.keys} keys (limit against KeyTrap)"
            )
        known = self._revoke(rrset, signatures, at, budget)
        seen = usable_keys(rrset)
        try:
            trusted = self._trusted(seen, known, budget)
            verify(rrset, signatures, trusted, at, budget)
        except ChainBroken:
            # A key may always revoke itself; what else the set says needs a key that is still trusted.
            if known != self.keys:
                return known
            raise
        first = not known
        present = {_identity(key): key for key in seen if key.flags & Flag.SEP}
        after = [self._step(tracked, _identity(tracked.key) in present, at) for tracked in known]
        held = {_identity(tracked.key) for tracked in known}
        for identity, key in present.items():
            if identity in held or len(after) >= MAX_KEYS:
                continue
            state = KeyState.VALID if first and key in trusted.keys else KeyState.PENDING
            after.append(TrackedKey(key, state, at))
        return tuple(tracked for tracked in after if tracked is not None)

    def _revoke(
        self, rrset: dns.rrset.RRset, signatures: dns.rrset.RRset | None, at: datetime, budget: Budget
    ) -> tuple[TrackedKey, ...]:
        """Known keys that are in the set with REVOKE and have signed it themselves (RFC 5011 section 2.1)."""
        known = list(self.keys)
        for key in rrset:
            if not isinstance(key, DNSKEY) or not key.flags & Flag.REVOKE or not is_sound_zone_key(key):
                continue
            for position, tracked in enumerate(known):
                if _identity(key) != _identity(tracked.key) or tracked.state is KeyState.REVOKED:
                    continue
                try:
                    verify(rrset, signatures, ZoneKeys(self.zone, (key,)), at, budget)
                except ChainBroken:
                    # Without its own signature, anybody could have set the bit.
                    continue
                known[position] = replace(tracked, state=KeyState.REVOKED, since=at)
        return tuple(known)

    def _trusted(self, seen: Sequence[DNSKEY], known: tuple[TrackedKey, ...], budget: Budget) -> ZoneKeys:
        """Those of the keys seen that are trusted: by the file, or by the seed while there is none."""
        if known:
            trusted = {_identity(tracked.key) for tracked in known if tracked.trusted}
            return ZoneKeys(self.zone, (key for key in seen if _identity(key) in trusted))
        keys = ZoneKeys(self.zone, seen)
        if keys.crowded(budget.limits.keys_per_tag) is not None:
            raise LimitReached(DnssecState.BOGUS, f"{self.zone} has too many keys with one tag (limit against KeyTrap)")
        return keys.named_by(accepted([anchor.record for anchor in self._seed]), budget)

    @staticmethod
    def _step(tracked: TrackedKey, present: bool, at: datetime) -> TrackedKey | None:  # noqa: FBT001
        match tracked.state, present:
            case KeyState.PENDING, False:
                return None
            case KeyState.PENDING, True if at - tracked.since >= HOLD_DOWN:
                return replace(tracked, state=KeyState.VALID, since=at)
            case KeyState.VALID, False:
                return replace(tracked, state=KeyState.MISSING, since=at)
            case KeyState.MISSING, True:
                return replace(tracked, state=KeyState.VALID, since=at)
        return tracked


def _identity(key: DNSKEY) -> tuple[int, bytes]:
    """What stays the same when a key is revoked; its tag and its flags do not."""
    return int(key.algorithm), key.key


def _changes(before: tuple[TrackedKey, ...], after: tuple[TrackedKey, ...]) -> tuple[str, ...]:
    old = {_identity(tracked.key): tracked.state for tracked in before}
    new = {_identity(tracked.key): tracked for tracked in after}
    changed = [
        f"key {dns.dnssec.key_id(tracked.key)} is {tracked.state}"
        for identity, tracked in new.items()
        if old.get(identity) is not tracked.state
    ]
    gone = [
        f"key {dns.dnssec.key_id(tracked.key)} was withdrawn before it was trusted"
        for tracked in before
        if _identity(tracked.key) not in new
    ]
    return (*changed, *gone)


def _read(path: Path, zone: dns.name.Name) -> tuple[TrackedKey, ...]:
    try:
        document = json.loads(read_limited(path, MAX_FILE))
        owner, keys = document["zone"], tuple(_tracked(entry) for entry in document["keys"])
    except (
        ValueError,  # not JSON, or not what is written into it
        LookupError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
        dns.exception.DNSException,
    ) as problem:
        raise InvalidValue(_DAMAGED) from problem
    if len(keys) > MAX_KEYS:
        raise InvalidValue(_DAMAGED)
    if owner != str(zone):
        raise InvalidValue("the anchor file is of another zone")
    return keys


def _tracked(entry: dict[str, str]) -> TrackedKey:
    key = dns.rdata.from_text(dns.rdataclass.IN, RdataType.DNSKEY, entry["key"])
    since = datetime.fromisoformat(entry["since"])
    if not isinstance(key, DNSKEY) or since.tzinfo is None:
        raise InvalidValue(_DAMAGED)
    return TrackedKey(key, KeyState(entry["state"]), since)


def _write(path: Path, zone: dns.name.Name, keys: tuple[TrackedKey, ...]) -> None:
    document = {
        "zone": str(zone),
        "keys": [
            {"key": k.key.to_text(), "state": k.state.value, "since": k.since.astimezone(UTC).isoformat()} for k in keys
        ],
    }
    write_whole(path, json.dumps(document, indent=1).encode(), 0o644)
