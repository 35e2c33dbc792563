"""`python -m tests.fuzz <target> --seconds N`: see the package. Exit status 0 when nothing was found, 1 otherwise.

What was found is printed as a hexadecimal text, to be put into `tests/unit/fuzz/test_found.py` as it is.
"""

import argparse
import importlib.util
import random
import subprocess
import sys
import tempfile
from pathlib import Path

_COVERED = ("pki", "authz", "dns", "asn1crypto")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("target", nargs="?")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=None, help="of the plain mutator")
    parser.add_argument("--plain", action="store_true", help="without atheris, also where it is there")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--guided", help=argparse.SUPPRESS)  # folder of the child process that atheris runs in
    given = parser.parse_args()
    if given.guided:
        _guided(given.target, given.seconds, Path(given.guided))
        return 0
    from tests.fuzz.targets import TARGETS  # noqa: PLC0415  after atheris in the child

    if given.list or given.target not in TARGETS:
        print("\n".join(TARGETS))  # noqa: T201  for a person
        return 0 if given.list else 2
    if given.plain or importlib.util.find_spec("atheris") is None:
        return _plain(given.target, given.seconds, given.seed if given.seed is not None else random.randrange(2**32))  # noqa: S311
    return _with_atheris(given.target, given.seconds)


def _plain(name: str, seconds: int, seed: int) -> int:
    from tests.fuzz.mutating import search  # noqa: PLC0415
    from tests.fuzz.targets import TARGETS  # noqa: PLC0415

    runs, found = search(TARGETS[name], seconds=seconds, seed=seed)
    print(f"{name}: {runs} inputs in {seconds} s (plain mutator, seed {seed}), {len(found)} found")  # noqa: T201
    for item in found:
        print(f"  {item.why}\n  {item.data.hex()}")  # noqa: T201
    return 1 if found else 0


def _with_atheris(name: str, seconds: int) -> int:
    """In a child of its own: the engine ends the process when it is done, and when it finds something."""
    from tests.fuzz.targets import TARGETS  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="sluis-fuzz-") as text:
        folder = Path(text)
        (folder / "seeds").mkdir()
        for number, seed in enumerate(TARGETS[name].seeds()):
            (folder / "seeds" / str(number)).write_bytes(seed)
        command = [sys.executable, "-m", "tests.fuzz", name, "--seconds", str(seconds), "--guided", str(folder)]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        found = [path for path in folder.iterdir() if path.name.startswith(("crash-", "timeout-", "oom-"))]
        tail = [line for line in ran.stderr.splitlines() if "DONE" in line or "Error" in line or "stat::" in line]
        print(f"{name}: {seconds} s with atheris, {len(found)} found; {'; '.join(tail[-3:])}")  # noqa: T201
        for path in found:
            print(f"  {path.name}\n  {path.read_bytes().hex()}")  # noqa: T201
        if ran.returncode and not found:
            print(ran.stderr[-2000:])  # noqa: T201
        return 1 if ran.returncode or found else 0


def _guided(name: str, seconds: int, folder: Path) -> None:
    import atheris  # type: ignore[import-untyped, import-not-found, unused-ignore]  # noqa: PLC0415

    with atheris.instrument_imports(include=list(_COVERED)):
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415

        target = TARGETS[name]
    target.seeds()  # what is computed once is not measured
    options = [f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048", "-max_len=65536"]
    options += [f"-artifact_prefix={folder}/", "-print_final_stats=1", str(folder / "seeds")]
    atheris.Setup([sys.argv[0], *options], target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
