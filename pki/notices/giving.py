"""Giving one notice: its audit record and its webhook delivery, in the transaction of what was noticed."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from authz.domain.audit import EventType
from pki.audit.records import RecordMaker, itself
from pki.store.register import Register
from pki.store.tables import webhook_deliveries


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that somebody should know.

    Attributes:
        event: what kind.
        subject: wire form of the party, or what it is about.
        data: coded facts for the receiver; names of parties, certificates and domains, never a person's data.
        certificate: reference of the certificate, when it is about one.
    """

    event: EventType
    subject: str
    data: Mapping[str, Any]
    certificate: str | None = None


class Giver:
    """Writes notices.

    Args:
        records: makes audit records.
        source: name of this installation in the webhook's body.
        webhook: whether there is anybody to post to.
    """

    def __init__(self, records: RecordMaker, source: str, *, webhook: bool) -> None:
        self._records = records
        self._source = source
        self._webhook = webhook

    async def give(self, connection: AsyncConnection, notice: Notice, at: datetime) -> None:
        """Write the record and the delivery.

        Args:
            connection: inside the transaction of what was noticed.
            notice: what to say.
            at: moment, UTC.
        """
        record = self._records.make(
            notice.event, itself(), at, subject=notice.subject, certificate=notice.certificate, details=notice.data
        )
        await Register(connection).write([record])
        await self.post(connection, notice, at)

    async def post(self, connection: AsyncConnection, notice: Notice, at: datetime) -> None:
        """Write the delivery alone, of what has a record already; see `give`."""
        if not self._webhook:
            return
        delivery = str(uuid.uuid4())
        body = {
            "id": delivery,
            "type": notice.event.value,
            "time": at.isoformat().replace("+00:00", "Z"),
            "source": self._source,
            "subject": notice.subject,
            "data": dict(notice.data),
        }
        await connection.execute(
            insert(webhook_deliveries).values(
                delivery_id=delivery,
                body=json.dumps(body, separators=(",", ":"), sort_keys=True),
                created_at=at,
                next_attempt_at=at,
                attempts=0,
            )
        )
