"""Key and certificate on their way to the disk: full disks, names that are one, files in the way, kills."""

import errno
import json
import os
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

import pki.authority
import pki.cli.delivery
from authz.domain.files import Draft
from pki.app import OpenAuthority
from pki.cli.delivery import Delivery
from pki.enrolment.desk import CodeDesk
from pki.store.database import StoreUnavailable
from tests.fakes.requests import request_der
from tests.unit.pki.cli.test_enrolment import CREATE
from tests.unit.pki.cli.test_main import ISSUE, Run, run  # noqa: F401  a fixture

pytestmark = pytest.mark.parametrize("config", ["sqlite"], indirect=True)
RENEW = ("renew", "--identity", "uzovi:5000")


def _pair(key: Path, chain: Path) -> int:
    """The serial number of a chain that fits its key."""
    leaf = x509.load_pem_x509_certificates(chain.read_bytes())[0]
    private = load_pem_private_key(key.read_bytes(), None)
    assert private.public_key() == leaf.public_key()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    return leaf.serial_number


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith("pki.")}


def _register(run: Run) -> list[str]:  # noqa: F811
    return [item["status"] for item in json.loads(run("list", "--json").out)]


@pytest.mark.parametrize(
    ("key", "out"),
    [("x", "x"), ("x", "./x"), ("x", "folder/../x"), ("x", "link"), ("folder/x", "other/x"), ("link", "x")],
)
@pytest.mark.parametrize("start", [ISSUE, RENEW])
def test_one_file_for_two_things_is_refused_before_anything_is_signed(
    start: tuple[str, ...],
    key: str,
    out: str,
    run: Run,  # noqa: F811
    tmp_path: Path,
) -> None:
    if start is RENEW:
        assert run(*ISSUE, "--new-key", "a.key", "--out", "a.pem").status == 0
    (tmp_path / "folder").mkdir()
    (tmp_path / "other").symlink_to("folder")
    (tmp_path / "link").symlink_to("x")
    before = _names(tmp_path)
    refused = run(*start, "--new-key", key, "--out", out)
    assert (refused.status, refused.out) == (1, "")
    assert "name the same file" in refused.err
    assert _names(tmp_path) == before
    assert _register(run) == (["active"] if start is RENEW else [])


def test_a_request_is_not_overwritten_by_its_certificate(run: Run, tmp_path: Path) -> None:  # noqa: F811
    assert run(*ISSUE, "--new-key", "a.key", "--out", "a.pem").status == 0
    (tmp_path / "a.csr").write_bytes(request_der())
    assert "--csr" in run(*RENEW, "--csr", "a.csr", "--out", "a.csr").err
    # Nor does a renewal replace what is something else than it writes.
    (tmp_path / "notes").write_text("precious")
    for files in (("--new-key", "a.key", "--out", "notes"), ("--new-key", "notes", "--out", "a.pem")):
        refused = run(*RENEW, *files)
        assert refused.status == 1
        assert "notes exists already and holds no" in refused.err
    assert "holds no" in run(*RENEW, "--new-key", "a.pem", "--out", "a.key").err
    assert _register(run) == ["active"]
    assert run(*RENEW, "--csr", "a.csr", "--out", "a.pem").status == 0


def test_a_renewal_replaces_both_and_leaves_nothing_else(run: Run, tmp_path: Path) -> None:  # noqa: F811
    assert run(*ISSUE, "--new-key", "a.key", "--out", "a.pem").status == 0
    first = _pair(tmp_path / "a.key", tmp_path / "a.pem")
    assert run(*RENEW, "--new-key", "a.key", "--out", "a.pem").status == 0
    assert _pair(tmp_path / "a.key", tmp_path / "a.pem") != first
    assert _names(tmp_path) == {"a.key", "a.pem"}


async def test_the_key_is_on_the_disk_before_anybody_certifies_it(
    run: Run,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    del run
    files = Delivery(tmp_path / "a.pem", tmp_path / "a.key", overwrite=True)
    request = files.request(None)
    assert files.key_at == tmp_path / "a.key"
    load_pem_private_key((tmp_path / "a.key").read_bytes(), None)
    (tmp_path / "b.key").write_bytes((tmp_path / "a.key").read_bytes())
    again = Delivery(tmp_path / "b.pem", tmp_path / "b.key", overwrite=True)
    assert again.request(None).public_key != request.public_key
    assert again.key_at == tmp_path / "b.key.pending"
    again.discard()
    files.discard()
    assert _names(tmp_path) == {"b.key"}
    monkeypatch.setattr(os, "posix_fallocate", _full)
    with pytest.raises(OSError, match="No space left"):
        Delivery(tmp_path / "c.pem", tmp_path / "c.key", overwrite=False).request(None)
    assert _names(tmp_path) == {"b.key"}


def _full(*_: object, **__: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("renewal", [False, True])
def test_a_disk_that_is_full_before_leaves_register_and_files_as_they_were(
    run: Run,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    renewal: bool,  # noqa: FBT001
) -> None:
    if renewal:
        assert run(*ISSUE, "--new-key", "a.key", "--out", "a.pem").status == 0
    before = {path.name: path.read_bytes() for path in tmp_path.glob("a.*")}
    monkeypatch.setattr(os, "posix_fallocate", _full)
    full = run(*(RENEW if renewal else ISSUE), "--new-key", "a.key", "--out", "a.pem")
    assert (full.status, full.err) == (1, "failed (file): a.pem: No space left on device.\n")
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLUIS_PKI_CONFIG", str(tmp_path / "pki.toml"))
    assert {path.name: path.read_bytes() for path in tmp_path.glob("a.*")} == before
    assert _names(tmp_path) == set(before)
    assert _register(run) == (["active"] if renewal else [])


@pytest.mark.parametrize("renewal", [False, True])
@pytest.mark.parametrize("step", ["write", "put"])
def test_a_chain_that_cannot_be_written_after_all_costs_neither_key_nor_certificate(
    run: Run,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    renewal: bool,  # noqa: FBT001
) -> None:
    if renewal:
        assert run(*ISSUE, "--new-key", "a.key", "--out", "a.pem").status == 0
    before = {path.name: path.read_bytes() for path in tmp_path.glob("a.*")}
    real = Draft.write

    def fails(draft: Draft, *content: bytes) -> None:
        if draft.path.name != "a.pem":
            real(draft, content[0])
            return
        draft.drop()
        raise OSError(errno.EIO, "Input/output error", str(draft.path))

    with monkeypatch.context() as patched:
        if step == "write":
            patched.setattr(Draft, "write", fails)
        else:
            patched.setattr(Draft, "put" if renewal else "put_new", fails)
            if not renewal:
                patched.setattr(
                    pki.cli.delivery, "write_new", lambda path, data, mode: (path.write_bytes(data), path.chmod(mode))
                )
        lost = run(*(RENEW if renewal else ISSUE), "--new-key", "a.key", "--out", "a.pem", "--json")
    assert lost.status == 1
    assert lost.err.startswith("failed (delivery): a.pem: Input/output error.")
    assert json.loads(lost.out)["error"]["reason"] == "delivery"
    # What was there is there still, and fits.
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    waiting = "a.key.pending" if renewal else "a.key"
    assert f"its key is in {waiting}" in lost.err
    assert _names(tmp_path) == {*before, waiting}
    # What the text says works.
    found = next(item for item in json.loads(run("list", "--status", "active", "--json").out))
    assert f"pki list --serial {found['serial_number']} --out" in lost.err
    assert run("list", "--serial", found["serial_number"], "--out", "fetched.pem").status == 0
    assert f"{_pair(tmp_path / waiting, tmp_path / 'fetched.pem'):x}" == found["serial_number"]
    if renewal:
        again = run(*RENEW, "--new-key", "a.key", "--out", "a.pem")
        assert again.status == 1
        assert "a.key.pending: the key of a renewal" in again.err


def test_an_outcome_that_nobody_knows_throws_no_key_away(
    run: Run,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = OpenAuthority.issue

    async def lost(*given: object, **options: object) -> None:
        await real(*given, **options)  # type: ignore[arg-type]
        raise StoreUnavailable("the connection was lost")

    with monkeypatch.context() as patched:
        patched.setattr(OpenAuthority, "issue", lost)
        result = run(*ISSUE, "--new-key", "a.key", "--out", "a.pem")
    assert result.status == 1
    assert "its key stays in a.key" in result.err
    assert _names(tmp_path) == {"a.key"}
    [found] = json.loads(run("list", "--json").out)
    assert run("list", "--serial", found["serial_number"], "--out", "a.pem").status == 0
    _pair(tmp_path / "a.key", tmp_path / "a.pem")

    async def away(*_: object, **__: object) -> None:
        raise StoreUnavailable("the connection was lost")

    with monkeypatch.context() as patched:
        patched.setattr(OpenAuthority, "renew", away)
        assert (
            run(*RENEW, "--new-key", "a.key", "--out", "a.pem").err
            == "failed (store_unavailable): the connection was lost.\n"
        )
    assert _names(tmp_path) == {"a.key", "a.pem"}


def test_a_code_that_cannot_be_kept_does_not_work(
    run: Run,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(draft: Draft) -> None:
        draft.drop()
        raise OSError(errno.ENOSPC, "No space left on device", str(draft.path))

    with monkeypatch.context() as patched:
        patched.setattr(Draft, "put_new", fails)
        lost = run(*CREATE, "--out", "code.txt")
    assert (lost.status, lost.out) == (1, "")
    assert "is withdrawn" in lost.err
    assert [item["status"] for item in json.loads(run("code", "list", "--all", "--json").out)] == ["withdrawn"]
    monkeypatch.setattr(os, "posix_fallocate", _full)
    assert run(*CREATE, "--out", "code.txt").err == "failed (file): code.txt: No space left on device.\n"
    assert len(json.loads(run("code", "list", "--all", "--json").out)) == 1
    assert _names(tmp_path) == set()
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLUIS_PKI_CONFIG", str(tmp_path / "pki.toml"))
    (tmp_path / "code.txt").symlink_to("elsewhere")
    assert "not overwritten" in run(*CREATE, "--out", "code.txt").err
    (tmp_path / "code.txt").unlink()
    assert run(*CREATE, "--out", "code.txt").status == 0
    assert stat.S_IMODE((tmp_path / "code.txt").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*ISSUE, "--csr", "/dev/zero", "--out", "a.pem"), "/dev/zero: expected a file"),
        ((*ISSUE, "--csr", "pipe", "--out", "a.pem"), "pipe: expected a file"),
        ((*ISSUE, "--csr", "large", "--out", "a.pem"), "request_malformed"),
        (("block-key", "--hashes", "/dev/zero"), "/dev/zero: expected a file"),
        (("block-key", "--hashes", "pipe"), "pipe: expected a file"),
        (("block-key", "--key", "/dev/zero"), "/dev/zero: expected a file"),
        (("block-key", "--key", "large"), "large: expected a file of at most"),
    ],
)
def test_files_that_never_end_or_never_begin_are_not_read(
    arguments: tuple[str, ...],
    said: str,
    run: Run,  # noqa: F811
    tmp_path: Path,
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"x" * 70_000)
    refused = run(*arguments)
    assert refused.status in {1, 2}
    assert said in refused.err
    assert _names(tmp_path) == {"pipe", "large"}


def test_the_desk_is_asked_nothing_when_the_place_is_taken(
    run: Run,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def never(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(CodeDesk, "create", never)
    (tmp_path / "code.txt").write_text("precious")
    assert run(*CREATE, "--out", "code.txt").status == 1
    assert run(*CREATE, "--out", "nowhere/code.txt").status == 1
    assert (tmp_path / "code.txt").read_text() == "precious"
