"""What a DNSSEC check says: its state, its message, its chain of trust, and the limits under which it works.

Specification: shared `spec/dnssec.md`; RFC 4033 section 5 (secure, insecure, bogus, indeterminate). `UNREACHABLE` is
ours: the question could not be answered at all, which an operator repairs elsewhere than a broken signature.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from authz.domain.errors import SluisError
from pki.dnssec.metering import Meter


class DnssecState(StrEnum):
    """The outcome of a check. Only `SECURE` may pass anywhere in this product."""

    SECURE = "secure"
    INSECURE = "insecure"
    BOGUS = "bogus"
    INDETERMINATE = "indeterminate"
    UNREACHABLE = "unreachable"


class Standing(StrEnum):
    """What an outcome means for whoever wants to reach a name. Only `SECURE` may pass."""

    SECURE = "secure"
    ABSENT = "absent"
    """Proven not to exist: its zone is sound, and there is nothing to talk to."""
    INSECURE = "insecure"
    BOGUS = "bogus"
    INDETERMINATE = "indeterminate"
    UNREACHABLE = "unreachable"


class Answer(StrEnum):
    """What was asked for: there, of no such type, no such name, or not known because the chain broke earlier."""

    DATA = "data"
    NODATA = "nodata"
    NXDOMAIN = "nxdomain"
    UNKNOWN = "unknown"


_SECURE: Final = {
    Answer.DATA: Standing.SECURE,
    Answer.NODATA: Standing.SECURE,  # the name is there, with records of other types
    Answer.NXDOMAIN: Standing.ABSENT,
    Answer.UNKNOWN: Standing.INDETERMINATE,
}


class LinkKind(StrEnum):
    """What one link of the chain of trust is about."""

    ANCHOR = "anchor"
    DS = "ds"
    NO_DS = "no_ds"
    DNSKEY = "dnskey"
    ALIAS = "alias"
    ANSWER = "answer"
    DENIAL = "denial"


@dataclass(frozen=True, slots=True)
class ChainLink:
    """One step of the chain, in the order in which it was walked.

    Args:
        depth: 0 for the anchor's zone, one more per zone below it; a CLI indents by it.
        name: the owner name the step is about.
        state: what this step by itself was found to be.
        detail: one sentence for an operator.
        zone: the zone whose keys vouch for this step, empty when nothing does.
        key_tag: of the key that verified it.
        algorithm: DNSSEC algorithm number of that key.
        expires: when the signature ends.
    """

    kind: LinkKind
    depth: int
    name: str
    state: DnssecState
    detail: str
    zone: str = ""
    key_tag: int | None = None
    algorithm: int | None = None
    expires: datetime | None = None


@dataclass(frozen=True, slots=True)
class DnssecResult:
    """The outcome for one name and type.

    A name that is *proven* not to exist is `SECURE` with `answer` NXDOMAIN: its zone is sound. Whoever needs the
    name to resolve looks at `standing`, which says `ABSENT` then.

    Args:
        name: what was asked, absolute, lower case.
        valid_until: until when the outcome may be relied on: the smallest TTL and the first signature to expire;
            for anything but `SECURE` a short time from the check.
        records: the records found, as text, when the outcome is `SECURE` and `answer` is DATA.
    """

    name: str
    state: DnssecState
    message: str
    valid_until: datetime
    chain: tuple[ChainLink, ...]
    answer: Answer = Answer.UNKNOWN
    records: tuple[str, ...] = field(default=())

    @property
    def secure(self) -> bool:
        """Whether the outcome is `SECURE`, be it that the name does not exist."""
        return self.state is DnssecState.SECURE

    @property
    def standing(self) -> Standing:
        """What it means for whoever wants to reach the name."""
        if not self.secure:
            return Standing(self.state.value)
        return _SECURE[self.answer]


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps on the work that one check may cause (KeyTrap, CVE-2023-50387 and CVE-2023-50868).

    Args:
        queries: to the resolver in one check; seven are enough for a host in a zone directly under a TLD.
        keys: in one zone; more would make finding the right one the attack.
        keys_per_tag: keys of one zone that share a tag and algorithm.
        ds_records: of one zone, with algorithms and digests that count.
        ds_digests: digests of keys computed in one check.
        signatures_per_rrset: verifications tried for one record set.
        signatures_seen: RRSIG records of one record set that are looked at, tried or not.
        signatures_seen_in_all: the same in one check.
        signatures: verifications in one check.
        nsec3_iterations: above this a zone counts as insecure (RFC 9276 section 3.2).
        nsec3_hashes: NSEC3 hash computations in one check.
        denial_records: NSEC and NSEC3 records looked at in one answer.
        aliases: CNAME and DNAME steps followed.
        seconds: the whole check.
        processor_seconds: computing in one check, whatever it is spent on; a common check takes a hundredth of it.
        negative_seconds: how long anything but `SECURE` may be relied on.
        costly_seconds: the same, when a limit on computing was reached: asking again is what an attacker wants.
        longest_seconds: the longest that `SECURE` may be relied on, whatever the TTLs say.
    """

    queries: int = 64
    keys: int = 32
    keys_per_tag: int = 4
    ds_records: int = 16
    ds_digests: int = 96
    signatures_per_rrset: int = 8
    signatures_seen: int = 32
    signatures_seen_in_all: int = 512
    signatures: int = 96
    nsec3_iterations: int = 100
    nsec3_hashes: int = 256
    denial_records: int = 12
    aliases: int = 8
    seconds: float = 10.0
    processor_seconds: float = 0.5
    negative_seconds: int = 15
    costly_seconds: int = 120
    longest_seconds: int = 3600


class ChainBroken(SluisError):  # noqa: N818  it is a finding about a zone, not an error of ours
    """The chain of trust ends here; carries the state and the sentence for the operator."""

    def __init__(self, state: DnssecState, message: str) -> None:
        super().__init__(message)
        self.state = state
        self.message = message


class LimitReached(ChainBroken):
    """The check may do no more: whatever comes after it must not go on as if only this record were bad."""


class Budget:
    """Counts the work of one check against its limits.

    Args:
        limits: what it may do.
        meter: the processor time of this check.

    Raises:
        LimitReached: by each `spend_*`, when its limit or that on processor time is passed.
    """

    def __init__(self, limits: Limits, meter: Meter | None = None) -> None:
        self.limits = limits
        self.meter = Meter() if meter is None else meter
        self._spent: Counter[str] = Counter()

    def spend_query(self) -> None:
        """One question to the resolver."""
        self._spent["queries"] += 1
        if self._spent["queries"] > self.limits.queries:
            raise LimitReached(
                DnssecState.INDETERMINATE, f"more than {self.limits.queries} queries were needed: shorten the chain"
            )
        self.look_at_clock()

    def spend_signature(self) -> None:
        """One signature verification."""
        self._spend("signatures had to be tried", self.limits.signatures)

    def spend_signature_seen(self) -> None:
        """One RRSIG record looked at, whether or not it is tried."""
        self._spend("RRSIG records had to be looked at", self.limits.signatures_seen_in_all)

    def spend_digest(self) -> None:
        """One digest of a key, to compare with a DS."""
        self._spend("DS digests had to be computed", self.limits.ds_digests)

    def spend_hash(self) -> None:
        """One NSEC3 hash (of whatever number of iterations, which has its own limit)."""
        self._spend("NSEC3 hashes were needed", self.limits.nsec3_hashes)

    def look_at_clock(self) -> None:
        """Processor time, which everything that has no number of its own is spent from, such as reading answers."""
        if self.meter.seconds > self.limits.processor_seconds:
            raise LimitReached(
                DnssecState.INDETERMINATE,
                f"more than {self.limits.processor_seconds:g} seconds of computing were needed (limit against KeyTrap)",
            )

    def _spend(self, what: str, most: int) -> None:
        self._spent[what] += 1
        if self._spent[what] > most:
            raise LimitReached(DnssecState.BOGUS, f"more than {most} {what} (limit against KeyTrap)")
        self.look_at_clock()
