"""Tokens of SoftHSM2, a real PKCS#11 module in software: a folder of their own, made for one test run."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pki.signing.pkcs11_signer import TokenKey
from tests.support import missing, require

PIN = "246813"
_PLACES = ("/usr/lib/softhsm", "/usr/lib/x86_64-linux-gnu/softhsm", "/usr/lib/aarch64-linux-gnu/softhsm", "/usr/lib64")


@dataclass(frozen=True)
class SoftHsm:
    """Two tokens, `sluis` and `spare`.

    The module reads where its tokens are from the environment when it is first loaded, so one process has one SoftHsm.
    """

    folder: Path
    module: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"SOFTHSM2_CONF": str(self.folder / "softhsm2.conf")}

    @property
    def pin_file(self) -> Path:
        return self.folder / "pin"

    def key(self, label: str, *, token: str = "sluis", pin_file: Path | None = None) -> TokenKey:  # noqa: S107  a label
        return TokenKey(self.module, token, pin_file or self.pin_file, label)

    def start(self) -> None:
        tool = require("softhsm2-util")
        (self.folder / "tokens").mkdir()
        configuration = (
            f"directories.tokendir = {self.folder / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n"
        )
        (self.folder / "softhsm2.conf").write_text(configuration)
        self.pin_file.write_text(PIN + "\n")
        self.pin_file.chmod(0o600)
        os.environ.update(self.environment)
        for label in ("sluis", "spare"):
            command = [tool, "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "135792"]
            subprocess.run(command, check=True, capture_output=True)


def module() -> Path:
    """The PKCS#11 module of SoftHSM2, wherever the distribution keeps it."""
    for place in _PLACES:
        if (found := Path(place) / "libsofthsm2.so").exists():
            return found
    missing("libsofthsm2.so")
    raise AssertionError
