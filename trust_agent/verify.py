"""Checks 2 to 4: the certificate, the token, its binding and its scope, as numbered steps.

Specification: shared `spec/enforcement.md`, "Checks, in this order", 2-4; RFC 9068 section 4, RFC 8705 section 3, RFC
8725. What does not change between two requests with the same certificate or token (its form, its signature, its claims)
is remembered, bounded; what does change (times, revocation, the connection it came over, the keys in use) is looked at
each time.

Not checked here: what is asked of the register.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

import msgspec

from authz.domain import base64url
from authz.domain.claims import AccessTokenClaims
from authz.domain.errors import InvalidValue, Refused
from authz.domain.reasons import Reason
from authz.edge.client_certificate import KnownCertificates, digest_of, parse_xfcc
from authz.edge.recent import Recent
from pki.validation.validator import CertificateValidator, ValidatedCertificate
from trust_agent.jws import KeySet, parse_jws, verify_jws

_TYPE: Final = "at+jwt"
_SCHEME: Final = "bearer "

_REFUSAL_COUNTS: Final = timedelta(seconds=1)
"""How long a refused certificate is refused again without another look."""
MAX_STRANGERS: Final = 50
"""Certificates that Envoy did not verify, for which the reason is looked up in one second; that takes 4 ms for each."""


class TrustMaterial(Protocol):
    """What the checks need of the trust store."""

    @property
    def keys(self) -> KeySet:
        """The keys that sign tokens; another object when they changed."""
        ...

    @property
    def validator(self) -> CertificateValidator:
        """Validates certificates with the CRLs of this moment."""
        ...

    def require_fresh(self, at: datetime) -> None:
        """Raise Refused with KEYS_STALE or REVOCATIONS_STALE."""
        ...

    def is_revoked(self, token_id: str, grants: Sequence[str]) -> bool:
        """Whether a token, or a grant it rests on, was revoked."""
        ...

    def is_credential_revoked(self, thumbprint: str) -> bool:
        """Whether a certificate was blocked by authz, apart from its CRL."""
        ...

    async def refetch_keys(self) -> bool:
        """Fetch the keys again, unless that was done shortly before; whether there are new ones."""
        ...


@dataclass(frozen=True, slots=True)
class TokenRules:
    """Which tokens count here.

    Attributes:
        issuer: `iss`, character for character.
        audience: `aud`, character for character.
        scopes: a token must hold one of them.
        algorithms: accepted signature algorithms.
        skew: seconds by which clocks may differ.
    """

    issuer: str
    audience: str
    scopes: frozenset[str]
    algorithms: tuple[str, ...] = ("ES256",)
    skew: float = 10.0


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """A token whose signature, issuer, audience and claims are right.

    Attributes:
        claims: the claims.
        header: the claims as base64url JSON, for the register (check 10).
        in_scope: whether it holds a scope of this service.
        grants: ids of the grants it rests on.
        not_before: seconds since the epoch, skew included.
        not_after: seconds since the epoch, skew included.
    """

    claims: AccessTokenClaims
    header: str
    in_scope: bool
    grants: tuple[str, ...]
    not_before: float
    not_after: float


class TokenRefused(Refused):
    """A token that authz signed, and that is refused all the same.

    Args:
        reason: as for `Refused`.
        detail: as for `Refused`.
        claims: of the token; for the record, so that an auditor finds whose token was tried. They say nothing about
            who tried it.
    """

    def __init__(self, reason: Reason, detail: str, claims: AccessTokenClaims) -> None:
        super().__init__(reason, detail)
        self.claims = claims


class CredentialRefused(Refused):
    """A valid certificate of somebody whom authz has blocked.

    Args:
        certificate: for the record, so that an auditor finds who goes on trying.
    """

    def __init__(self, certificate: ValidatedCertificate) -> None:
        super().__init__(Reason.CREDENTIAL_REVOKED, "this credential was revoked")
        self.certificate = certificate


@dataclass(frozen=True, slots=True)
class _RefusedCertificate:
    reason: Reason
    detail: str
    at: datetime


class Verifier:
    """Checks certificates and tokens against the trust store.

    Args:
        trust: keys, CRLs and revocations.
        rules: which tokens count.
        max_tokens: verified tokens that are remembered (about 3 kB each).
        max_certificates: certificates that are remembered, those that passed (parsed, about 10 kB each) and, for a
            second, those that were refused (a digest each).
    """

    def __init__(
        self, trust: TrustMaterial, rules: TokenRules, *, max_tokens: int = 10_000, max_certificates: int = 1_000
    ) -> None:
        self._trust = trust
        self._rules = rules
        self._tokens: Recent[bytes, VerifiedToken] = Recent(max_tokens)
        self._keys_of_tokens: KeySet | None = None
        self._presented = KnownCertificates(max_certificates)
        self._refused: Recent[bytes, _RefusedCertificate] = Recent(max_certificates)
        self._second, self._strangers = 0, 0

    def certificate(self, xfcc: str | None, verified_by_edge: str | None, at: datetime) -> ValidatedCertificate:
        """Check 2: the certificate of the connection.

        1. Envoy hands over exactly one certificate.
        2. It is valid now, by our own validation, revocation and freshness included.
        3. Envoy's verdict is positive as well: two validators, and both must agree.
        4. authz has not blocked this credential.

        Raises:
            Refused: CERTIFICATE_*, CRL_* or CREDENTIAL_REVOKED.
        """
        known = self._presented.find(xfcc) if xfcc else None
        if known is None and xfcc:
            self._require_not_just_refused(xfcc, at)
            if verified_by_edge != "1":
                self._require_few_strangers(at)
        presented = known or parse_xfcc(xfcc)
        try:
            certificate = self._trust.validator.validate(presented.leaf_der, presented.chain_der, at)
        except Refused as refusal:
            self._remember_refusal(xfcc or "", refusal, at)
            raise
        if known is None:
            # Only now: what anybody can make for himself is not kept, and pushes out nobody.
            self._presented.keep(xfcc or "", presented)
        if verified_by_edge != "1":
            raise Refused(Reason.CERTIFICATE_UNVERIFIED_BY_EDGE, "the client certificate was not verified")
        # The other spelling of the same certificate has another thumbprint (`pki.validation.twin`): a block on one is
        # on both.
        if any(self._trust.is_credential_revoked(name) for name in (certificate.thumbprint, certificate.twin)):
            raise CredentialRefused(certificate)
        return certificate

    def _require_not_just_refused(self, xfcc: str, at: datetime) -> None:
        # Building a path for a stranger takes milliseconds, in which nobody else gets a decision.
        refused = self._refused.get(digest_of(xfcc))
        if refused is not None and timedelta(0) <= at - refused.at < _REFUSAL_COUNTS:
            raise Refused(refused.reason, refused.detail)

    def _require_few_strangers(self, at: datetime) -> None:
        # Whom Envoy does not know is refused whatever is found here: looking serves the auditor, up to a point.
        second = int(at.timestamp())
        if second != self._second:
            self._second, self._strangers = second, 0
        self._strangers += 1
        if self._strangers > MAX_STRANGERS:
            raise Refused(Reason.CERTIFICATE_UNVERIFIED_BY_EDGE, "the client certificate was not verified")

    def _remember_refusal(self, xfcc: str, refusal: Refused, at: datetime) -> None:
        self._presented.forget(xfcc)
        if refusal.reason.is_about_the_certificate:
            # Not what a missing or stale CRL brings about: that ends as soon as the CRL is there.
            self._refused.put(digest_of(xfcc), _RefusedCertificate(refusal.reason, refusal.detail, at))

    async def token(
        self, authorization: Sequence[str], certificate: ValidatedCertificate, at: datetime
    ) -> VerifiedToken:
        """Check 3: the token, and that it belongs to this connection.

        1. The keys and the revocations are fresh enough to say anything about a token.
        2. There is exactly one `Authorization: Bearer`.
        3. Form, algorithm, type, key, signature, claims, issuer and audience are right.
        4. It is valid now.
        5. Neither it nor a grant it rests on was revoked.
        6. It is bound to the certificate of this connection.

        Raises:
            TokenRefused: issuer or audience of step 3, step 4, 5 or 6: authz signed the token, but it does not count
                here and now.
            Refused: KEYS_STALE, REVOCATIONS_STALE or another TOKEN_*.
        """
        self._trust.require_fresh(at)
        token = _bearer(authorization)
        keys = self._trust.keys
        if keys is not self._keys_of_tokens:
            # A key that left the set takes the tokens it signed with it (cases/oauth.md 66).
            self._tokens.clear()
            self._keys_of_tokens = keys
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        verified = self._tokens.get(digest)
        if verified is None:
            verified = await self._verify(token)
            if self._trust.keys is self._keys_of_tokens:
                self._tokens.put(digest, verified)
        moment = at.timestamp()
        claims = verified.claims
        if moment >= verified.not_after:
            raise TokenRefused(Reason.TOKEN_EXPIRED, "the token has expired", claims)
        if moment < verified.not_before:
            raise TokenRefused(Reason.TOKEN_NOT_YET_VALID, "the token is not valid yet", claims)
        if self._trust.is_revoked(claims.token_id, verified.grants):
            raise TokenRefused(Reason.TOKEN_REVOKED, "the token was revoked", claims)
        if claims.thumbprint != certificate.thumbprint:
            raise TokenRefused(Reason.TOKEN_BINDING, "the token belongs to another certificate", claims)
        return verified

    def scope(self, token: VerifiedToken) -> None:
        """Check 4: the token holds a scope for this service, compared as a whole.

        Raises:
            Refused: TOKEN_SCOPE.
        """
        if not token.in_scope:
            raise Refused(Reason.TOKEN_SCOPE, "Scope is not allowed")

    async def _verify(self, token: str) -> VerifiedToken:
        rules = self._rules
        unverified = parse_jws(token, (_TYPE,), rules.algorithms)
        if unverified.kid not in self._trust.keys:
            await self._trust.refetch_keys()
        payload = verify_jws(unverified, self._trust.keys)
        try:
            claims = AccessTokenClaims.from_json(payload)
        except InvalidValue:
            raise Refused(Reason.TOKEN_CLAIMS, "the claims of the token are not as they must be") from None
        if claims.issuer != rules.issuer:
            raise TokenRefused(Reason.TOKEN_ISSUER, "the token comes from another issuer", claims)
        if claims.audience != rules.audience:
            raise TokenRefused(Reason.TOKEN_AUDIENCE, "the token is for another audience", claims)
        return VerifiedToken(
            claims=claims,
            header=base64url.encode(msgspec.json.encode(payload)),
            in_scope=not rules.scopes.isdisjoint(claims.scope.values),
            grants=tuple(str(detail.get("grant_id", "")) for detail in claims.authorization_details),
            not_before=claims.issued_at - rules.skew,
            not_after=claims.expires_at + rules.skew,
        )


def _bearer(authorization: Sequence[str]) -> str:
    if not authorization:
        raise Refused(Reason.TOKEN_MISSING, "a token is required")
    if len(authorization) > 1 or "," in authorization[0]:
        # Proxies join repeated headers with a comma, which no token holds.
        raise Refused(Reason.TOKEN_MULTIPLE, "exactly one Authorization header is accepted")
    value = authorization[0]
    if value[: len(_SCHEME)].lower() != _SCHEME:
        raise Refused(Reason.TOKEN_MISSING, "the token must be sent as `Authorization: Bearer`")
    return value[len(_SCHEME) :]
