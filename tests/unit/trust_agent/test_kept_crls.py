"""CRLs that are refused, kept, read back after a restart, and thrown away when they do not verify."""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from tests.fakes.certificates import NOW, FakeAuthority
from tests.fakes.clock import FixedClock
from trust_agent.kept_crls import KeptCrls
from trust_agent.material import MaterialRefused

CA = FakeAuthority()


def make(folder: Path) -> KeptCrls:
    return KeptCrls(folder / "crls", CA.crl_store(CA.root_crl()), FixedClock(NOW))


@pytest.fixture
def kept(tmp_path: Path) -> KeptCrls:
    made = make(tmp_path)
    made.take(CA.crl())
    return made


def test_a_crl_of_a_stranger_is_refused(kept: KeptCrls) -> None:
    with pytest.raises(MaterialRefused):
        kept.take(CA.rogue().crl())
    assert not kept.take(CA.crl())
    assert kept.take(CA.crl(number=10**12, at=NOW + timedelta(seconds=1)))


def test_a_restart_begins_with_every_crl_that_was_held(kept: KeptCrls, tmp_path: Path) -> None:
    names = sorted(path.name for path in kept.folder.glob("*.crl"))
    assert len(names) == 2
    assert make(tmp_path).load() == names


def test_a_kept_crl_that_cannot_be_read_now_is_not_thrown_away(
    kept: KeptCrls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = kept.folder.glob(f"{CA.issuing.spki_sha256[:16]}-*.crl")
    read = Path.read_bytes

    def broken(self: Path) -> bytes:
        if self == path:
            raise OSError(5, "Input/output error")
        return read(self)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", broken)
        again = make(tmp_path)
        assert path.name not in again.load()
        again.take(CA.root_crl(at=NOW + timedelta(seconds=1)))
    assert path.exists()
    assert path.name in make(tmp_path).load()


def test_a_kept_crl_that_does_not_verify_is_thrown_away(kept: KeptCrls, tmp_path: Path) -> None:
    for path in kept.folder.glob("*.crl"):
        path.write_bytes(CA.rogue().crl())
    assert not make(tmp_path).load()
    assert not list(kept.folder.glob("*.crl"))


def test_the_file_of_a_crl_has_the_same_name_in_every_process() -> None:
    program = """
from pki.validation.crl import CrlScope, VerifiedCrl
scope = CrlScope(frozenset(f"http://pki.test/{number}.crl" for number in range(9)))
print(VerifiedCrl("ab" * 32, 1, None, None, scope, b"", None, -1, None).file_name)
"""
    names = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(names) == 1
