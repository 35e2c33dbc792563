"""Shipping the outbox of audit records to the audit store, for ever and at least once.

Specification: shared `spec/audit.md` (idempotent by record id) and `architecture.md`, "Failure rules": nothing
acknowledged is lost; shipping retries for ever. A record is marked only after the store said it has it, so a crash in
between sends it again, which the store recognises. A record that the store refuses for good stays in the outbox, marked
as refused and told loudly, instead of holding up everything after it; `pki audit resend` puts it back in line.
"""

import asyncio
import json
import ssl
from contextlib import suppress
from typing import Final

import httpx
import structlog

from authz.domain.clock import Clock
from authz.domain.reasons import Reason
from authz.edge.http_client import http_client
from authz.edge.shipment import ShipmentSize, Verdict, refusal_code
from pki.settings import AuditSettings
from pki.store.database import Database, StoreUnavailable
from pki.store.register import Register

_LOG: Final = structlog.get_logger(__name__)
BATCH: Final = 500
"""Records in one request; the store takes no more."""
MAX_BYTES: Final = 512 * 1024
"""Of one request, give or take its frame; the edge of the store refuses a body of a mebibyte."""
IDLE: Final = 0.5
"""Seconds between looks at an empty outbox."""
_BACKOFF_FIRST: Final = 0.25
_BACKOFF_MOST: Final = 10.0
_BACKOFF_GROWTH: Final = 1.5
"""Gentle: an authz that starts beside us has the first records a second or two after it is ready."""
_TIMEOUT: Final = 15.0


class Shipper:
    """Sends the outbox.

    Args:
        settings: with `url` set.
        database: the register.
        clock: for the moment of shipping.
        transport: of the HTTP client, for tests.
    """

    def __init__(
        self,
        settings: AuditSettings,
        database: Database,
        clock: Clock,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        if settings.url is None:
            raise ValueError("there is nowhere to ship to")
        self._url = f"{settings.url}/audit/v1/records"
        self._settings = settings
        self._database = database
        self._clock = clock
        self._transport = transport
        self._size = ShipmentSize(BATCH)

    async def run(self, stop: asyncio.Event) -> None:
        """Ship until `stop`. A store that is away, or does not take them now, is asked again, up to 10 s later.

        Args:
            stop: ends the work between two steps, not in the middle of one.
        """
        backoff = _BACKOFF_FIRST
        while not stop.is_set():
            try:
                async with self._client() as client:
                    while not stop.is_set():
                        if not await self.ship_once(client):
                            await _pause(stop, IDLE)
                        backoff = _BACKOFF_FIRST
            except (httpx.HTTPError, StoreUnavailable, OSError) as error:
                _LOG.warning("audit_not_shipped", why=type(error).__name__, again_in=backoff)
                await _pause(stop, backoff)
                backoff = min(backoff * _BACKOFF_GROWTH, _BACKOFF_MOST)

    async def ship_once(self, client: httpx.AsyncClient) -> bool:
        """Ship one batch, oldest first.

        Returns:
            Whether there was anything to ship.

        Raises:
            httpx.HTTPError: the store is away, or did not take them now.
            StoreUnavailable: the outbox cannot be read, or what was shipped not be marked.
        """
        async with self._database.read() as connection:
            rows = _fitting(await Register(connection).unshipped(self._size.now))
        if not rows:
            return False
        extensions = {"sni_hostname": self._settings.server_name} if self._settings.server_name else {}
        answer = await client.post(
            self._url, json={"records": [json.loads(record) for _, record in rows]}, extensions=extensions
        )
        match self._size.judge(answer, len(rows)):
            case Verdict.TAKEN:
                async with self._database.write() as connection:
                    await Register(connection).mark_shipped([row for row, _ in rows], self._clock.now())
            case Verdict.LATER:
                if refusal_code(answer) == Reason.RECORD_SOURCE and (others := self._of_other_sources(rows)):
                    # Written under other settings, they are not ours to send, and must not hold up all that follow.
                    for row, record in others:
                        await self._put_aside(row, record, Reason.RECORD_SOURCE)
                    return True
                raise httpx.HTTPStatusError("not taken", request=answer.request, response=answer)
            case Verdict.REFUSED:
                await self._put_aside(*rows[0], refusal_code(answer))
            case Verdict.SMALLER:
                pass
        return True

    def _of_other_sources(self, rows: list[tuple[int, str]]) -> list[tuple[int, str]]:
        return [row for row in rows if json.loads(row[1])["log"]["source"] != self._settings.source]

    async def _put_aside(self, row: int, record: str, why: str) -> None:
        async with self._database.write() as connection:
            await Register(connection).mark_refused(row, self._clock.now(), why)
        _LOG.error("record_refused_by_audit_store", row=row, record_id=json.loads(record)["record_id"], why=why)

    def _client(self) -> httpx.AsyncClient:
        if self._transport is not None:
            return http_client(transport=self._transport, timeout=_TIMEOUT)
        # Made anew after each failure, so that a renewed certificate is taken up.
        context = ssl.create_default_context(cafile=str(self._settings.ca))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(str(self._settings.certificate), str(self._settings.key))
        return http_client(verify=context, timeout=_TIMEOUT)


def _fitting(rows: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """As many as fit in one request, and at least one."""
    total = 0
    for count, (_, record) in enumerate(rows):
        total += len(record)
        if total > MAX_BYTES and count:
            return rows[:count]
    return rows


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
