"""The command line as an operator uses it; what is refused is said in one line, never as a traceback."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from pki.cli.main import main
from tests.fakes.domains import RunningDns

ROOT = Path(__file__).parents[4]
pytestmark = pytest.mark.parametrize("config", ["sqlite"], indirect=True)


@dataclass(frozen=True)
class Ran:
    status: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(
    config: Path,
    domains: RunningDns,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Run:
    config.write_text(config.read_text() + domains.settings)
    monkeypatch.setenv("SLUIS_PKI_CONFIG", str(config))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["pki", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Ran(int(caught.value.code or 0), captured.out, captured.err)

    return run


ISSUE = (
    *("issue", "--identity", "uzovi:5000", "--organization", "Zorgkantoor Test", "--kvk", "12345678"),
    *("--dns", "a.example.nl"),
)


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--organization", "", '--organization "": not a name: expected 1 to 64 printable characters'),
        ("--organization", "x" * 65, f'--organization "{"x" * 65}": not a name: expected 1 to 64'),
        ("--organization", "\x1b[31m", '--organization "\\u001b[31m": not a name'),
        ("--organization", "a" * 300, f'--organization "{"a" * 80}...": not a name'),
        ("--kvk", "00000000", '--kvk "00000000": not a KvK number: eight zeros are the number of nobody'),
        ("--kvk", "1234567", '--kvk "1234567": not a KvK number: expected eight digits'),
        ("--dns", "B.example.nl", '--dns "B.example.nl": not a DNS name: expected lower-case'),
        ("--dns", "127.0.0.1", '--dns "127.0.0.1": not a DNS name: expected the name of a host and not its IP address'),
        ("--identity", "agbcode:076543210", '--identity "agbcode:076543210": not a well-formed AGB'),
        ("--identity", "agbcode:076543210", "expected 8 digits"),
        ("--identity", "uzovi", '--identity "uzovi": not a subject identifier: expected <kind>:<value>'),
    ],
)
def test_what_is_vetted_wrongly_is_told_with_option_value_and_expectation(
    run: Run, tmp_path: Path, option: str, value: str, said: str
) -> None:
    vetted = ("--identity", "uzovi:5000", "--organization", "Test", "--kvk", "12345678", "--dns", "a.example.nl")
    for command in (("issue", "--new-key", "a.key", "--out", "a.pem"), ("code", "create")):
        done = run(*command, *vetted, option, value)
        assert (done.status, said in done.err, done.err.count("\n")) == (2, True, 1), done.err
    assert not (tmp_path / "a.key").exists()


def test_a_call_without_request_or_key_is_wrong(run: Run) -> None:
    for more in ((), ("--new-key", "a.key", "--csr", "a.csr")):
        done = run(*ISSUE, *more, "--out", "a.pem")
        assert (done.status, "expected either --csr or --new-key" in done.err) == (2, True)


def test_issue_renew_revoke_and_list(run: Run, tmp_path: Path) -> None:
    issued = run(*ISSUE, "--new-key", "a.key", "--out", "a.pem", "--json")
    assert issued.status == 0, issued.err
    shown = json.loads(issued.out)
    leaf, issuer = x509.load_pem_x509_certificates((tmp_path / "a.pem").read_bytes())
    leaf.verify_directly_issued_by(issuer)
    assert f"{leaf.serial_number:x}" == shown["serial_number"]
    key = load_pem_private_key((tmp_path / "a.key").read_bytes(), None)
    assert key.public_key() == leaf.public_key()
    assert (tmp_path / "a.key").stat().st_mode & 0o077 == 0

    again = run(*ISSUE, "--new-key", "b.key", "--out", "b.pem")
    assert (again.status, again.out) == (2, "")
    assert again.err.startswith("refused (identity_has_certificate): ")
    assert again.err.count("\n") == 1
    assert not (tmp_path / "b.pem").exists()
    assert not (tmp_path / "b.key").exists()

    assert run("renew", "--identity", "uzovi:5000", "--new-key", "a.key", "--out", "a.pem").status == 0
    assert x509.load_pem_x509_certificates((tmp_path / "a.pem").read_bytes())[0].serial_number != leaf.serial_number
    revoked = run("revoke", "--identity", "uzovi:5000", "--reason", "cessationOfOperation", "--json")
    assert [item["status"] for item in json.loads(revoked.out)] == ["revoked", "revoked"]
    assert [item["status"] for item in json.loads(run("list", "--json").out)] == ["revoked", "revoked"]
    assert "uzovi:5000" in run("list").out


def test_no_certificate_for_a_name_that_is_proven_not_to_exist_and_no_file_either(run: Run, tmp_path: Path) -> None:
    arguments = (*ISSUE, "--dns", "a.example.org", "--new-key", "a.key", "--out", "a.pem", "--json")
    result = run(*arguments)
    assert result.status == 2
    assert json.loads(result.out)["refused"] == "domain_absent"
    assert result.err.startswith("refused (domain_absent): ")
    assert not (tmp_path / "a.pem").exists()
    assert not (tmp_path / "a.key").exists()
    assert json.loads(run("list", "--json").out) == []
    assert run(*ISSUE, "--new-key", "a.key", "--out", "a.pem").status == 0
    # A renewal asks nothing about names of before, and everything about others.
    other = run("renew", "--identity", "uzovi:5000", "--dns", "a.example.org", "--new-key", "a.key", "--out", "a.pem")
    assert other.err.startswith("refused (domain_absent): ")
    assert run("renew", "--identity", "uzovi:5000", "--new-key", "a.key", "--out", "a.pem").status == 0


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (("revoke", "--identity", "uzovi:5000"), 2, "certificate_unknown"),
        (("revoke", "--identity", "uzovi:5000", "--reason", "tired"), 2, "parameter_malformed"),
        (("revoke",), 2, "parameter_missing"),
        (("revoke", "--serial", "abc"), 2, "certificate_unknown"),
        (("renew", "--identity", "uzovi:5000", "--new-key", "k", "--out", "c"), 2, "certificate_unknown"),
        (("renew", "--identity", "agbcode:00000000", "--new-key", "k", "--out", "c"), 2, "parameter_malformed"),
        ((*ISSUE, "--out", "c.pem"), 2, "either --csr or --new-key"),
        ((*ISSUE, "--new-key", "k", "--out", "nowhere/c.pem"), 1, "expected a folder"),
        ((*ISSUE, "--csr", "missing.csr", "--out", "c.pem"), 1, "missing.csr"),
        ((*ISSUE, "--environment", "PRD", "--new-key", "k", "--out", "c.pem"), 2, "parameter_malformed"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    arguments: tuple[str, ...],
    status: int,
    text: str,
    run: Run,
    tmp_path: Path,
) -> None:
    result = run(*arguments)
    assert result.status == status
    assert text in result.err
    assert not list(tmp_path.glob("*.pem"))
    assert not (tmp_path / "k").exists()


def test_files_that_exist_are_not_overwritten_by_issue(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.key").write_text("precious")
    result = run(*ISSUE, "--new-key", "a.key", "--out", "a.pem")
    assert result.status == 1
    assert (tmp_path / "a.key").read_text() == "precious"
    assert json.loads(run("list", "--json").out) == []


def test_wrong_settings_are_all_listed_at_once(run: Run, config: Path) -> None:
    config.write_text(config.read_text().replace("port =", "prot =") + "\n[crl]\nlife_minutes = 20\n")
    result = run("list")
    assert result.status == 1
    assert all(word in result.err for word in ("publication.port", "publication.prot", "crl"))


def test_a_ceremony_overwrites_nothing_and_protects_its_keys(run: Run, tmp_path: Path) -> None:
    for name in ("root.pass", "issuing.pass"):
        (tmp_path / name).write_text("correct horse battery staple\n")
        (tmp_path / name).chmod(0o600)
    hold = (
        *("ceremony", "--out", "ca", "--organization", "Sluis", "--environment", "ACC"),
        *("--base-url", "http://pki.example.nl", "--root-passphrase-file", "root.pass"),
        *("--issuing-passphrase-file", "issuing.pass"),
    )
    assert run(*hold).status == 0
    folder = tmp_path / "ca"
    for name in ("root.key.pem", "issuing-acc.key.pem"):
        content = (folder / name).read_bytes()
        assert b"ENCRYPTED" in content
        assert (folder / name).stat().st_mode & 0o077 == 0
        with pytest.raises((ValueError, TypeError)):
            load_pem_private_key(content, b"another passphrase")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    again = run(*hold)
    assert again.status == 1
    assert "overwrites nothing" in again.err
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    # The settings that it wrote work as they are.
    assert run("list", "--config", "ca/pki.toml").status == 0
    (tmp_path / "issuing.pass").chmod(0o644)
    assert "chmod 600" in run("block-key", "--key", "ca/root.crt", "--config", "ca/pki.toml").err


def test_help_imports_nothing_slow(config: Path) -> None:
    slow = ("sqlalchemy", "cryptography", "httpx", "alembic")
    code = f"import sys, pki.cli; print([name for name in {slow} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "[]"
