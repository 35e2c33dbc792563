"""Writing and reading files: what an attacker laid ready, a full disk, a kill in between."""

import errno
import os
import secrets
import stat
from pathlib import Path

import pytest

from authz.domain.files import PUBLIC, Draft, read_limited, write_new, write_whole


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_whole_with_its_own_mode_whatever_was_there(tmp_path: Path) -> None:
    target = tmp_path / "key.pem"
    target.write_text("old")
    target.chmod(0o666)
    write_whole(target, b"new")
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    for umask in (0o077, 0):
        previous = os.umask(umask)
        try:
            write_whole(tmp_path / "chain.pem", b"x", PUBLIC)
            write_whole(target, b"new")
        finally:
            os.umask(previous)
        assert stat.S_IMODE((tmp_path / "chain.pem").stat().st_mode) == 0o644
        assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert _names(tmp_path) == ["chain.pem", "key.pem"]


def test_a_link_laid_ready_is_replaced_and_never_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    target = tmp_path / "key.pem"
    target.symlink_to(victim)
    for name in (".key.pem.new", "key.pem.new"):
        (tmp_path / name).symlink_to(victim)
    with pytest.raises(FileExistsError):
        write_new(target, b"secret")
    write_whole(target, b"secret")
    assert victim.read_text() == "precious"
    assert not target.is_symlink()
    assert target.read_bytes() == b"secret"


def test_a_link_at_the_very_name_that_was_drawn_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    monkeypatch.setattr(secrets, "token_hex", lambda _: "drawn")
    (tmp_path / ".sluis-drawn").symlink_to(victim)
    with pytest.raises(FileExistsError):
        write_whole(tmp_path / "key.pem", b"secret")
    assert victim.read_text() == "precious"
    assert _names(tmp_path) == [".sluis-drawn", "victim"]


def test_a_name_that_points_nowhere_is_taken_too(tmp_path: Path) -> None:
    (tmp_path / "key.pem").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError) as caught:
        write_new(tmp_path / "key.pem", b"secret")
    assert caught.value.filename == str(tmp_path / "key.pem")
    assert not (tmp_path / "elsewhere").exists()
    write_new(tmp_path / "other.pem", b"secret")
    assert (tmp_path / "other.pem").read_bytes() == b"secret"
    assert _names(tmp_path) == ["key.pem", "other.pem"]


def test_without_hard_links_a_new_file_is_still_new_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    write_new(tmp_path / "a", b"one")
    assert (tmp_path / "a").read_bytes() == b"one"
    with pytest.raises(FileExistsError):
        write_new(tmp_path / "a", b"two")
    assert (tmp_path / "a").read_bytes() == b"one"
    assert _names(tmp_path) == ["a"]


def test_a_full_disk_names_the_file_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "chain.pem"
    target.write_text("old")
    draft = Draft(target, reserve=4096)  # taken before the disk became full: a write within it still works
    real = os.write

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_whole(target, b"new")
    assert caught.value.filename == str(target)
    assert target.read_text() == "old"
    monkeypatch.setattr(os, "write", real)
    draft.write(b"new")
    draft.put()
    assert target.read_bytes() == b"new"
    assert _names(tmp_path) == ["chain.pem"]
    with pytest.raises(OSError, match="nowhere") as caught:
        write_whole(tmp_path / "nowhere" / "a", b"x")
    assert caught.value.filename == str(tmp_path / "nowhere" / "a")


def test_a_draft_that_was_dropped_leaves_nothing(tmp_path: Path) -> None:
    draft = Draft(tmp_path / "a")
    assert len(_names(tmp_path)) == 1
    draft.drop()
    draft.drop()
    assert _names(tmp_path) == []


def test_devices_pipes_folders_and_large_files_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"x" * 11)
    (tmp_path / "fits").write_bytes(b"x" * 10)
    for path in (Path("/dev/zero"), tmp_path / "pipe", tmp_path):
        with pytest.raises(OSError, match="expected a file, not") as caught:
            read_limited(path, 10)
        assert caught.value.filename == str(path)
    with pytest.raises(OSError, match="at most 10 bytes") as caught:
        read_limited(tmp_path / "large", 10)
    assert caught.value.errno == errno.EFBIG
    assert read_limited(tmp_path / "fits", 10) == b"x" * 10
    (tmp_path / "link").symlink_to("fits")
    assert read_limited(tmp_path / "link", 10) == b"x" * 10
