"""The notices of `pki serve` wired together: what runs in the background, and the metrics page.

One look each minute at what is due; each kind of work fails on its own and is tried again at the next look.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Final

from authz.domain.audit import EventType
from authz.edge.background import Loop
from authz.edge.pages import METRICS_TYPE, PageServer, Sample, exposition
from pki.app import OpenAuthority
from pki.audit.records import RecordMaker
from pki.dnssec.keeping import AnchorKeeper
from pki.dnssec.opening import Following, open_dnssec
from pki.notices.authorities import AuthorityNotices, endings
from pki.notices.authorities import samples as ending_samples
from pki.notices.expiry import ExpiryNotices
from pki.notices.giving import Giver, Notice
from pki.notices.metrics import samples
from pki.notices.standing import StandingPatrol
from pki.notices.webhook import Webhook
from pki.store.database import StoreUnavailable

LOOK: Final = 60.0
"""Seconds between looks at what is due."""


class Notices:
    """Everything of this package, for one open authority.

    Args:
        pki: the open authority.
        others: measurements of other parts of this process.

    Raises:
        SluisError: an anchor, the anchor file, the webhook's secret or its CA cannot be used.
    """

    def __init__(self, pki: OpenAuthority, others: Callable[[], list[Sample]] = list) -> None:
        settings = pki.settings
        records = RecordMaker(settings.audit.source)
        hook = settings.notices.webhook
        self._pki = pki
        self._others = others
        self._giver = Giver(records, settings.audit.source, webhook=hook is not None)
        self.webhook = Webhook(hook, pki.database, pki.clock, records) if hook is not None else None
        self.expiry = ExpiryNotices(pki.database, self._giver, pki.clock, settings.notices.expiry_days)
        self.authorities = AuthorityNotices(
            pki.database, self._giver, pki.clock, settings.notices.expiry_days, partial(endings, settings)
        )
        self.keeper, self.patrol = self._dnssec()

    def _dnssec(self) -> tuple[AnchorKeeper | None, StandingPatrol | None]:
        pki, chosen = self._pki, self._pki.settings.dnssec
        if not chosen.resolvers:
            return None, None
        opened = open_dnssec(chosen, chosen.anchor_state, Following(pki.clock, self._anchors_changed))
        interval = timedelta(seconds=chosen.check_seconds)
        return opened.keeper, StandingPatrol(pki.database, self._giver, pki.clock, opened.validator, interval)

    async def _anchors_changed(self, changes: tuple[str, ...]) -> None:
        at = self._pki.clock.now()
        async with self._pki.database.write() as connection:
            notice = Notice(EventType.ANCHOR_CHANGE, "unknown", {"zone": ".", "changes": list(changes)})
            await self._giver.give(connection, notice, at)

    def work(self, stop: asyncio.Event) -> dict[str, Callable[[], Awaitable[None]]]:
        """What runs until `stop`, by name."""
        looks = {"expiry notices": self.expiry.look, "notices of our own": self.authorities.look}
        if self.patrol is not None:
            looks["domain standing"] = self.patrol.look
        found: dict[str, Callable[[], Awaitable[None]]] = {
            name: partial(Loop(name, look, LOOK).run, stop) for name, look in looks.items()
        }
        if self.keeper is not None:
            found["anchors"] = partial(self.keeper.run, stop)
        if self.webhook is not None:
            found["webhook"] = partial(self.webhook.run, stop)
        if (listen := self._pki.settings.metrics) is not None:
            found["metrics"] = partial(PageServer({"/metrics": self.page}, (listen.address, listen.port)).run, stop)
        return found

    async def page(self) -> tuple[int, str, bytes]:
        """The metrics page."""
        at = self._pki.clock.now()
        try:
            async with self._pki.database.read() as connection:
                roots = [root.name for root in self._pki.settings.roots()]
                found = await samples(connection, at, self._pki.settings.notices.expiry_days, roots)
            found.append(("sluis_pki_database_up", {}, 1))
        except StoreUnavailable:
            found = [("sluis_pki_database_up", {}, 0)]
        return 200, METRICS_TYPE, exposition([*found, *self._held()]).encode()

    def _held(self) -> list[Sample]:
        """What this process knows by itself."""
        found = [*self._others(), *ending_samples(endings(self._pki.settings), self._pki.clock.now())]
        if self.patrol is not None:
            found.append(("sluis_pki_dns_blind", {}, float(self.patrol.blind)))
        if self.keeper is not None:
            found.append(("sluis_pki_anchor_refresh_failed", {}, float(bool(self.keeper.problem))))
            found.append(("sluis_pki_anchors_trusted", {}, len(self.keeper.anchors())))
        return found
