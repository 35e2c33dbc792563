"""What one DNS answer holds, read against one zone: record sets, their signatures, and verified denials.

Only the question's own names are looked up; anything else that an answer carries is ignored, so additional records
cannot smuggle anything in.
"""

import dns.message
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from dns.rdatatype import RdataType

from pki.dnssec.denial import Denial, NoDenial, NsecDenial
from pki.dnssec.model import ChainBroken, DnssecState, LimitReached
from pki.dnssec.nsec3 import Nsec3Denial
from pki.dnssec.signatures import Verified, verify
from pki.dnssec.zone import Checker, Zone


class Evidence:
    """One answer, read with the keys of `zone`."""

    def __init__(self, message: dns.message.Message, zone: Zone, checker: Checker) -> None:
        self.zone = zone
        self._message = message
        self._checker = checker
        self._denial_problem: ChainBroken | None = None

    def answer(self, name: dns.name.Name, rdtype: RdataType) -> dns.rrset.RRset | None:
        """The record set of the answer section at exactly this name."""
        return self._message.get_rrset(self._message.answer, name, dns.rdataclass.IN, rdtype)

    def dname_above(self, name: dns.name.Name) -> dns.rrset.RRset | None:
        """A DNAME whose owner is a proper ancestor of `name`, inside this zone."""
        for rrset in self._message.answer:
            owner = rrset.name
            if rrset.rdtype == RdataType.DNAME and owner != name and name.is_subdomain(owner):
                return rrset
        return None

    @staticmethod
    def dname_target(name: dns.name.Name, dname: dns.rrset.RRset) -> dns.name.Name:
        """Where a DNAME sends a name (RFC 6672 section 2.2).

        Raises:
            ChainBroken: INDETERMINATE, the result would be too long.
        """
        try:
            target: dns.name.Name = name.relativize(dname.name) + dname[0].target
        except dns.name.NameTooLong as problem:
            raise ChainBroken(
                DnssecState.INDETERMINATE, f"the DNAME at {dname.name} makes a name that is too long"
            ) from problem
        return target.canonicalize()

    def verify(self, rrset: dns.rrset.RRset) -> Verified:
        """Verify a record set of the answer section with the zone's keys.

        Raises:
            ChainBroken: BOGUS.
        """
        return self._verify(self._message.answer, rrset)

    def denial(self) -> tuple[Denial, str]:
        """The proofs in the authority section that verify, and, if they are too costly, why that makes it insecure.

        Records that do not verify are left out; the first problem is kept for `complain`.

        Raises:
            LimitReached: that is not one bad record: it ends the check.
        """
        nsec: list[Verified] = []
        nsec3: list[Verified] = []
        looked_at = 0
        for rrset in self._message.authority:
            if rrset.rdtype not in {RdataType.NSEC, RdataType.NSEC3}:
                continue
            # A set has one record for each owner (RFC 4034 section 4): more would be more to compare every name with.
            looked_at += len(rrset)
            if looked_at > self._checker.limits.denial_records:
                break
            try:
                verified = self._verify(self._message.authority, rrset)
            except LimitReached:
                raise
            except ChainBroken as problem:
                self._denial_problem = self._denial_problem or problem
                continue
            # A denial record that was expanded from a wildcard is replayed under a name that it does not speak of.
            if verified.closest_encloser is None:
                (nsec if rrset.rdtype == RdataType.NSEC else nsec3).append(verified)
        if nsec3 and not nsec:
            hashed = Nsec3Denial(self.zone.name, nsec3, self._checker.budget)
            if hashed.too_costly:
                return hashed, (
                    f"{self.zone.name} uses {hashed.iterations} NSEC3 iterations, above the limit of "
                    f"{self._checker.limits.nsec3_iterations}: set them to 0 (RFC 9276)"
                )
            return hashed, ""
        return (NsecDenial(self.zone.name, nsec), "") if nsec else (NoDenial(), "")

    def complain(self) -> None:
        """Raise the problem of a denial record that did not verify, which tells more than that no proof holds.

        Raises:
            ChainBroken: BOGUS, if there was such a problem.
        """
        if self._denial_problem is not None:
            raise self._denial_problem

    def _verify(self, section: list[dns.rrset.RRset], rrset: dns.rrset.RRset) -> Verified:
        signatures = self._message.get_rrset(section, rrset.name, dns.rdataclass.IN, RdataType.RRSIG, rrset.rdtype)
        verified = verify(rrset, signatures, self.zone.trusted(), self._checker.at, self._checker.budget)
        self._checker.rely_on(verified)
        return verified
