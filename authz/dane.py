"""Looking at an endpoint for DANE, part of the composition root: `pki.dnssec` as `authz.directory` wants it.

Specification: shared `spec/dnssec.md`, "DANE"; RFC 6698, RFC 7671; docs/decisions/0001 and 0103. The one place where
this server connects to an address that a deelnemer chose: only when there is a secure TLSA record, only to addresses
that were found secure and are permitted, with one TLS handshake in which nothing of ours is shown.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import structlog

from authz.domain.clock import Clock
from authz.edge.addresses import Reachable
from authz.grants.audience import DaneState
from pki.dnssec.dane import Association, DaneOutcome, DaneResult, read_tlsa
from pki.dnssec.handshake import NotReached, handshake, looking_context
from pki.dnssec.model import Answer, DnssecResult, DnssecState
from pki.dnssec.standing import Validator

LOOK_SECONDS: Final = 20.0
"""The longest that one look may take, DNS and handshakes together."""
MAX_ADDRESSES: Final = 16
"""Addresses of one endpoint, all of which are connected to; who has more is not looked at, instead of in part."""
_OUTCOMES: Final = {
    DaneOutcome.MATCHED: DaneState.MATCHED,
    DaneOutcome.MISMATCHED: DaneState.MISMATCHED,
    DaneOutcome.ABSENT: DaneState.ABSENT,
    DaneOutcome.FAILED: DaneState.FAILED,
}
_log = structlog.get_logger()


class _Ended(Exception):  # noqa: N818  how a look ended
    """A look ended without a comparison."""

    def __init__(self, state: DaneState, why: str) -> None:
        super().__init__(why)
        self.state = state


class EndpointEye:
    """Looks at endpoints. Implements `EndpointLook`.

    Args:
        validator: checks names; without a memory of its own, so that a second look is one.
        clock: the time.
        networks: permitted beyond what is globally routable, in CIDR form.
    """

    def __init__(self, validator: Validator, clock: Clock, networks: Sequence[str] = ()) -> None:
        self._validator = validator
        self._clock = clock
        self._reachable = Reachable(networks)

    async def look(self, host: str, port: int) -> DaneState:
        """See `EndpointLook.look`."""
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                result = await self._compare(host, port, self._clock.now())
            state, why = _OUTCOMES[result.outcome], result.message
        except _Ended as ended:
            state, why = ended.state, str(ended)
        except TimeoutError:
            state, why = DaneState.UNREACHABLE, f"not looked at within {LOOK_SECONDS:g} s"
        except Exception as error:  # noqa: BLE001  whatever a stranger's DNS or TLS brings, it is not a match
            _log.error("endpoint not looked at", endpoint=f"{host}:{port}", error_kind=type(error).__name__)
            return DaneState.UNREACHABLE
        if state is not DaneState.MATCHED:
            _log.warning("endpoint does not match", endpoint=f"{host}:{port}", dane=state.value, why=why)
        return state

    async def _compare(self, host: str, port: int, at: datetime) -> DaneResult:
        found = await read_tlsa(self._validator, host, port, at)
        if isinstance(found, DaneResult):
            if found.standing.state is DnssecState.UNREACHABLE:
                raise _Ended(DaneState.UNREACHABLE, found.message)
            return found
        addresses = await self._addresses(host, at)
        looks = (self._look_at(found, (address, port), at) for address in addresses)
        results = await asyncio.gather(*looks)
        seen = [result for result in results if isinstance(result, DaneResult)]
        if not seen:
            raise _Ended(DaneState.UNREACHABLE, "; ".join(map(str, results)))
        # Whoever connects may get any of the addresses, so each that answers must fit.
        return next((result for result in seen if result.outcome is not DaneOutcome.MATCHED), seen[0])

    async def _addresses(self, host: str, at: datetime) -> list[str]:
        checks = await asyncio.gather(*(self._validator.check(host, at, rdtype) for rdtype in ("A", "AAAA")))
        for check in checks:
            _require_secure(check)
        found = [address for check in checks if check.answer is Answer.DATA for address in check.records]
        if not found:
            raise _Ended(DaneState.UNREACHABLE, f"{host} has no address")
        if len(found) > MAX_ADDRESSES:
            raise _Ended(DaneState.FAILED, f"{host} has more than {MAX_ADDRESSES} addresses")
        if any(not self._reachable.allows(address) for address in found):
            why = f"{host} leads to an address that is not public, nor in dnssec.dane_networks"
            raise _Ended(DaneState.ADDRESS, why)
        return found

    async def _look_at(
        self, association: Association, address: tuple[str, int], at: datetime
    ) -> DaneResult | NotReached:
        try:
            chain = await handshake(address, association.host, looking_context())
        except NotReached as error:
            return error
        return association.compare(chain, at)


def _require_secure(check: DnssecResult) -> None:
    """The addresses come from a secure answer, or DANE says nothing about them (RFC 7671 section 5)."""
    if check.state is DnssecState.UNREACHABLE:
        raise _Ended(DaneState.UNREACHABLE, check.message)
    if not check.secure:
        raise _Ended(DaneState.FAILED, f"addresses are {check.state.value}: {check.message}")
