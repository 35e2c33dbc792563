"""`pki code`, `pki block-key`, `pki enrol` and `pki reenrol` as people type them."""

import io
import json
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import pki.cli.enrolment
from pki.audit.records import operator
from pki.enrolment.codes import read_code
from pki.enrolment.requests import parse_request
from tests.fakes.certificates import FakeAuthority
from tests.fakes.domains import EXAMPLE, RunningDns
from tests.fakes.requests import request_der
from tests.unit.pki.cli.test_main import Run, run  # noqa: F401  a fixture

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


class Terminal(io.StringIO):
    """Somebody who types."""

    def isatty(self) -> bool:
        return True


def new_operators(run: Run, tmp_path: Path, settings: Path) -> dict[str, tuple[str, ...]]:  # noqa: F811
    """Anna and Bram make their keys, and an administrator adds what was printed; the options of each."""
    options: dict[str, tuple[str, ...]] = {}
    for name in ("anna", "bram"):
        (tmp_path / f"{name}.pass").write_text(f"the passphrase of {name}\n")
        (tmp_path / f"{name}.pass").chmod(0o600)
        secret = ("--operator-passphrase-file", f"{name}.pass")
        made = run("operator", "new", name, "--out", f"{name}.pem", *secret)
        assert made.status == 0, made.err
        settings.write_text(f"{settings.read_text()}\n{made.out}\n")
        assert (tmp_path / f"{name}.pem").stat().st_mode & 0o077 == 0
        assert b"BEGIN ENCRYPTED PRIVATE KEY" in (tmp_path / f"{name}.pem").read_bytes()
        options[name] = ("--operator-key", f"{name}.pem", *secret)
    return options


def test_two_operators_in_an_authority_that_asks_for_two(
    run: Run,  # noqa: F811
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config.write_text(config.read_text() + "\n[enrolment]\ntwo_person = true\n")
    nobody = run(*CREATE)
    assert (nobody.status, nobody.err.split(":")[0]) == (2, "refused (operator_key_required)")
    keys = new_operators(run, tmp_path, config)
    made = run(*CREATE, "--json", *keys["anna"])
    reference, first = json.loads(made.out)["reference"], json.loads(made.out)["first_half"]
    assert (json.loads(made.out)["status"], "code" in json.loads(made.out)) == ("pending", False)
    # Neither the environment nor another account makes somebody another person.
    for name in ("LOGNAME", "USER", "SUDO_USER", "SUDO_UID"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setattr(pki.cli.enrolment, "operator", lambda: operator("bram"))
    own = run("code", "approve", reference, *keys["anna"])
    assert (own.status, own.out) == (2, "")
    assert own.err.startswith("refused (approver_is_creator): ")
    assert run("code", "approve", reference).err.startswith("refused (operator_key_required): ")
    wrong = run("code", "approve", reference, *keys["bram"][:3], "anna.pass")
    assert (wrong.status, wrong.err.split(":")[0]) == (1, "failed (signer)")
    assert run("operator", "verify", reference).err.startswith("refused (two_persons_required): ")
    # Nobody is there to read and agree; then somebody is, and says another thing than yes; then a hash that is another.
    read = json.loads(made.out)["statement"]
    assert json.loads(run("code", "list", "--json").out)[0]["statement"] == read
    approve = ("code", "approve", reference, *keys["bram"])
    alone = run(*approve)
    assert (alone.status, alone.out) == (2, "")
    assert "refused (parameter_missing): --statement" in alone.err
    assert run(*approve, "--statement", "0" * 64).err.startswith("refused (statement_differs): ")
    monkeypatch.setattr("sys.stdin", Terminal("ok\n"))
    assert run(*approve).status == 2
    assert json.loads(run("code", "list", "--json").out)[0]["status"] == "pending"
    monkeypatch.setattr("sys.stdin", Terminal("yes\n"))
    done = run(*approve)
    assert done.status == 0, done.err
    for said in ("uzovi:5000", "Zorgkantoor Test", "12345678", "a.example.nl", read):
        assert said in done.err
    # Each operator is shown his half, once, and never the other's.
    second = done.out.splitlines()[1].removeprefix("Second half: ")
    whole = read_code(f"{first}\n{second}")
    assert whole is not None
    assert (whole.selector, whole.second is None) == (reference, False)
    for shown in (done, run("code", "list", "--all", "--json"), run("operator", "verify", reference)):
        assert first not in shown.out + shown.err
        assert whole.secret not in shown.out + shown.err
    assert second not in run("code", "list", "--all", "--json").out
    assert json.loads(run("code", "list", "--json").out)[0]["approved_by"] == "operator-key:bram"
    told = json.loads(run("operator", "verify", reference, "--json").out)
    assert [(item["act"], item["operator"]) for item in told["vouched"]] == [
        ("code_create", "anna"),
        ("code_approve", "bram"),
    ]


def test_operators_do_their_work_without_the_key_of_the_authority(run: Run, config: Path, tmp_path: Path) -> None:  # noqa: F811
    keys = new_operators(run, tmp_path, config)
    whole = config.read_text() + "\n[enrolment]\ntwo_person = true\n"
    without = "\n".join(
        'passphrase_file = "nowhere.pass"' if line.startswith("passphrase_file")
        else 'key = "nowhere.pem"' if line.startswith("key ")
        else line
        for line in whole.splitlines()
    )  # fmt: skip
    assert without.count("nowhere") == 2
    # They are there, but not for this user.
    for name in ("nowhere.pem", "nowhere.pass"):
        (tmp_path / name).write_text("not yours")
        (tmp_path / name).chmod(0o600)
    config.write_text(without)
    made = json.loads(run(*CREATE, "--out", "code.txt", "--json", *keys["anna"]).out)
    # What the authority could not certify is still found here.
    twice = ("--dns", "twice.example.nl") * 2
    assert run(*CREATE, *twice, *keys["anna"]).err.startswith("refused (request_malformed): ")
    approve = ("code", "approve", made["reference"], "--statement", made["statement"], "--out", "second.txt")
    (tmp_path / "second.txt").write_text("precious")
    assert "not overwritten" in run(*approve, *keys["bram"]).err
    assert json.loads(run("code", "list", "--json").out)[0]["status"] == "pending"
    (tmp_path / "second.txt").unlink()
    approved = run(*approve, *keys["bram"])
    assert approved.status == 0, approved.err
    half = (tmp_path / "second.txt").read_text()
    assert half.strip() not in approved.out
    assert (tmp_path / "second.txt").stat().st_mode & 0o077 == 0
    assert json.loads(run("code", "list", "--json").out)[0]["status"] == "ready"
    (tmp_path / "code.txt").write_text((tmp_path / "code.txt").read_text() + half)
    issue = ("issue", "--identity", "uzovi:5000", "--code", "code.txt", "--new-key", "a.key", "--out", "a.pem")
    assert run(*issue).err.startswith("failed (signer): ")
    assert run("block-key", "--key", "missing.pem").status == 1
    config.write_text(whole)
    assert run(*issue).status == 0
    config.write_text(without)
    other = (*CREATE[:3], "uzovi:6000", *CREATE[4:])
    second = json.loads(run(*other, "--json", *keys["anna"]).out)
    assert run("code", "withdraw", second["reference"]).status == 0


def test_one_name_or_one_key_is_one_operator(run: Run, config: Path, tmp_path: Path) -> None:  # noqa: F811
    new_operators(run, tmp_path, config)
    before = config.read_text()
    first, second = (line for line in before.splitlines() if line.startswith("public_key"))
    for changed in (before.replace(second, first), before.replace('"bram"', '"anna"')):
        config.write_text(changed)
        assert "operators: expected a different" in run("operator", "list").err
    config.write_text(before.replace(second, 'public_key = "AAAA"'))
    assert "pki operator new" in run("operator", "list").err
    config.write_text(before)
    assert [item["name"] for item in json.loads(run("operator", "list", "--json").out)["operators"]] == ["anna", "bram"]
    again = run("operator", "new", "anna", "--out", "anna.pem", "--operator-passphrase-file", "anna.pass")
    assert (again.status, again.out) == (1, "")
    bad = run("operator", "new", "Anna!", "--out", "new.pem", "--operator-passphrase-file", "anna.pass")
    assert (bad.status, (tmp_path / "new.pem").exists()) == (2, False)


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (("code", "approve", "hello"), 2, "code_unknown"),
        (("code", "approve", "00000000"), 2, "code_unknown"),
        (("code", "withdraw", "00000000"), 2, "code_unknown"),
        ((*CREATE, "--environment", "PRD"), 2, "parameter_malformed"),
        ((*CREATE[:3], "uzovi:0000", *CREATE[4:]), 2, "parameter_malformed"),
        ((*CREATE, "--dns", "*.example.nl"), 2, "parameter_malformed"),
        ((*CREATE, "--dns", "b.example.nl", "--dns", "b.example.nl"), 2, "request_malformed"),
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
        (tmp_path / name).write_text(f"correct horse battery staple of {name}\n")
        (tmp_path / name).chmod(0o600)
    held = run(
        *("ceremony", "--out", "ca", "--organization", "Sluis", "--environment", "PRD"),
        *("--base-url", "http://pki.example.nl", "--root-passphrase-file", "root.pass"),
        *("--issuing-passphrase-file", "issuing.pass", "--leader", "Anna", "--witness", "Bram"),
    )
    assert held.status == 0, held.err
    settings = tmp_path / "ca" / "pki.toml"
    settings.write_text(settings.read_text() + "\n[enrolment]\ntwo_person = false\n" + domains.settings)
    at = ("--config", str(settings))
    keys = new_operators(run, tmp_path, settings)
    # One operator alone, at each door.
    assert run(*CREATE, *at).err.startswith("refused (operator_key_required): ")
    issue = ("issue", *CREATE[2:], "--new-key", "key.pem", "--out", "chain.pem", *at)
    assert run(*issue).err.startswith("refused (two_persons_required): ")
    made = json.loads(run(*CREATE, "--out", "code.txt", "--json", *keys["anna"], *at).out)
    assert (made["environment"], made["status"]) == ("PRD", "pending")
    with_code = (*issue[:3], "--code", "code.txt", *issue[-6:])
    assert run(*with_code).err.startswith("refused (code_unapproved): ")
    assert run("code", "approve", made["reference"], *keys["anna"], *at).status == 2
    agreed = ("--statement", made["statement"], "--out", "second.txt")
    assert run("code", "approve", made["reference"], *agreed, *keys["bram"], *at).status == 0
    # The first operator alone, after an honest approval; and the second.
    first, second = ((tmp_path / name).read_text() for name in ("code.txt", "second.txt"))
    assert run(*with_code).err.startswith("refused (code_incomplete): This code is the first of two halves")
    (tmp_path / "code.txt").write_text(second)
    assert run(*with_code).err.startswith("refused (code_invalid): ")
    (tmp_path / "code.txt").write_text(first + second)
    # The code says who and what; the command may only repeat it.
    other = (*with_code[:3], "--dns", "b.example.nl", *with_code[3:])
    assert run(*other).err.startswith("refused (parameter_malformed): --dns")
    assert run("issue", "--identity", "uzovi:6000", *with_code[3:]).err.startswith("refused (code_other_identity): ")
    assert not (tmp_path / "key.pem").exists()
    issued = run(*with_code)
    assert issued.status == 0, issued.err
    # A renewal with the same key and names is one act; anything else is for two.
    out = ("--out", "renewed.pem", *at)
    for more in (("--new-key", "new.pem"), ("--new-key", "new.pem", "--dns", "b.example.nl")):
        alone = run("renew", "--identity", "uzovi:5000", *more, *out)
        assert alone.err.startswith("refused (two_persons_required): ")
    again = run(*CREATE, *keys["anna"], *at)
    assert again.err.startswith("refused (identity_has_certificate): ")
    renewal = (*CREATE, "--dns", "b.example.nl", "--renewal", "--out", "renewal.txt", "--json", *keys["anna"], *at)
    renewing = json.loads(run(*renewal).out)
    agree = ("--statement", renewing["statement"], "--json")
    done = json.loads(run("code", "approve", renewing["reference"], *agree, *keys["bram"], *at).out)
    (tmp_path / "renewal.txt").write_text((tmp_path / "renewal.txt").read_text() + done["second_half"])
    wrong = run(
        "issue", "--identity", "uzovi:5000", "--code", "renewal.txt", "--new-key", "x.pem", "--out", "x.crt", *at
    )
    assert wrong.err.startswith("refused (parameter_malformed): --code: this one is for `pki renew`.")
    renewed = run("renew", "--identity", "uzovi:5000", "--code", "renewal.txt", "--new-key", "new.pem", *out, "--json")
    assert renewed.status == 0, renewed.err
    assert json.loads(renewed.out)["dns_names"] == ["a.example.nl", "b.example.nl"]
    checked = json.loads(run("operator", "verify", renewing["reference"], "--json", *at).out)
    assert checked["certificate"] == json.loads(renewed.out)["reference"]
