"""`python -m authz.policy.build`: compile, pack and sign the default bundle from `policies/`; `--check` for drift.

Specification: shared `spec/policy.md` and `architecture.md`, "OPA binary"; how it is signed without a private key in
the repository: docs/decisions/0040. Needs an `opa` and says so when there is none.

The content is reproducible: same sources, same OPA, same bytes. So a build that changes nothing writes nothing, and
the check is a comparison of content.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from authz.domain.clock import Clock, SystemClock
from authz.domain.errors import SluisError
from authz.domain.files import PUBLIC, write_whole
from authz.policy.archive import DATA, MANIFEST, SIGNATURES, WASM, BundleRefused, pack, unpack
from authz.policy.bundle import content_digest, manifest_bytes, verify_bundle
from authz.policy.default import BUNDLE_NAME, KEYS_NAME, load_keys
from authz.policy.engine import ENTRYPOINTS
from authz.policy.opa_binary import OPA_VERSION, checkout, run_opa
from authz.policy.signing import PemSigner, sign_files

KEY_VALIDITY = timedelta(days=5 * 365)
"""How long a default bundle may be loaded. Far longer than a release is kept in use, and not for ever."""
TEST_SUFFIX = "_test.rego"


def build_content(policies: Path, name: str) -> dict[str, bytes]:
    """Check and compile the policies of a folder.

    Args:
        policies: folder with the Rego files, `data/` and `schemas/`.
        name: of the bundle; it begins the revision.

    Returns:
        The files of the bundle, without a signature.

    Raises:
        OpaMissing: no fitting `opa`.
        OpaFailed: OPA refuses the policies.
        BundleRefused: OPA produced something that is no bundle of ours.
    """
    # OPA writes file names into the module: it runs in the folder, so that no path of this machine gets there.
    run_opa(["check", "--strict", "--bundle", "--schema", "schemas", "."], policies)
    with tempfile.TemporaryDirectory(prefix="sluis-policies-") as scratch:
        source = Path(scratch) / "source"
        for path in _sources(policies):
            target = source / path.relative_to(policies)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        out = Path(scratch) / "compiled.tar.gz"
        entrypoints = [argument for entrypoint in ENTRYPOINTS for argument in ("--entrypoint", entrypoint)]
        run_opa(["build", "--target", "wasm", *entrypoints, "--bundle", ".", "--output", str(out)], source)
        compiled = unpack(out.read_bytes())
        # The Rego in OPA's own output has lost its entrypoints to the module; a real OPA is given the sources whole.
        files = {str(path.relative_to(source)): path.read_bytes() for path in sorted(source.rglob("*.rego"))}
    files[DATA] = compiled[DATA]
    files[WASM] = compiled[WASM]
    digest = content_digest(files)
    # Not under `wasm` of the manifest: an OPA without a Wasm runtime refuses such a bundle (docs/decisions/0041).
    metadata = {"compiler": f"opa {OPA_VERSION}", "content": digest, "entrypoints": list(ENTRYPOINTS), "name": name}
    files[MANIFEST] = manifest_bytes(f"{name}-{digest[:16]}", metadata)
    return files


def _sources(policies: Path) -> list[Path]:
    """The Rego files without tests, and the data, in a stable order."""
    rego = [path for path in policies.rglob("*.rego") if not path.name.endswith(TEST_SUFFIX)]
    return sorted([*rego, *(policies / "data").rglob(DATA)])


def sign_once(files: Mapping[str, bytes], at: datetime) -> tuple[bytes, bytes]:
    """Sign with a key that exists for this one signature.

    Returns:
        The bundle, and the file of public keys (JSON) that verifies it.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    key_id = f"default-{content_digest(files)[:16]}"
    signer = PemSigner(key_id, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    not_before = at.replace(hour=0, minute=0, second=0, microsecond=0)
    described = {
        "key_id": key_id,
        "public_pem": public,
        "not_before": not_before.isoformat(),
        "not_after": (not_before + KEY_VALIDITY).isoformat(),
    }
    bundle = pack({**files, SIGNATURES: sign_files(files, signer)})
    return bundle, (json.dumps({"keys": [described]}, indent=2, sort_keys=True) + "\n").encode()


def is_current(files: Mapping[str, bytes], dist: Path, at: datetime) -> bool:
    """Whether the committed bundle verifies and holds exactly this content."""
    try:
        committed = (dist / BUNDLE_NAME).read_bytes()
        keys = load_keys((dist / KEYS_NAME).read_bytes())
        return verify_bundle(committed, keys, at).content == content_digest(files)
    except (OSError, BundleRefused):
        return False


def main(arguments: list[str] | None = None, clock: Clock | None = None) -> int:
    """Entry of `python -m authz.policy.build`.

    Returns:
        0 done or current, 1 drift, 2 the policies cannot be built.
    """
    parser = argparse.ArgumentParser(
        prog="python -m authz.policy.build", description="Build the default policy bundle."
    )
    parser.add_argument(
        "--check", action="store_true", help="change nothing; fail when the committed bundle is not current"
    )
    parser.add_argument("--policies", type=Path, default=checkout() / "policies", help="folder of the policies")
    options = parser.parse_args(arguments)
    now = (clock or SystemClock()).now()
    dist = options.policies / "dist"
    try:
        files = build_content(options.policies, "default")
    except SluisError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    revision = json.loads(files[MANIFEST])["revision"]
    if is_current(files, dist, now):
        sys.stdout.write(f"policies/dist is current: {revision}\n")
        return 0
    if options.check:
        sys.stderr.write("policies/dist is not what policies/ gives: run `make policies` and commit the result\n")
        return 1
    bundle, keys = sign_once(files, now)
    dist.mkdir(exist_ok=True)
    write_whole(dist / BUNDLE_NAME, bundle, PUBLIC)
    write_whole(dist / KEYS_NAME, keys, PUBLIC)
    sys.stdout.write(f"policies/dist written: {revision}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
