"""Who acts is what the kernel and the login manager say together, never what the environment says."""

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

import pytest

from authz.edge import operator
from authz.edge.operator import operator_login

FIRST = pwd.getpwuid(1).pw_name
"""The first account after root, which every system has, as `daemon` or as `bin`."""


@dataclass
class Machine:
    """What the kernel and the login manager say."""

    folder: Path

    def kernel(self, uid: str, session: str = "7") -> None:
        (self.folder / "loginuid").write_text(uid)
        (self.folder / "sessionid").write_text(session)

    def manager(self, text: str, session: str = "7") -> None:
        (self.folder / session).write_text(text)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(operator, "_LOGIN", tmp_path / "loginuid")
    monkeypatch.setattr(operator, "_SESSION", tmp_path / "sessionid")
    monkeypatch.setattr(operator, "_KNOWN", tmp_path)
    return Machine(tmp_path)


def own() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid-{os.getuid()}"


def test_the_login_that_the_login_manager_knows_too_is_the_operator(machine: Machine) -> None:
    assert operator_login() == own()
    machine.kernel("1")
    machine.manager(f"# session\nUID=1\nUSER={FIRST}\nAUDIT=7\n")
    assert operator_login() == FIRST
    machine.kernel("4242424")
    machine.manager("UID=4242424\nAUDIT=7\n")
    assert operator_login() == "uid-4242424"


@pytest.mark.parametrize("odd", ["4294967295", "", "root", "-", "-1"])
def test_a_login_uid_that_is_not_set(machine: Machine, odd: str) -> None:
    machine.manager(f"UID={odd}\nAUDIT=7\n")
    machine.kernel(odd)
    assert operator_login() == own()


def test_a_login_uid_that_somebody_set_for_himself(machine: Machine) -> None:
    """Whoever finds it unset may write it; the kernel then counts a session that no login manager opened."""
    machine.manager("UID=1\nAUDIT=7\n")
    machine.kernel("1", "8")
    assert operator_login() == own()
    # The session is known, and of another account.
    machine.kernel("2")
    assert operator_login() == own()
    # A session of the login manager's own counting has no audit session.
    machine.manager("UID=1\n")
    machine.kernel("1")
    assert operator_login() == own()
    machine.manager("UID=1\nAUDIT=7\n")
    assert operator_login() == FIRST


@pytest.mark.parametrize("name", ["LOGNAME", "USER", "LNAME", "USERNAME", "SUDO_USER", "SUDO_UID"])
def test_the_environment_makes_nobody_another_person(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = operator_login()
    monkeypatch.setenv(name, "daemon")
    assert operator_login() == before
