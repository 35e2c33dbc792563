"""Somebody who can write in the folder, and files that never end."""

import os
import secrets
import stat
from pathlib import Path

import pytest

from authz.domain.errors import InvalidValue
from authz.edge.files import read_limited, write_whole

SECRET = b"-----BEGIN PRIVATE KEY-----"


def test_a_link_where_a_draft_could_be_expected_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    target = tmp_path / "state.json"
    for guess in ("state.json.new", ".state.json.new", "state.new", ".state.json.tmp"):
        (tmp_path / guess).symlink_to(victim)
    write_whole(target, SECRET, 0o600)
    assert not victim.exists()
    assert target.read_bytes() == SECRET


def test_a_link_at_the_very_name_that_was_drawn_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    monkeypatch.setattr(secrets, "token_hex", lambda _: "drawn")
    (tmp_path / ".drawn.new").symlink_to(victim)
    with pytest.raises(FileExistsError):
        write_whole(tmp_path / "key.pem", SECRET, 0o600)
    assert victim.read_text() == "precious"
    assert not (tmp_path / "key.pem").exists()


def test_a_link_at_the_place_itself_is_replaced_and_its_target_left_alone(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "key.pem").symlink_to(victim)
    write_whole(tmp_path / "key.pem", SECRET, 0o600)
    assert victim.read_text() == "precious"
    assert not (tmp_path / "key.pem").is_symlink()


def test_others_never_read_it_whatever_the_umask_and_whatever_was_there(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text("old")
    path.chmod(0o666)
    before = os.umask(0)
    try:
        write_whole(path, SECRET, 0o600)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_fails_leaves_nothing_behind_and_the_old_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key.pem"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, SECRET, 0o600)
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["key.pem"]


def test_a_file_that_never_ends_is_too_large(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="larger than the 1000 bytes"):
        read_limited(Path("/dev/zero"), 1000)
    exact = tmp_path / "exact"
    exact.write_bytes(b"x" * 1000)
    assert len(read_limited(exact, 1000)) == 1000
