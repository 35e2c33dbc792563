"""Signed bundles: what must hold before a bundle is used, and how one is signed.

Specification: shared `spec/policy.md`, "Bundles". `VerifiedBundle` is the only way from bytes to an engine: whoever
has one has passed every step of `verify_bundle`. Building a bundle from sources is `authz.policy.build`'s work, how old
a bundle may grow is its user's.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from authz.policy.archive import DATA, MANIFEST, SIGNATURES, WASM, ArchiveLimits, BundleRefused, pack, unpack
from authz.policy.signing import BundleKey, BundleSigner, sign_files, strict_json, verify_files

__all__ = [
    "BundleKey",
    "BundleRefused",
    "BundleSigner",
    "VerifiedBundle",
    "content_digest",
    "sign_bundle",
    "verify_bundle",
]

ROOTS = ("access", "data", "lib", "token")
"""What a bundle of this product may speak for; a bundle never owns the whole document (root "")."""
REGO_VERSION = 1
_MAX_REVISION_LENGTH = 100
_PACKAGE = re.compile(r"^package[ \t]+([A-Za-z0-9_.]+)[ \t]*(?:#.*)?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class VerifiedBundle:
    """A bundle that passed every check.

    Args:
        revision: of the manifest.
        data: `data.json`, as signed.
        wasm: `policy.wasm`, as signed.
        etag: SHA-256 of the archive in hex, without quotes: the same bytes have the same tag.
        key_id: the key that signed it.
        valid_from: before this moment the revision does not count; None when the manifest does not say.
        valid_until: from this moment on it does not count any more; None when the manifest does not say.
        content: `content_digest` of its files.
        serial: grows with every content that a server publishes; None when it was never published.
    """

    revision: str
    data: bytes
    wasm: bytes
    etag: str
    key_id: str
    valid_from: datetime | None
    valid_until: datetime | None
    content: str
    serial: int | None = None

    def check_validity(self, at: datetime) -> None:
        """Refuse outside the validity of the revision; to be asked again while a bundle is in use.

        Raises:
            BundleRefused: too early or too late.
        """
        if self.valid_from is not None and at < self.valid_from:
            raise BundleRefused("the revision does not count yet")
        if self.valid_until is not None and at >= self.valid_until:
            raise BundleRefused("the revision does not count any more")


class _Metadata(msgspec.Struct, frozen=True):
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    serial: int | None = None


class _Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    revision: str
    roots: tuple[str, ...]
    rego_version: int
    metadata: _Metadata = _Metadata()
    wasm: tuple[Any, ...] = ()


def verify_bundle(
    tar_gz: bytes, keys: Sequence[BundleKey], at: datetime, limits: ArchiveLimits | None = None
) -> VerifiedBundle:
    """Take a bundle apart and refuse it unless everything about it is right.

    1. The archive is well-formed and within its caps.
    2. It has exactly one good signature of a key that counts now, over exactly its files.
    3. The manifest names a revision, this product's roots and Rego v1, and the revision counts now.
    4. Data and packages stay within the roots.
    5. There is a compiled module.

    Does not check that the policies are good, that the module came from this Rego, or that the revision is the newest:
    the first two are the signer's word, the last is the caller's business (`serial`, `max_bundle_age`).

    Args:
        tar_gz: the bundle.
        keys: keys that may sign; none refuses everything.
        at: the moment, timezone-aware.
        limits: caps of the archive.

    Raises:
        BundleRefused: any step fails.
    """
    files = unpack(tar_gz, limits)
    key_id = verify_files(files, keys, at)
    manifest = _manifest(files)
    _check_roots(files, manifest.roots)
    if WASM not in files:
        raise BundleRefused("the bundle has no compiled module")
    bundle = VerifiedBundle(
        revision=manifest.revision,
        data=files[DATA],
        wasm=files[WASM],
        etag=hashlib.sha256(tar_gz).hexdigest(),
        key_id=key_id,
        valid_from=manifest.metadata.valid_from,
        valid_until=manifest.metadata.valid_until,
        content=content_digest(files),
        serial=manifest.metadata.serial,
    )
    bundle.check_validity(at)
    return bundle


def sign_bundle(
    tar_gz: bytes, signer: BundleSigner, limits: ArchiveLimits | None = None, *, serial: int | None = None
) -> bytes:
    """The same content under this signer's signature, in place of any it had. Does not verify the old one.

    Args:
        tar_gz: the bundle.
        signer: signs.
        limits: caps of the archive.
        serial: put in the manifest, in place of any it had; None leaves the manifest as it is.

    Raises:
        BundleRefused: not a well-formed archive, or no manifest that could hold the serial.
    """
    files = {name: content for name, content in unpack(tar_gz, limits).items() if name != SIGNATURES}
    if serial is not None:
        files[MANIFEST] = _numbered(files, serial)
    return pack({**files, SIGNATURES: sign_files(files, signer)})


def content_digest(files: Mapping[str, bytes]) -> str:
    """SHA-256 in hex over names and bytes of everything but the signature: the identity of what would decide."""
    digest = hashlib.sha256()
    for name in sorted(files):
        if name != SIGNATURES:
            digest.update(f"{name}\0{hashlib.sha256(files[name]).hexdigest()}\n".encode())
    return digest.hexdigest()


def _manifest(files: Mapping[str, bytes]) -> _Manifest:
    if MANIFEST not in files or DATA not in files:
        raise BundleRefused("the bundle lacks .manifest or data.json")
    try:
        manifest = msgspec.json.decode(files[MANIFEST], type=_Manifest)
    except msgspec.DecodeError as error:
        raise BundleRefused("the manifest is malformed") from error
    if not 0 < len(manifest.revision) <= _MAX_REVISION_LENGTH or not manifest.revision.isascii():
        raise BundleRefused("the manifest has no usable revision")
    if manifest.rego_version != REGO_VERSION:
        raise BundleRefused("the bundle is not written in Rego v1")
    if manifest.metadata.serial is not None and manifest.metadata.serial <= 0:
        raise BundleRefused("the serial number of the bundle is not a positive number")
    for moment in (manifest.metadata.valid_from, manifest.metadata.valid_until):
        if moment is not None and moment.tzinfo is None:
            raise BundleRefused("the manifest names a time without a zone")
    return manifest


def _numbered(files: Mapping[str, bytes], serial: int) -> bytes:
    _manifest(files)
    manifest: dict[str, Any] = msgspec.json.decode(files[MANIFEST])
    manifest["metadata"] = {**manifest.get("metadata", {}), "serial": serial}
    return json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()


def _check_roots(files: Mapping[str, bytes], roots: Sequence[str]) -> None:
    if not roots or len(set(roots)) != len(roots) or not set(roots) <= set(ROOTS):
        raise BundleRefused("the bundle claims roots that are not this product's")
    data = strict_json(files[DATA])
    if not isinstance(data, dict) or not set(data) <= set(roots):
        raise BundleRefused("the bundle holds data outside its roots")
    for name, content in files.items():
        if not name.endswith(".rego"):
            continue
        try:
            packages = _PACKAGE.findall(content.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise BundleRefused("a policy file is not text") from error
        if len(packages) != 1 or packages[0].partition(".")[0] not in roots:
            raise BundleRefused("a policy file has no package within the roots")


def manifest_bytes(revision: str, metadata: Mapping[str, Any]) -> bytes:
    """A manifest of this product, canonical, so that its bytes and its hash say the same."""
    fields = {"revision": revision, "roots": list(ROOTS), "rego_version": REGO_VERSION, "metadata": dict(metadata)}
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
