"""The listing of the address book: only services whose domain is DNSSEC-secure, and whose DANE fits if it must.

Specification: shared `domain.md`, "Address book": "An endpoint is listed only while its domain is DNSSEC-secure";
`spec/dnssec.md`: checked at publication and on a schedule.
"""

import asyncio
from typing import Any, Final

from authz.directory.book import AddressBook, electronic_service
from authz.directory.model import Service
from authz.domain.clock import Clock
from authz.grants.audience import DaneState, DomainStanding, DomainState, EndpointStanding

MAX_CONCURRENT_CHECKS: Final = 8
"""Domains checked at the same time when many standings have run out at once."""


async def list_secure(
    book: AddressBook, standing: DomainStanding, endpoints: EndpointStanding, clock: Clock
) -> list[dict[str, Any]]:
    """The services that may be listed now, sorted by `gegevensdienstId` and `systeemrolcode`."""
    at = clock.now()
    gate = asyncio.Semaphore(MAX_CONCURRENT_CHECKS)

    async def state_of(host: str) -> DomainState:
        async with gate:
            return await standing.check(host, at)

    hosts = sorted({service.host for service in book.services})
    states = dict(zip(hosts, await asyncio.gather(*map(state_of, hosts)), strict=True))

    def order(service: Service) -> tuple[str, str]:
        return service.gegevensdienst_id, service.system_role

    def passes(service: Service) -> bool:
        secure = states[service.host] is DomainState.SECURE
        return secure and endpoints.dane(service.audience) in {None, DaneState.MATCHED}

    listed = filter(passes, book.services)
    return [electronic_service(service) for service in sorted(listed, key=order)]
