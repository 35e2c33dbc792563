"""The JSON of a GraphQL request, read strictly. Nothing of the query itself is looked at here.

Specification: GraphQL over HTTP, "Request parameters", as narrowed by shared `cases/graphql.md` 10 to 14.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from authz.domain.errors import InvalidValue, Refused
from authz.domain.reasons import Reason
from authz.domain.strict_json import parse
from trust_agent.graphql.limits import Limits

_MEMBERS: Final = frozenset({"query", "variables", "operationName"})


@dataclass(frozen=True, slots=True)
class GraphQLRequest:
    """What a caller sent, neither parsed nor validated as GraphQL.

    Attributes:
        query: text of the document.
        variables: raw values by name; empty when none were sent.
        operation_name: the operation asked for, if named.
    """

    query: str
    variables: Mapping[str, Any]
    operation_name: str | None

    @classmethod
    def parse(cls, body: bytes, limits: Limits) -> Self:
        """Read a request body.

        Args:
            body: as received, at most `limits.body_bytes` long.
            limits: caps on length and nesting.

        Raises:
            Refused: BODY_TOO_LARGE, GRAPHQL_NO_OPERATION for an empty query, else GRAPHQL_MALFORMED.
        """
        content = _members(body, limits)
        query = content.get("query")
        if not isinstance(query, str):
            raise Refused(Reason.GRAPHQL_MALFORMED, "query is missing or not a text")
        variables = content.get("variables")
        if not isinstance(variables, dict | None):
            raise Refused(Reason.GRAPHQL_MALFORMED, "variables is not an object")
        name = content.get("operationName")
        if not isinstance(name, str | None):
            raise Refused(Reason.GRAPHQL_MALFORMED, "operationName is not a text")
        if not query.strip():
            raise Refused(Reason.GRAPHQL_NO_OPERATION, "No operation found to evaluate")
        return cls(query, variables or {}, name)


def _members(body: bytes, limits: Limits) -> dict[str, Any]:
    if len(body) > limits.body_bytes:
        raise Refused(Reason.BODY_TOO_LARGE, f"a request has at most {limits.body_bytes} bytes")
    try:
        content = parse(body, max_bytes=limits.body_bytes, max_depth=limits.json_depth)
    except InvalidValue as error:
        raise Refused(Reason.GRAPHQL_MALFORMED, str(error)) from None
    if isinstance(content, list):
        raise Refused(Reason.GRAPHQL_MALFORMED, "batches are not served: send one request at a time")
    if not isinstance(content, dict):
        raise Refused(Reason.GRAPHQL_MALFORMED, "the request is not a JSON object")
    if "extensions" in content:
        raise Refused(Reason.GRAPHQL_MALFORMED, "extensions, such as persisted queries, are not served")
    if not content.keys() <= _MEMBERS:
        raise Refused(Reason.GRAPHQL_MALFORMED, "a request has query, variables and operationName, nothing else")
    return content
