"""How questions reach a resolver: UDP with TCP fallback, and nothing trusted of what comes back.

Specification: shared `spec/dnssec.md`: any resolver, CD=1, DO=1, EDNS 1232. What an answer must fit, and how much of it
is taken, is `exchange`'s. Not for validation: a resolver's AD bit is ignored here.
"""

from collections.abc import Sequence
from typing import Protocol

import dns.flags
import dns.message
import dns.name
import dns.rdatatype

from authz.domain.errors import SluisError
from pki.dnssec.exchange import EDNS_PAYLOAD, Unfit, exchange
from pki.dnssec.reading import read_answer


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

    @property
    def answering(self) -> str:
        """The resolver that answered last."""
        host, port = self._addresses[self._last_good]
        return f"{host}:{port}"

    async def ask(self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> dns.message.Message:
        """See `DnsTransport`. A truncated answer is asked again over TCP."""
        unfit = ""
        for _ in range(self._rounds):
            # The one that answered last is asked first, so that a silent one costs its timeout once.
            start = self._last_good
            for position in (*range(start, len(self._addresses)), *range(start)):
                query = question(name, rdtype, checking_disabled=self._checking_disabled)
                try:
                    wire = await exchange(query.to_wire(), self._addresses[position], self._timeout)
                    answer = read_answer(wire, rdtype)
                except Unfit as problem:
                    unfit = f" ({problem})"
                    continue
                except (OSError, EOFError):
                    # A timeout, a closed port, a connection that ends: the next address may do better, and the caller
                    # hears of it when none does.
                    continue
                self._last_good = position
                return answer
        where = ", ".join(f"{host}:{port}" for host, port in self._addresses)
        raise ResolverUnreachable(f"no answer from resolver {where}{unfit}")
