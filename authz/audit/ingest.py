"""Takes records that another component kept in its own journal and ships, possibly more than once.

Specification: shared `spec/audit.md`, "Writing without losing or blocking": at-least-once, idempotent, order by index.
A sender is authenticated elsewhere; here it can only speak for its own sources, and only of events that arise there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from authz.audit.encoded import EncodedRecord
from authz.audit.log import LogIntake
from authz.audit.own import OwnRecords
from authz.audit.shipment import MAX_BATCH
from authz.domain.audit import Action, EventType
from authz.domain.errors import InvalidValue, Refused
from authz.domain.reasons import Reason

MAX_NAMED: Final = 20
"""Records that an alert about a shipment names."""

SHIPPED: Final = frozenset(
    {
        EventType.ACCESS_DECISION,
        EventType.ENDPOINT_REFUSED,
        EventType.CERTIFICATE_INTENT,
        EventType.CERTIFICATE_ISSUE,
        EventType.CERTIFICATE_RENEW,
        EventType.CERTIFICATE_REVOKE,
        EventType.CODE_CREATE,
        EventType.CODE_APPROVE,
        EventType.CODE_WITHDRAW,
        EventType.CODE_USE,
        EventType.KEY_BLOCK,
        EventType.CERTIFICATE_EXPIRES,
        EventType.AUTHORITY_EXPIRES,
        EventType.DOMAIN_STANDING,
        EventType.ANCHOR_CHANGE,
        EventType.WEBHOOK_GIVEN_UP,
        EventType.KEY_ROTATE,
        EventType.RECORD_RESEND,
        EventType.RULES_IN_FORCE,
        EventType.COMPONENT_START,
        EventType.COMPONENT_STOP,
        EventType.COMPONENT_GAP,
    }
)
"""What happens outside authz. Events of this log or of tokens are recorded here, by us, and taken from nobody."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Who ships.

    Attributes:
        id: subject identifier of the authenticated sender.
        sources: sources (`bron`) that it may write as.
    """

    id: str
    sources: frozenset[str]


class Ingest:
    """Accepts shipments.

    Args:
        intake: the log.
        own: takes the alert when a record comes a second time with other content.
    """

    def __init__(self, intake: LogIntake, own: OwnRecords) -> None:
        self._intake = intake
        self._own = own

    async def ingest(self, records: Sequence[EncodedRecord], sender: Sender) -> tuple[str, ...]:
        """Append what is new; returns when everything is durable.

        A record is the same record by its source and id, so that no sender can occupy the ids of another. One that
        comes again with other content does not replace the first: an alert is written, one for the shipment, and the
        shipment is accepted, because refusing it would stop the sender's journal for ever.

        Returns:
            The ids of all records of the shipment, new or known.

        Raises:
            Refused: too many or no records, one that the log cannot hold, a source that is not the sender's, or an
                event that is not for shipping. Nothing of the shipment is written.
            AuditUnavailable: nothing is acknowledged; send it again.
        """
        if not 0 < len(records) <= MAX_BATCH:
            raise Refused(Reason.BODY_MALFORMED, f"a shipment has 1 to {MAX_BATCH} records")
        for record in records:
            if record.terms.source not in sender.sources:
                raise Refused(Reason.RECORD_SOURCE, "a record of the shipment is of a source that is not the sender's")
            if record.terms.event_type not in SHIPPED:
                raise Refused(Reason.RECORD_EVENT, "a record of the shipment is of an event that is not shipped")
        try:
            conflicts = await self._intake.append_new(records)
        except InvalidValue as error:
            raise Refused(Reason.BODY_MALFORMED, "a record of the shipment is one that the log cannot hold") from error
        if conflicts:
            # One alert, however many: each would wait for a commit of its own, and a sender could have 500 at a time.
            ids = [conflict.terms.record_id for conflict in conflicts]
            await self._own.write(
                EventType.LOG_ALERT,
                Action.CREATE,
                ("record_id", ids[0]),
                reason=Reason.RECORD_CONFLICT,
                details={
                    "sender": sender.id,
                    "source": conflicts[0].terms.source,
                    "conflicts": len(ids),
                    "record_ids": ids[:MAX_NAMED],
                },
            )
        return tuple(record.terms.record_id for record in records)
