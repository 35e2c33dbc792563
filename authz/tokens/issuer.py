"""Claims become a compact JWS.

Specification: RFC 7515 (compact serialisation), RFC 9068 (`typ: at+jwt`); shared `spec/authorization.md` rules 8-9.
Whether somebody may have the token is decided long before; here nothing is checked but the size.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from authz.domain import base64url
from authz.domain.claims import AccessTokenClaims
from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from authz.tokens.keys import Signer

MAX_TOKEN_LENGTH: Final = 1500
"""Bytes: "header overflow by fat tokens (keep ours under 1.5 kB)"."""
ACCESS_TOKEN_TYPE: Final = "at+jwt"  # noqa: S105  a media type

_encode = msgspec.json.Encoder().encode


class CompactSigner:
    """Writes compact JWS of one type with one key.

    Args:
        signer: the key.
        token_type: `typ` of the header.
    """

    def __init__(self, signer: Signer, token_type: str) -> None:
        self.kid = signer.kid
        self._signer = signer
        header = {"alg": signer.algorithm, "kid": signer.kid, "typ": token_type}
        # The header is the same for every token of this key, so it is encoded once.
        self._head = f"{base64url.encode(_encode(header))}."

    def sign(self, payload: Mapping[str, Any]) -> str:
        """The payload as a compact JWS."""
        signing_input = self._head + base64url.encode(_encode(payload))
        return f"{signing_input}.{base64url.encode(self._signer.sign(signing_input.encode('ascii')))}"


def issue(claims: AccessTokenClaims, signer: CompactSigner) -> str:
    """Sign an access token.

    Raises:
        Refused: SCOPE_MALFORMED when so many scopes were asked that the token would not fit in a header.
    """
    token = signer.sign(claims.to_json())
    if len(token) >= MAX_TOKEN_LENGTH:
        raise Refused(Reason.SCOPE_MALFORMED, "ask for fewer scopes: the token would be longer than 1.5 kB")
    return token
