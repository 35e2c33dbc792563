"""The lab's registers: synthetic through and through, and reading filters as the agent says they are to be read."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.domain.errors import Refused
from authz.domain.identifiers import Bsn, Identifier, IdentifierKind
from deploy.lab.register import PUBLIC_FIELDS, SCHEMAS, people
from deploy.lab.register.app import RegisterApp, register
from trust_agent.graphql import Register

AGENT = Register.load(SCHEMAS["indicatie"].read_text(encoding="utf-8"), public_fields=PUBLIC_FIELDS["indicatie"])
BY_ID = "query ($id: UUID!) {wlzIndicatie(where: {wlzindicatieID: {eq: $id}}) {wlzindicatieID bsn}}"


@pytest.fixture(scope="module")
def app() -> RegisterApp:
    return register("indicatie")


def found(app: RegisterApp, body: Mapping[str, Any]) -> list[dict[str, Any]]:
    status, content = app.answer("POST", "e30", json.dumps(body).encode())
    assert status == 200, content
    (items,) = json.loads(content)["data"].values()
    return list(items)


def test_every_bsn_passes_the_proof_is_used_once_and_lies_in_the_range_for_tests() -> None:
    bsns = [item["bsn"] for item in people.indications()]
    assert len(set(bsns)) == len(bsns) == people.EACH * len(people.ZORGKANTOREN)
    assert all(Bsn(bsn).reveal().startswith("99999") for bsn in bsns)
    assert all(item["client"]["bsn"] == item["bsn"] for item in people.indications())


def test_ids_are_fixed_and_the_same_in_every_lab(app: RegisterApp) -> None:
    assert people.indication_id("5000") == "50000000-0000-4000-8000-000000000001"
    assert people.indications() == people.indications()
    for uzovi in people.ZORGKANTOREN:
        assert Identifier(IdentifierKind.UZOVI, uzovi)
        for number in (1, people.EACH):
            wanted = people.indication_id(uzovi, number)
            items = found(app, {"query": BY_ID, "variables": {"id": wanted}})
            assert [item["wlzindicatieID"] for item in items] == [wanted]


def test_a_mediation_belongs_to_an_indication_of_its_holder() -> None:
    items = found(register("bemiddeling"), {"query": "{bemiddeling {bemiddelingID wlzIndicatieID client {bsn}}}"})
    assert len(items) == people.EACH
    assert items[0]["bemiddelingID"] == people.mediation_id("5001")
    assert {item["wlzIndicatieID"] for item in items} == {
        people.indication_id("5001", number) for number in range(1, people.EACH + 1)
    }


def test_the_schemas_load_with_their_public_fields() -> None:
    services = {
        name: Register.load(path.read_text(encoding="utf-8"), public_fields=PUBLIC_FIELDS[name]).service
        for name, path in SCHEMAS.items()
    }
    assert services == {"indicatie": "wlzindicatieregister", "bemiddeling": "wlzbemiddelingsregister"}


def test_a_request_that_did_not_come_through_the_agent_is_refused(app: RegisterApp) -> None:
    body = json.dumps({"query": BY_ID, "variables": {"id": people.indication_id("5000")}}).encode()
    assert app.answer("POST", None, body)[0] == 403
    assert app.answer("POST", "", body)[0] == 403
    assert app.answer("GET", "e30", body)[0] == 405
    assert app.answer("POST", "e30", body)[0] == 200


@pytest.mark.parametrize("body", [b"", b"{}", b'{"query": 1}', b'{"query": "{"}', b'{"query": "{unknown}"}'])
def test_what_is_not_a_request_is_refused(app: RegisterApp, body: bytes) -> None:
    assert app.answer("POST", "e30", body)[0] == 400


ITEMS = people.indications()
COMPARISON = st.fixed_dictionaries(
    {},
    optional={
        "eq": st.sampled_from(["5000", "5001", "9999"]),
        "neq": st.sampled_from(["5000", "5001"]),
        "in": st.lists(st.sampled_from(["5000", "5002"]), min_size=1, max_size=2),
    },
).filter(bool)
WHERE = st.recursive(
    st.fixed_dictionaries(
        {},
        optional={
            "initieelVerantwoordelijkZorgkantoor": COMPARISON
            | st.lists(COMPARISON, min_size=1, max_size=2).map(lambda items: {"or": items})
            | st.lists(COMPARISON, min_size=1, max_size=2).map(lambda items: {"and": items}),
            "wlzindicatieID": st.sampled_from([people.indication_id("5000"), people.indication_id("5001", 3)]).map(
                lambda value: {"eq": value}
            ),
            "afgiftedatum": st.fixed_dictionaries({"gte": st.sampled_from(["2024-03-01", "2024-11-01"])}),
        },
    ).filter(bool),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "and": st.lists(inner, min_size=1, max_size=2),
            "or": st.lists(inner, min_size=1, max_size=2),
            "not": inner,
        },
    ).filter(bool),
    max_leaves=5,
)
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda value, operand: value == operand,
    "neq": lambda value, operand: value != operand,
    "in": lambda value, operand: value in operand,
    "gte": lambda value, operand: value >= operand,
}


def holds(condition: Mapping[str, Any], item: Mapping[str, Any]) -> bool:
    """What a condition in the agent's normal form means."""
    if "and" in condition:
        return all(holds(inner, item) for inner in condition["and"])
    if "or" in condition:
        return any(holds(inner, item) for inner in condition["or"])
    if "not" in condition:
        return not holds(condition["not"], item)
    return _COMPARE[condition["operator"]](item[condition["field"]], condition["value"])


@given(where=WHERE)
def test_the_agent_and_the_register_read_a_filter_in_the_same_way(app: RegisterApp, where: dict[str, Any]) -> None:
    query = "query ($w: WlzIndicatieFilterInput) {wlzIndicatie(where: $w) {wlzindicatieID}}"
    try:
        request = AGENT.canonicalize(json.dumps({"query": query, "variables": {"w": where}}).encode())
    except Refused:
        return
    meant = [item["wlzindicatieID"] for item in ITEMS if holds(request.occurrences[0].query_filter, item)]
    assert [item["wlzindicatieID"] for item in found(app, json.loads(request.body))] == meant


@pytest.mark.parametrize(
    "query",
    [
        "{wlzIndicatie {bsn ...{bsn: bsn client {bsn}} client {taal}}}",
        "query ($v: Boolean!) {wlzIndicatie {bsn @skip(if: $v) ...F @skip(if: $v)}} fragment F on WlzIndicatie {bsn}",
        '{a: wlzIndicatie(where: {initieelVerantwoordelijkZorgkantoor: {or: [{eq: "5000"}, {in: "5001"}]}}) {x: bsn}}',
        (
            'query ($w: [WlzIndicatieFilterInput!] = {afgiftedatum: {lt: "2024-03-01"}})'
            " {wlzIndicatie(where: {or: $w}) {bsn}}"
        ),
        '{wlzIndicatie(where: {wlzindicatieID: {eq: "50000000-0000-4000-8000-00000000000C"}}) {bsn}}',
        (
            "{wlzIndicatie {client {...C}} b: wlzIndicatie {client {...C}}}"
            " fragment C on Client {contactPersoon {...P}}"
            " fragment P on ContactPersoon {contactGegevens {adres {straatnaam}}}"
        ),
    ],
)
def test_the_canonical_document_asks_for_what_the_original_asked_for(app: RegisterApp, query: str) -> None:
    variables = {"v": True} if "$v" in query else {}
    body = {"query": query, "variables": variables}
    canonical = json.loads(AGENT.canonicalize(json.dumps(body).encode()).body)
    assert canonical["query"] != query
    assert json.dumps(found_all(app, canonical)) == json.dumps(found_all(app, body))


def found_all(app: RegisterApp, body: Mapping[str, Any]) -> Any:
    status, content = app.answer("POST", "e30", json.dumps(body).encode())
    assert status == 200, content
    return json.loads(content)
