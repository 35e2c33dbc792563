"""The command line: one line and exit code 2 for a refusal, one JSON document for programs, a fast start."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from authz.cli import app
from tests.fakes.authorization_server import prepare
from tests.fakes.certificates import FakeAuthority
from tests.fakes.domains import RunningDns, running_dns

CIZ = {"name": "test.nl", "records": {"pep.ciz": ["127.0.0.1"]}}
PUBLISHED = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
JTI = "NjX5JcVXoKeYjaq1VRoLJA"


@pytest.fixture(scope="module")
def domains(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDns]:
    with running_dns(tmp_path_factory.mktemp("dns"), CIZ) as server:
        yield server


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, domains: RunningDns) -> Path:
    path = prepare(tmp_path_factory.mktemp("cli"), FakeAuthority())
    resolver = f'resolvers = ["{domains.resolver}"]\nanchors = "{domains.anchor}"'
    path.write_text(path.read_text().replace('resolvers = ["127.0.0.1:1"]', resolver))
    assert run(path, "keys", "init", "--json")[0] == 0
    return path


def run(config: Path, *arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, arguments, env={"SLUIS_AUTHZ_CONFIG": str(config)})
    return result.exit_code, result.stdout, result.stderr


def test_keys_are_made_once_and_listed(config: Path) -> None:
    first = json.loads(run(config, "keys", "init", "--json")[1])
    assert json.loads(run(config, "keys", "init", "--json")[1]) == first
    assert Path(first["bundle_key"]["public_key"]).read_text().startswith("-----BEGIN PUBLIC KEY")
    listed = json.loads(run(config, "keys", "list", "--json")[1])
    assert [(key["kid"], key["state"]) for key in listed["token_keys"]] == [(first["token_keys"][0], "signing")]
    assert {name: listed[name] for name in ("bundle_key", "checkpoint_key")} == {
        name: first[name] for name in ("bundle_key", "checkpoint_key")
    }
    shown = run(config, "keys", "list")[1]
    assert first["checkpoint_key"] in shown
    assert first["bundle_key"]["key_id"] in shown


def test_the_scheme_is_imported_once(config: Path) -> None:
    file = str(config.parent / "scheme.toml")
    first = json.loads(run(config, "scheme", "import", file, "--json")[1])
    second = json.loads(run(config, "scheme", "import", file, "--json")[1])
    assert [first[change] for change in ("added", "changed", "unchanged")] == [6, 0, 0]
    assert first["participants"][0]["id"] == "uzovi:5000"
    assert first["participants"][0]["fields"]["name"] == {"before": None, "after": "Zorgkantoor Test"}
    assert [second[change] for change in ("added", "changed", "unchanged")] == [0, 0, 6]


def test_a_typing_mistake_in_the_organization_type_is_refused(config: Path) -> None:
    file = config.parent / "mistyped.toml"
    text = (config.parent / "scheme.toml").read_text()
    file.write_text(text.replace('organization_type = "ZORGKANTOOR"', 'organization_type = "ZORGKANTOR"', 1))
    code, out, err = run(config, "scheme", "import", str(file))
    assert (code, out) == (1, "")
    assert "participants.0.organization_type" in err
    assert "ZORGAANBIEDER, ZORGKANTOOR" in err


def test_what_an_import_changes_is_told_before_and_after(config: Path) -> None:
    assert run(config, "scheme", "import", str(config.parent / "scheme.toml"))[0] == 0
    file = config.parent / "renamed.toml"
    file.write_text((config.parent / "scheme.toml").read_text().replace("Zorgkantoor Test", "Zorgkantoor Nieuw"))
    code, tried, _ = run(config, "scheme", "import", str(file), "--dry-run")
    assert (code, "changed    uzovi:5000\n" in tried) == (0, True)
    assert 'name: "Zorgkantoor Test" -> "Zorgkantoor Nieuw"' in tried
    assert tried.endswith("0 added, 1 changed, 5 unchanged; nothing was written\n")
    assert run(config, "scheme", "import", str(file))[1] == tried.replace("; nothing was written", "")
    assert run(config, "scheme", "import", str(config.parent / "scheme.toml"))[0] == 0


def test_a_service_at_a_domain_that_is_not_secure_is_refused_with_what_to_repair(
    config: Path, domains: RunningDns, tmp_path: Path
) -> None:
    scheme = (config.parent / "scheme.toml").read_text()
    file = config.parent / "other.toml"
    file.write_text(scheme.replace("pep.ciz.test.nl", "pep.lapsed.nl").replace("/v2/graphql", "/v3/graphql"))
    lapsed = {"name": "lapsed.nl", "records": {"pep": ["127.0.0.1"]}}
    domains.serve(CIZ, lapsed | {"state": "wrong-ds"})
    code, out, err = run(config, "scheme", "import", str(file))
    assert (code, out) == (2, "")
    first, *rest = err.splitlines()
    assert first.startswith("refused (domain_bogus): ")
    assert rest[0].startswith("  pep.lapsed.nl is bogus: the DS at nl. for lapsed.nl.")
    assert rest[1].startswith("    where: the registrar of lapsed.nl")
    assert rest[2].startswith("    to do: Replace the DS")
    code, out, told = run(config, "scheme", "import", str(file), "--json")
    assert (code, told) == (2, err)
    document = json.loads(out)
    assert (document["refused"], document["domains"][0]["domain"]) == ("domain_bogus", "pep.lapsed.nl")
    # A domain that was repaired passes.
    domains.serve(CIZ, lapsed)
    assert run(config, "scheme", "import", str(file), "--json")[0] == 0


def test_a_token_is_revoked(config: Path) -> None:
    first = json.loads(run(config, "revoke", "jti", JTI, "--json")[1])
    second = json.loads(run(config, "revoke", "grant", "g1", "--until", "2999-01-01T00:00:00Z", "--json")[1])
    assert second["version"] > first["version"]


def test_a_token_key_is_withdrawn_with_its_replacement_and_once(config: Path) -> None:
    (kid,) = [key["kid"] for key in json.loads(run(config, "keys", "list", "--json")[1])["token_keys"]]
    code, out, err = run(config, "keys", "withdraw", kid)
    assert (code, out, "--replace" in err) == (2, "", True)
    done = json.loads(run(config, "keys", "withdraw", kid, "--replace", "--json")[1])
    states = {key["kid"]: key["state"] for key in json.loads(run(config, "keys", "list", "--json")[1])["token_keys"]}
    assert states == {kid: "withdrawn", done["replaced_by"]: "signing"}
    assert run(config, "keys", "withdraw", kid, "--replace")[0] == 2


def test_a_value_that_begins_with_a_hyphen_is_no_option(config: Path) -> None:
    code, _, err = run(config, "keys", "withdraw", f"-{'a' * 42}")
    assert (code, "there is no token key with this key id" in err) == (2, True)
    assert run(config, "revoke", "credential", f"-{'A' * 42}", "--json")[0] == 0
    # Near miss: an option that was typed wrongly beside a value is no value.
    code, _, err = run(config, "keys", "withdraw", "a" * 43, "--replcae")
    assert (code, "--replcae" in err) == (2, True)


def test_before_there_are_keys_it_says_how_to_make_them(tmp_path: Path) -> None:
    path = prepare(tmp_path, FakeAuthority())
    code, out, err = run(path, "keys", "list")
    assert (code, out, "authz keys init" in err) == (1, "", True)


def test_the_settings_are_named_in_the_same_place_for_every_command(config: Path) -> None:
    for arguments in (("audit", "list", "--config", str(config)), ("audit", "--config", str(config), "list")):
        result = CliRunner().invoke(app, arguments, env={"SLUIS_AUTHZ_CONFIG": "absent.toml"})
        assert result.exit_code == 0, result.stderr
    assert CliRunner().invoke(app, ["audit", "list"], env={"SLUIS_AUTHZ_CONFIG": "absent.toml"}).exit_code == 1


def test_an_export_is_verified_where_there_are_no_settings(tmp_path: Path) -> None:
    arguments = ["audit", "verify", "--export", str(tmp_path / "no-such-file"), "--key", PUBLISHED]
    result = CliRunner().invoke(app, arguments, env={"SLUIS_AUTHZ_CONFIG": "absent.toml"})
    assert "no-such-file" in result.stderr


def test_the_policies_get_a_new_number(config: Path) -> None:
    assert json.loads(run(config, "policies", "renew", "--json")[1]) == {"renewed": True}


def test_the_log_is_read(config: Path) -> None:
    code, out, _ = run(config, "audit", "list", "--json")
    assert code == 0
    assert "key.rotate" in out


@pytest.mark.parametrize(
    "arguments",
    [
        ("revoke", "jti", "short"),
        ("revoke", "credential", JTI),
        ("revoke", "jti", JTI, "--until", "tomorrow"),
        ("revoke", "jti", JTI, "--until", "9999-12-31T23:59:59-14:00"),
        ("revoke", "jti", JTI, "--until", "2020-01-01T00:00:00Z"),
        ("audit", "list", "--below", "99999999999999999999"),
    ],
)
def test_a_refusal_is_one_line_and_exit_code_2(config: Path, arguments: tuple[str, ...]) -> None:
    code, out, err = run(config, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)


def test_what_cannot_be_done_is_one_line_and_exit_code_1(config: Path, tmp_path: Path) -> None:
    code, out, err = run(config, "scheme", "import", "absent.toml")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "absent.toml" in err
    taken = tmp_path / "log.jsonl"
    taken.write_text("precious")
    code, out, err = run(config, "audit", "export", str(taken))
    assert (code, out, err) == (1, "", f"failed (file): {taken}: File exists.\n")
    assert taken.read_text() == "precious"


def test_settings_with_problems_are_refused_with_all_of_them(tmp_path: Path) -> None:
    path = tmp_path / "authz.toml"
    path.write_text('environment = "DEV"\nissuer = "https://authz.nl/"\n[listen]\nport = 0\nextra = 1\n')
    for arguments in (("serve",), ("keys", "list"), ("audit", "list")):
        code, _, err = run(path, *arguments)
        assert code == 1
        for key in ("environment", "issuer", "listen.port", "listen.extra", "certificate", "clients", "keys", "dnssec"):
            assert f"  {key}:" in err


def test_nothing_heavy_is_imported_for_help() -> None:
    program = (
        "import sys; import authz.cli; "
        "print([name for name in ('litestar', 'sqlalchemy', 'wasmtime', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
