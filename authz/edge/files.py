"""Files written whole and read with a limit, in folders where somebody else may have put something.

A draft with a name that can be foretold is a trap: whoever can write in the folder lays a symbolic link there, and the
content, perhaps a key, goes where the link points. So a draft has a random name and is only ever made, never opened.
Not for keeping a folder safe: who may rename in it can replace the file afterwards.
"""

import os
import secrets
from pathlib import Path
from typing import Final

from authz.domain.errors import InvalidValue

_RANDOM_BYTES: Final = 8
_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def write_whole(path: Path, content: bytes, mode: int) -> None:
    """Write a file so that it appears whole or not at all, also after a power cut.

    What stands at `path` is replaced; a symbolic link there is replaced itself, its target is left alone.

    Args:
        path: where; its folder exists.
        content: all of it.
        mode: permissions, for example 0o600; never more than these, whatever the umask.

    Raises:
        OSError: it can not be written; nothing is left behind and what was there is still there.
    """
    draft = path.with_name(f".{secrets.token_hex(_RANDOM_BYTES)}.new")
    descriptor = os.open(draft, _FLAGS, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, not just the contents of its files.

    Raises:
        OSError: the folder can not be opened.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_limited(path: Path, limit: int) -> bytes:
    """The content of a file that has no reason to be large; a device that never ends is one that is too large.

    Args:
        path: the file.
        limit: bytes that it may have.

    Raises:
        InvalidValue: it is larger.
        OSError: it can not be read.
    """
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise InvalidValue(f"larger than the {limit} bytes that such a file may have")
    return content
