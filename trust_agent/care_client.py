"""Check 7: where the token is bound to records or care clients by a grant, the filters must stay within it.

Specification: shared `spec/authorization.md` rule 7 (`iwlz_care_client`), `cases/oauth.md` 62. Every root occurrence of
the request must require, conjunctively, equality with the identifier of a grant; everything below a root is bounded by
it, and by the actions and data types of that same grant: grants are never added up. Whether the grant was issued
rightly is authz's work, whether it was revoked is the token check's.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from authz.domain.claims import AccessTokenClaims
from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from trust_agent.graphql import CanonicalRequest, Occurrence

DETAIL_TYPE: Final = "iwlz_care_client"
_MEMBERS: Final = frozenset({"type", "grant_id", "identifier", "actions", "datatypes"})


def check_care_client(request: CanonicalRequest, claims: AccessTokenClaims, fields: Sequence[str]) -> None:
    """Refuse a request that reaches outside the grants of its token; a token without grants is not bound by any.

    Args:
        request: the canonical request.
        claims: of the verified token.
        fields: filter fields that name a record or care client.

    Raises:
        Refused: CARE_CLIENT_OUTSIDE_GRANT.
    """
    details = claims.authorization_details
    if not details:
        return
    for detail in details:
        # A member or type that is not understood might narrow the grant: without understanding it nothing passes.
        if detail.get("type") != DETAIL_TYPE or not detail.keys() <= _MEMBERS:
            raise _outside()
    covering: list[Mapping[str, Any]] = []
    # In document order: what is nested follows its root.
    for occurrence in request.occurrences:
        if len(occurrence.path) == 1:
            covering = [detail for detail in details if _requires_identifier(detail, occurrence, fields)]
        covering = [detail for detail in covering if _allows(detail, occurrence)]
        if not covering:
            raise _outside()


def _allows(detail: Mapping[str, Any], occurrence: Occurrence) -> bool:
    actions, datatypes = detail.get("actions"), detail.get("datatypes")
    for directive in occurrence.directives:
        if not isinstance(actions, list) or directive.action not in actions:
            return False
        if datatypes is not None and (not isinstance(datatypes, list) or directive.resource_type not in datatypes):
            return False
    return True


def _requires_identifier(detail: Mapping[str, Any], occurrence: Occurrence, fields: Sequence[str]) -> bool:
    return any(
        condition.get("field") in fields
        and condition.get("operator") == "eq"
        and condition.get("value") == detail.get("identifier")
        for condition in occurrence.query_filter.get("and", ())
    )


def _outside() -> Refused:
    return Refused(Reason.CARE_CLIENT_OUTSIDE_GRANT, "the request reaches outside the grant of the token")
