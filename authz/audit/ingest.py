"""Takes records that another component kept in its own journal and ships, possibly more than once.

Specification: shared `spec/audit.md`, "Writing without losing or blocking": at-least-once, idempotent, order by index.
A sender is authenticated elsewhere; here it can only speak for its own sources, and only of events that arise there.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from authz.audit.encoded import EncodedRecord
from authz.audit.log import LogIntake
from authz.audit.own import OwnRecords
from authz.audit.search import to_microseconds
from authz.audit.shipment import MAX_BATCH, read_shipment
from authz.domain.audit import Action, EventType
from authz.domain.errors import InvalidValue, Refused
from authz.domain.reasons import Reason

MAX_NAMED: Final = 20
"""Records that an alert about a shipment names."""

_ANYWHERE: Final = frozenset(
    {
        EventType.ENDPOINT_REFUSED,
        EventType.COMPONENT_START,
        EventType.COMPONENT_STOP,
        EventType.COMPONENT_GAP,
    }
)
SHIPPED: Final[Mapping[str, frozenset[EventType]]] = {
    "trust-agent": _ANYWHERE | {EventType.ACCESS_DECISION},
    "pki": _ANYWHERE
    | {
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
    },
}
"""What arises in a component, by the second part of its source. Events of this log or of tokens are recorded here, by
us, and taken from nobody; and the owner of a trust agent can not tell of certificates that an authority revoked."""
MAX_AHEAD: Final = timedelta(minutes=5)
"""How far the clock of a sender may be ahead of ours."""
MAX_LATE: Final = timedelta(days=30)
"""How long after an event its record may come without an alert: a journal is shipped when the centre is back."""
_TOLD_EVERY: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Sender:
    """Who ships.

    Attributes:
        id: subject identifier of the authenticated sender.
        sources: sources (`bron`) that it may write as.
    """

    id: str
    sources: frozenset[str]

    def require_sources(self) -> None:
        """There is something that it may ship.

        Raises:
            Refused: RECORD_SOURCE.
        """
        if not self.sources:
            raise Refused(Reason.RECORD_SOURCE, "the scheme names no log source of this deelnemer")


class Ingest:
    """Accepts shipments.

    Args:
        intake: the log.
        own: takes the alert when a record comes a second time with other content.
    """

    def __init__(self, intake: LogIntake, own: OwnRecords) -> None:
        self._intake = intake
        self._own = own
        self._reading = asyncio.Lock()
        self._told: dict[str, datetime] = {}
        self._held_back: dict[str, _Odd] = {}

    async def take(self, body: bytes, sender: Sender) -> tuple[str, ...]:
        """Read a shipment and append what is new, see `ingest`.

        It is read beside the event loop, one at a time: a megabyte that has to be read with care takes a fifth of a
        second, in which nobody would get a token.

        Raises:
            Refused: as `ingest`, and for a body that is not a shipment.
            AuditUnavailable: nothing is acknowledged; send it again.
        """
        try:
            async with self._reading:
                records = await asyncio.to_thread(read_shipment, body)
        except InvalidValue as error:
            expected = f"the body is {{records: [at most {MAX_BATCH} audit records]}}"
            raise Refused(Reason.BODY_MALFORMED, expected) from error
        return await self.ingest(records, sender)

    async def ingest(self, records: Sequence[EncodedRecord], sender: Sender) -> tuple[str, ...]:
        """Append what is new; returns when everything is durable.

        A record is the same record by its source and id, so that no sender can occupy the ids of another. One that
        comes again with other content does not replace the first: an alert is written, one for the shipment, and the
        shipment is accepted, because refusing it would stop the sender's journal for ever. So is one with events at
        times that its sender can not well know of: who searches by period would not find them, so an alert tells.

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
            if record.terms.event_type not in SHIPPED.get(_component(record.terms.source), _ANYWHERE):
                raise Refused(Reason.RECORD_EVENT, "a record of the shipment is of an event that is not shipped")
        try:
            conflicts = await self._intake.append_new(records)
        except InvalidValue as error:
            raise Refused(Reason.BODY_MALFORMED, "a record of the shipment is one that the log cannot hold") from error
        await self._tell_of_times(records, sender)
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

    async def tell(self, *, now: bool = False) -> None:
        """Write the alerts that were held back.

        Args:
            now: also those whose hour is not over, because the server stops.

        Raises:
            AuditUnavailable: they are told the next time.
        """
        at = self._own.clock.now()
        for sender, odd in [*self._held_back.items()]:
            if now or not self._told_lately(sender, at):
                await self._alert(sender, odd, at)
                # What came in meanwhile is told the next time.
                left = self._held_back.pop(sender).without(odd)
                if left is not None:
                    self._held_back[sender] = left

    async def _tell_of_times(self, records: Sequence[EncodedRecord], sender: Sender) -> None:
        at = self._own.clock.now()
        first, last = to_microseconds(at - MAX_LATE), to_microseconds(at + MAX_AHEAD)
        terms = [record.terms for record in records if not first <= record.terms.event_us <= last]
        if not terms:
            return
        odd = _Odd(terms[0].source, len(terms), tuple(item.record_id for item in terms[:MAX_NAMED]))
        # One alert an hour for each sender: with a wrong clock every shipment of his is such a one. None is left out of
        # the number, or one harmless record would hide all that follow.
        if self._told_lately(sender.id, at):
            held = self._held_back.get(sender.id)
            self._held_back[sender.id] = odd if held is None else held.with_more(odd)
        else:
            await self._alert(sender.id, odd, at)

    def _told_lately(self, sender: str, at: datetime) -> bool:
        told = self._told.get(sender)
        return told is not None and timedelta(0) <= at - told < _TOLD_EVERY

    async def _alert(self, sender: str, odd: "_Odd", at: datetime) -> None:
        await self._own.write(
            EventType.LOG_ALERT,
            Action.CREATE,
            ("record_id", odd.record_ids[0]),
            reason=Reason.RECORD_TIME,
            details={"sender": sender, "source": odd.source, "records": odd.number, "record_ids": list(odd.record_ids)},
        )
        self._told[sender] = at


@dataclass(frozen=True, slots=True)
class _Odd:
    """Records of events at odd times: how many of one sender, and the first of them."""

    source: str
    number: int
    record_ids: tuple[str, ...]

    def with_more(self, more: "_Odd") -> "_Odd":
        return _Odd(self.source, self.number + more.number, (self.record_ids + more.record_ids)[:MAX_NAMED])

    def without(self, told: "_Odd") -> "_Odd | None":
        left = self.number - told.number
        return _Odd(self.source, left, self.record_ids[len(told.record_ids) :] or self.record_ids) if left else None


def _component(source: str) -> str:
    """`trust-agent` of `sluis/trust-agent/register-1`."""
    return source.split("/", 2)[1]
