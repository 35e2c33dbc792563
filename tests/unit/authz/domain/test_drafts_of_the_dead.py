"""Drafts that a killed process left are taken away, and nothing else is, whatever an attacker laid ready."""

import fcntl
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from authz.domain import files
from authz.domain.files import Draft, sweep_drafts, write_new, write_whole

ROOT = Path(__file__).parents[4]
WRITER = """
import sys
from pathlib import Path
from authz.domain.files import Draft
draft = Draft(Path(sys.argv[1]), reserve=4096)
draft.write(b"half a key")
print("written", flush=True)
sys.stdin.readline()
draft.put()
"""
NEXT = """
import sys
from pathlib import Path
from authz.domain.files import write_whole
write_whole(Path(sys.argv[1]), b"x")
"""
NAME = ".sluis-" + "0" * 24


@contextmanager
def writer(target: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process in the middle of writing a file."""
    command = [sys.executable, "-c", WRITER, str(target)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "written\n"
            yield process
        finally:
            process.kill()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_a_killed_process_left_is_gone_when_another_one_writes_there(tmp_path: Path) -> None:
    with writer(tmp_path / "key.pem") as process:
        (draft,) = names(tmp_path)
        assert draft.startswith(".sluis-")
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert names(tmp_path) == [draft]
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / NAME).touch()
    subprocess.run([sys.executable, "-c", NEXT, str(tmp_path / "other.pem")], cwd=ROOT, check=True)
    assert names(tmp_path) == ["elsewhere", "other.pem"]
    # Only in the folder that is written.
    assert names(tmp_path / "elsewhere") == [NAME]


def test_what_a_living_process_writes_stays_and_gets_its_place(tmp_path: Path) -> None:
    with writer(tmp_path / "key.pem") as process:
        (draft,) = names(tmp_path)
        assert sweep_drafts(tmp_path) == 0
        write_whole(tmp_path / "other.pem", b"x")
        assert names(tmp_path) == [draft, "other.pem"]
        process.communicate("go on\n")
        assert process.returncode == 0
    assert (tmp_path / "key.pem").read_bytes() == b"half a key"
    assert names(tmp_path) == ["key.pem", "other.pem"]


def test_so_does_what_this_very_process_is_writing(tmp_path: Path) -> None:
    draft = Draft(tmp_path / "key.pem")
    draft.write(b"secret")
    assert sweep_drafts(tmp_path) == 0
    draft.put_new()
    assert (tmp_path / "key.pem").read_bytes() == b"secret"


@pytest.mark.parametrize(
    "name",
    [
        NAME[:-1],
        NAME + "0",
        NAME + "\n",
        NAME[:-1] + "G",
        NAME.upper(),
        "x" + NAME,
        NAME.removeprefix("."),
        ".sluis-draft",
        NAME + ".bak",
        ".sluis-" + "\u0660" * 24,
    ],
)
def test_a_name_that_is_not_exactly_ours_stays(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    (tmp_path / NAME).touch()
    assert sweep_drafts(tmp_path) == 1
    assert names(tmp_path) == [name]


def test_links_folders_and_pipes_under_our_names_are_neither_followed_nor_taken_away(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    kinds = [f".sluis-{digit * 24}" for digit in "abcd"]
    (tmp_path / kinds[0]).symlink_to(victim)
    (tmp_path / kinds[1]).symlink_to(tmp_path / "nowhere")
    (tmp_path / kinds[2]).mkdir()
    # Nobody writes into the pipe: opening it for reading would wait for ever.
    os.mkfifo(tmp_path / kinds[3])
    assert sweep_drafts(tmp_path) == 0
    assert names(tmp_path) == [*kinds, "victim"]
    assert victim.read_text() == "precious"


def test_a_draft_that_had_its_place_already_loses_only_its_other_name(tmp_path: Path) -> None:
    """Killed between taking the name (a hard link) and giving up the draft's."""
    (tmp_path / "key.pem").write_text("secret")
    os.link(tmp_path / "key.pem", tmp_path / NAME)
    assert sweep_drafts(tmp_path) == 1
    assert (tmp_path / "key.pem").read_text() == "secret"


def test_files_of_somebody_else_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / NAME).touch()
    somebody_else = os.geteuid() + 1
    with monkeypatch.context() as other:
        other.setattr(os, "geteuid", lambda: somebody_else)
        assert sweep_drafts(tmp_path) == 0
    assert sweep_drafts(tmp_path) == 1


def test_a_name_that_is_swapped_for_another_file_between_two_looks_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / NAME).touch()
    real = fcntl.flock

    def swapped(descriptor: int, operation: int) -> None:
        real(descriptor, operation)
        (tmp_path / "precious").touch()
        (tmp_path / "precious").replace(tmp_path / NAME)

    monkeypatch.setattr(fcntl, "flock", swapped)
    assert sweep_drafts(tmp_path) == 0
    assert names(tmp_path) == [NAME]


def test_a_draft_that_is_swept_before_it_has_its_lock_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = fcntl.flock
    swept: list[int] = []

    def sweep_first(descriptor: int, operation: int) -> None:
        if len(swept) < 3 and not operation & fcntl.LOCK_NB:
            swept.append(sweep_drafts(tmp_path))
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", sweep_first)
    write_new(tmp_path / "key.pem", b"secret")
    assert swept == [1, 1, 1]
    assert names(tmp_path) == ["key.pem"]
    assert (tmp_path / "key.pem").read_bytes() == b"secret"


def test_where_there_are_no_locks_nothing_is_swept_and_everything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(_descriptor: int, _operation: int) -> None:
        raise OSError("no locks here")

    (tmp_path / NAME).touch()
    monkeypatch.setattr(fcntl, "flock", none)
    assert sweep_drafts(tmp_path) == 0
    write_whole(tmp_path / "key.pem", b"secret")
    assert names(tmp_path) == [NAME, "key.pem"]


def test_a_process_looks_once_in_each_folder_and_remembers_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[Path] = []
    monkeypatch.setattr(files, "_swept", set())
    monkeypatch.setattr(files, "sweep_drafts", looks.append)
    folders = [tmp_path / str(number) for number in range(3)]
    monkeypatch.setattr(files, "_MAX_REMEMBERED", 2)
    for folder in folders:
        folder.mkdir()
    for folder in (folders[0], folders[0], folders[1], folders[0], folders[2], folders[0]):
        write_whole(folder / secrets.token_hex(4), b"x")
    assert looks == [folders[0], folders[1], folders[2], folders[0]]


def test_a_folder_with_more_names_than_are_looked_at_is_no_reason_to_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_LOOKED_AT", 2)
    for number in range(5):
        (tmp_path / f".sluis-{number:024x}").touch()
    assert sweep_drafts(tmp_path) == 2
    assert sweep_drafts(tmp_path / "nowhere") == 0
