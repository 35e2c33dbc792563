"""What the contract tests share: a fitting OPA, the default bundle, an OPA server that runs it."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from authz.policy.bundle import VerifiedBundle
from authz.policy.default import default_bundle, default_keys, load_default
from authz.policy.opa_binary import OpaMissing, find_opa
from tests.support import missing


@pytest.fixture(scope="session")
def opa() -> Path:
    try:
        return find_opa()
    except OpaMissing:
        missing("opa 1.22 (make policies, or python -m authz.policy.obtain_opa)")
        raise


@pytest.fixture(scope="session")
def bundle() -> VerifiedBundle:
    return load_default(datetime.now(UTC))


@pytest.fixture(scope="session")
def opa_socket(opa: Path) -> Iterator[str]:
    """An OPA server that verified the default bundle itself, on a Unix socket."""
    # A short path of its own: socket addresses have at most about 100 characters.
    folder = Path(tempfile.mkdtemp(prefix="opa-"))
    (key,) = default_keys()
    (folder / "key.pem").write_text(key.public_pem)
    (folder / "bundle.tar.gz").write_bytes(default_bundle())
    address = folder / "s"
    command = [str(opa), "run", "--server", "--addr", f"unix://{address}", "--log-level", "error"]
    command += ["--disable-telemetry", "--verification-key", str(folder / "key.pem")]
    command += [
        "--verification-key-id",
        key.key_id,
        "--signing-alg",
        "ES256",
        "--bundle",
        str(folder / "bundle.tar.gz"),
    ]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "HOME": str(folder)})
    try:
        deadline = time.monotonic() + 60
        while not address.exists():
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.fail("opa did not start: " + (folder / "log").read_text())
            time.sleep(0.02)
        yield str(address)
    finally:
        server.terminate()
        server.wait(30)
        shutil.rmtree(folder)
