"""Finding an `opa` that fits.

Specification: shared `architecture.md`, "OPA binary". Serving and enforcing need none; testing, building and publishing
policies do. Fetching one is `authz.policy.obtain_opa`'s work.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

from authz.domain.errors import SluisError

OPA_VERSION = "1.22.2"
"""The release that the default bundle is built with."""
FITTING = re.compile(r"1\.22\.\d+")
"""Releases whose compiler is known to produce the same module; others might drift from the committed bundle."""
_TIMEOUT_SECONDS = 30


class OpaMissing(SluisError):  # noqa: N818  it is a state of the machine
    """There is no OPA of a fitting version, and what was asked for needs one."""


def checkout() -> Path:
    """The folder that holds `authz/`: the checkout, or `site-packages` of an installation."""
    return Path(__file__).parents[2]


def find_opa() -> Path:
    """The first that fits of: `SLUIS_OPA`, `.tools/opa` of the checkout, `opa` on PATH.

    Raises:
        OpaMissing: none fits, or `SLUIS_OPA` names one that does not.
    """
    if named := os.environ.get("SLUIS_OPA"):
        if version_of(Path(named)) is None:
            raise OpaMissing("SLUIS_OPA does not name an opa that runs")
        if not fits(Path(named)):
            raise OpaMissing(f"SLUIS_OPA names an opa that does not fit: {FITTING.pattern} is needed")
        return Path(named)
    on_path = shutil.which("opa")
    for candidate in (checkout() / ".tools" / "opa", Path(on_path) if on_path else None):
        if candidate is not None and fits(candidate):
            return candidate
    raise OpaMissing(
        f"no opa {OPA_VERSION} found (SLUIS_OPA, .tools/opa, PATH). Serving and enforcing go on without; testing and "
        "building policies need it: python -m authz.policy.obtain_opa"
    )


def fits(program: Path) -> bool:
    """Whether this program is an OPA of a fitting release."""
    version = version_of(program)
    return version is not None and FITTING.fullmatch(version) is not None


def version_of(program: Path) -> str | None:
    """The version that the program says it has, or None when it does not run or is no OPA."""
    try:
        answer = subprocess.run(  # noqa: S603  a program that the operator named
            [str(program), "version"], capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"^Version: (\S+)$", answer.stdout, re.MULTILINE)
    return match[1] if match else None


def run_opa(arguments: list[str], folder: Path, timeout: float = 120) -> str:
    """Run the fitting `opa` in a folder and return what it printed.

    Args:
        arguments: after `opa`.
        folder: working directory.
        timeout: seconds.

    Raises:
        OpaMissing: there is none.
        OpaFailed: it ended with an error; the text is OPA's own.
    """
    answer = subprocess.run(  # noqa: S603
        [str(find_opa()), *arguments], cwd=folder, capture_output=True, text=True, timeout=timeout, check=False
    )
    if answer.returncode:
        raise OpaFailed(f"opa {arguments[0]} failed:\n{answer.stdout}{answer.stderr}".rstrip())
    return answer.stdout


class OpaFailed(SluisError):  # noqa: N818
    """OPA refused the policies; the text is for the person who writes them."""
