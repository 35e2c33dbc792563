"""What a verifier of the trust agent trusts, as a test wants it, beside a real validator and real keys."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from authz.domain.errors import Refused
from pki.validation.validator import CertificateValidator
from tests.fakes.datastation import TokenKey
from trust_agent.jws import KeySet

if TYPE_CHECKING:
    from authz.domain.reasons import Reason


def key_set(*keys: TokenKey) -> KeySet:
    """The keys as authz publishes them."""
    return KeySet.parse(json.dumps({"keys": [key.jwk for key in keys]}).encode(), ["ES256"])


class FakeTrust:
    """Implements `trust_agent.verify.TrustMaterial`."""

    def __init__(self, validator: CertificateValidator, *keys: TokenKey) -> None:
        self.keys = key_set(*keys)
        self.validator = validator
        self.revoked: set[str] = set()
        self.grants: set[str] = set()
        self.credentials: set[str] = set()
        self.stale: Reason | None = None
        self.refetches = 0
        self.next_keys: KeySet | None = None

    def require_fresh(self, _at: Any) -> None:
        if self.stale:
            raise Refused(self.stale, "stale")

    def is_revoked(self, token_id: str, grants: Sequence[str]) -> bool:
        return token_id in self.revoked or bool(self.grants & set(grants))

    def is_credential_revoked(self, thumbprint: str) -> bool:
        return thumbprint in self.credentials

    async def refetch_keys(self) -> bool:
        self.refetches += 1
        if self.next_keys is not None:
            self.keys = self.next_keys
        return self.next_keys is not None
