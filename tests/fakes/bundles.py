"""Bundles with real keys, whole or spoiled in one way."""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from authz.policy.archive import SIGNATURES, pack
from authz.policy.bundle import BundleKey, manifest_bytes
from authz.policy.signing import PemSigner, sign_files

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


class SigningParty:
    """Somebody with a key of their own."""

    def __init__(self, key_id: str = "k1") -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        self.private_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self.signer = PemSigner(key_id, self.private_pem)
        self.public_pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def key(self, **changes: Any) -> BundleKey:
        fields: dict[str, Any] = {
            "key_id": self.signer.key_id,
            "public_pem": self.public_pem,
            "not_before": NOW - timedelta(days=1),
            "not_after": NOW + timedelta(days=1),
        }
        return BundleKey(**{**fields, **changes})


def content(changes: Mapping[str, bytes] | None = None, metadata: dict[str, Any] | None = None) -> dict[str, bytes]:
    """The files of a small bundle, some of them changed."""
    return {
        ".manifest": manifest_bytes("r-1", metadata or {}),
        "data.json": b'{"data": {"scopes": {}}}',
        "policy.wasm": b"\0asm\1\0\0\0",
        "access/decision.rego": b"package access\n",
        **(changes or {}),
    }


def signed(files: dict[str, bytes], party: SigningParty) -> bytes:
    """The archive with a good signature."""
    return pack({**files, SIGNATURES: sign_files(files, party.signer)})


def parts(signatures: bytes) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Header, payload and signature of the one JWT."""
    header, payload, signature = json.loads(signatures)["signatures"][0].split(".")
    return _decode(header), _decode(payload), signature


def _decode(part: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def encode(part: Any) -> str:
    """base64url of JSON, or of bytes."""
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def token(header: dict[str, Any], payload: Any, party: SigningParty) -> str:
    """A JWT with any header and payload, and an ES256 signature over them."""
    message = f"{encode(header)}.{encode(payload)}"
    return f"{message}.{encode(party.signer.sign(message.encode()))}"


def signatures(*tokens: str) -> bytes:
    """A `.signatures.json`."""
    return json.dumps({"signatures": list(tokens)}).encode()
