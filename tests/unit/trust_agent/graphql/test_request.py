"""The JSON around a query: cases/graphql.md 10 to 14, each beside a near miss that passes."""

import pytest

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from trust_agent.graphql import Limits, Register
from trust_agent.graphql.request import GraphQLRequest

LIMITS = Limits()
QUERY = b'"query": "{dossier{id}}"'


def refusal(body: bytes) -> Reason:
    with pytest.raises(Refused) as refused:
        GraphQLRequest.parse(body, LIMITS)
    return refused.value.reason


def test_the_near_misses_pass() -> None:
    assert GraphQLRequest.parse(b"{%b}" % QUERY, LIMITS).variables == {}
    assert (
        GraphQLRequest.parse(b'{%b, "variables": null, "operationName": null}' % QUERY, LIMITS).operation_name is None
    )
    request = GraphQLRequest.parse(b'{"variables": {"a": [1]}, "qu\\u0065ry": "{x}", "operationName": "A"}', LIMITS)
    assert (request.query, request.variables, request.operation_name) == ("{x}", {"a": [1]}, "A")


def test_10_batches_are_refused() -> None:
    for body in (b"[{%b}]" % QUERY, b"[{%b}, {%b}]" % (QUERY, QUERY), b"[]"):
        assert refusal(body) is Reason.GRAPHQL_MALFORMED


def test_11_duplicate_members_are_refused_also_escaped() -> None:
    assert refusal(b'{%b, "query": "{secret}"}' % QUERY) is Reason.GRAPHQL_MALFORMED
    assert refusal(b'{%b, "qu\\u0065ry": "{secret}"}' % QUERY) is Reason.GRAPHQL_MALFORMED
    assert refusal(b'{%b, "variables": {"a": 1, "\\u0061": 2}}' % QUERY) is Reason.GRAPHQL_MALFORMED


@pytest.mark.parametrize(
    "variables", [b'{"a": NaN}', b'{"a": 1e999}', b'{"a": 99999999999999999999}', b'{"a": "\\ud800"}', b'{"a": "\xff"}']
)
def test_12_values_that_json_parsers_read_differently_are_refused(variables: bytes) -> None:
    assert refusal(b'{%b, "variables": %b}' % (QUERY, variables)) is Reason.GRAPHQL_MALFORMED


def test_12_a_byte_order_mark_is_refused() -> None:
    assert refusal(b"\xef\xbb\xbf{%b}" % QUERY) is Reason.GRAPHQL_MALFORMED


@pytest.mark.parametrize(
    "body",
    [
        b'{%b, "id": 1}' % QUERY,
        b'{%b, "extensions": {"persistedQuery": {"version": 1, "sha256Hash": "aa"}}}' % QUERY,
        b'{%b, "extensions": null}' % QUERY,
        b'{%b, "doc_id": "1"}' % QUERY,
        b'{"variables": {}}',
        b"{}",
        b"null",
        b'"{dossier{id}}"',
    ],
)
def test_13_unknown_members_extensions_and_a_missing_query_are_refused(body: bytes) -> None:
    assert refusal(body) is Reason.GRAPHQL_MALFORMED


@pytest.mark.parametrize(
    "body",
    [
        b'{"query": null}',
        b'{"query": ["{dossier{id}}"]}',
        b'{"query": {"query": "{dossier{id}}"}}',
        b'{%b, "variables": []}' % QUERY,
        b'{%b, "variables": "{}"}' % QUERY,
        b'{%b, "variables": 0}' % QUERY,
        b'{%b, "operationName": 1}' % QUERY,
        b'{%b, "operationName": false}' % QUERY,
    ],
)
def test_14_members_of_another_type_are_refused(body: bytes) -> None:
    assert refusal(body) is Reason.GRAPHQL_MALFORMED


@pytest.mark.parametrize("text", [b"", b" ", b"\\n\\t"])
def test_an_empty_query_is_no_operation(text: bytes) -> None:
    assert refusal(b'{"query": "%b"}' % text) is Reason.GRAPHQL_NO_OPERATION


def test_a_body_over_the_limit_is_refused_unread() -> None:
    filler = b" " * (LIMITS.body_bytes - len(QUERY) - 2)
    assert GraphQLRequest.parse(b"{%b%b}" % (QUERY, filler), LIMITS)
    assert refusal(b"{%b%b }" % (QUERY, filler)) is Reason.BODY_TOO_LARGE
    assert refusal(b"\xff" * (LIMITS.body_bytes + 1)) is Reason.BODY_TOO_LARGE


def test_deep_json_is_refused() -> None:
    assert refusal(b'{%b, "variables": {"a": %b}}' % (QUERY, b"[" * 5_000 + b"]" * 5_000)) is Reason.GRAPHQL_MALFORMED


def test_the_register_reads_requests_this_way(register: Register) -> None:
    assert register.canonicalize(b"{%b}" % QUERY).body == '{"query":"{dossier{id}}"}'
    with pytest.raises(Refused, match="batches"):
        register.canonicalize(b"[{%b}]" % QUERY)
