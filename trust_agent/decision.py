"""The ten steps of one decision, in the order of the specification. Anything but a clear permit denies.

Specification: shared `spec/enforcement.md`, "Checks, in this order"; `cases/graphql.md` 35 (order of cost): who has no
certificate does not get a token looked at, who has no token does not reach the GraphQL parser, and what is not GraphQL
for this register does not reach the policies. Each step takes what the step before it returned.
"""

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

import msgspec
import structlog

from authz.domain.clock import Clock
from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from authz.domain.tracing import TraceContext
from authz.edge.logs import place_of
from authz.policy.engine import ACCESS_DECISION, Decision, PolicyEngine, PolicyUnavailable
from pki.validation.validator import ValidatedCertificate
from trust_agent.authzen import RequestContext, access_input
from trust_agent.care_client import check_care_client
from trust_agent.graphql import CanonicalRequest, Register
from trust_agent.records import DecisionRecords, Facts
from trust_agent.strangers import DurableLog, Strangers
from trust_agent.verify import CredentialRefused, TokenRefused, VerifiedToken, Verifier

_LOG: Final = structlog.get_logger(__name__)
_JSON: Final = re.compile(r'application/json(?:\s*;\s*charset="?utf-8"?)?', re.IGNORECASE)


class Inquiry(msgspec.Struct, frozen=True):
    """What Envoy asks about; every header as received, none of it checked. A struct: one is made for each request.

    Attributes:
        method: HTTP method.
        path: as the client spelled it, without query.
        query: the query with its question mark, empty when there is none.
        content_types: every Content-Type header.
        content_encodings: every Content-Encoding header.
        authorization: every Authorization header.
        xfcc: the client certificate, from our Envoy.
        verified_by_edge: Envoy's verdict on it.
        peer_address: address and port of the connection.
        trace: trace of this request.
        request_id: Envoy's request id.
        body: the whole body.
    """

    method: str
    path: str
    query: str
    content_types: Sequence[str]
    content_encodings: Sequence[str]
    authorization: Sequence[str]
    xfcc: str | None
    verified_by_edge: str | None
    peer_address: str
    trace: TraceContext
    request_id: str | None
    body: bytes


class Permit(msgspec.Struct, frozen=True):
    """Forward this document, and nothing else."""

    document: str
    claims: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Do not forward; `policy_reasons` are the policy's public reason codes."""

    reason: Reason
    detail: str
    policy_reasons: tuple[str, ...] = ()


class PolicySource(Protocol):
    """Gives the policies in use."""

    def engine(self, at: datetime) -> PolicyEngine:
        """The engine; raises Refused when there is none that may decide now."""
        ...


@dataclass(frozen=True, slots=True)
class ServiceRules:
    """What this agent guards.

    Attributes:
        path: the one path.
        max_body_bytes: of a request.
        service: name of the service.
        purpose_of_use: of the access, for the policies.
        record_fields: filter fields that name a record or care client.
        owner: subject identifier of who holds the register, for the policies.
    """

    path: str
    max_body_bytes: int
    service: str
    purpose_of_use: str
    record_fields: tuple[str, ...]
    owner: str | None = None


class Decider:
    """Decides.

    Args:
        rules: what is guarded.
        verifier: checks 2 to 4.
        register: check 5.
        policies: check 8.
        journal: check 9.
        records: writes the record.
        strangers: which refusals of theirs get one.
        clock: read once for each decision.
    """

    def __init__(
        self,
        *,
        rules: ServiceRules,
        verifier: Verifier,
        register: Register,
        policies: PolicySource,
        journal: DurableLog,
        records: DecisionRecords,
        strangers: Strangers,
        clock: Clock,
    ) -> None:
        self._rules = rules
        self._verifier = verifier
        self._register = register
        self._policies = policies
        self._journal = journal
        self._records = records
        self._strangers = strangers
        self._clock = clock

    async def decide(self, inquiry: Inquiry) -> Permit | Refusal:
        """Decide about one request. Never raises: what goes wrong unexpectedly is a refusal as well."""
        facts = Facts(self._clock.now(), inquiry.trace, inquiry.peer_address, inquiry.request_id)
        facts.stranger = inquiry.verified_by_edge != "1"
        outcome: Permit | Refusal
        try:
            outcome = await self._checks(inquiry, facts)
        except Refused as refused:
            outcome = Refusal(refused.reason, refused.detail)
        except Exception as error:  # noqa: BLE001  the last line: an unforeseen fault must deny, be told and be recorded
            _log_defect("decision_failed", error, inquiry.trace)
            outcome = Refusal(Reason.INTERNAL_ERROR, "Internal error")
        if (
            isinstance(outcome, Refusal)
            and facts.stranger
            and not self._strangers.gets_record(outcome.reason, inquiry.peer_address, facts.at)
        ):
            # Of somebody who has proved nothing, and beyond a few a minute: it was counted.
            return outcome
        # 9. The record is durable before anybody learns the outcome.
        try:
            await self._journal.append(
                self._records.encode(facts, outcome.reason if isinstance(outcome, Refusal) else None)
            )
        except Refused as refused:
            return Refusal(refused.reason, refused.detail)
        except Exception as error:  # noqa: BLE001  a record that cannot be written refuses, whatever the cause
            _log_defect("record_failed", error, inquiry.trace)
            return Refusal(Reason.JOURNAL_UNAVAILABLE, "decisions cannot be recorded at this moment, so none is made")
        # 10. What was authorized is what is forwarded.
        return outcome

    async def _checks(self, inquiry: Inquiry, facts: Facts) -> Permit | Refusal:
        # 1. Transport.
        try:
            self._transport(inquiry)
        except Refused:
            self._whose(inquiry, facts)
            raise
        # 2. The certificate of the connection.
        certificate = self._certificate(inquiry, facts)
        # 3. The token, and that it belongs to this certificate.
        try:
            token = await self._verifier.token(inquiry.authorization, certificate, facts.at)
        except TokenRefused as refused:
            facts.refused_claims = refused.claims
            raise
        facts.claims = token.claims
        # 4. A scope for this service.
        self._verifier.scope(token)
        # 5. GraphQL, reduced to the canonical document; 6. what must be evaluated stands in its occurrences.
        reading = self._register.read(inquiry.body, certificate.identity.subject)
        request = facts.request = reading.request
        # 7. Within the grants of the token.
        check_care_client(request, token.claims, self._rules.record_fields)
        # 8. The policies, on every evaluation.
        decision = facts.decision = await self._policy(request, token, inquiry.trace, facts.at)
        if decision.allow is not True:
            return Refusal(Reason.POLICY_DENIED, "the policies do not permit this request", decision.reasons)
        self._register.permitted(reading)
        return Permit(request.body, token.header)

    def _certificate(self, inquiry: Inquiry, facts: Facts) -> ValidatedCertificate:
        """Check 2, and what it says about who this is, also when it refuses."""
        try:
            facts.certificate = self._verifier.certificate(inquiry.xfcc, inquiry.verified_by_edge, facts.at)
        except CredentialRefused as refused:
            facts.certificate = refused.certificate
            raise
        except Refused as refused:
            # Not what our own blindness brings about, such as a stale CRL: that befalls deelnemers.
            facts.stranger = facts.stranger or refused.reason.is_about_the_certificate
            raise
        return facts.certificate

    def _whose(self, inquiry: Inquiry, facts: Facts) -> None:
        """For the record of a request that is refused already: the certificate, when it is one that counts.

        What Envoy did not verify is not looked at: anybody can make a chain that takes long.
        """
        if not facts.stranger:
            with contextlib.suppress(Refused):
                self._certificate(inquiry, facts)

    def _transport(self, inquiry: Inquiry) -> None:
        """Check 1.

        Raises:
            Refused: NOT_FOUND, QUERY_PARAMETERS, METHOD_NOT_ALLOWED, CONTENT_TYPE, CONTENT_ENCODING, BODY_TOO_LARGE.
        """
        if inquiry.path != self._rules.path:
            raise Refused(Reason.NOT_FOUND, "there is nothing at this path")
        if inquiry.query:
            raise Refused(Reason.QUERY_PARAMETERS, "parameters in the URL are not accepted; send JSON in the body")
        if inquiry.method != "POST":
            raise Refused(Reason.METHOD_NOT_ALLOWED, "only POST is accepted")
        if len(inquiry.content_types) != 1 or not _JSON.fullmatch(inquiry.content_types[0]):
            raise Refused(Reason.CONTENT_TYPE, "the content type is application/json in UTF-8")
        if any(value.lower() != "identity" for value in inquiry.content_encodings):
            raise Refused(Reason.CONTENT_ENCODING, "the body may not be compressed")
        if len(inquiry.body) > self._rules.max_body_bytes:
            raise Refused(Reason.BODY_TOO_LARGE, f"a request has at most {self._rules.max_body_bytes} bytes")

    async def _policy(
        self, request: CanonicalRequest, token: VerifiedToken, trace: TraceContext, at: datetime
    ) -> Decision:
        engine = self._policies.engine(at)
        context = RequestContext(self._rules.service, self._rules.purpose_of_use, at, trace, self._rules.owner)
        try:
            decision = await engine.decide(ACCESS_DECISION, access_input(request, token.claims, context))
        except PolicyUnavailable:
            raise Refused(Reason.POLICY_UNAVAILABLE, "no decision could be had at this moment") from None
        if decision.allow is True:
            asked = sum(len(occurrence.directives) for occurrence in request.occurrences)
            if len(decision.evaluations) != asked or not all(item.allow is True for item in decision.evaluations):
                # A permit that does not say so of every single evaluation is no clear permit.
                raise Refused(Reason.POLICY_UNAVAILABLE, "no clear decision could be had")
            if decision.obligations:
                # Nothing here carries any out, and a permit under a condition that nobody meets is none.
                raise Refused(Reason.POLICY_UNAVAILABLE, "the decision asks for what cannot be done here")
        return decision


def _log_defect(event: str, error: Exception, trace: TraceContext) -> None:
    # Neither its text nor a traceback: both may hold what a caller sent.
    _LOG.error(event, error_kind=type(error).__name__, at=place_of(error), trace_id=trace.trace_id)
