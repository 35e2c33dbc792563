"""The policy input: everything that is asked for stands in it, and nothing can be slipped into it."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from msgspec import structs

from authz.domain.claims import AccessTokenClaims
from authz.domain.errors import InvalidValue
from authz.domain.identifiers import Identifier, IdentifierKind
from authz.domain.tracing import TraceContext
from tests.fakes.claims import CLAIMS
from tests.unit.trust_agent.graphql.conftest import PUBLIC, SDL, body
from trust_agent.authzen import RequestContext, access_input
from trust_agent.graphql import Register

CONTEXT = RequestContext(
    "dossiers", "WLZ_UITVOERING", datetime(2026, 11, 22, 12, tzinfo=UTC), TraceContext("a" * 32, "b" * 16)
)
REGISTER = Register.load(SDL, public_fields=PUBLIC)


def made(query: str, claims: AccessTokenClaims = CLAIMS, context: RequestContext = CONTEXT, **variables: Any) -> Any:
    request = REGISTER.canonicalize(body(query, None, variables))
    prepared = access_input(request, claims, context)
    assert prepared == access_input(structs.replace(request, evaluations=""), claims, context)
    assert prepared.isascii()
    return json.loads(prepared)


def test_subject_token_and_context_come_from_verified_claims() -> None:
    document = made("{dossier {id}}")
    assert document["subject"] == {
        "type": "organization",
        "id": "uzovi:5000",
        "properties": {
            "organization_type": "ZORGKANTOOR",
            "roles": [],
            "identifiers": {"uzovi_code": "5000"},
            "actor": None,
        },
    }
    assert document["token"] == {
        "scopes": ["registers/wlzindicatieregister/indicaties/indicatie:read"],
        "authorization_details": [],
    }
    assert document["context"] == {
        "service": "dossiers",
        "purpose_of_use": "WLZ_UITVOERING",
        "time": "2026-11-22T12:00:00Z",
        "traceparent": f"00-{'a' * 32}-{'b' * 16}-01",
    }


def test_an_actor_details_and_the_owner_of_the_register_are_told() -> None:
    claims = replace(
        CLAIMS,
        subject=Identifier(IdentifierKind.AGB, "01234567"),
        uzovi=None,
        agb="01234567",
        actor=Identifier(IdentifierKind.KVK, "90000001"),
        authorization_details=({"type": "care_client"},),
    )
    document = made("{dossier {id}}", claims, replace(CONTEXT, register_owner="uzovi:5001"))
    assert document["subject"]["properties"]["actor"] == "kvk:90000001"
    assert document["subject"]["properties"]["identifiers"] == {"agb_code": "01234567"}
    assert document["token"]["authorization_details"] == [{"type": "care_client"}]
    assert document["context"]["register_owner"] == "uzovi:5001"


def test_there_is_one_evaluation_for_each_annotation_of_each_occurrence() -> None:
    evaluations = made("{dossier {id owner {name}} b: dossier {title}}")["evaluations"]
    assert [item["resource"]["type"] for item in evaluations] == ["DOSSIER", "PERSON", "OWNERSHIP", "DOSSIER"]
    assert evaluations[1] == {
        "action": {"name": "QUERY", "properties": {"action": "read"}},
        "resource": {
            "type": "PERSON",
            "id": "",
            "properties": {
                "path": ["dossier", "owner"],
                "query_filter": {"and": []},
                "fields": ["name"],
                "operation": "dossier",
            },
        },
    }


def test_a_mutation_shows_as_one_with_its_arguments() -> None:
    (evaluation,) = made('mutation {close(id: "c0000000-0000-4000-8000-000000000001") {id}}')["evaluations"]
    assert evaluation["action"] == {"name": "MUTATION", "properties": {"action": "update"}}
    assert evaluation["resource"]["properties"]["query_filter"]["and"] == [
        {"field": "id", "operator": "argument", "value": "c0000000-0000-4000-8000-000000000001"}
    ]


@pytest.mark.parametrize(
    "value", ['"}]},"fields":[]', "\\", '\\"', "5000\\u0000", "{{}}", "%s", "</script>", "Zo\u00eb \U0001f600", "'"]
)
def test_a_value_cannot_break_out_of_its_place(value: str) -> None:
    query = "query ($t: String!, $l: [String]) {dossier(where: {title: {eq: $t, in: $l}}) {id}}"
    (evaluation,) = made(query, t=value, l=[value])["evaluations"]
    properties = evaluation["resource"]["properties"]
    assert properties["query_filter"] == {
        "and": [
            {"field": "title", "operator": "eq", "value": value},
            {"field": "title", "operator": "in", "value": [value]},
        ]
    }
    assert properties["fields"] == ["id"]


def test_a_time_that_is_not_utc_is_refused() -> None:
    for moment in (datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1)))):  # noqa: DTZ001  the attack
        with pytest.raises(InvalidValue):
            replace(CONTEXT, time=moment)
    assert replace(CONTEXT, time=datetime(2026, 1, 1, tzinfo=timezone(timedelta(0)))).time
