"""Writes the records of refusals: each one of a deelnemer, of strangers a few a minute and the number of the rest.

Specification: shared `spec/audit.md`, "What is recorded". Somebody without a certificate of the network can ask for a
token as often as his connection allows; with a record for each he would fill the log that nothing is ever removed from.
"""

from typing import Final

from authz.audit.log import AuditLog
from authz.domain.audit import AuditRecord, EventType
from authz.domain.clock import Clock
from authz.domain.reasons import Reason
from authz.edge.rate import network_of
from authz.edge.restraint import WINDOW_SECONDS, Restraint
from authz.edge.tracing import new_trace
from authz.grants.records import RequestContext, counted_refusals
from authz.participants.authentication import AuthenticatedClient

INTERVAL: Final = float(WINDOW_SECONDS)
"""Seconds between two looks at what was counted."""


class RefusalRecords:
    """Where refusals become durable.

    Args:
        audit: the log.
        clock: the time of what is counted.
        strangers: records a minute for those who did not authenticate, all of them together.
    """

    def __init__(self, audit: AuditLog, clock: Clock, strangers: int) -> None:
        self._audit = audit
        self._clock = clock
        self._restraint: Restraint[tuple[EventType, str]] = Restraint(strangers)

    async def write(self, record: AuditRecord, client: AuthenticatedClient | None, context: RequestContext) -> None:
        """Record a refusal, or count it; what is to be recorded is durable on return.

        Args:
            record: of the refusal.
            client: who was refused; None for who did not authenticate.
            context: of the request. Whom the edge verified is no stranger, unless his certificate is what is wrong:
                a block, or a list of ours that is stale, befalls deelnemers.

        Raises:
            AuditUnavailable: it is not recorded.
        """
        what = (record.event_type, record.reason)
        known = client is not None or (context.verified_by_edge and not Reason(record.reason).is_about_the_certificate)
        if known or self._restraint.admits(what, network_of(context.address), context.at):
            await self._audit.record(record)

    async def tell(self) -> None:
        """Write what was counted: one record for each kind of refusal.

        Raises:
            AuditUnavailable: it is told the next time.
        """
        counted = self._restraint.counted()
        if not counted:
            return
        context = RequestContext(self._clock.now(), new_trace())
        await self._audit.record(
            *(counted_refusals(event, reason, number, context) for (event, reason), number in counted.items())
        )
        self._restraint.told(counted)
