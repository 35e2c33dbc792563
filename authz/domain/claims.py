"""The claims of an access token, as a frozen type that refuses to exist half-filled.

Specification: RFC 9068 (profile), RFC 8705 section 3.1 (`cnf`), RFC 8693 section 4.1 (`act`), RFC 9396
(`authorization_details`); shared `spec/authorization.md` rule 9. This module does not sign or verify: it only knows
which claims there are and what shape each must have.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from authz.domain.errors import InvalidValue
from authz.domain.identifiers import Identifier, IdentifierKind
from authz.domain.scopes import ScopeSet

MAX_LIFETIME: Final = 3600
"""Seconds; "at most 1 hour, whatever is asked" (spec/authorization.md rule 8)."""

JWK_PURPOSE: Final = "sluis_typ"
"""Member of a published JWK (RFC 7517 section 4 permits additional ones): the one JWS `typ` that this key signs."""

_THUMBPRINT = re.compile(r"[A-Za-z0-9_-]{43}")
_JTI = re.compile(r"[A-Za-z0-9_-]{22,64}")
_MAX_TIME: Final = 253402300799  # 9999-12-31T23:59:59Z, the last moment that datetime can say


@dataclass(frozen=True, slots=True)
class AccessTokenClaims:
    """Verified or about-to-be-signed claims of one access token.

    Attributes:
        issuer: `iss`, exactly as published in the metadata.
        subject: `sub`, the party on whose behalf is asked.
        audience: `aud`, always one https URL.
        issued_at: `iat`, seconds since the epoch; `nbf` is the same moment.
        expires_at: `exp`, seconds since the epoch.
        token_id: `jti`, at least 128 random bits, base64url.
        client_id: the OAuth client that asked.
        scope: the granted scopes.
        thumbprint: `cnf.x5t#S256`, base64url SHA-256 of the caller's certificate.
        organization_type: for example ZORGKANTOOR.
        policy: revision of the policy that permitted.
        agb: AGB-code of the subject, if it has one.
        uzovi: UZOVI-code of the subject, if it has one.
        actor: `act.sub` when a mandated actor asked.
        authorization_details: RFC 9396 details of the grant, if any.
    """

    issuer: str
    subject: Identifier
    audience: str
    issued_at: int
    expires_at: int
    token_id: str
    client_id: str
    scope: ScopeSet
    thumbprint: str
    organization_type: str
    policy: str
    agb: str | None = None
    uzovi: str | None = None
    actor: Identifier | None = None
    authorization_details: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.expires_at - self.issued_at <= MAX_LIFETIME:
            raise InvalidValue("the life of a token is more than zero and at most one hour")
        if not _THUMBPRINT.fullmatch(self.thumbprint):
            raise InvalidValue("cnf.x5t#S256 is not a base64url SHA-256 thumbprint")
        if not _JTI.fullmatch(self.token_id):
            raise InvalidValue("jti holds less than 128 bits")

    def to_json(self) -> dict[str, Any]:
        """The JWT payload."""
        payload: dict[str, Any] = {
            "iss": self.issuer,
            "sub": self.subject.subject,
            "aud": self.audience,
            "iat": self.issued_at,
            "nbf": self.issued_at,
            "exp": self.expires_at,
            "jti": self.token_id,
            "client_id": self.client_id,
            "scope": str(self.scope),
            "scopes": list(self.scope.values),
            "cnf": {"x5t#S256": self.thumbprint},
            "organization_type": self.organization_type,
            "policy": self.policy,
        }
        if self.agb is not None:
            payload["agb"] = self.agb
        if self.uzovi is not None:
            payload["uzovi"] = self.uzovi
        if self.actor is not None:
            payload["act"] = {"sub": self.actor.subject}
        if self.authorization_details:
            payload["authorization_details"] = [dict(detail) for detail in self.authorization_details]
        return payload

    @classmethod
    def from_json(cls, payload: Mapping[str, Any]) -> Self:
        """Read a payload whose signature has been verified.

        Checks shapes only; whether issuer, audience, times and binding fit is the verifier's work.

        Raises:
            InvalidValue: a claim is missing, has the wrong type, or two claims contradict each other.
        """
        scope = ScopeSet.parse(_text(payload, "scope"))
        if "scopes" in payload and payload["scopes"] != list(scope.values):
            raise InvalidValue("scope and scopes contradict each other")
        subject = Identifier.parse_subject(_text(payload, "sub"))
        issued_at = _time(payload, "iat")
        if _time(payload, "nbf") != issued_at:
            raise InvalidValue("nbf differs from iat")
        confirmation = payload.get("cnf")
        if not isinstance(confirmation, dict) or set(confirmation) != {"x5t#S256"}:
            raise InvalidValue("cnf must hold x5t#S256 and nothing else")
        details = payload.get("authorization_details", [])
        if not isinstance(details, list) or not all(isinstance(detail, dict) for detail in details):
            raise InvalidValue("authorization_details is not a list of objects")
        return cls(
            issuer=_text(payload, "iss"),
            subject=subject,
            audience=_text(payload, "aud"),
            issued_at=issued_at,
            expires_at=_time(payload, "exp"),
            token_id=_text(payload, "jti"),
            client_id=_text(payload, "client_id"),
            scope=scope,
            thumbprint=_text(confirmation, "x5t#S256"),
            organization_type=_text(payload, "organization_type"),
            policy=_text(payload, "policy"),
            agb=_register_code(payload, "agb", IdentifierKind.AGB),
            uzovi=_register_code(payload, "uzovi", IdentifierKind.UZOVI),
            actor=_actor(payload),
            authorization_details=tuple(details),
        )


def _text(payload: Mapping[str, Any], name: str) -> str:
    value = payload.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidValue(f"{name} is not a text")
    return value


def _time(payload: Mapping[str, Any], name: str) -> int:
    # bool is an int in Python, and JSON floats such as 1e3 would pass a looser check.
    value = payload.get(name)
    if type(value) is not int or not 0 < value <= _MAX_TIME:
        raise InvalidValue(f"{name} is not a time in whole seconds")
    return value


def _register_code(payload: Mapping[str, Any], name: str, kind: IdentifierKind) -> str | None:
    if name not in payload:
        return None
    return Identifier(kind, _text(payload, name)).value


def _actor(payload: Mapping[str, Any]) -> Identifier | None:
    if "act" not in payload:
        return None
    act = payload["act"]
    # RFC 8693 allows nested `act` for a history of delegation; this network has exactly one actor.
    if not isinstance(act, dict) or set(act) != {"sub"}:
        raise InvalidValue("act must hold sub and nothing else")
    return Identifier.parse_subject(_text(act, "sub"))
