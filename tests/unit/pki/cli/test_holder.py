"""`pki enrol` and `pki reenrol` as participants type them; the authority is not reached in any of these."""

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pki.enrolment.codes import draw_code, draw_second, in_groups
from pki.holder.est_client import EstClient, EstError, Obtained
from pki.holder.keyset import Keyset
from pki.holder.renewal import Renewer
from pki.signing.signer import PrivateKey
from tests.fakes.certificates import FakeAuthority
from tests.unit.pki.cli.test_main import Run, run  # noqa: F401  a fixture

pytestmark = pytest.mark.parametrize("config", ["sqlite"], indirect=True)
CODE = "7KQ2M-9XT00-00000-00000-00000-00000-00000-00000"


@pytest.fixture
def ca(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeAuthority:
    """An authority whose root and code are in files, and that answers whoever asks."""
    made = FakeAuthority(now=datetime.now(UTC))
    (tmp_path / "root.crt").write_bytes(made.root.pem)
    (tmp_path / "code.txt").write_text(f" {CODE.lower()} \n")

    def certify(_client: EstClient, identity: object, given: object, key: PrivateKey) -> Obtained:
        assert given in {CODE, None} or isinstance(given, Path)
        leaf = made.issue(str(identity), key=key)
        return Obtained(leaf.der, leaf.chain_der)

    monkeypatch.setattr(EstClient, "enrol", certify)
    monkeypatch.setattr(EstClient, "reenrol", certify)
    return made


ENROL = (
    *("enrol", "--url", "https://pki.test", "--ca", "root.crt", "--code-file", "code.txt"),
    *("--identity", "uzovi:5000", "--out-dir", "certs"),
)


@pytest.mark.usefixtures("ca")
def test_a_folder_that_has_a_certificate_is_told_so(run: Run, tmp_path: Path) -> None:  # noqa: F811
    assert run(*ENROL).status == 0
    before = (tmp_path / "certs" / "current").readlink()
    again = run(*ENROL)
    assert (again.status, again.out) == (2, "")
    assert again.err.startswith("refused (identity_has_certificate): ")
    assert "pki reenrol" in again.err
    assert "--replace" in again.err
    other = run(*ENROL[:-3], "uzovi:5001", *ENROL[-2:], "--replace")
    assert (other.status, "folder of uzovi:5000" in other.err) == (2, True)
    assert (tmp_path / "certs" / "current").readlink() == before
    assert run(*ENROL, "--replace").status == 0
    assert (tmp_path / "certs" / "current").readlink() != before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--url", "https://[::1"), "--url: expected https"),
        (("--url", "https://xn--.nl"), "--url: expected https"),
        (("--url", f"https://{'a' * 70}.nl"), "--url: expected https"),
        (("--server-name", "\udcff"), "not UTF-8"),
        (("--server-name", "a b"), "--server-name: expected"),
        (("--key-kind", "dsa"), "--key-kind: expected one of ec-p256"),
        (("--identity", "nobody"), "--identity"),
        (("--certificate", "root.crt"), "either --code-file or --certificate"),
        (("--code-file", "root.crt"), "not valid as a code"),
        (("--key", "ec-p256"), "--key"),
    ],
)
@pytest.mark.usefixtures("ca")
def test_what_cannot_be_is_refused_in_one_line_and_makes_no_folder(
    arguments: tuple[str, ...],
    said: str,
    run: Run,  # noqa: F811
    tmp_path: Path,
) -> None:
    refused = run(*ENROL, *arguments)
    assert (refused.status, refused.out, refused.err.count("\n")) == (2, "", 1)
    assert said in refused.err
    assert not (tmp_path / "certs" / "current").exists()
    assert not (tmp_path / "certs" / "pending").exists()


@pytest.mark.usefixtures("ca")
def test_a_file_with_more_than_the_code_or_with_halves_in_the_wrong_order_is_told_before_anything_is_sent(
    run: Run,  # noqa: F811
    tmp_path: Path,
) -> None:
    first, second = draw_code().text(), in_groups(draw_second())
    for content, said in (
        (f"First half: {first}\nSecond half: {second}\n", "no words before a half"),
        (f"\ufeff{first}\n{second}\n", "without a byte order mark"),
        (f"{second}\n{first}\n", "wrong order"),
    ):
        (tmp_path / "code.txt").write_text(content, "utf-8")
        refused = run(*ENROL)
        assert (refused.status, refused.out, refused.err.count("\n")) == (2, "", 1)
        assert said in refused.err
        assert first not in refused.err
        assert not (tmp_path / "certs" / "current").exists()


@pytest.mark.usefixtures("ca")
def test_files_that_never_end_are_named(run: Run, tmp_path: Path) -> None:  # noqa: F811
    for option in ("--ca", "--code-file"):
        for path in ("/dev/zero", "absent", "."):
            told = run(*ENROL, option, path)
            assert (told.status, told.err.startswith(f"failed (file): {path}: ")) == (1, True)
    assert not (tmp_path / "certs").exists()


@pytest.mark.usefixtures("ca")
def test_a_key_of_another_kind_that_waits_is_told_with_the_option(
    run: Run,  # noqa: F811
    tmp_path: Path,
) -> None:
    keyset = Keyset(tmp_path / "certs")
    with keyset.locked():
        keyset.pending_key("ec-p384")
    other = run(*ENROL, "--key-kind", "rsa-3072")
    assert (other.status, "--key-kind ec-p384" in other.err) == (1, True)
    assert run(*ENROL).status == 0
    found = keyset.certificate()
    assert found is not None
    assert found.public_key().key_size == 384  # type: ignore[union-attr]


@pytest.mark.usefixtures("ca")
def test_reenrol_says_one_thing_once_and_json_alone_for_programs(
    run: Run,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert run(*ENROL).status == 0
    looked = run("reenrol", "--out-dir", "certs", "--json")
    assert (looked.status, looked.err, looked.out.count("\n")) == (0, "", 1)
    assert json.loads(looked.out)["outcome"].startswith("not due yet")
    for hook in ("x 'y", "no-such-program", ""):
        refused = run("reenrol", "--out-dir", "certs", "--now", "--reload-hook", hook)
        assert (refused.status, refused.err.startswith("refused (parameter_malformed): --reload-hook")) == (2, True)

    def underway(*_: object) -> Obtained:
        raise EstError("the authority refused (409): until then", reason="renewal_underway", refused=True)

    with monkeypatch.context() as patched:
        patched.setattr(EstClient, "reenrol", underway)
        once = run("reenrol", "--out-dir", "certs", "--now")
        assert (once.status, once.out) == (2, "")
        assert once.err == "refused (renewal_underway): the authority refused (409): until then.\n"
        told = run("reenrol", "--out-dir", "certs", "--now", "--json")
        assert json.loads(told.out)["error"]["reason"] == "renewal_underway"
    assert run("reenrol", "--out-dir", "certs", "--now", "--reload-hook", "true").status == 0
    failing = run("reenrol", "--out-dir", "certs", "--now", "--reload-hook", "false")
    assert (failing.status, failing.err) == (1, "failed (keyset): the reload hook failed.\n")


def test_enrol_goes_on_as_the_daemon_and_looks_at_the_hook_before_the_code_is_used(
    run: Run,  # noqa: F811
    ca: FakeAuthority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran = []

    def step(renewer: Renewer, stop: threading.Event, *, now: bool = False) -> None:
        ran.append((renewer._hook, stop.is_set(), now))

    monkeypatch.setattr(Renewer, "run", step)
    for wrong in (("--daemon", "--reload-hook", "'"), ("--reload-hook", "true it")):
        refused = run(*ENROL, *wrong)
        assert (refused.status, refused.err.count("\n")) == (2, 1), refused.err
        assert not (tmp_path / "certs").exists()
    done = run(*ENROL, "--daemon", "--reload-hook", "true it")
    assert (done.status, done.out.startswith("enrolled\n")) == (0, True), done.err
    assert ran == [(["true", "it"], False, False)]
    assert Keyset(tmp_path / "certs").certificate() is not None


def test_an_operator_who_wants_a_daemon_is_told_which_command_it_is(run: Run) -> None:  # noqa: F811
    asked = run("renew", "--identity", "uzovi:5000", "--new-key", "a.key", "--out", "a.pem", "--daemon")
    assert (asked.status, "pki reenrol --out-dir" in asked.err) == (2, True)


def test_a_certificate_that_is_over_makes_room_for_a_code(
    ca: FakeAuthority,
    run: Run,  # noqa: F811
    tmp_path: Path,
) -> None:
    keyset = Keyset(tmp_path / "certs")
    start = ca.issue("uzovi:5000").certificate.not_valid_before_utc - timedelta(days=800)
    with keyset.locked():
        old = ca.issue("uzovi:5000", key=keyset.pending_key(), not_before=start, not_after=start + timedelta(days=100))
        keyset.remember({"url": "https://pki.test", "identity": "uzovi:5000", "server_name": ""}, ca.root.pem)
        keyset.install(old.der, list(old.chain_der))
    expired = run("reenrol", "--out-dir", "certs", "--now")
    assert (expired.status, "ask an operator for a code" in expired.err) == (1, True)
    assert run(*ENROL).status == 0
