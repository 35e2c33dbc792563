"""The token endpoint without HTTP: authenticate, decide, sign, record, in the order of the rules.

Specification: shared `spec/authorization.md`, "Rules". Parsing and error rendering of the two faces are
`authz.http`'s. A token leaves only after its audit record is durable (`architecture.md`, failure rules).
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from authz.audit.log import AuditLog
from authz.domain.claims import MAX_LIFETIME, AccessTokenClaims
from authz.domain.errors import Refused
from authz.domain.identifiers import IdentifierKind
from authz.domain.reasons import Reason
from authz.grants import records, steps
from authz.grants.audience import AudienceDirectory, DomainStanding, EndpointStanding
from authz.grants.records import RequestContext
from authz.grants.refusals import RefusalRecords
from authz.grants.request import TokenRequest
from authz.participants.authentication import AuthenticatedClient, ClientAuthenticator, Connection
from authz.participants.registry import ParticipantRegistry
from authz.policy.engine import PolicyEngine
from authz.tokens.issuer import CompactSigner, issue
from authz.tokens.revocation import RevocationList

DEFAULT_LIFETIME: Final = 900
"""Seconds; "default 15 minutes" (rule 8)."""
_TOKEN_ID_BYTES: Final = 16  # 128 random bits (rule 9)


class CurrentSigner(Protocol):
    """Tells which key signs (`authz.tokens.keyring.KeyRing`)."""

    def current(self, at: datetime) -> CompactSigner:
        """The signer whose turn it is."""
        ...


class CurrentRevocations(Protocol):
    """Tells what is revoked (`authz.tokens.feed.RevocationFeed`)."""

    @property
    def list(self) -> RevocationList:
        """The list of this moment."""
        ...


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """What the caller gets.

    Attributes:
        access_token: compact JWS.
        expires_in: seconds.
        scope: every scope that was asked for, sorted, with single spaces.
    """

    access_token: str
    expires_in: int
    scope: str


class TokenService:
    """Issues tokens.

    Args:
        authenticator: rules 1 and 2.
        registry: the deelnemers.
        directory: the address book.
        standing: DNSSEC standing of domains.
        endpoints: what DANE says of endpoints whose holders require it.
        engine: the policy in force.
        signer: the key whose turn it is.
        revocations: what is revoked.
        audit: where records become durable.
        refusals: where records of refusals do.
        issuer: `iss`, exactly as in the metadata.
        lifetime: of a token, in seconds, at most one hour.
        blind: whether what is stored was not seen for too long to say who takes part and what is revoked.
    """

    def __init__(
        self,
        *,
        authenticator: ClientAuthenticator,
        registry: ParticipantRegistry,
        directory: AudienceDirectory,
        standing: DomainStanding,
        endpoints: EndpointStanding,
        engine: PolicyEngine,
        signer: CurrentSigner,
        revocations: CurrentRevocations,
        audit: AuditLog,
        refusals: RefusalRecords,
        issuer: str,
        lifetime: int = DEFAULT_LIFETIME,
        blind: Callable[[], bool] = lambda: False,
    ) -> None:
        if not 0 < lifetime <= MAX_LIFETIME:
            raise ValueError("the life of a token is more than zero and at most one hour")
        self._authenticator = authenticator
        self._registry = registry
        self._directory = directory
        self._standing = standing
        self._endpoints = endpoints
        self._engine = engine
        self._signer = signer
        self._revocations = revocations
        self._audit = audit
        self._refusals = refusals
        self._issuer = issuer
        self._lifetime = lifetime
        self._blind = blind

    def authenticate(self, connection: Connection, at: datetime) -> AuthenticatedClient:
        """Rules 1 and 2, before anything that the caller wrote is read.

        Raises:
            Refused: see `ClientAuthenticator.authenticate`; REVOCATIONS_STALE when it cannot be known.
        """
        if self._blind():
            raise Refused(Reason.REVOCATIONS_STALE, "who takes part and what is revoked is not known at this moment")
        return self._authenticator.authenticate(connection, at)

    def authenticate_current(self, connection: Connection, at: datetime) -> AuthenticatedClient:
        """Rules 1 and 2 with the revocations by thumbprint, for the endpoints around the token.

        Raises:
            Refused: as `authenticate`, and CREDENTIAL_REVOKED.
        """
        client = self.authenticate(connection, at)
        return steps.current_client(client, self._revocations.list).client

    async def issue(self, client: AuthenticatedClient, request: TokenRequest, context: RequestContext) -> IssuedToken:
        """Rules 1 (revocation), 3 to 6, 8, 9 and the record.

        Raises:
            Refused: with the reason of the first rule that is not met; AUDIT_UNAVAILABLE when the record could not
                be made durable.
        """
        current = steps.current_client(client, self._revocations.list)
        secure = await steps.secure_audience(
            current, request.audience, self._directory, self._standing, endpoints=self._endpoints, at=context.at
        )
        party = steps.party(secure, request, self._registry)
        permit = await steps.permit(party, self._engine, context.at)
        claims = self._claims(permit, context.at)
        token = issue(claims, self._signer.current(context.at))
        await self._audit.record(records.issued(permit, claims, context))
        return IssuedToken(token, self._lifetime, str(claims.scope))

    async def record_refusal(
        self,
        refusal: Refused,
        client: AuthenticatedClient | None,
        request: TokenRequest | None,
        context: RequestContext,
    ) -> None:
        """Write the record of a refused token request; it is durable on return, or counted (`RefusalRecords`).

        Raises:
            AuditUnavailable: it is neither.
        """
        await self._refusals.write(records.refused(refusal, client, request, context), client, context)

    def _claims(self, permit: steps.Permit, at: datetime) -> AccessTokenClaims:
        """Rules 8 and 9."""
        party = permit.party
        codes = {identifier.kind: identifier.value for identifier in party.subject.identifiers}
        issued_at = int(at.timestamp())
        return AccessTokenClaims(
            issuer=self._issuer,
            subject=party.subject.id,
            audience=party.audience.url,
            issued_at=issued_at,
            expires_at=issued_at + self._lifetime,
            token_id=secrets.token_urlsafe(_TOKEN_ID_BYTES),
            client_id=party.client.participant.id.subject,
            scope=party.scope,
            thumbprint=party.client.thumbprint,
            organization_type=party.subject.organization_type,
            policy=permit.decision.revision,
            agb=codes.get(IdentifierKind.AGB),
            uzovi=codes.get(IdentifierKind.UZOVI),
            actor=party.actor,
        )
