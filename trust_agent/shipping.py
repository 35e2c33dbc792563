"""Brings the journal to authz: in order, in batches, at least once, for ever.

Specification: shared `spec/audit.md`, "Writing without losing or blocking". Each record has its own id, by which authz
knows it again; how far authz has confirmed is remembered durably, so that a restart repeats at most one batch. Order is
by index. A record that authz refuses for good is put aside, loudly, instead of holding up everything after it.

Decisions are made in the same thread, and each of them may come while a shipment is under way. So a shipment goes out
in pieces, between which decisions have their turn (docs/decisions/0110).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final, Self

import httpx
import structlog

from authz.edge.shipment import ShipmentSize, Verdict
from trust_agent.authz_client import AuthzClient
from trust_agent.journal import Journal
from trust_agent.journal_file import Record
from trust_agent.material import write_durably

_LOG: Final = structlog.get_logger(__name__)
_PAUSE_FIRST: Final = 0.2
_PAUSE_MOST: Final = 5.0
_LOOKS: Final = 5
"""How often it is looked, while records wait for company, whether a whole shipment is there."""
_HEAD: Final = b'{"records":['
_TAIL: Final = b"]}"
_PIECE: Final = 32
"""Records that go out in one piece: about 50 kB, a tenth of a millisecond for copying and encrypting."""
_STOP_PATIENCE: Final = 2.0
"""Seconds in which a stopping agent still tries to bring what is left; the rest goes at the next start."""


class Shipper:
    """Ships while the `async with` block runs.

    Args:
        journal: what to ship.
        authz: where to.
        refused: folder for records that authz refuses for good.
        batch: records in one shipment.
        max_bytes: of one shipment.
        linger: seconds that a record waits for company, unless a whole shipment is there before.
        timeout: seconds for one shipment.
    """

    def __init__(
        self,
        journal: Journal,
        authz: AuthzClient,
        refused: Path,
        *,
        batch: int = 500,
        max_bytes: int = 768 * 1024,
        linger: float = 0.5,
        timeout: float = 10.0,
    ) -> None:
        self._journal = journal
        self._authz = authz
        self._refused = refused
        self._size = ShipmentSize(batch)
        self._max_bytes = max_bytes
        self._linger = linger
        self._timeout = timeout
        self._task: asyncio.Task[None] | None = None
        self.failures = 0
        """Failed shipments since the last success."""
        self.put_aside = 0
        """Records that authz refused for good."""

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="shipping")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        with contextlib.suppress(httpx.HTTPError, OSError, TimeoutError):
            async with asyncio.timeout(_STOP_PATIENCE):
                while await self.ship_once():
                    pass

    async def _run(self) -> None:
        pause = _PAUSE_FIRST
        while True:
            try:
                await self._company()
                await self.ship_once()
                pause = _PAUSE_FIRST
            except Exception as error:  # noqa: BLE001  whatever it is, records must not stay behind
                self.failures += 1
                if self.failures <= 2 or self.failures % 20 == 0:  # noqa: PLR2004  the first ones, then now and then
                    _LOG.warning("shipping_failed", failures=self.failures, why=type(error).__name__)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _PAUSE_MOST)

    async def _company(self) -> None:
        """Wait until a whole shipment is there, or a smaller one has waited long enough.

        What a shipment costs authz and us is for a good part the same whether it holds ten records or five hundred.
        """
        journal = self._journal
        while journal.next_index <= journal.shipped:
            journal.grown.clear()
            await journal.grown.wait()
        for _ in range(_LOOKS):
            if journal.next_index - journal.shipped >= self._size.now:
                return
            await asyncio.sleep(self._linger / _LOOKS)

    async def ship_once(self) -> bool:
        """Ship one batch.

        Returns:
            Whether there was anything to ship.

        Raises:
            httpx.HTTPError: authz is away, or did not take it now.
            OSError: how far we are could not be remembered.
        """
        records = await asyncio.to_thread(self._journal.unshipped, self._size.now, self._max_bytes)
        if not records:
            return False
        answer = await self._send(records)
        match self._size.judge(answer, len(records)):
            case Verdict.TAKEN:
                if self.failures:
                    _LOG.info("shipping_recovered", records=len(records))
                self.failures = 0
                await asyncio.to_thread(self._journal.confirm, records[-1].index + 1)
            case Verdict.LATER:
                raise httpx.HTTPStatusError("not taken", request=answer.request, response=answer)
            case Verdict.REFUSED:
                await asyncio.to_thread(self._put_aside, records[0])
            case Verdict.SMALLER:
                pass
        return True

    async def _send(self, records: Sequence[Record]) -> httpx.Response:
        # Not the body as one text: httpx keeps request and answer in a circle, so that the collector alone ends them,
        # after some hundred shipments of half a megabyte each. What has been iterated holds nothing.
        length = len(_HEAD) + sum(len(record.payload) for record in records) + len(records) - 1 + len(_TAIL)
        return await self._authz.current().post(
            self._authz.url + "/audit/v1/records",
            content=_pieces(records),
            headers={"content-type": "application/json", "content-length": str(length)},
            timeout=self._timeout,
            extensions=self._authz.extensions,
        )

    def _put_aside(self, record: Record) -> None:
        write_durably(self._refused / f"{record.index:020d}.json", record.payload)
        self.put_aside += 1
        _LOG.error("record_refused_by_authz", index=record.index)
        self._journal.confirm(record.index + 1)


async def _pieces(records: Sequence[Record]) -> AsyncIterator[bytes]:
    """The body of a shipment, piece by piece."""
    before = _HEAD
    for start in range(0, len(records), _PIECE):
        yield before + b",".join([record.payload for record in records[start : start + _PIECE]])
        before = b","
        await asyncio.sleep(0)
    yield _TAIL
