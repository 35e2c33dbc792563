"""Posting notices to one configured receiver, signed, at least once, with patience.

Specification: Standard Webhooks 1.0 (`webhook-id`, `webhook-timestamp`, `webhook-signature: v1,<base64 HMAC-SHA256 of
"<id>.<timestamp>.<body>">`), for which receivers find libraries in every language. The receiver tells repeated
deliveries by `webhook-id`. The URL comes from the settings and from nowhere else; redirects and proxies of the
environment are not followed, and nothing of the answer but its status is read.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import ssl
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import httpx
import structlog
from sqlalchemy import delete, select, update

from authz.domain.audit import EventType
from authz.domain.clock import Clock
from authz.domain.errors import SluisError
from authz.edge.http_client import http_client
from pki.audit.records import RecordMaker, itself
from pki.notices.settings import WebhookSettings
from pki.signing.signer import read_secret
from pki.store.database import Database, StoreUnavailable
from pki.store.register import Register
from pki.store.tables import webhook_deliveries

MIN_SECRET: Final = 24
"""Bytes (Standard Webhooks, "Signature scheme")."""
TIMEOUT: Final = 10.0
"""Seconds for one attempt."""
FIRST_PAUSE: Final = timedelta(seconds=30)
"""Before the second attempt; doubled each time. Longer than an attempt, so it also keeps other processes off."""
LONGEST_PAUSE: Final = timedelta(hours=6)
PATIENCE: Final = timedelta(days=3)
"""After this long without success a delivery is given up, and that is recorded."""
KEEP: Final = timedelta(days=30)
"""How long what was delivered or given up stays in the database."""
BATCH: Final = 20
_GONE: Final = 410
_PREFIX: Final = b"whsec_"
_LOG: Final = structlog.get_logger(__name__)


class WebhookError(SluisError):
    """The webhook cannot be used with these settings."""


@dataclass(frozen=True, slots=True)
class _Delivery:
    row: int
    delivery_id: str
    body: str
    created_at: datetime
    attempts: int
    due: datetime


class Webhook:
    """Delivers what is waiting.

    Args:
        settings: where to.
        database: where deliveries wait.
        clock: the time.
        records: makes the record of a delivery that is given up.
        transport: of the HTTP client, for tests.

    Raises:
        WebhookError: the secret is too short or not well-formed, or the CA file cannot be used.
        SignerError: the secret cannot be read, or others can read it.
    """

    def __init__(
        self,
        settings: WebhookSettings,
        database: Database,
        clock: Clock,
        records: RecordMaker,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._url = settings.url
        self._secret = _secret(settings.secret_file)
        self._database = database
        self._clock = clock
        self._records = records
        self._transport = transport
        try:
            self._context = ssl.create_default_context(cafile=str(settings.ca) if settings.ca else None)
        except (OSError, ssl.SSLError) as error:
            raise WebhookError("notices.webhook.ca: expected certificates in PEM") from error
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2

    async def run(self, stop: asyncio.Event, every: float = 2.0) -> None:
        """Deliver until `stop`.

        Args:
            stop: ends the work between two deliveries.
            every: seconds between looks.
        """
        while not stop.is_set():
            try:
                await self.deliver()
            except StoreUnavailable:
                _LOG.warning("webhook_postponed")
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), every)

    async def deliver(self) -> int:
        """Try everything that is due once.

        Returns:
            How many deliveries the receiver took.

        Raises:
            StoreUnavailable: the database cannot be used.
        """
        done = 0
        due = await self._due()
        if not due:
            return 0
        async with self._client() as client:
            for delivery in due:
                if await self._claim(delivery):
                    done += await self._attempt(client, delivery)
        return done

    async def _due(self) -> list[_Delivery]:
        columns = webhook_deliveries.c
        at = self._clock.now()
        query = (
            select(
                columns.id, columns.delivery_id, columns.body, columns.created_at, columns.attempts,
                columns.next_attempt_at,
            )
            .where(columns.delivered_at.is_(None), columns.given_up_at.is_(None), columns.next_attempt_at <= at)
            .order_by(columns.id)
            .limit(BATCH)
        )  # fmt: skip
        async with self._database.read() as connection:
            return [_Delivery(*row) for row in await connection.execute(query)]

    async def _claim(self, delivery: _Delivery) -> bool:
        """Ours, if no other process was first: the pause before the next attempt is also our lease."""
        pause = min(FIRST_PAUSE * 2 ** min(delivery.attempts, 20), LONGEST_PAUSE)
        columns = webhook_deliveries.c
        async with self._database.write() as connection:
            claimed = await connection.execute(
                update(webhook_deliveries)
                .where(
                    columns.id == delivery.row, columns.attempts == delivery.attempts, columns.delivered_at.is_(None)
                )
                .values(attempts=delivery.attempts + 1, next_attempt_at=self._clock.now() + pause)
            )
            return bool(claimed.rowcount)

    async def _attempt(self, client: httpx.AsyncClient, delivery: _Delivery) -> int:
        body = delivery.body.encode()
        timestamp = str(int(self._clock.now().timestamp()))
        headers = {
            "content-type": "application/json",
            "user-agent": "sluis-pki",
            "webhook-id": delivery.delivery_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": sign(self._secret, delivery.delivery_id, timestamp, body),
        }
        status = 0
        try:
            # The client's own limit is for each read and write; a receiver that dribbles must not hold on to us.
            async with (
                asyncio.timeout(2 * TIMEOUT),
                client.stream("POST", self._url, content=body, headers=headers) as answer,
            ):
                status = answer.status_code
        except (httpx.HTTPError, ssl.SSLError, OSError, TimeoutError) as error:
            _LOG.warning("webhook_not_delivered", why=type(error).__name__, attempts=delivery.attempts + 1)
        if httpx.codes.is_success(status):
            await self._finish(delivery, status, given_up=False)
            return 1
        if status:
            _LOG.warning("webhook_refused", status=status, attempts=delivery.attempts + 1)
        if status == _GONE or self._clock.now() - delivery.created_at >= PATIENCE:
            await self._finish(delivery, status, given_up=True)
        return 0

    async def _finish(self, delivery: _Delivery, status: int, *, given_up: bool) -> None:
        at = self._clock.now()
        columns = webhook_deliveries.c
        moment = {"given_up_at": at} if given_up else {"delivered_at": at}
        async with self._database.write() as connection:
            changed = await connection.execute(
                update(webhook_deliveries)
                .where(columns.id == delivery.row, columns.delivered_at.is_(None), columns.given_up_at.is_(None))
                .values(last_status=status, **moment)
            )
            if given_up and changed.rowcount:
                details = {"delivery": delivery.delivery_id, "attempts": delivery.attempts + 1, "status": status}
                event = EventType.WEBHOOK_GIVEN_UP
                record = self._records.make(event, itself(), at, subject="webhook", details=details)
                await Register(connection).write([record])
            old = at - KEEP
            await connection.execute(
                delete(webhook_deliveries).where((columns.delivered_at < old) | (columns.given_up_at < old))
            )

    def _client(self) -> httpx.AsyncClient:
        if self._transport is not None:
            return http_client(transport=self._transport, timeout=TIMEOUT)
        return http_client(verify=self._context, timeout=TIMEOUT)


def sign(secret: bytes, delivery_id: str, timestamp: str, body: bytes) -> str:
    """The value of `webhook-signature`."""
    mac = hmac.new(secret, f"{delivery_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(mac).decode("ascii")


def _secret(path: Path) -> bytes:
    secret = read_secret(path).strip()
    if secret.startswith(_PREFIX):
        try:
            secret = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        except binascii.Error as error:
            raise WebhookError("notices.webhook.secret_file: expected base64 after whsec_") from error
    if len(secret) < MIN_SECRET:
        raise WebhookError(f"notices.webhook.secret_file: expected a secret of at least {MIN_SECRET} bytes")
    return secret
