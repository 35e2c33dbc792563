"""How questions reach a resolver: UDP with TCP fallback, and nothing trusted of what comes back.

Specification: shared `spec/dnssec.md`: any resolver, CD=1, DO=1, EDNS 1232 (DNS flag day 2020). Not for validation:
a resolver's AD bit is ignored here.
"""

from collections.abc import Sequence
from typing import Protocol

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rdatatype

from authz.domain.errors import SluisError

EDNS_PAYLOAD = 1232
"""Bytes of UDP payload that we accept; avoids IP fragmentation."""


class ResolverUnreachable(SluisError):  # noqa: N818  says what happened
    """No resolver gave a usable DNS message in time."""


class DnsTransport(Protocol):
    """Asks one question of a resolver."""

    async def ask(self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> dns.message.Message:
        """The resolver's answer, whatever its response code.

        Raises:
            ResolverUnreachable: there was no answer.
        """
        ...


def question(
    name: dns.name.Name, rdtype: dns.rdatatype.RdataType, *, checking_disabled: bool = True
) -> dns.message.QueryMessage:
    """A query that wants DNSSEC records; with `checking_disabled` no validation by the resolver (CD=1)."""
    message = dns.message.make_query(name, rdtype, use_edns=0, want_dnssec=True, payload=EDNS_PAYLOAD)
    message.flags |= dns.flags.RD
    if checking_disabled:
        message.flags |= dns.flags.CD
    return message


class Resolver:
    """One or more recursive resolvers, tried in turn.

    Args:
        addresses: (IP address, port) of each.
        timeout: seconds to wait for one answer.
        rounds: how often the whole list is tried.
        checking_disabled: whether the resolver is told not to validate (the default: we do).
    """

    def __init__(
        self,
        addresses: Sequence[tuple[str, int]],
        *,
        timeout: float = 2.0,
        rounds: int = 2,
        checking_disabled: bool = True,
    ) -> None:
        if not addresses:
            raise ValueError("at least one resolver address is needed")
        self._addresses = tuple(addresses)
        self._timeout = timeout
        self._rounds = rounds
        self._checking_disabled = checking_disabled
        self._last_good = 0

    async def ask(self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> dns.message.Message:
        """See `DnsTransport`. A truncated answer is asked again over TCP."""
        for _ in range(self._rounds):
            # The one that answered last is asked first, so that a silent one costs its timeout once.
            start = self._last_good
            for position in (*range(start, len(self._addresses)), *range(start)):
                host, port = self._addresses[position]
                query = question(name, rdtype, checking_disabled=self._checking_disabled)
                try:
                    answer = await self._exchange(query, host, port)
                except (dns.exception.DNSException, OSError, EOFError):
                    # A timeout, a closed port, a malformed or foreign message: the next address may do better, and
                    # the caller hears of it when none does.
                    continue
                self._last_good = position
                return answer
        where = ", ".join(f"{host}:{port}" for host, port in self._addresses)
        raise ResolverUnreachable(f"no answer from resolver {where}")

    async def _exchange(self, query: dns.message.QueryMessage, host: str, port: int) -> dns.message.Message:
        try:
            # ignore_errors: a forged or malformed datagram is dropped and the real one waited for.
            return await dns.asyncquery.udp(
                query, host, self._timeout, port, ignore_unexpected=True, raise_on_truncation=True, ignore_errors=True
            )
        except dns.message.Truncated:
            return await dns.asyncquery.tcp(query, host, self._timeout, port)
