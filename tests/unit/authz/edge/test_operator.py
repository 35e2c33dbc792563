"""Who acts is what the kernel says, never what the environment says."""

from pathlib import Path

import pytest

from authz.edge import operator
from authz.edge.operator import operator_login


def test_the_login_that_the_kernel_knows_is_the_operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    login = tmp_path / "loginuid"
    monkeypatch.setattr(operator, "_LOGIN", login)
    unknown = operator_login()
    login.write_text("1")  # of the account `daemon`, which every system has
    assert operator_login() == "daemon" != unknown
    for odd in ("4294967295", "", "root", "-"):
        login.write_text(odd)
        assert operator_login() == unknown
    login.write_text("4242424")
    assert operator_login() == "uid-4242424"


@pytest.mark.parametrize("name", ["LOGNAME", "USER", "LNAME", "USERNAME", "SUDO_USER", "SUDO_UID"])
def test_the_environment_makes_nobody_another_person(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = operator_login()
    monkeypatch.setenv(name, "daemon")
    assert operator_login() == before
