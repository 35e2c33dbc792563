"""A PostgreSQL cluster of our own, in a temporary folder, reachable over a Unix socket only."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from tests.support import missing


class PostgresServer:
    """Started by `start`, gone with everything in it after `stop`."""

    def __init__(self) -> None:
        found = shutil.which("initdb") or next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))), None)
        if found is None:
            missing("postgresql (initdb)")
            raise AssertionError
        self._programs = Path(found).resolve().parent
        # The socket's path must stay under 100 characters, so not under pytest's folder.
        self.folder = Path(tempfile.mkdtemp(prefix="pg"))
        self._process: subprocess.Popen[bytes] | None = None
        # PostgreSQL refuses to run as root.
        self._user = None if os.getuid() else pwd.getpwnam("nobody").pw_uid

    def start(self) -> None:
        if self._user is not None:
            os.chown(self.folder, self._user, -1)
        data = self.folder / "data"
        self._run("initdb", "-D", str(data), "-U", "sluis", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        arguments = [self._programs / "postgres", "-D", data, "-k", self.folder, "-c", "listen_addresses="]
        self._process = subprocess.Popen(
            [*map(str, arguments), "-c", "shared_buffers=16MB", "-c", "max_connections=40"],
            user=self._user,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 120
        while self._run("pg_isready", "-h", str(self.folder), "-q", check=False):
            assert time.monotonic() < deadline
            assert self._process.poll() is None

    def database(self) -> str:
        """The URL of an empty database; what was in it for an earlier test is gone."""
        statements = "DROP SCHEMA public CASCADE; CREATE SCHEMA public"
        self._run("psql", "-h", str(self.folder), "-U", "sluis", "-q", "-c", statements, "postgres")
        return f"postgresql+asyncpg://sluis@/postgres?host={self.folder}"

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # "fast": ends sessions
            self._process.wait(60)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str, check: bool = True) -> int:
        finished = subprocess.run(
            [str(self._programs / program), *arguments],
            user=self._user,
            cwd=self.folder,
            check=check,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return finished.returncode
