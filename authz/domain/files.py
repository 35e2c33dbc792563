"""Files that appear whole or not at all, that are still there after a power cut, and that nobody else can slip in.

The one place where this product writes a file that must not be half there: keys, certificates, CRLs, what was fetched.
Content goes into a draft in the same folder, under a name that cannot be guessed and that must not exist (no symbolic
link is followed, no mode of a file of before is kept), is made durable, and takes its name in one step (POSIX: rename
and link are atomic). Standard library only, so that every part may use it. Every OSError names the file that was meant.

A program that is killed leaves its draft. Who writes the next file in that folder takes such drafts away, once for each
process: what has the exact form of our names, is a file of our own user, and is locked by nobody. A draft is locked as
long as the process that writes it lives, and the kernel ends the lock with it.

What this does not do: replace two files in one step (no file system does), or lock against other writers.
"""

import errno
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Final

PRIVATE: Final = 0o600
PUBLIC: Final = 0o644
MAX_LOOKED_AT: Final = 20_000
"""Names in a folder that are looked at for drafts of the dead."""
_DRAFT: Final = re.compile(r"\.sluis-[0-9a-f]{24}")
_TRIES: Final = 8
_MAX_REMEMBERED: Final = 1024
_swept: set[tuple[int, int]] = set()
"""Folders (device and inode) in which this process has looked already."""
_NO_LINKS: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK})


class Draft:
    """The next content of a file, beside it; it does not show until it is put in place.

    Args:
        path: the file that it will be.
        mode: of that file, whatever the umask is.
        reserve: bytes for which room is taken now, so that a full disk is found before and not afterwards.

    Raises:
        OSError: the folder does not take a file.
    """

    def __init__(self, path: Path, mode: int = PRIVATE, *, reserve: int = 0) -> None:
        self.path = path
        _sweep_at_first(path.parent)
        with naming(path):
            self._draft, self._descriptor = _locked_draft(path)
            try:
                os.fchmod(self._descriptor, mode)
                if reserve:
                    os.posix_fallocate(self._descriptor, 0, reserve)
            except BaseException:
                self.drop()
                raise

    def write(self, content: bytes) -> None:
        """Give it its whole content, on the disk when this returns.

        Raises:
            OSError: the disk does not take it; the draft is gone.
        """
        with naming(self.path):
            try:
                view = memoryview(content)
                os.lseek(self._descriptor, 0, os.SEEK_SET)
                while view:
                    view = view[os.write(self._descriptor, view) :]
                os.ftruncate(self._descriptor, len(content))
                os.fsync(self._descriptor)
            except BaseException:
                self.drop()
                raise

    def put(self) -> None:
        """Take the place of the file, if there is one.

        Raises:
            OSError: it cannot be moved; the draft is gone.
        """
        with naming(self.path):
            try:
                self._draft.replace(self.path)
                sync_folder(self.path.parent)
            finally:
                self.drop()

    def put_new(self) -> None:
        """Become the file, if there is none.

        Raises:
            FileExistsError: there is something of that name; the draft is gone.
            OSError: it cannot be moved; the draft is gone.
        """
        with naming(self.path):
            try:
                try:
                    os.link(self._draft, self.path, follow_symlinks=False)
                except OSError as error:
                    if error.errno not in _NO_LINKS:
                        raise
                    # A file system without links: the name is taken first, and then filled in one step.
                    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                    os.close(os.open(self.path, flags, PRIVATE))
                    self._draft.replace(self.path)
                self._draft.unlink(missing_ok=True)
                sync_folder(self.path.parent)
            finally:
                self.drop()

    def drop(self) -> None:
        """Leave nothing behind, unless it was put in place."""
        if self._descriptor < 0:
            return
        os.close(self._descriptor)
        self._descriptor = -1
        with suppress(OSError):
            self._draft.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes, mode: int = PRIVATE) -> None:
    """Write a file, or replace it, so that after a crash it has the old content or the new, and never a part.

    Raises:
        OSError: it cannot be written; nothing is left behind, and what was there is there still.
    """
    draft = Draft(path, mode)
    draft.write(content)
    draft.put()


def write_new(path: Path, content: bytes, mode: int = PRIVATE) -> None:
    """As `write_whole`, and never over another file.

    Raises:
        FileExistsError: something of that name is there, whatever it is.
        OSError: it cannot be written; nothing is left behind.
    """
    draft = Draft(path, mode)
    draft.write(content)
    draft.put_new()


def sweep_drafts(folder: Path) -> int:
    """Take away drafts that a killed process left in a folder; never fails.

    Returns:
        How many were taken away.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        with os.scandir(descriptor) as entries:
            names = [item.name for item in islice(entries, MAX_LOOKED_AT) if _DRAFT.fullmatch(item.name)]
        return sum(_sweep_one(descriptor, name) for name in names)
    except OSError:
        return 0
    finally:
        os.close(descriptor)


def _sweep_at_first(folder: Path) -> None:
    try:
        about = folder.stat()
    except OSError:
        return  # whoever writes there says so
    key = (about.st_dev, about.st_ino)
    if key not in _swept:
        if len(_swept) >= _MAX_REMEMBERED:
            _swept.clear()
        _swept.add(key)
        sweep_drafts(folder)


def _sweep_one(folder: int, name: str) -> bool:
    """Take one draft away, if nobody is writing it; it is looked at through the folder, whatever its path becomes."""
    try:
        # Before it is opened: opening a device or a pipe may do something.
        if not _is_ours(os.stat(name, dir_fd=folder, follow_symlinks=False)):
            return False
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(name, flags, dir_fd=folder)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        opened, now = os.fstat(descriptor), os.stat(name, dir_fd=folder, follow_symlinks=False)
        # Its writer may have put it in place since; then there is nothing under this name, and never will be.
        if not _is_ours(opened) or (opened.st_dev, opened.st_ino) != (now.st_dev, now.st_ino):
            return False
        os.unlink(name, dir_fd=folder)
    except OSError:  # locked by who writes it, a file system without locks, or gone
        return False
    else:
        return True
    finally:
        os.close(descriptor)


def _is_ours(about: os.stat_result) -> bool:
    return stat.S_ISREG(about.st_mode) and about.st_uid == os.geteuid()


def _locked_draft(path: Path) -> tuple[Path, int]:
    """A new draft beside `path`, locked. One that was swept before it had its lock is made again."""
    for _ in range(_TRIES):
        draft = path.with_name(f".sluis-{secrets.token_hex(12)}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(draft, flags, PRIVATE)
        with suppress(OSError):  # a file system without locks, where nobody sweeps either
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return draft, descriptor
        os.close(descriptor)
    raise OSError(errno.EAGAIN, "a draft is taken away again and again")


def read_limited(path: Path, limit: int) -> bytes:
    """The content of a regular file: no device that never ends, no pipe that never begins.

    Args:
        path: the file; a symbolic link is followed.
        limit: bytes at most.

    Raises:
        OSError: it cannot be read, is something else than a file (EINVAL), or is larger (EFBIG).
    """
    with naming(path):
        # Without O_NONBLOCK opening a pipe waits for somebody who writes.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "expected a file, not a folder, device or pipe")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                content = file.read(limit + 1)
        finally:
            os.close(descriptor)
        if len(content) > limit:
            raise OSError(errno.EFBIG, f"expected a file of at most {limit} bytes")
    return content


def is_same_file(one: Path, other: Path) -> bool:
    """Whether two names lead to one file, by whatever links and spellings; it need not exist."""
    if one.resolve() == other.resolve():
        return True
    try:
        return one.samefile(other)
    except OSError:
        return False


def sync_folder(folder: Path) -> None:
    """Make names in a folder durable, not just contents.

    Raises:
        OSError: the disk does not take it.
    """
    with naming(folder):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """An error of the operating system inside says which file was meant: a full disk by itself says nothing."""
    try:
        yield
    except OSError as error:
        if error.errno is None or (error.filename == str(path) and error.filename2 is None):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
