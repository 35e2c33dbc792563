"""Who is at the keyboard of this machine: the account that logged in, also after sudo to a service account.

Nothing of the environment is believed (LOGNAME, USER, SUDO_USER): anybody sets that, and what is recorded under a name
must be of whoever has it. The login uid of the kernel can be changed by root alone once it is set, but whoever finds it
unset (in containers, in services) may set it to anybody's. It is therefore believed only of a session of which the
login manager knows the same; else the account of the process counts. Neither is a proof of who a person is: where two
persons are needed, each has a key (decision 0108).
"""

import os
import pwd
from pathlib import Path
from typing import Final

_LOGIN: Final = Path("/proc/self/loginuid")
_SESSION: Final = Path("/proc/self/sessionid")
_KNOWN: Final = Path("/run/systemd/sessions")
"""Where systemd-logind, which is root, keeps a file for each session that it opened."""
_UNSET: Final = 0xFFFFFFFF
"""What the kernel says of a process that no login started, as in most containers."""


def operator_login() -> str:
    """The name of the account that logged in; `uid-<number>` when the system has no name for it."""
    uid = _logged_in()
    if uid is None:
        uid = os.getuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # in a container a uid often has no name
        return f"uid-{uid}"


def _logged_in() -> int | None:
    """The login uid of the kernel, when the login manager opened this very session for that account."""
    uid, session = _number(_LOGIN), _number(_SESSION)
    if uid is None or session is None:
        return None
    try:
        # The kernel gives every login uid that is set a session number of its own.
        lines = (_KNOWN / str(session)).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return uid if f"UID={uid}" in lines and f"AUDIT={session}" in lines else None


def _number(path: Path) -> int | None:
    try:
        number = int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return number if 0 <= number < _UNSET else None
