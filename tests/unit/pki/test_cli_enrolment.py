"""`pki code`, `pki block-key`, `pki enrol` and `pki reenrol` as people type them."""

import json
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import pki.cli_enrolment
from pki.codes import read_code
from pki.records import operator
from pki.requests import parse_request
from tests.fakes.certificates import FakeAuthority
from tests.fakes.domains import EXAMPLE, RunningDns
from tests.fakes.requests import request_der
from tests.unit.pki.test_cli import Run, run  # noqa: F401  a fixture

pytestmark = pytest.mark.parametrize("config", ["sqlite"], indirect=True)
CREATE = (
    *("code", "create", "--identity", "uzovi:5000", "--organization", "Zorgkantoor Test", "--kvk", "12345678"),
    *("--dns", "a.example.nl"),
)


def test_a_code_is_shown_once_and_never_again(run: Run) -> None:  # noqa: F811
    made = run(*CREATE)
    assert made.status == 0, made.err
    code = made.out.splitlines()[0].removeprefix("Code: ")
    read = read_code(code)
    assert read is not None
    for arguments in (("code", "list"), ("code", "list", "--all", "--json")):
        shown = run(*arguments).out
        assert read.selector in shown
        assert code not in shown
        assert read.secret not in shown
    assert json.loads(run("code", "list", "--json").out)[0]["dns_names"] == ["a.example.nl"]


def test_a_code_for_a_domain_that_is_not_secure_is_refused_with_what_to_repair(
    run: Run,  # noqa: F811
    domains: RunningDns,
) -> None:
    lapsed = {"name": "lapsed.nl", "records": {"pep": ["127.0.0.1"]}}
    create = (*CREATE, "--dns", "pep.lapsed.nl")
    domains.serve(EXAMPLE, lapsed | {"state": "unsigned"})
    try:
        plain = run(*create)
        assert (plain.status, plain.out) == (2, "")
        first, *rest = plain.err.splitlines()
        assert first.startswith("refused (domain_insecure): ")
        assert "pep.lapsed.nl is insecure: no DS at nl. for lapsed.nl." in rest[0]
        assert rest[1].startswith("    where: the registrar of lapsed.nl")
        assert rest[2].startswith("    to do: Sign lapsed.nl")
        assert "a.example.nl" not in plain.err
        told = run(*create, "--json")
        assert (told.status, told.err) == (2, plain.err)
        document = json.loads(told.out)
        assert document["refused"] == "domain_insecure"
        assert [(item["domain"], item["state"]) for item in document["domains"]] == [("pep.lapsed.nl", "insecure")]
        assert json.loads(run("code", "list", "--all", "--json").out) == []
        # A name that nobody published is another reason, and a domain that was repaired passes.
        assert "refused (domain_absent): " in run(*create[:-1], "pop.example.nl.example.org").err
        domains.serve(EXAMPLE, lapsed)
        assert run(*create).status == 0
    finally:
        domains.serve(EXAMPLE)


def test_revoking_a_party_names_the_codes_that_it_takes_along(run: Run) -> None:  # noqa: F811
    made = json.loads(run(*CREATE, "--json").out)
    told = run("revoke", "--identity", "uzovi:5000")
    assert (told.status, told.out) == (0, f"withdrew code {made['reference']} of uzovi:5000\n")
    again = run("revoke", "--identity", "uzovi:5000")
    assert (again.status, again.err.split(":")[0]) == (2, "refused (certificate_unknown)")
    more = json.loads(run(*CREATE, "--json").out)
    listed = json.loads(run("revoke", "--identity", "uzovi:5000", "--json").out)
    assert listed == [{"code": more["reference"], "identity": "uzovi:5000", "status": "withdrawn"}]


def test_a_code_in_a_file_of_its_owner(run: Run, tmp_path: Path) -> None:  # noqa: F811
    made = run(*CREATE, "--out", "code.txt", "--json")
    assert made.status == 0, made.err
    text = (tmp_path / "code.txt").read_text().strip()
    assert read_code(text) is not None
    assert text not in made.out
    assert (tmp_path / "code.txt").stat().st_mode & 0o077 == 0
    reference = json.loads(made.out)["reference"]
    assert run("code", "withdraw", reference.lower()).status == 0
    again = run(*CREATE, "--out", "code.txt")
    assert again.status == 1
    assert "not overwritten" in again.err
    assert (tmp_path / "code.txt").read_text().strip() == text


def test_two_operators_in_an_authority_that_asks_for_two(
    run: Run,  # noqa: F811
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config.write_text(config.read_text() + "\n[enrolment]\ntwo_person = true\n")
    made = run(*CREATE, "--json")
    reference = json.loads(made.out)["reference"]
    assert json.loads(made.out)["status"] == "pending"
    # The environment makes nobody another person.
    for name in ("LOGNAME", "USER", "SUDO_USER", "SUDO_UID"):
        monkeypatch.setenv(name, "1")
    own = run("code", "approve", reference)
    assert (own.status, own.out) == (2, "")
    assert own.err.startswith("refused (approver_is_creator): ")
    monkeypatch.setattr(pki.cli_enrolment, "operator", lambda: operator("bram"))
    assert run("code", "approve", reference).status == 0
    assert json.loads(run("code", "list", "--json").out)[0]["approved_by"] == "operator:bram"


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (("code", "approve", "hello"), 2, "code_unknown"),
        (("code", "approve", "00000000"), 2, "code_unknown"),
        (("code", "withdraw", "00000000"), 2, "code_unknown"),
        ((*CREATE, "--environment", "PRD"), 2, "parameter_malformed"),
        ((*CREATE[:3], "uzovi:0000", *CREATE[4:]), 2, "parameter_malformed"),
        ((*CREATE, "--dns", "*.example.nl"), 2, "request_malformed"),
        ((*CREATE, "--out", "nowhere/code.txt"), 1, "expected a folder"),
        (("block-key",), 2, "parameter_missing"),
        (("block-key", "--key", "pki.toml"), 2, "parameter_malformed"),
        (("block-key", "--key", "missing.pem"), 1, "missing.pem"),
        (("block-key", "--key", "pki.toml", "--why", "tired"), 2, "parameter_malformed"),
        (("reenrol", "--out-dir", "empty"), 1, "enrolment.json"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    arguments: tuple[str, ...],
    status: int,
    text: str,
    run: Run,  # noqa: F811
) -> None:
    result = run(*arguments)
    assert (result.status, result.out) == (status, "")
    assert text in result.err
    assert result.err.count("\n") == 1
    assert json.loads(run("code", "list", "--json").out) == []


def test_keys_are_blocked_from_certificates_requests_keys_and_lists(run: Run, tmp_path: Path) -> None:  # noqa: F811
    leaf = FakeAuthority().issue("uzovi:5000")
    (tmp_path / "a.pem").write_bytes(leaf.pem)
    public = leaf.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "b.pem").write_bytes(public)
    der = request_der()
    (tmp_path / "c.pem").write_bytes(x509.load_der_x509_csr(der).public_bytes(Encoding.PEM))
    blocked = run("block-key", *("--key", "a.pem"), *("--key", "b.pem"), *("--key", "c.pem"), "--json")
    assert json.loads(blocked.out) == {"blocked": 2, "revoked": []}
    (tmp_path / "list").write_text(f"# known\n\n{leaf.spki_sha256.upper()}\n{'0' * 64}\n")
    assert json.loads(run("block-key", "--hashes", "list", "--why", "published", "--json").out)["blocked"] == 1
    (tmp_path / "list").write_text(f"{'0' * 64}\n{'0' * 63}\n")
    broken = run("block-key", "--hashes", "list")
    assert broken.status == 2
    assert "line 2" in broken.err
    (tmp_path / "request.pem").write_bytes((tmp_path / "c.pem").read_bytes())
    issue = ("issue", "--identity", "uzovi:5000", "--organization", "Test", "--kvk", "12345678", "--out", "out.pem")
    refused = run(*issue, "--csr", "request.pem")
    assert (refused.status, refused.err.split(":")[0]) == (2, "refused (key_blocked)")
    assert parse_request(der).subject_key not in refused.err
    assert not (tmp_path / "out.pem").exists()


def test_production_asks_for_two_whatever_the_settings_say(
    run: Run,  # noqa: F811
    domains: RunningDns,
    tmp_path: Path,
) -> None:
    for name in ("root.pass", "issuing.pass"):
        (tmp_path / name).write_text("correct horse battery staple\n")
        (tmp_path / name).chmod(0o600)
    held = run(
        *("ceremony", "--out", "ca", "--organization", "Sluis", "--environment", "PRD"),
        *("--base-url", "http://pki.example.nl", "--root-passphrase-file", "root.pass"),
        *("--issuing-passphrase-file", "issuing.pass", "--leader", "Anna", "--witness", "Bram"),
    )
    assert held.status == 0, held.err
    settings = tmp_path / "ca" / "pki.toml"
    settings.write_text(settings.read_text() + "\n[enrolment]\ntwo_person = false\n" + domains.settings)
    made = json.loads(run(*CREATE, "--json", "--config", str(settings)).out)
    assert (made["environment"], made["status"]) == ("PRD", "pending")
    assert "pki code approve" in run(*CREATE[:3], "uzovi:6000", *CREATE[4:], "--config", str(settings)).out
