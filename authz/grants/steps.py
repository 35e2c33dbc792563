"""The checks between a well-formed request and a token, each taking what the one before returned.

Specification: shared `spec/authorization.md`, "Rules"; the number in each docstring is the rule's. `TokenService` calls
them in this order, and the types make another order impossible: nothing can be signed that was not permitted, nothing
permitted that has no secure audience.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from authz.domain.errors import InvalidValue, Refused
from authz.domain.identifiers import Identifier
from authz.domain.reasons import Reason
from authz.domain.scopes import ScopeSet
from authz.grants.audience import (
    Audience,
    AudienceDirectory,
    DomainStanding,
    EndpointStanding,
    require_dane,
    require_secure,
)
from authz.grants.request import TokenRequest
from authz.participants.authentication import AuthenticatedClient, ClientRefused
from authz.participants.model import Participant
from authz.participants.registry import ParticipantRegistry
from authz.policy.engine import TOKEN_DECISION, Decision, PolicyEngine, PolicyUnavailable
from authz.tokens.revocation import RevocationKind, RevocationList


@dataclass(frozen=True, slots=True)
class CurrentClient:
    """After rule 1: an authenticated client whose certificate was not revoked by thumbprint."""

    client: AuthenticatedClient


@dataclass(frozen=True, slots=True)
class SecureAudience:
    """After rule 3: a registered audience whose domain is DNSSEC-secure, and whose endpoint has DANE if it must."""

    client: AuthenticatedClient
    audience: Audience


@dataclass(frozen=True, slots=True)
class Party:
    """After rule 5: in whose name is asked, and by whom."""

    client: AuthenticatedClient
    audience: Audience
    scope: ScopeSet
    subject: Participant
    actor: Identifier | None


@dataclass(frozen=True, slots=True)
class Permit:
    """After rule 6: what the policy permitted."""

    party: Party
    decision: Decision


class PolicyRefused(Refused):
    """The policy did not permit. Its public reason codes go into the audit record and to the caller.

    Args:
        reason: SCOPE_UNKNOWN, SCOPE_NOT_ALLOWED, SCOPE_NOT_FOR_AUDIENCE, ENVIRONMENT_MISMATCH or POLICY_DENIED.
        decision: what the policy answered.
    """

    def __init__(self, reason: Reason, decision: Decision) -> None:
        super().__init__(reason, "the policy does not permit this scope for this audience")
        self.decision = decision


def current_client(client: AuthenticatedClient, revocations: RevocationList) -> CurrentClient:
    """Rule 1, what the certificate alone cannot say: revoked by thumbprint, here or a moment ago by its authority.

    Raises:
        Refused: CREDENTIAL_REVOKED, CERTIFICATE_REVOKED.
    """
    # The other spelling of the same certificate has another thumbprint (`pki.validation.twin`): a block on one is on
    # both.
    names = (client.thumbprint, client.twin)
    if any(revocations.contains(RevocationKind.CREDENTIAL, name) for name in names):
        raise ClientRefused(Reason.CREDENTIAL_REVOKED, "this certificate may no longer be used; enrol again", client)
    if any(revocations.contains(RevocationKind.CERTIFICATE, name) for name in names):
        raise ClientRefused(Reason.CERTIFICATE_REVOKED, "the certificate has been revoked", client)
    return CurrentClient(client)


async def secure_audience(
    current: CurrentClient,
    url: str,
    directory: AudienceDirectory,
    standing: DomainStanding,
    *,
    endpoints: EndpointStanding,
    at: datetime,
) -> SecureAudience:
    """Rule 3: registered, with exactly this spelling, DNSSEC-secure, and with DANE where its holder requires it.

    Raises:
        Refused: AUDIENCE_MALFORMED, AUDIENCE_UNKNOWN, DOMAIN_* or DANE_*.
    """
    try:
        audience = directory.find(url)
    except InvalidValue as error:
        raise Refused(
            Reason.AUDIENCE_MALFORMED, "audience is an https URL exactly as the address book lists it"
        ) from error
    if audience is None:
        raise Refused(Reason.AUDIENCE_UNKNOWN, "the audience is not in the address book")
    require_secure(await standing.check(audience.host, at))
    require_dane(endpoints.dane(audience.url))
    return SecureAudience(current.client, audience)


def party(secure: SecureAudience, request: TokenRequest, registry: ParticipantRegistry) -> Party:
    """Rules 4 and 5: the client for itself, or on behalf of a party that gave it a mandate.

    Mandates are not administered yet, so acting on behalf of another deelnemer has nothing that could permit it.

    Raises:
        Refused: ACTOR_EQUALS_SUBJECT, SUBJECT_UNKNOWN or MANDATE_MISSING.
    """
    own = secure.client.participant
    if request.subject is not None:
        if request.subject in own.identifiers:
            raise Refused(Reason.ACTOR_EQUALS_SUBJECT, "leave access_token out when asking for yourself")
        if registry.by_identifier(request.subject) is None:
            raise Refused(Reason.SUBJECT_UNKNOWN, "the party of access_token.sub does not take part in this network")
        raise Refused(Reason.MANDATE_MISSING, "there is no mandate from the party of access_token.sub")
    return Party(secure.client, secure.audience, request.scope, own, None)


async def permit(asking: Party, engine: PolicyEngine, at: datetime) -> Permit:
    """Rules 4 and 6: the policy permits every scope, or nothing.

    Raises:
        PolicyRefused: it answered, but not with a permit.
        Refused: POLICY_UNAVAILABLE, when it could not answer.
    """
    try:
        decision = await engine.decide(TOKEN_DECISION, msgspec.json.encode(policy_input(asking, at)))
    except PolicyUnavailable as error:
        raise Refused(Reason.POLICY_UNAVAILABLE, "no decision can be made at this moment; try again later") from error
    if decision.allow is not True:
        raise PolicyRefused(_denial(decision.reasons), decision)
    return Permit(asking, decision)


def policy_input(asking: Party, at: datetime) -> dict[str, Any]:
    """What the policy sees (`policies/schemas/token.json`): verified facts, never a token."""
    subject = asking.subject
    return {
        "participant": {
            "id": subject.id.subject,
            "organization_type": subject.organization_type,
            "roles": subject.roles,
            "identifiers": subject.identifiers_by_kind,
            "environment": subject.environment,
        },
        "scopes": asking.scope.values,
        "audience": asking.audience.policy_input(),
        "actor": None if asking.actor is None else asking.actor.subject,
        "mandates": [],
        "grants": [],
        "context": {"time": at.isoformat().replace("+00:00", "Z")},
    }


def _denial(reasons: tuple[str, ...]) -> Reason:
    # Those that callers are told apart (cases/oauth.md 14); every other code is kept in the record as it is.
    told_apart = (
        Reason.SCOPE_UNKNOWN,
        Reason.SCOPE_NOT_ALLOWED,
        Reason.SCOPE_NOT_FOR_AUDIENCE,
        Reason.ENVIRONMENT_MISMATCH,
    )
    for reason in told_apart:
        if reason.value in reasons:
            return reason
    return Reason.POLICY_DENIED
