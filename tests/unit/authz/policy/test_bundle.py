"""Bundles that are signed well and still may not be used."""

import json
from datetime import timedelta
from typing import Any

import pytest

from authz.policy.archive import SIGNATURES, BundleRefused, pack, unpack
from authz.policy.bundle import content_digest, sign_bundle, verify_bundle
from tests.fakes.bundles import NOW, SigningParty, content, signed

US = SigningParty()


def verify(files: dict[str, bytes]) -> Any:
    return verify_bundle(signed(files, US), [US.key()], NOW)


def manifest(**changes: Any) -> dict[str, bytes]:
    fields = {**json.loads(content()[".manifest"]), **changes}
    return content({".manifest": json.dumps({k: v for k, v in fields.items() if v is not ...}).encode()})


def test_a_good_bundle_is_accepted() -> None:
    archive = signed(content(), US)
    bundle = verify_bundle(archive, [US.key()], NOW)
    assert (bundle.revision, bundle.key_id) == ("r-1", "k1")
    assert bundle.data == content()["data.json"]
    assert bundle.content == content_digest(content())
    assert bundle.etag == verify_bundle(archive, [US.key()], NOW).etag


def test_signing_anew_replaces_the_signature_and_nothing_else() -> None:
    other = SigningParty("k2")
    first = signed(content(), US)
    second = sign_bundle(first, other.signer)
    with pytest.raises(BundleRefused):
        verify_bundle(second, [US.key()], NOW)
    again = verify_bundle(second, [other.key()], NOW)
    assert again.content == verify_bundle(first, [US.key()], NOW).content
    assert again.etag != verify_bundle(first, [US.key()], NOW).etag
    assert set(unpack(second)) == set(unpack(first))


def test_a_signature_over_another_bundle_is_refused() -> None:
    files = unpack(signed(content(), US))
    stolen = unpack(signed(content({"access/decision.rego": b"package access\n# other\n"}), US))[SIGNATURES]
    with pytest.raises(BundleRefused):
        verify_bundle(pack({**files, SIGNATURES: stolen}), [US.key()], NOW)


@pytest.mark.parametrize(
    "changes",
    [
        {"revision": ""},
        {"revision": ...},
        {"revision": 1},
        {"revision": "x" * 101},
        {"revision": "r\u00e9"},
        {"roots": []},
        {"roots": ...},
        {"roots": [""]},
        {"roots": ["access", "access", "data"]},
        {"roots": ["access", "data", "system"]},
        {"rego_version": 0},
        {"rego_version": ...},
        {"file_rego_versions": {"*": 0}},
        {"metadata": {"valid_from": "yesterday"}},
        {"metadata": {"valid_from": "2026-11-22T12:00:00"}},
    ],
)
def test_a_manifest_that_says_something_else_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(BundleRefused):
        verify(manifest(**changes))


def test_a_manifest_that_says_less_roots_is_accepted() -> None:
    assert verify(manifest(roots=["access", "data"])).revision == "r-1"


def test_data_outside_the_roots_is_refused() -> None:
    with pytest.raises(BundleRefused, match="outside"):
        verify(content({"data.json": b'{"data": {}, "system": {}}'}))
    with pytest.raises(BundleRefused, match="outside"):
        verify(content({"data.json": b"[]"}))


@pytest.mark.parametrize(
    "policy",
    [b"package system.authz\n", b"", b"# package access\n", b"package access\npackage system\n", b"package \xff\n"],
)
def test_a_policy_outside_the_roots_is_refused(policy: bytes) -> None:
    with pytest.raises(BundleRefused):
        verify(content({"access/decision.rego": policy}))


@pytest.mark.parametrize("name", ["data.json", "policy.wasm", ".manifest"])
def test_a_bundle_without_one_of_its_parts_is_refused(name: str) -> None:
    files = content()
    del files[name]
    with pytest.raises(BundleRefused):
        verify(files)


def test_a_revision_counts_within_its_window_only() -> None:
    window = {"valid_from": NOW.isoformat(), "valid_until": (NOW + timedelta(hours=1)).isoformat()}
    archive = signed(content(metadata=window), US)
    key = US.key(not_before=NOW - timedelta(days=9), not_after=NOW + timedelta(days=9))
    bundle = verify_bundle(archive, [key], NOW)
    with pytest.raises(BundleRefused, match="yet"):
        verify_bundle(archive, [key], NOW - timedelta(seconds=1))
    with pytest.raises(BundleRefused, match="any more"):
        verify_bundle(archive, [key], NOW + timedelta(hours=1))
    # A bundle that is in use already runs out too.
    bundle.check_validity(NOW + timedelta(minutes=59))
    with pytest.raises(BundleRefused, match="any more"):
        bundle.check_validity(NOW + timedelta(hours=1))
