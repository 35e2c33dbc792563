"""The real OPA beside our bundles: its tests, its signatures, its hashes, its builds."""

import base64
import json
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema_rs
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from authz.policy.archive import SIGNATURES, pack, unpack
from authz.policy.build import build_content, is_current, main
from authz.policy.bundle import BundleKey, content_digest, sign_bundle, verify_bundle
from authz.policy.default import default_bundle
from authz.policy.opa_binary import OpaFailed, run_opa
from authz.policy.signing import PemSigner, file_hash
from authz.policy.wasm import WasmEngine
from tests.contract.policy_cases import base

POLICIES = Path(__file__).parents[2] / "policies"
NOW = datetime.now(UTC)
pytestmark = pytest.mark.usefixtures("opa")


class Keys:
    """A signing key as files and as values."""

    def __init__(self, folder: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self.private, self.public = folder / "private.pem", folder / "public.pem"
        self.private.write_bytes(private)
        self.public.write_bytes(public)
        self.signer = PemSigner("k1", private)
        self.key = BundleKey("k1", public.decode(), NOW - timedelta(days=1), NOW + timedelta(days=1))


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


def opa_verifies(bundle: bytes, keys: Keys, folder: Path, opa: Path) -> bool:
    (folder / "signed.tar.gz").write_bytes(bundle)
    command = [str(opa), "build", "--bundle", "signed.tar.gz", "--output", "out.tar.gz"]
    command += ["--verification-key", str(keys.public), "--verification-key-id", "k1", "--signing-alg", "ES256"]
    return subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode == 0


def test_the_policies_pass_their_own_tests_with_full_coverage() -> None:
    run_opa(["test", "--bundle", "."], POLICIES)
    report = json.loads(run_opa(["test", "--bundle", ".", "--coverage"], POLICIES))
    missed = {name: file["not_covered"] for name, file in report["files"].items() if file.get("not_covered")}
    assert not missed
    assert report["coverage"] >= 99


def test_the_policies_are_formatted() -> None:
    assert run_opa(["fmt", "--list", "."], POLICIES) == ""


def test_the_committed_bundle_is_what_the_policies_give() -> None:
    first, second = build_content(POLICIES, "default"), build_content(POLICIES, "default")
    assert first == second
    assert pack(first) == pack(second)
    assert is_current(first, POLICIES / "dist", NOW)
    assert main(["--check"]) == 0


def test_a_changed_policy_is_drift(tmp_path: Path) -> None:
    files = build_content(POLICIES, "default")
    files["lib/scopes.rego"] += b"# one more line\n"
    assert not is_current(files, POLICIES / "dist", NOW)


def test_a_bundle_signed_here_verifies_in_opa(keys: Keys, tmp_path: Path, opa: Path) -> None:
    assert opa_verifies(sign_bundle(default_bundle(), keys.signer), keys, tmp_path, opa)


def test_an_altered_bundle_verifies_nowhere(keys: Keys, tmp_path: Path, opa: Path) -> None:
    files = unpack(sign_bundle(default_bundle(), keys.signer))
    files["token/decision.rego"] = files["token/decision.rego"].replace(
        b"default allow := false", b"default allow := true"
    )
    assert not opa_verifies(pack(files), keys, tmp_path, opa)


def test_a_bundle_signed_by_opa_verifies_here(keys: Keys, tmp_path: Path) -> None:
    files = {name: content for name, content in unpack(default_bundle()).items() if name != SIGNATURES}
    source = tmp_path / "source"
    for name, content in files.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)
    (tmp_path / "claims.json").write_text('{"keyid": "k1"}')
    signing = ["--signing-key", str(keys.private), "--signing-alg", "ES256", "--claims-file", "../claims.json"]
    run_opa(["sign", "--bundle", ".", *signing, "--output-file-path", "."], source)
    signed = pack({**files, SIGNATURES: (source / SIGNATURES).read_bytes()})
    verified = verify_bundle(signed, [keys.key], NOW)
    assert verified.content == content_digest(files)
    assert WasmEngine(verified).entrypoints == ("access/decision", "token/decision")


def test_json_files_hash_as_opa_hashes_them(keys: Keys, tmp_path: Path) -> None:
    odd = r'{"b": [1.0, 1, 1e3, -0, 12345678901234567890, 0.1e-7],'
    odd += r'"a": {"é": "<&>\u2028\u2029\u0001\b\f\"\\/", "": null},'
    odd += r'"z": [true, false, [], {}, "\ud83d\ude00", ""]}'
    source = tmp_path / "source"
    source.mkdir()
    (source / "data.json").write_text(odd, encoding="utf-8")
    run_opa(["sign", "--bundle", ".", "--signing-key", str(keys.private), "--signing-alg", "ES256", "-o", "."], source)
    token = json.loads((source / SIGNATURES).read_text())["signatures"][0]
    payload = token.split(".")[1]
    (entry,) = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["files"]
    assert entry["hash"] == file_hash("data.json", odd.encode())


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("access/rules/wlzindicatieregister/ira0001.rego", "input.context.purpose_of_use", "input.context.purpose"),
        ("token/decision.rego", "input.audience.environment", "input.audience.env"),
    ],
)
def test_a_misspelt_member_of_the_input_is_found_by_the_schema(tmp_path: Path, file: str, old: str, new: str) -> None:
    copied = tmp_path / "policies"
    shutil.copytree(POLICIES, copied)
    path = copied / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(OpaFailed, match="undefined ref"):
        build_content(copied, "default")


def test_the_documents_of_the_cases_fit_the_schemas() -> None:
    for name, schema in (("indication", "access"), ("mediation", "access"), ("token", "token")):
        document = json.loads((POLICIES / "schemas" / f"{schema}.json").read_text())
        assert jsonschema_rs.is_valid(document, base(name))
        assert not jsonschema_rs.is_valid(document, {**base(name), "more": 1})
