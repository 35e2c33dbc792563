"""The two faces of the token endpoint: what each reads, and how each says yes and no.

Specification: shared `spec/authorization.md`, "Two faces of one grant" and both error tables; iWlz RFC0014; RFC 6749
sections 4.4 and 5.2, RFC 8705, RFC 8707, RFC 9396. Everything between reading and answering is the same for both.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from authz.grants.request import UnparsedRequest
from authz.grants.service import IssuedToken
from authz.http import bodies
from authz.http.status import CERTIFICATE_REASONS, SERVER_REASONS, TRANSPORT_STATUS
from authz.participants.authentication import AuthenticatedClient

JSON_TYPE: Final = "application/json"
TEXT_TYPE: Final = "text/plain; charset=utf-8"
_IWLZ_MEMBERS: Final = frozenset({"grant_type", "scope", "audience", "access_token"})
_SECRETS: Final = ("client_secret", "client_assertion", "client_assertion_type")

INVALID_CERTIFICATE: Final = "Invalid Client Certificate"
_ACTING: Final = frozenset({Reason.ACTOR_EQUALS_SUBJECT, Reason.SUBJECT_UNKNOWN, Reason.MANDATE_MISSING})
_SCOPE: Final = frozenset(
    {
        Reason.SCOPE_MISSING,
        Reason.SCOPE_MALFORMED,
        Reason.SCOPE_UNKNOWN,
        Reason.SCOPE_NOT_ALLOWED,
        Reason.SCOPE_NOT_FOR_AUDIENCE,
        Reason.POLICY_DENIED,
    }
)
_BLOCKED: Final = frozenset({Reason.CREDENTIAL_BLOCKED, Reason.ADDRESS_NOT_ALLOWED})
_DOMAIN: Final = frozenset(
    {
        Reason.DOMAIN_INSECURE,
        Reason.DOMAIN_BOGUS,
        Reason.DOMAIN_INDETERMINATE,
        Reason.DOMAIN_UNREACHABLE,
        Reason.DOMAIN_ABSENT,
        Reason.DANE_ABSENT,
        Reason.DANE_MISMATCH,
        Reason.DANE_FAILED,
        Reason.DANE_ADDRESS,
        Reason.DANE_UNREACHABLE,
        Reason.DANE_UNCHECKED,
    }
)


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, content type and body of one answer."""

    status: int
    media_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Face:
    """One way to ask for a token.

    Attributes:
        path: of the endpoint.
        media_type: content type of a request.
        read: body and client to the members of the request.
        grant: renders a token.
        refuse: renders a refusal, with the trace id for the caller to quote.
    """

    path: str
    media_type: str
    read: Callable[[bytes, AuthenticatedClient], UnparsedRequest]
    grant: Callable[[IssuedToken], Answer]
    refuse: Callable[[Refused, str], Answer]


def _read_iwlz(body: bytes, _client: AuthenticatedClient) -> UnparsedRequest:
    members = bodies.parse_json(body)
    if not members.keys() <= _IWLZ_MEMBERS:
        # The profile is closed: a member that nobody reads is a mistake of the caller that it should hear about.
        raise Refused(Reason.PARAMETER_UNKNOWN, "the members are grant_type, scope, audience and access_token")
    audience = members.get("audience")
    if isinstance(audience, list):
        raise Refused(Reason.AUDIENCE_MULTIPLE, "audience is one text, not a list")
    return UnparsedRequest(
        grant_type=_text(members, "grant_type"),
        scope=_text(members, "scope"),
        audiences=tuple(filter(None, [_text(members, "audience")])),
        subject=_access_token_subject(members),
    )


def _access_token_subject(members: Mapping[str, Any]) -> str | None:
    if "access_token" not in members:
        return None
    access_token = members["access_token"]
    if not isinstance(access_token, dict) or access_token.keys() != {"sub"} or not isinstance(access_token["sub"], str):
        raise Refused(Reason.SUBJECT_MALFORMED, "access_token holds sub and nothing else")
    return access_token["sub"]


def _text(members: Mapping[str, Any], name: str) -> str | None:
    if name not in members:
        return None
    value = members[name]
    if not isinstance(value, str):
        raise Refused(Reason.PARAMETER_MALFORMED, f"{name} is a text")
    return value


def _read_oauth(body: bytes, client: AuthenticatedClient) -> UnparsedRequest:
    parameters = bodies.parse_form(body)
    if any(name in parameters for name in _SECRETS):
        raise Refused(Reason.CLIENT_SECRET_PRESENT, "authenticate with the certificate only")
    client_id = parameters.get("client_id")
    if not client_id:
        raise Refused(Reason.CLIENT_ID_MISSING, "client_id is required (RFC 8705 section 2)")
    if client_id != client.participant.id.subject:
        raise Refused(Reason.CLIENT_ID_MISMATCH, "client_id is not the deelnemer of this certificate")
    return UnparsedRequest(
        grant_type=parameters.get("grant_type"),
        scope=parameters.get("scope"),
        audiences=tuple(parameters[name] for name in ("resource", "audience") if parameters.get(name)),
        has_authorization_details="authorization_details" in parameters,
    )


def _granted(token: IssuedToken) -> Answer:
    body = {
        "access_token": token.access_token,
        "token_type": "Bearer",
        "expires_in": token.expires_in,
        "scope": token.scope,
    }
    return Answer(200, JSON_TYPE, msgspec.json.encode(body))


_IWLZ_STATUS: Final = (
    TRANSPORT_STATUS
    | dict.fromkeys(_DOMAIN, 403)
    | dict.fromkeys(_BLOCKED, 403)
    | dict.fromkeys(_ACTING, 401)
    | {
        Reason.AUDIENCE_MISSING: 400,
        Reason.SCOPE_MISSING: 400,
        Reason.SCOPE_MALFORMED: 400,
        Reason.SCOPE_UNKNOWN: 403,
        Reason.SCOPE_NOT_ALLOWED: 403,
        Reason.SCOPE_NOT_FOR_AUDIENCE: 403,
        Reason.ENVIRONMENT_MISMATCH: 403,
        Reason.POLICY_DENIED: 403,
    }
)
_IWLZ_TEXT: Final = (
    dict.fromkeys(_ACTING, "authenticating with issuing authority")
    | dict.fromkeys(_SCOPE, "Access denied, invalid scope")
    | {Reason.AUDIENCE_MISSING: "audience is required"}
)
"""Texts that the profile prescribes; every other refusal is answered with its own sentence."""


def _refuse_iwlz(refusal: Refused, trace_id: str) -> Answer:
    reason = refusal.reason
    if reason in SERVER_REASONS:
        return opaque(trace_id)
    if reason in CERTIFICATE_REASONS:
        return Answer(403, TEXT_TYPE, INVALID_CERTIFICATE.encode())
    text = _IWLZ_TEXT.get(reason, refusal.detail)
    return Answer(_IWLZ_STATUS.get(reason, 400), JSON_TYPE, msgspec.json.encode(text))


_OAUTH_ERRORS: Final = dict.fromkeys(_DOMAIN, "invalid_target") | {
    Reason.CLIENT_ID_MISMATCH: "invalid_client",
    Reason.CREDENTIAL_BLOCKED: "invalid_client",
    Reason.ADDRESS_NOT_ALLOWED: "invalid_client",
    Reason.GRANT_TYPE_UNSUPPORTED: "unsupported_grant_type",
    Reason.AUTHORIZATION_DETAILS_UNSUPPORTED: "invalid_authorization_details",
    Reason.SCOPE_MISSING: "invalid_scope",
    Reason.SCOPE_MALFORMED: "invalid_scope",
    Reason.SCOPE_UNKNOWN: "invalid_scope",
    Reason.SCOPE_NOT_ALLOWED: "invalid_scope",
    Reason.SCOPE_NOT_FOR_AUDIENCE: "invalid_scope",
    Reason.ENVIRONMENT_MISMATCH: "invalid_target",
    Reason.POLICY_DENIED: "unauthorized_client",
    Reason.AUDIENCE_MISSING: "invalid_target",
    Reason.AUDIENCE_MULTIPLE: "invalid_target",
    Reason.AUDIENCE_MALFORMED: "invalid_target",
    Reason.AUDIENCE_UNKNOWN: "invalid_target",
}


def _refuse_oauth(refusal: Refused, trace_id: str) -> Answer:
    reason = refusal.reason
    if reason in SERVER_REASONS:
        return opaque(trace_id)
    certificate = reason in CERTIFICATE_REASONS
    error = "invalid_client" if certificate else _OAUTH_ERRORS.get(reason, "invalid_request")
    # RFC 6749 section 5.2: 401 for a client that failed to authenticate, 400 for everything else that it can mend.
    status = 401 if error == "invalid_client" else TRANSPORT_STATUS.get(reason, 400)
    # Why a certificate is refused stands in the audit record; on the wire it would be an oracle about our CAs and CRLs.
    description = INVALID_CERTIFICATE if certificate else refusal.detail
    return Answer(
        status,
        JSON_TYPE,
        msgspec.json.encode({"error": error, "error_description": description, "trace_id": trace_id}),
    )


def opaque(trace_id: str) -> Answer:
    """The answer to everything unexpected: nothing but the trace id to quote."""
    return Answer(500, JSON_TYPE, msgspec.json.encode({"error": "server_error", "trace_id": trace_id}))


IWLZ: Final = Face("/netwerkmodel/v3/auth/token", bodies.JSON, _read_iwlz, _granted, _refuse_iwlz)
OAUTH: Final = Face("/oauth2/token", bodies.FORM, _read_oauth, _granted, _refuse_oauth)
FACES: Final = (IWLZ, OAUTH)
