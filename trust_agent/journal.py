"""The durable local record of decisions: what is not on disk here has not happened.

Specification: shared `spec/audit.md`, "Writing without losing or blocking"; `spec/enforcement.md`, check 9. `append`
returns when the record is on disk; records that arrive together share one fsync, in a thread, so nobody waits longer
than for one or two. When the disk does not take them, every one of them is refused, and the next attempt starts a new
segment: after a failed fsync nothing can be said about the old one.

Shipping reads from here (`shipping.py`); a segment is deleted when all of it has been shipped and confirmed.
"""

import asyncio
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise, zip_longest
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Final

import structlog

from authz.domain.errors import Refused
from authz.domain.files import sync_folder
from authz.domain.reasons import Reason
from trust_agent.journal_file import MAGIC, MAX_RECORD, OVERHEAD, Record, Segment, frame, prepare
from trust_agent.material import make_private_folder, write_durably

_LOG: Final = structlog.get_logger(__name__)
_SHIPPED: Final = "shipped"
_SPARE: Final = "next.spare"


_Waiting = tuple[bytes, asyncio.Future[None]]


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was found at start.

    Attributes:
        records: records on disk that were not shipped yet.
        torn_bytes: bytes of an interrupted write that were cut off (and kept beside, in a `.torn` file); a record in
            there was never acknowledged.
    """

    records: int
    torn_bytes: int


class _Writer:
    """One thread that does one thing after another.

    An executor would tell its future, that future the loop's, and that one a task: more work than the writing itself.
    """

    def __init__(self) -> None:
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: Thread | None = None

    def do(self, work: Callable[[], None]) -> None:
        if self._thread is None:
            # Not before there is work: a journal that only reads has no thread.
            self._thread = Thread(target=self._run, name="journal", daemon=True)
            self._thread.start()
        self._work.put(work)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()

    def stop(self) -> None:
        """Wait until everything is done."""
        if self._thread is not None:
            self._work.put(None)
            self._thread.join()
            self._thread = None


class Journal:
    """Appends, and gives back in order what has not been shipped.

    Args:
        folder: where the segments are; one process at a time uses it.
        segment_bytes: size of a segment.
        max_bytes: of all segments together.
    """

    def __init__(self, folder: Path, *, segment_bytes: int = 16 << 20, max_bytes: int = 4 << 30) -> None:
        self._folder = folder
        self._segment_bytes = max(segment_bytes, len(MAGIC) + OVERHEAD + MAX_RECORD)
        self._max_bytes = max_bytes
        self._descriptor = -1
        self._position = 0
        self._waiting: list[_Waiting] = []
        self._idle = asyncio.Event()
        self._idle.set()
        self._failed = False
        # One thread writes, so that two writes are never at once; the other makes the next segment meanwhile.
        self._writer = _Writer()
        self._preparer = ThreadPoolExecutor(1, "journal-spare")
        self._spare: Future[Path] | None = None
        self._cursor: tuple[int, int, int] | None = None
        self.next_index = 0
        """Index of the next record to become durable."""
        self.shipped = 0
        """Every record with a smaller index is confirmed by authz."""
        self.grown = asyncio.Event()
        """Set whenever records became durable."""

    # -- start and stop ---------------------------------------------------------------------------------------------

    def open(self) -> Recovery:
        """Look at what is there, cut off a torn tail, and get ready to append.

        Raises:
            Refused: JOURNAL_UNAVAILABLE: the folder cannot be used.
        """
        try:
            make_private_folder(self._folder)
            self.shipped = self._read_shipped()
            segments = Segment.all(self._folder)
            torn = 0
            self.next_index = max([self.shipped, *(segment.first for segment in segments[:1])])
            for segment, following in zip_longest(segments, segments[1:]):
                end, count = len(MAGIC), 0
                for record in segment.records():
                    if following is not None and record.index >= following.first:
                        break
                    end, count = record.end, count + 1
                self.next_index = max(self.next_index, segment.first + count)
                torn += self._cut(segment, end)
        except OSError as error:
            raise _unavailable() from error
        return Recovery(self.next_index - min(self.shipped, self.next_index), torn)

    def _cut(self, segment: Segment, end: int) -> int:
        tail = segment.tail(end)
        if tail:
            write_durably(segment.path.with_suffix(".torn"), tail)
            _LOG.warning("journal_tail_cut", segment=segment.path.name, cut_bytes=len(tail))
        # Nothing is ever appended to a segment of before, so its unused space goes back.
        os.truncate(segment.path, end)
        return len(tail)

    async def close(self) -> None:
        """Wait for what is being written, and close."""
        await self._idle.wait()
        self._writer.stop()
        self._preparer.shutdown()
        self._close_segment()
        (self._folder / _SPARE).unlink(missing_ok=True)

    # -- writing ----------------------------------------------------------------------------------------------------

    async def append(self, payload: bytes) -> None:
        """Write one record; returns when it is durable.

        Raises:
            Refused: JOURNAL_UNAVAILABLE: it is not, and what it describes must not happen.
        """
        if not 0 < len(payload) <= MAX_RECORD:
            raise _unavailable()
        # A future of its own for each: one caller that goes away cancels that one, and the group goes on.
        loop = asyncio.get_running_loop()
        durable = loop.create_future()
        self._waiting.append((payload, durable))
        if self._idle.is_set():
            self._idle.clear()
            # Not at once: what else is ready in this turn of the loop shares the sync.
            loop.call_soon(self._flush, loop)
        await durable

    def _flush(self, loop: asyncio.AbstractEventLoop) -> None:
        batch, self._waiting = self._waiting, []
        index = self.next_index
        try:
            # Put together here, so that the thread has nothing to do but system calls, which need no interpreter.
            frames = b"".join([frame(index + offset, payload) for offset, (payload, _) in enumerate(batch)])
            self._writer.do(partial(self._write_and_tell, loop, batch, index, frames))
        except (MemoryError, RuntimeError) as error:
            # No memory, or no thread: these are refused, and the next ones may have more luck.
            loop.call_soon(self._written, loop, batch, error)

    def _write_and_tell(
        self, loop: asyncio.AbstractEventLoop, batch: "list[_Waiting]", index: int, frames: bytes
    ) -> None:
        problem: BaseException | None = None
        try:
            self._write(index, frames)
        except BaseException as error:  # noqa: BLE001  whatever it is, nobody may wait for ever
            problem = error
        loop.call_soon_threadsafe(self._written, loop, batch, problem)

    def _written(self, loop: asyncio.AbstractEventLoop, batch: "list[_Waiting]", problem: BaseException | None) -> None:
        if problem is None:
            if self._failed:
                _LOG.info("journal_recovered")
            self.next_index += len(batch)
            self.grown.set()
        elif not self._failed:
            why = problem.strerror if isinstance(problem, OSError) else type(problem).__name__
            _LOG.error("journal_unavailable", why=why)
        self._failed = problem is not None
        for _, durable in batch:
            if durable.done():
                continue
            if problem is None:
                durable.set_result(None)
            else:
                durable.set_exception(_unavailable())
        if self._waiting:
            self._flush(loop)
        else:
            self._idle.set()

    def _write(self, index: int, frames: bytes) -> None:
        if self._descriptor < 0 or self._position + len(frames) > self._segment_bytes:
            self._start_segment(index, len(MAGIC) + len(frames))
        try:
            written = 0
            while written < len(frames):
                written += os.pwrite(self._descriptor, frames[written:], self._position + written)
            os.fdatasync(self._descriptor)
        except BaseException:
            self._abandon_segment()
            raise
        self._position += len(frames)

    def _start_segment(self, index: int, least: int) -> None:
        self._close_segment()
        size = max(self._segment_bytes, least)
        if self.bytes_used() + size > self._max_bytes:
            raise OSError(28, "the journal has reached its configured size")
        segment = Segment.name(self._folder, index)
        # A segment of this name can only be an abandoned one without a single acknowledged record.
        segment.path.unlink(missing_ok=True)
        spare, self._spare = self._spare, None
        if size == self._segment_bytes and spare is not None and spare.done() and spare.exception() is None:
            self._descriptor = segment.adopt(spare.result())
        else:
            self._descriptor = segment.create(size)
        self._position = len(MAGIC)
        if spare is None or spare.done():
            spare = self._preparer.submit(prepare, self._folder / _SPARE, self._segment_bytes)
        self._spare = spare

    def _abandon_segment(self) -> None:
        # The group was not acknowledged, so it must not be found by a later start either. If even cutting fails, the
        # records stand there as decisions whose answer was a refusal: too much in the log, never too little.
        descriptor, self._descriptor = self._descriptor, -1
        try:
            os.ftruncate(descriptor, self._position)
            os.fsync(descriptor)
        except OSError as error:
            _LOG.error("journal_segment_not_cut", why=error.strerror)
        finally:
            os.close(descriptor)

    def _close_segment(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            try:
                os.ftruncate(descriptor, self._position)
            finally:
                os.close(descriptor)

    def bytes_used(self) -> int:
        """Size of all segments."""
        return sum(segment.path.stat().st_size for segment in Segment.all(self._folder))

    @property
    def available(self) -> bool:
        """Whether the last attempt to write succeeded."""
        return not self._failed

    # -- reading and shipping ---------------------------------------------------------------------------------------

    def unshipped(self, limit: int, max_bytes: int = 2 << 20) -> list[Record]:
        """The oldest records that are durable and not confirmed.

        Args:
            limit: number of records.
            max_bytes: of their payloads; at least one record is given whatever its size.
        """
        found: list[Record] = []
        size = 0
        segments = Segment.all(self._folder)
        for position, segment in enumerate(segments):
            last = position + 1 == len(segments)
            end = self.next_index if last else segments[position + 1].first
            if end <= self.shipped:
                continue
            for record in self._from_cursor(segment):
                if record.index >= end:
                    # Not acknowledged: of an abandoned segment that could not be cut. The index is that of another.
                    break
                if record.index < self.shipped:
                    # Segment, offset and index from where the next call reads on.
                    self._cursor = (segment.first, record.end, record.index + 1)
                    continue
                size += len(record.payload)
                if found and (len(found) >= limit or size > max_bytes):
                    return found
                found.append(record)
        return found

    def _from_cursor(self, segment: Segment) -> Iterator[Record]:
        if self._cursor is not None and self._cursor[0] == segment.first:
            return segment.records(self._cursor[1], self._cursor[2])
        return segment.records()

    def confirm(self, index: int) -> None:
        """Everything before `index` is confirmed: remember that durably and delete what is no longer needed.

        Raises:
            OSError: it could not be remembered; the same records will be shipped again, which is harmless.
        """
        write_durably(self._folder / _SHIPPED, f"{index}\n".encode())
        self.shipped = index
        segments = Segment.all(self._folder)
        for segment, following in pairwise(segments):
            # The last one may be the one that is written to.
            if following.first <= index:
                segment.path.unlink(missing_ok=True)
        sync_folder(self._folder)

    def _read_shipped(self) -> int:
        try:
            return int((self._folder / _SHIPPED).read_text(encoding="ascii"))
        except FileNotFoundError:
            return 0
        except ValueError:
            # Ship everything that is there once more rather than guess.
            return 0


def _unavailable() -> Refused:
    return Refused(Reason.JOURNAL_UNAVAILABLE, "decisions cannot be recorded at this moment, so none is made")
