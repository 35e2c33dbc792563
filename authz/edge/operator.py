"""Who is at the keyboard of this machine: the account that logged in, also after sudo to a service account.

Nothing of the environment is believed (LOGNAME, USER, SUDO_USER): anybody sets that, and what is recorded under a name
must be of whoever has it. Only root can change the login uid that the kernel keeps (decision 0015).
"""

import os
import pwd
from pathlib import Path
from typing import Final

_LOGIN: Final = Path("/proc/self/loginuid")
_NO_LOGIN: Final = 0xFFFFFFFF
"""What the kernel says of a process that no login started, as in most containers."""


def operator_login() -> str:
    """The name of the account that logged in; `uid-<number>` when the system has no name for it."""
    try:
        uid = int(_LOGIN.read_text())
    except (OSError, ValueError):
        uid = _NO_LOGIN
    if uid == _NO_LOGIN:
        uid = os.getuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # in a container a uid often has no name
        return f"uid-{uid}"
