"""Nothing acknowledged is lost: not by SIGKILL at any moment, a torn write, a failing fsync or a full disk."""

import asyncio
import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from authz.domain.errors import Refused
from trust_agent.journal import Journal
from trust_agent.journal_file import MAX_RECORD, Segment, frame

ROOT = Path(__file__).parents[3]


async def journal_with(folder: Path, *texts: str, **options: int) -> Journal:
    journal = Journal(folder, **options)
    journal.open()
    for text in texts:
        await journal.append(text.encode())
    return journal


def texts_of(journal: Journal, limit: int = 1000) -> list[str]:
    return [record.payload.decode().rstrip() for record in journal.unshipped(limit)]


async def test_records_survive_a_reopening(tmp_path: Path) -> None:
    await (await journal_with(tmp_path, "a", "b")).close()
    journal = await journal_with(tmp_path, "c")
    assert texts_of(journal) == ["a", "b", "c"]
    assert [record.index for record in journal.unshipped(9)] == [0, 1, 2]
    await journal.close()


async def test_what_was_confirmed_is_not_given_again(tmp_path: Path) -> None:
    journal = await journal_with(tmp_path, "a", "b", "c")
    journal.confirm(2)
    assert texts_of(journal) == ["c"]
    await journal.append(b"d")
    assert texts_of(journal) == ["c", "d"]
    await journal.close()
    journal = Journal(tmp_path)
    assert journal.open().records == 2
    assert texts_of(journal) == ["c", "d"]


async def test_confirmed_segments_are_deleted_and_indexes_go_on(tmp_path: Path) -> None:
    journal = await journal_with(tmp_path, *(str(n) + "x" * 60_000 for n in range(20)), segment_bytes=256 * 1024)
    assert len(Segment.all(tmp_path)) > 4
    journal.confirm(20)
    assert len(Segment.all(tmp_path)) == 1
    assert texts_of(journal) == []
    await journal.close()
    journal = Journal(tmp_path)
    journal.open()
    assert journal.next_index == 20
    await journal.append(b"next")
    assert [record.index for record in journal.unshipped(9)] == [20]
    await journal.close()


async def test_batches_are_bounded_in_number_and_bytes(tmp_path: Path) -> None:
    journal = await journal_with(tmp_path, *("x" * 1000 for _ in range(20)))
    assert len(journal.unshipped(7)) == 7
    assert len(journal.unshipped(100, 3500)) == 3
    assert len(journal.unshipped(100, 1)) == 1
    await journal.close()


async def test_records_of_every_size_are_read_across_the_blocks_of_a_file(tmp_path: Path) -> None:
    sizes = [MAX_RECORD, 1, MAX_RECORD - 1, 17, *([1700] * 300), MAX_RECORD, MAX_RECORD, 3, *([40_000] * 20)]
    wanted = [bytes([65 + number % 26]) * size for number, size in enumerate(sizes)]
    journal = Journal(tmp_path)
    journal.open()
    await asyncio.gather(*(journal.append(payload) for payload in wanted))
    assert [record.payload for record in journal.unshipped(10**9, 10**9)] == wanted
    await journal.close()
    again = Journal(tmp_path)
    assert again.open().records == len(sizes)  # cut behind the last record: it ends where the file ends
    assert [record.payload for record in again.unshipped(10**9, 10**9)] == wanted
    await again.close()


async def test_records_that_arrive_together_share_one_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = await journal_with(tmp_path, "first")
    count = 0
    original = os.fdatasync

    def counted(descriptor: int) -> None:
        nonlocal count
        count += 1
        original(descriptor)

    monkeypatch.setattr(os, "fdatasync", counted)
    await asyncio.gather(*(journal.append(str(n).encode()) for n in range(200)))
    assert count <= 2
    assert sorted(texts_of(journal)[1:], key=int) == [str(n) for n in range(200)]
    await journal.close()


async def test_a_caller_that_goes_away_takes_nobody_with_it(tmp_path: Path) -> None:
    journal = await journal_with(tmp_path)
    first = asyncio.create_task(journal.append(b"a"))
    second = asyncio.create_task(journal.append(b"b"))
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert texts_of(journal) == ["a", "b"]
    await journal.close()


@pytest.mark.parametrize("kept", range(1, 30, 4))
async def test_a_torn_tail_is_cut_and_kept_beside(tmp_path: Path, kept: int) -> None:
    journal = await journal_with(tmp_path, "a", "b")
    (segment,) = Segment.all(tmp_path)
    end = max(record.end for record in segment.records())
    await journal.close()
    torn = frame(2, b"a record of some length")[:kept]
    with segment.path.open("r+b") as file:
        file.seek(end)
        file.write(torn)
    again = Journal(tmp_path)
    assert again.open().torn_bytes == len(torn.rstrip(b"\0"))
    assert segment.path.with_suffix(".torn").read_bytes() == torn.rstrip(b"\0")
    await again.append(b"c")
    assert texts_of(again) == ["a", "b", "c"]
    await again.close()


@pytest.mark.parametrize("offset", [8, 12, 20, 24])
async def test_an_altered_record_is_not_given_out(tmp_path: Path, offset: int) -> None:
    journal = await journal_with(tmp_path, "aaaa")
    await journal.close()
    (segment,) = Segment.all(tmp_path)
    data = bytearray(segment.path.read_bytes())
    data[offset if offset < len(data) else -1] ^= 1
    segment.path.write_bytes(data)
    again = Journal(tmp_path)
    assert again.open().torn_bytes > 0
    assert texts_of(again) == []


async def test_an_old_record_in_a_reused_block_is_not_taken_for_a_new_one(tmp_path: Path) -> None:
    journal = await journal_with(tmp_path, "a")
    await journal.close()
    (segment,) = Segment.all(tmp_path)
    with segment.path.open("ab") as file:
        file.write(frame(0, b"a"))  # well-formed, but of another place
    again = Journal(tmp_path)
    assert again.open().torn_bytes > 0
    assert texts_of(again) == ["a"]


async def test_a_failing_fsync_refuses_and_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = await journal_with(tmp_path, "a")

    def fails(_: int) -> None:
        raise OSError(errno.EIO, "input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fails)
        with pytest.raises(Refused, match="journal_unavailable"):
            await journal.append(b"lost")
        assert not journal.available
    await journal.append(b"b")
    assert journal.available
    assert texts_of(journal) == ["a", "b"]
    await journal.close()
    assert texts_of(await journal_with(tmp_path)) == ["a", "b"]


async def test_what_an_uncut_segment_still_holds_pushes_no_acknowledged_record_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = await journal_with(tmp_path, "a", "b")

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "broken")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        patch.setattr(os, "ftruncate", fail)
        outcomes = await asyncio.gather(*(journal.append(b"refused") for _ in range(3)), return_exceptions=True)
    assert all(isinstance(outcome, Refused) for outcome in outcomes)
    for text in (b"c", b"d", b"e"):
        await journal.append(text)
    # The first batch would end in the middle of the refused records, which stand where acknowledged ones belong.
    shipped: list[str] = []
    while records := journal.unshipped(4):
        shipped += [record.payload.decode() for record in records]
        journal.confirm(records[-1].index + 1)
    assert shipped == ["a", "b", "c", "d", "e"]
    await journal.close()


async def test_what_an_uncut_segment_still_holds_is_cut_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = await journal_with(tmp_path, "a")

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "broken")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        patch.setattr(os, "ftruncate", fail)
        with pytest.raises(Refused):
            await journal.append(b"refused")
    await journal.append(b"b")
    await journal.close()
    journal = Journal(tmp_path)
    assert journal.open().records == 2
    assert texts_of(journal) == ["a", "b"]
    await journal.append(b"c")
    assert texts_of(journal) == ["a", "b", "c"]
    await journal.close()


async def test_a_full_disk_refuses_and_recovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = await journal_with(tmp_path)

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        results = await asyncio.gather(*(journal.append(b"x") for _ in range(5)), return_exceptions=True)
        assert {str(item).partition(":")[0] for item in results} == {"journal_unavailable"}
        assert Segment.all(tmp_path) == []
    await journal.append(b"a")
    assert texts_of(journal) == ["a"]
    await journal.close()


async def test_a_file_size_limit_of_the_system_refuses(tmp_path: Path) -> None:
    # A real refusal by the kernel in the middle of things, in a process of its own.
    script = f"""
import asyncio, resource, signal
from pathlib import Path
from authz.domain.errors import Refused
from trust_agent.journal import Journal
async def main():
    journal = Journal(Path({str(tmp_path)!r}), segment_bytes=1 << 20)
    journal.open()
    await journal.append(b"a")
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    for _ in range(3):
        try:
            await journal.append(b"x" * 8000)
        except Refused as refused:
            print(refused.reason.value)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await journal.append(b"b")
    await journal.close()
asyncio.run(main())
"""
    command = [sys.executable, "-c", script]
    done = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines().count("journal_unavailable") == 3
    journal = Journal(tmp_path)
    journal.open()
    assert texts_of(journal) == ["a", "b"]


@pytest.mark.parametrize("where", ["trust_agent.journal.frame", "os.fdatasync"])
async def test_a_failure_that_nobody_foresaw_refuses_and_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def fail(*_: object) -> bytes:
        raise MemoryError

    journal = await journal_with(tmp_path, "a")
    with monkeypatch.context() as patch:
        patch.setattr(where, fail)
        refused = [asyncio.create_task(journal.append(b"refused")) for _ in range(3)]
        outcomes = await asyncio.wait_for(asyncio.gather(*refused, return_exceptions=True), 20)
    assert [isinstance(outcome, Refused) for outcome in outcomes] == [True] * 3
    assert not journal.available
    await asyncio.wait_for(journal.append(b"b"), 20)
    assert journal.available
    assert texts_of(journal) == ["a", "b"]
    await journal.close()


async def test_the_configured_size_is_a_limit(tmp_path: Path) -> None:
    journal = await journal_with(tmp_path, segment_bytes=128 * 1024, max_bytes=300 * 1024)
    for _ in range(8):
        await journal.append(b"x" * 30_000)
    with pytest.raises(Refused, match="journal_unavailable"):
        await journal.append(b"x" * 30_000)
    journal.confirm(journal.next_index)
    await journal.append(b"x" * 30_000)
    await journal.close()


@pytest.mark.parametrize("payload", [b"", b"x" * (MAX_RECORD + 1)])
async def test_a_record_of_impossible_size_is_refused(tmp_path: Path, payload: bytes) -> None:
    journal = await journal_with(tmp_path)
    with pytest.raises(Refused, match="journal_unavailable"):
        await journal.append(payload)
    await journal.append(b"x" * MAX_RECORD)
    await journal.close()


@pytest.mark.parametrize("wait", [0.02, 0.11, 0.23])
def test_sigkill_loses_nothing_that_was_acknowledged(tmp_path: Path, wait: float) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.journal_writer", str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    acknowledged = [process.stdout.readline()]
    end = time.monotonic() + wait
    # Some are waited for: a busy machine may give the writer no turn in that time.
    while time.monotonic() < end or len(acknowledged) < 10:
        acknowledged.append(process.stdout.readline())
        assert acknowledged[-1], "the writer ended"
    process.kill()
    acknowledged += process.stdout.readlines()
    process.wait()
    process.stdout.close()
    journal = Journal(tmp_path)
    journal.open()
    kept = set(texts_of(journal, 10**9))
    while len(kept) < journal.next_index:
        journal.confirm(journal.unshipped(10**9)[-1].index + 1)
        kept |= set(texts_of(journal, 10**9))
    whole = {line.strip() for line in acknowledged if line.endswith("\n")}
    assert len(whole) > 5
    assert whole <= kept


def readable_by_others(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.stat().st_mode & 0o077]


async def test_nobody_else_may_read_what_is_kept(tmp_path: Path) -> None:
    # As left behind by a crash of an earlier version, with the usual umask.
    (tmp_path / "next.spare").touch(mode=0o644)
    journal = await journal_with(tmp_path, *(str(n) + "x" * 60_000 for n in range(20)), segment_bytes=256 * 1024)
    journal.confirm(5)
    assert len(Segment.all(tmp_path)) > 1
    assert readable_by_others(tmp_path) == []
    await journal.close()
    with Segment.all(tmp_path)[-1].path.open("ab") as file:
        file.write(b"torn")
    assert Journal(tmp_path).open().torn_bytes == len(b"torn")
    assert readable_by_others(tmp_path) == []
