"""Requests that reach outside the grant of their token (cases/oauth.md 62), each beside one that stays within it."""

import json
from dataclasses import replace
from typing import Any

import pytest

from authz.domain.claims import AccessTokenClaims
from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from tests.fakes.certificates import NOW, FakeAuthority
from tests.fakes.datastation import claims
from trust_agent.care_client import check_care_client
from trust_agent.graphql import Register

A, B = "5a000000-0000-4000-8000-000000000001", "5b000000-0000-4000-8000-000000000002"
SDL = """
scalar UUID
type Query {
  indication(where: Filter): [Indication!]!
    @authz(service: "s", operation: "o", resourceType: "INDICATION", action: "read")
}
type Indication {
  id: UUID!
  person: Person @authz(service: "s", operation: "o", resourceType: "PERSON", action: "read")
}
type Person { name: String }
input Filter { and: [Filter!] or: [Filter!] id: UUIDOperations }
input UUIDOperations { eq: UUID }
"""
REGISTER = Register.load(SDL, public_fields=["Indication.id", "Person.*"])
BASE = AccessTokenClaims.from_json(claims(FakeAuthority().issue("uzovi:5000"), NOW))


def grant(identifier: str, *datatypes: str, **changes: Any) -> dict[str, Any]:
    detail = {"type": "iwlz_care_client", "grant_id": f"g-{identifier}", "identifier": identifier, "actions": ["read"]}
    return detail | {"datatypes": list(datatypes)} | changes


def check(query: str, *details: dict[str, Any]) -> None:
    request = REGISTER.canonicalize(json.dumps({"query": query}).encode())
    check_care_client(request, replace(BASE, authorization_details=details), ["id"])


def asked(identifier: str, fields: str, alias: str = "") -> str:
    return f'{alias}indication(where: {{id: {{eq: "{identifier}"}}}}) {{{fields}}}'


NARROW, WIDE = grant(A, "INDICATION"), grant(B, "INDICATION", "PERSON")
BOTH = f"{{{asked(A, 'id', 'a: ')} {asked(B, 'id person {name}', 'b: ')}}}"


def test_each_care_client_within_its_own_grant_passes() -> None:
    check(BOTH, NARROW, WIDE)
    check(BOTH, WIDE, NARROW)
    check(f"{{{asked(A, 'id person {name}')}}}", grant(A, "INDICATION", "PERSON"))


@pytest.mark.parametrize(
    "query",
    [
        f"{{{asked(A, 'id person {name}')}}}",
        f"{{{asked(B, 'id', 'b: ')} {asked(A, 'id person {name}', 'a: ')}}}",
        f"{{{asked(A, 'id person {name}', 'a: ')} {asked(B, 'id', 'b: ')}}}",
        f"{{...F}} fragment F on Query {{{asked(A, 'id ... on Indication {person {name}}')}}}",
    ],
)
def test_the_data_types_of_one_care_client_do_not_open_those_of_another(query: str) -> None:
    with pytest.raises(Refused) as caught:
        check(query, NARROW, WIDE)
    assert caught.value.reason is Reason.CARE_CLIENT_OUTSIDE_GRANT


def test_actions_and_data_types_of_two_grants_for_one_care_client_are_not_added_up() -> None:
    query = f"{{{asked(A, 'person {name}')}}}"
    with pytest.raises(Refused):
        check(query, NARROW, grant(A, "PERSON"))
    check(query, NARROW, grant(A, "PERSON", "INDICATION"))


def test_a_care_client_within_or_is_not_required() -> None:
    query = f'{{indication(where: {{or: [{{id: {{eq: "{A}"}}}}, {{id: {{eq: "{B}"}}}}]}}) {{id}}}}'
    with pytest.raises(Refused):
        check(query, NARROW)
