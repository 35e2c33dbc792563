"""The second mode: believe the AD bit of a validating resolver on the loopback.

Specification: shared `spec/dnssec.md` ("an optional second mode trusts the AD bit of a configured validating resolver
on the loopback only"); RFC 6840 section 5.7, RFC 8914 (extended errors). It validates nothing itself: whoever can
answer on that port decides. That is why any other address is refused.
"""

import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta

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

_GOOD_CODES = frozenset({dns.rcode.NOERROR, dns.rcode.NXDOMAIN})


class ResolverAdValidator:
    """Takes a local validating resolver's word (implements `standing.Validator`).

    Args:
        addresses: (IP address, port), loopback only.
        limits: only the times are used.

    Raises:
        ValueError: an address is not on the loopback, or there is none.
    """

    def __init__(
        self,
        addresses: Sequence[tuple[str, int]],
        *,
        limits: Limits = Limits(),  # noqa: B008  frozen
        timeout: float = 2.0,
    ) -> None:
        if any(not ipaddress.ip_address(host).is_loopback for host, _ in addresses):
            raise ValueError("the AD bit is believed of a resolver on the loopback only")
        self._validating = Resolver(addresses, timeout=timeout, checking_disabled=False)
        self._plain = Resolver(addresses, timeout=timeout)
        self._limits = limits

    async def check(self, name: str, at: datetime, rdtype: str = "A") -> DnssecResult:
        """The resolver's opinion; arguments and outcome as `ChainValidator.check`.

        It cannot tell INDETERMINATE. BOGUS is told from UNREACHABLE by asking again without validation.
        """
        try:
            wanted, kind = parse_question(name, rdtype)
        except InvalidValue as problem:
            return self._result("", at, DnssecState.INDETERMINATE, str(problem))
        what = f"{wanted}/{dns.rdatatype.to_text(kind)}"
        try:
            message = await self._validating.ask(wanted, kind)
            if message.rcode() in _GOOD_CODES:
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

    def _good(self, message: dns.message.Message, name: dns.name.Name, rdtype: RdataType, at: datetime) -> DnssecResult:
        what = f"{name}/{dns.rdatatype.to_text(rdtype)}"
        if not message.flags & dns.flags.AD:
            said = f"the resolver could not validate {what}: a zone above it is not signed"
            return self._result(str(name), at, DnssecState.INSECURE, said)
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
