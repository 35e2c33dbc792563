"""The second mode: believe the AD bit of a validating resolver on the loopback.

Specification: shared `spec/dnssec.md` ("an optional second mode trusts the AD bit of a configured validating resolver
on the loopback only"); RFC 6840 section 5.7, RFC 8914 (extended errors). It validates nothing itself: whoever can
answer on that port decides. That is why any other address is refused. An answer without the bit says that the name is
not signed only if the resolver validates at all: the keys of the anchor, which are always secure, show whether it does.
"""

import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
from dns.rdatatype import RdataType

from authz.domain.errors import InvalidValue
from pki.dnssec.asking import parse_question
from pki.dnssec.model import Answer, ChainLink, DnssecResult, DnssecState, Limits, LinkKind
from pki.dnssec.transport import Resolver, ResolverUnreachable

REMEMBERED: Final = timedelta(seconds=60)
"""For so long it is remembered whether a resolver validates."""
_GOOD_CODES = frozenset({dns.rcode.NOERROR, dns.rcode.NXDOMAIN})


class ResolverAdValidator:
    """Takes a local validating resolver's word (implements `standing.Validator`).

    Args:
        addresses: (IP address, port), loopback only.
        limits: only the times are used.
        timeout: seconds to wait for one answer.
        anchored: zones with an anchor of the resolver; the public root when nothing else was configured.

    Raises:
        ValueError: an address is not on the loopback, or there is none.
    """

    def __init__(
        self,
        addresses: Sequence[tuple[str, int]],
        *,
        limits: Limits = Limits(),  # noqa: B008  frozen
        timeout: float = 2.0,
        anchored: Sequence[dns.name.Name] = (dns.name.root,),
    ) -> None:
        if any(not ipaddress.ip_address(host).is_loopback for host, _ in addresses):
            raise ValueError("the AD bit is believed of a resolver on the loopback only")
        self._validating = Resolver(addresses, timeout=timeout, checking_disabled=False)
        self._plain = Resolver(addresses, timeout=timeout)
        self._limits = limits
        self._anchored = tuple(dict.fromkeys(anchored))
        self._validates: dict[str, tuple[datetime, bool]] = {}

    async def check(self, name: str, at: datetime, rdtype: str = "A") -> DnssecResult:
        """The resolver's opinion; arguments and outcome as `ChainValidator.check`.

        INDETERMINATE is a resolver that does not validate: nobody's zone is to blame for that. BOGUS is told from
        UNREACHABLE by asking again without validation.
        """
        try:
            wanted, kind = parse_question(name, rdtype)
        except InvalidValue as problem:
            return self._result("", at, DnssecState.INDETERMINATE, str(problem))
        what = f"{wanted}/{dns.rdatatype.to_text(kind)}"
        try:
            message = await self._validating.ask(wanted, kind)
            if message.rcode() in _GOOD_CODES:
                if not message.flags & dns.flags.AD:
                    return await self._without_ad(wanted, what, at)
                return self._good(message, wanted, kind, at)
            plain = await self._plain.ask(wanted, kind)
        except ResolverUnreachable as problem:
            return self._result(str(wanted), at, DnssecState.UNREACHABLE, f"{problem} for {what}")
        reason = "; ".join(error.to_text() for error in message.extended_errors()) or "it gives no reason"
        if plain.rcode() in _GOOD_CODES:
            said = f"the resolver refuses {what} as bogus: {reason}"
            return self._result(str(wanted), at, DnssecState.BOGUS, said)
        code = dns.rcode.to_text(message.rcode())
        return self._result(
            str(wanted), at, DnssecState.UNREACHABLE, f"the resolver answers {code} for {what}: {reason}"
        )

    async def _without_ad(self, name: dns.name.Name, what: str, at: datetime) -> DnssecResult:
        where = self._validating.answering
        if await self._does_validate(where, at):
            said = f"the resolver could not validate {what}: a zone above it is not signed"
            return self._result(str(name), at, DnssecState.INSECURE, said)
        zones = " or ".join(map(str, self._anchored))
        said = f"the resolver at {where} does not validate: not even the keys of {zones} are secure there"
        return self._result(str(name), at, DnssecState.INDETERMINATE, said)

    async def _does_validate(self, where: str, at: datetime) -> bool:
        known = self._validates.get(where)
        if known is not None and known[0] <= at < known[0] + REMEMBERED:
            return known[1]
        found = False
        for zone in self._anchored:
            keys = await self._validating.ask(zone, RdataType.DNSKEY)
            # Without records the bit would be about their absence.
            found = found or bool(keys.answer and keys.flags & dns.flags.AD)
        self._validates[where] = at, found
        return found

    def _good(self, message: dns.message.Message, name: dns.name.Name, rdtype: RdataType, at: datetime) -> DnssecResult:
        what = f"{name}/{dns.rdatatype.to_text(rdtype)}"
        found = [r for r in message.answer if r.rdtype == rdtype and r.rdclass == dns.rdataclass.IN]
        answer = Answer.DATA if found else Answer.NODATA
        if message.rcode() == dns.rcode.NXDOMAIN:
            answer = Answer.NXDOMAIN
        sections = (*message.answer, *message.authority)
        ttl = min((r.ttl for r in sections), default=self._limits.negative_seconds)
        return self._result(
            str(name),
            at,
            DnssecState.SECURE,
            f"{what} is secure by the word of the local resolver ({answer})",
            seconds=min(ttl, self._limits.longest_seconds),
            answer=answer,
            records=tuple(sorted(record.to_text() for rrset in found for record in rrset)),
        )

    def _result(
        self,
        name: str,
        at: datetime,
        state: DnssecState,
        message: str,
        *,
        seconds: int | None = None,
        answer: Answer = Answer.UNKNOWN,
        records: tuple[str, ...] = (),
    ) -> DnssecResult:
        lasting = self._limits.negative_seconds if seconds is None else seconds
        link = ChainLink(LinkKind.ANSWER, 0, name, state, "by the word of the local resolver")
        return DnssecResult(name, state, message, at + timedelta(seconds=lasting), (link,), answer, records)
