"""The policy bundle that comes with the product, found in a checkout and in an installed wheel alike.

It is signed with a key that existed for that one signature (docs/decisions/0040): the signature keeps bundle and keys
together and sends the default through the same door as every other bundle; trust in it is trust in this installation.
authz publishes the content under its own bundle key, and agents accept that one only. An installation may name another
bundle in its settings (`policy.bundle`).
"""

from datetime import datetime
from pathlib import Path

import msgspec

from authz.policy.bundle import BundleKey, BundleRefused, VerifiedBundle, verify_bundle
from authz.policy.opa_binary import checkout

BUNDLE_NAME = "default.tar.gz"
KEYS_NAME = "default.keys.json"


class _Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key_id: str
    public_pem: str
    not_before: datetime
    not_after: datetime


class _Keys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keys: tuple[_Key, ...]


def default_bundle() -> bytes:
    """The default bundle as it was shipped, not verified yet.

    Raises:
        BundleRefused: this installation has none.
    """
    return _read(BUNDLE_NAME)


def default_keys() -> tuple[BundleKey, ...]:
    """The keys that verify `default_bundle`.

    Raises:
        BundleRefused: this installation has none, or they are malformed.
    """
    return load_keys(_read(KEYS_NAME))


def load_default(at: datetime) -> VerifiedBundle:
    """The default bundle, verified.

    Args:
        at: the moment, timezone-aware.

    Raises:
        BundleRefused: missing, altered or out of date.
    """
    return verify_bundle(default_bundle(), default_keys(), at)


def load_configured(bundle: Path | None, bundle_keys: Path | None, at: datetime) -> tuple[VerifiedBundle, bytes]:
    """The bundle that this installation uses, verified, and its archive.

    Args:
        bundle: file of a signed bundle; None for the default one.
        bundle_keys: file of the keys that verify it; both or neither.
        at: the moment, timezone-aware.

    Raises:
        BundleRefused: missing, altered or out of date.
    """
    if bundle is None or bundle_keys is None:
        archive, keys = default_bundle(), default_keys()
    else:
        archive, keys = bundle.read_bytes(), load_keys(bundle_keys.read_bytes())
    return verify_bundle(archive, keys, at), archive


def load_keys(content: bytes) -> tuple[BundleKey, ...]:
    """Read a file of bundle keys: `{"keys": [{key_id, public_pem, not_before, not_after}]}`, times with a zone.

    Raises:
        BundleRefused: malformed.
    """
    try:
        keys = msgspec.json.decode(content, type=_Keys).keys
    except msgspec.DecodeError as error:
        raise BundleRefused("the file of bundle keys is malformed") from error
    if any(moment.tzinfo is None for key in keys for moment in (key.not_before, key.not_after)):
        raise BundleRefused("the file of bundle keys names a time without a zone")
    return tuple(BundleKey(key.key_id, key.public_pem, key.not_before, key.not_after) for key in keys)


def _read(name: str) -> bytes:
    # The wheel puts `policies/dist` beside the package `authz`, where the checkout has it too.
    path = checkout() / "policies" / "dist" / name
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleRefused("this installation has no default policy bundle") from error
