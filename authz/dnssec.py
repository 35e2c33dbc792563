"""The DNSSEC part of the composition root: settings become a standing of domains, and anchors that follow rollovers.

Specification: shared `spec/dnssec.md`. Beside `authz.app` and `authz.dane` the only module of authz that knows
`pki.dnssec` (docs/decisions/0001).
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import structlog

from authz.audit.own import OwnRecords
from authz.dane import EndpointEye
from authz.directory.endpoints import EndpointLook, EndpointWatch
from authz.directory.watching import DomainWatch
from authz.domain.audit import Action, EventType
from authz.domain.clock import Clock
from authz.edge.pages import METRICS_TYPE, PageServer, Sample, exposition
from authz.edge.recent import Recent
from authz.grants.audience import DaneState, DomainStanding, DomainState
from authz.settings import AuthzSettings
from pki.dnssec.keeping import AnchorKeeper
from pki.dnssec.opening import Following
from pki.dnssec.opening import open_dnssec as by_settings
from pki.dnssec.standing import CachedStanding

ANCHOR_STATE = "root-anchors.json"
"""In the state folder: the keys of the public root, followed by RFC 5011."""
FIRST_LOOK_SECONDS: Final = 5.0
"""How long the start waits for the first look at endpoints, so that a restart refuses nobody."""
_TOLD: Final = 1024
"""Domains of which the last warning is remembered."""
_log = structlog.get_logger()


class CheckedStanding:
    """`pki.dnssec` as the token endpoint sees it.

    Args:
        cached: outcomes, remembered as long as they hold.
    """

    def __init__(self, cached: CachedStanding) -> None:
        self._cached = cached
        self._told: Recent[str, str] = Recent(_TOLD)

    async def check(self, host: str, at: datetime) -> DomainState:
        """See `DomainStanding.check`."""
        result = await self._cached.check(host, at)
        state = DomainState(result.standing.value)
        if state is DomainState.SECURE:
            self._told.discard(host)
        elif self._told.get(host) != result.message:
            # Once for what is remembered, and not once for each who asks.
            self._told.put(host, result.message)
            _log.warning("audience domain refused", domain=host, state=state.value, why=result.message)
        return state


@dataclass(frozen=True, slots=True)
class Dnssec:
    """DNSSEC by the settings.

    Attributes:
        standing: of domains, remembered by TTL.
        eye: looks at endpoints for DANE.
        keeper: follows the root's keys, if they are followed.
    """

    standing: DomainStanding
    eye: EndpointLook
    keeper: AnchorKeeper | None = None


def open_dnssec(settings: AuthzSettings, clock: Clock, own: OwnRecords) -> Dnssec:
    """DNSSEC by the settings, for the process that serves.

    Raises:
        InvalidValue: the anchors or the anchor file cannot be used, or the mode is not for these resolvers.
    """

    async def tell(changes: Sequence[str]) -> None:
        await own.write(EventType.ANCHOR_CHANGE, Action.UPDATE, ("zone", "."), details={"changes": list(changes)})

    opened = by_settings(settings.dnssec, settings.state_dir / ANCHOR_STATE, Following(clock, tell))
    eye = EndpointEye(opened.validator, clock, settings.dnssec.dane_networks)
    return Dnssec(CheckedStanding(CachedStanding(opened.validator)), eye, opened.keeper)


@dataclass(frozen=True, slots=True)
class DomainCare:
    """What runs in the background for domains.

    Attributes:
        watch: looks at the domains of the address book.
        endpoints: looks at the endpoints whose holders require DANE.
        keeper: follows the root's keys, if they are followed.
        metrics: address and port of the metrics page, if there is one.
    """

    watch: DomainWatch
    endpoints: EndpointWatch
    keeper: AnchorKeeper | None
    metrics: tuple[str, int] | None

    def work(self, stop: asyncio.Event) -> list[Coroutine[Any, Any, None]]:
        """Everything that runs until `stop`."""
        found = [self.watch.run(stop), self.endpoints.run(stop)]
        if self.keeper is not None:
            found.append(self.keeper.run(stop))
        if self.metrics is not None:
            pages: dict[str, Callable[[], Awaitable[tuple[int, str, bytes]]]] = {"/metrics": self.page}
            found.append(PageServer(pages, self.metrics).run(stop))
        return found

    async def looked(self, stop: asyncio.Event) -> None:
        """Wait until the endpoints have been looked at once, but not for long, and not beyond `stop`."""
        first, ended = (asyncio.create_task(event.wait()) for event in (self.endpoints.looked, stop))
        await asyncio.wait([first, ended], timeout=FIRST_LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        first.cancel()
        ended.cancel()

    async def page(self) -> tuple[int, str, bytes]:
        """The metrics page."""
        found: list[Sample] = [
            ("sluis_authz_domains", {"state": state}, number) for state, number in self.watch.counts().items()
        ]
        bad = {name: state for name, state in self.watch.states.items() if state is not DomainState.SECURE}
        found += [
            ("sluis_authz_domain_not_secure", {"domain": name, "state": state.value}, 1)
            for name, state in sorted(bad.items())
        ]
        found += [
            ("sluis_authz_dane_endpoints", {"state": state}, number)
            for state, number in self.endpoints.counts().items()
        ]
        found += [
            ("sluis_authz_dane_not_matched", {"endpoint": endpoint, "state": state.value}, 1)
            for endpoint, state in sorted(self.endpoints.newest().items())
            if state is not DaneState.MATCHED
        ]
        if self.keeper is not None:
            found.append(("sluis_authz_anchors_trusted", {}, len(self.keeper.anchors())))
            found.append(("sluis_authz_anchor_refresh_failed", {}, float(bool(self.keeper.problem))))
        return 200, METRICS_TYPE, exposition(found).encode()
