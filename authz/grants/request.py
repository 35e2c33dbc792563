"""A token request as a domain value: what both faces parse into.

Specification: shared `spec/authorization.md`, "Two faces of one grant" and rules 3-5; RFC 6749 section 4.4.2;
`cases/oauth.md` 12-15, 43, 49. Only shapes are checked here, in the order of the rules; who may have what comes later.
"""

from dataclasses import dataclass
from typing import Final

from authz.domain.errors import InvalidValue, Refused
from authz.domain.identifiers import Identifier
from authz.domain.reasons import Reason
from authz.domain.scopes import ScopeSet

CLIENT_CREDENTIALS: Final = "client_credentials"


@dataclass(frozen=True, slots=True)
class UnparsedRequest:
    """The members of a request as texts, whichever face it came in by.

    Attributes:
        grant_type: as sent, or None.
        scope: as sent, or None.
        audiences: every audience that was sent.
        subject: `access_token.sub`, or None.
        has_authorization_details: RFC 9396 details were sent.
    """

    grant_type: str | None
    scope: str | None
    audiences: tuple[str, ...]
    subject: str | None = None
    has_authorization_details: bool = False


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A well-formed request for a token by client credentials.

    Attributes:
        scope: at least one scope; all of them, or nothing.
        audience: one text, to be found in the address book.
        subject: the party on whose behalf is asked, if not the client itself.
    """

    scope: ScopeSet
    audience: str
    subject: Identifier | None

    @classmethod
    def parse(cls, unparsed: UnparsedRequest) -> "TokenRequest":
        """Check the shape of every member.

        Raises:
            Refused: PARAMETER_MISSING, GRANT_TYPE_UNSUPPORTED, AUTHORIZATION_DETAILS_UNSUPPORTED, AUDIENCE_*,
                SCOPE_* or SUBJECT_MALFORMED.
        """
        _grant_type(unparsed.grant_type)
        if unparsed.has_authorization_details:
            raise Refused(
                Reason.AUTHORIZATION_DETAILS_UNSUPPORTED, "authorization_details is not supported; ask by scope"
            )
        return cls(
            audience=_audience(unparsed.audiences), scope=_scope(unparsed.scope), subject=_subject(unparsed.subject)
        )


def _grant_type(grant_type: str | None) -> None:
    if not grant_type:
        raise Refused(Reason.PARAMETER_MISSING, "grant_type is required")
    if grant_type != CLIENT_CREDENTIALS:
        raise Refused(Reason.GRANT_TYPE_UNSUPPORTED, "the supported grant_type is client_credentials")


def _audience(audiences: tuple[str, ...]) -> str:
    distinct = set(audiences)
    if not distinct or distinct == {""}:
        raise Refused(Reason.AUDIENCE_MISSING, "audience is required")
    if len(distinct) > 1:
        raise Refused(Reason.AUDIENCE_MULTIPLE, "a token is for one audience: ask once for each")
    return distinct.pop()


def _scope(scope: str | None) -> ScopeSet:
    if not scope:
        raise Refused(Reason.SCOPE_MISSING, "scope is required")
    try:
        return ScopeSet.parse(scope)
    except InvalidValue as error:
        raise Refused(
            Reason.SCOPE_MALFORMED, "scope is a list of <resource path>:<right>, with one space between them"
        ) from error


def _subject(subject: str | None) -> Identifier | None:
    if subject is None:
        return None
    try:
        return Identifier.parse_subject(subject)
    except InvalidValue as error:
        raise Refused(Reason.SUBJECT_MALFORMED, "access_token.sub is uzovi:<4 digits> or agbcode:<8 digits>") from error
