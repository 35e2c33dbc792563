"""OCSP answers as files: taken in when they come, verified, and never trusted for lying there."""

import asyncio
import os
from datetime import timedelta
from pathlib import Path

import pytest

import pki.validation.ocsp_folder
from pki.validation.ocsp_folder import OcspFolder
from tests.fakes.certificates import FakeAuthority
from tests.fakes.ocsp import answer


@pytest.fixture(scope="module")
def ca() -> FakeAuthority:
    return FakeAuthority()


def test_new_and_changed_files_are_taken_in_and_others_are_not(tmp_path: Path, ca: FakeAuthority) -> None:
    folder = OcspFolder(tmp_path / "answers", [ca.issuing.der])
    assert folder.refresh() == 0
    (tmp_path / "answers").mkdir()
    file = tmp_path / "answers" / "a.ocsp"
    file.write_bytes(answer(ca, ca.issue()))
    (tmp_path / "answers" / "b.txt").write_bytes(answer(ca, ca.issue()))
    (tmp_path / "answers" / "c.ocsp").write_bytes(answer(ca.rogue(), ca.issue()))
    (tmp_path / "answers" / "d.ocsp").write_bytes(b"half of an ans")
    (tmp_path / "answers" / "e.ocsp").write_bytes(bytes(100_000))
    assert folder.refresh() == 1
    assert folder.refresh() == 0
    file.write_bytes(answer(ca, ca.issue(), at=ca.now + timedelta(minutes=1)))
    os.utime(file, (1, 1))
    assert folder.refresh() == 1
    assert folder.store.version == 2


async def test_it_goes_on_looking(tmp_path: Path, ca: FakeAuthority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pki.validation.ocsp_folder, "EVERY", 0.01)
    async with OcspFolder(tmp_path, [ca.issuing.der]) as folder:
        (tmp_path / "a.ocsp").write_bytes(answer(ca, ca.issue()))
        async with asyncio.timeout(30):
            while not folder.store.version:  # noqa: ASYNC110  what is waited for has no event
                await asyncio.sleep(0.01)


async def test_what_is_fetched_goes_through_no_link_that_lies_ready(tmp_path: Path, ca: FakeAuthority) -> None:
    key, leaf = tmp_path / "signing-key.pem", ca.issue()
    key.write_text("a key")
    named = (ca.pin.spki_sha256, leaf.certificate.serial_number)
    kept = tmp_path / "answers" / f"{named[0][:16]}-{named[1]:x}.ocsp"
    kept.parent.mkdir()
    for ready in (kept, kept.with_suffix(".new")):
        ready.symlink_to(key)
    folder = OcspFolder(kept.parent, [ca.issuing.der])
    assert await folder.keep(answer(ca, leaf), named, ca.now, timedelta(minutes=1))
    assert key.read_text() == "a key"
    assert not kept.is_symlink()
    assert kept.stat().st_mode & 0o077 == 0


@pytest.mark.timeout(20)
def test_what_is_no_file_is_left_alone_and_holds_up_no_other(tmp_path: Path, ca: FakeAuthority) -> None:
    os.mkfifo(tmp_path / "a.ocsp")
    (tmp_path / "b.ocsp").mkdir()
    (tmp_path / "c.ocsp").symlink_to("/dev/zero")
    (tmp_path / "d.ocsp").symlink_to(tmp_path / "nothing")
    (tmp_path / "e.ocsp").write_bytes(bytes(100_000))
    (tmp_path / "elsewhere").write_bytes(answer(ca, ca.issue()))
    (tmp_path / "f.ocsp").symlink_to(tmp_path / "elsewhere")
    assert OcspFolder(tmp_path, [ca.issuing.der]).refresh() == 1
