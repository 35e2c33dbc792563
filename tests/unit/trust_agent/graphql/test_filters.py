"""Filters keep what is required apart from what is not: cases/graphql.md 28, 29 and 34."""

from typing import Any

import pytest

from authz.domain.reasons import Reason
from tests.unit.trust_agent.graphql.conftest import UUID, Ask, Refuse


def leaf(field: str, value: Any, operator: str = "eq") -> dict[str, Any]:
    return {"field": field, "operator": operator, "value": value}


A, B = leaf("title", "a"), leaf("title", "b")


@pytest.mark.parametrize(
    ("where", "normal"),
    [
        ("{}", []),
        ('{title: {eq: "a"}}', [A]),
        ('{and: [{title: {eq: "a"}}, {and: [{title: {eq: "b"}}]}]}', [A, B]),
        ('{and: {title: {eq: "a"}}}', [A]),
        ('{or: [{title: {eq: "a"}}, {title: {eq: "b"}}]}', [{"or": [A, B]}]),
        ('{or: [{title: {eq: "a"}}]}', [{"or": [A]}]),
        ('{not: {title: {eq: "a"}}}', [{"not": A}]),
        ('{not: {and: [{title: {eq: "a"}}, {title: {eq: "b"}}]}}', [{"not": {"and": [A, B]}}]),
        ('{or: [{and: [{title: {eq: "a"}}, {title: {eq: "b"}}]}]}', [{"or": [{"and": [A, B]}]}]),
        ('{title: {neq: "a"}}', [leaf("title", "a", "neq")]),
        ('{title: {eq: "a", contains: "b"}}', [A, leaf("title", "b", "contains")]),
        ('{title: {or: [{eq: "a"}, {eq: "b"}]}}', [{"or": [A, B]}]),
        ('{title: {and: [{eq: "a"}, {or: [{eq: "b"}]}]}}', [A, {"or": [B]}]),
        ('{title: {in: ["a", "b"]}}', [leaf("title", ["a", "b"], "in")]),
        ('{title: {in: "a"}}', [leaf("title", ["a"], "in")]),
        ("{opened: {eq: null}}", [leaf("opened", None)]),
        ('{part: {number: {eq: 1}, text: {eq: "a"}}}', [leaf("part.number", 1), leaf("part.text", "a")]),
        ("{part: {or: [{number: {eq: 1}}]}}", [{"or": [leaf("part.number", 1)]}]),
        (
            "{parts: {some: {number: {eq: 1}}}}",
            [leaf("parts", {"and": [leaf("number", 1)]}, "some")],
        ),
        ("{parts: {any: true}}", [leaf("parts", value=True, operator="any")]),
        (f'{{id: {{eq: "{UUID.upper()}"}}}}', [leaf("id", UUID)]),
    ],
)
def test_filters_mean_the_same_as_literal_and_as_variable(ask: Ask, where: str, normal: list[Any]) -> None:
    literal = ask(f"{{dossier(where: {where}) {{id}}}}")
    assert literal.occurrences[0].query_filter == {"and": normal}
    default = ask(f"query ($w: DossierFilter = {where}) {{dossier(where: $w) {{id}}}}")
    assert default.occurrences == literal.occurrences


def test_variables_at_every_level_give_the_filter_of_the_literal(ask: Ask) -> None:
    value = {"title": {"eq": "a"}, "and": [{"title": {"eq": "b"}}]}
    wanted = ask('{dossier(where: {and: [{title: {eq: "b"}}], title: {eq: "a"}}) {id}}').occurrences
    assert ask("query ($w: DossierFilter!) {dossier(where: $w) {id}}", w=value).occurrences == wanted
    whole = "query ($l: [DossierFilter!], $t: TextOperations) {dossier(where: {and: $l, title: $t}) {id}}"
    assert ask(whole, l=value["and"], t=value["title"]).occurrences == wanted
    leaves = "query ($a: String, $b: String!) {dossier(where: {title: {eq: $a}, and: [{title: {eq: $b}}]}) {id}}"
    assert ask(leaves, a="a", b="b").occurrences == wanted
    item = 'query ($f: DossierFilter!) {dossier(where: {title: {eq: "a"}, and: [$f]}) {id}}'
    assert ask(item, f={"title": {"eq": "b"}}).occurrences == wanted


def test_29_a_required_filter_inside_or_or_not_is_not_conjunctively_required(ask: Ask) -> None:
    for where in (
        '{or: [{title: {eq: "a"}}, {id: {neq: null}}]}',
        '{not: {title: {eq: "a"}}}',
        '{title: {or: [{eq: "a"}, {neq: "a"}]}}',
        '{parts: {none: {text: {eq: "a"}}}}',
        '{or: [{and: [{title: {eq: "a"}}]}, {title: {neq: "a"}}]}',
        '{title: {neq: "a"}}',
        '{title: {in: ["a", "b"]}}',
    ):
        assert A not in ask(f"{{dossier(where: {where}) {{id}}}}").occurrences[0].query_filter["and"]
    assert A in ask('{dossier(where: {title: {eq: "a"}}) {id}}').occurrences[0].query_filter["and"]


EMPTY = [
    "{title: {}}",
    "{title: null}",
    "{and: []}",
    "{and: null}",
    "{or: []}",
    "{or: [{}]}",
    "{not: {}}",
    "{not: null}",
    '{and: [{title: {eq: "a"}}, {}]}',
    "{title: {or: []}}",
    "{title: {and: [{}]}}",
    "{title: {in: []}}",
    "{title: {in: null}}",
    '{title: {in: ["a", null]}}',
    "{title: {contains: null}}",
    "{part: {}}",
    "{part: {number: {}}}",
    "{parts: {}}",
    "{parts: {some: {}}}",
    "{parts: {any: null}}",
]


@pytest.mark.parametrize("where", EMPTY)
def test_28_what_seems_to_require_and_does_not_is_refused(refuse: Refuse, where: str) -> None:
    assert refuse(f"{{dossier(where: {where}) {{id}}}}") is Reason.GRAPHQL_FILTER
    assert refuse(f"query ($w: DossierFilter = {where}) {{dossier(where: $w) {{id}}}}") is Reason.GRAPHQL_FILTER


BY_ID = "query ($id: UUID) {dossier(where: {id: {eq: $id}}) {id}}"


def test_28_missing_undeclared_null_and_wrongly_typed_variables_are_refused(ask: Ask, refuse: Refuse) -> None:
    assert ask(BY_ID, id=UUID).occurrences[0].query_filter["and"] == [leaf("id", UUID)]
    assert refuse(BY_ID) is Reason.GRAPHQL_VARIABLES
    assert refuse(BY_ID, id=UUID, more=1) is Reason.GRAPHQL_VARIABLES
    assert refuse(BY_ID, Id=UUID) is Reason.GRAPHQL_VARIABLES
    for value in (1, True, [UUID], {"eq": UUID}, "", UUID + "0", f" {UUID}"):
        assert refuse(BY_ID, id=value) is Reason.GRAPHQL_VARIABLES
    assert refuse(BY_ID.replace("UUID)", "UUID!)"), id=None) is Reason.GRAPHQL_VARIABLES
    assert refuse("query ($f: UUIDOperations) {dossier(where: {id: $f}) {id}}", f=None) is Reason.GRAPHQL_FILTER
    assert refuse("query ($f: UUIDOperations) {dossier(where: {id: $f}) {id}}", f={}) is Reason.GRAPHQL_FILTER
    assert refuse("query ($w: DossierFilter) {dossier(where: $w) {id}}", w=None) is Reason.GRAPHQL_FILTER
    assert refuse("query ($t: String) {dossier(where: {title: {contains: $t}}) {id}}", t=None) is Reason.GRAPHQL_FILTER
    assert refuse("query ($w: DossierFilter) {dossier(where: $w) {id}}", w={"nobody": 1}) is Reason.GRAPHQL_VARIABLES
    assert refuse("query ($w: Nobody) {dossier(where: $w) {id}}", w={}) is Reason.GRAPHQL_INVALID
    assert refuse("query ($t: Int) {dossier(where: {title: {eq: $t}}) {id}}", t=1) is Reason.GRAPHQL_INVALID
    assert refuse("{dossier(where: {title: {eq: $t}}) {id}}", t="a") is Reason.GRAPHQL_INVALID


def test_28_null_is_a_value_only_for_equality_and_stays_visible(ask: Ask) -> None:
    assert ask(BY_ID, id=None).occurrences[0].query_filter["and"] == [leaf("id", None)]
    absent = ask("{dossier(where: null) {id}}")
    assert absent.occurrences[0].query_filter == {"and": []}


def test_28_a_default_is_written_out_and_cannot_be_nulled(ask: Ask, refuse: Refuse) -> None:
    query = 'query ($t: String = "a") {dossier(where: {title: {eq: $t}}) {id}}'
    assert ask(query).occurrences[0].query_filter["and"] == [A]
    assert '"variables":{"t":"a"}' in ask(query).body
    assert ask(query, t="b").occurrences[0].query_filter["and"] == [B]
    assert refuse(query, t=None) is Reason.GRAPHQL_VARIABLES


def test_29_long_lists_many_conditions_and_deep_filters_are_refused(ask: Ask, refuse: Refuse) -> None:
    query = "query ($l: [String]) {dossier(where: {title: {in: $l}}) {id}}"
    assert ask(query, l=["a"] * 50)
    assert refuse(query, l=["a"] * 51) is Reason.GRAPHQL_LIMIT
    assert refuse(query, l=["a"] * 5_000) is Reason.GRAPHQL_LIMIT
    assert refuse("{dossier(where: {title: {in: [" + '"a" ' * 51 + "]}}) {id}}") is Reason.GRAPHQL_LIMIT
    many = "query ($w: DossierFilter) {dossier(where: $w) {id}}"
    conditions = [{"title": {"eq": "a", "neq": "b"}}] * 32
    assert ask(many, w={"and": conditions})
    assert refuse(many, w={"and": [*conditions, {"title": {"eq": "a"}}]}) is Reason.GRAPHQL_LIMIT
    deep: dict[str, Any] = {"title": {"eq": "a"}}
    for _ in range(5):
        deep = {"and": [deep]}
    assert ask(many, w=deep)
    for _ in range(5):
        deep = {"not": deep}
    assert refuse(many, w=deep) is Reason.GRAPHQL_LIMIT


def test_34_dates_exist_and_times_are_said_in_utc(ask: Ask, refuse: Refuse) -> None:
    by_date = "query ($d: Date!) {dossier(where: {opened: {gte: $d}}) {id}}"
    assert ask(by_date, d="2024-02-29").occurrences[0].query_filter["and"] == [leaf("opened", "2024-02-29", "gte")]
    for text in (
        "2023-02-29",
        "2024-2-9",
        "2024-02-29T00:00:00Z",
        "20240229",
        "2024-W09-4",
        "2024-02-29 ",
        "\u0662024-02-29",
    ):
        assert refuse(by_date, d=text) is Reason.GRAPHQL_VARIABLES
        assert refuse(f'{{dossier(where: {{opened: {{gte: "{text}"}}}}) {{id}}}}') is Reason.GRAPHQL_INVALID
    by_time = "query ($d: DateTime!) {dossier(where: {changed: {gte: $d}}) {id}}"
    for text in ("2024-05-31T23:30:00-01:00", "2024-06-01T00:30:00Z", "2024-06-01T02:30:00+02:00"):
        assert ask(by_time, d=text).occurrences[0].query_filter["and"] == [
            leaf("changed", "2024-06-01T00:30:00Z", "gte")
        ]
        assert "2024-06-01T00:30:00Z" in ask(by_time, d=text).body
    for text in ("2024-06-01T00:30:00", "2024-06-01", "2024-06-01T24:30:00Z", "0001-01-01T00:00:00+14:00"):
        assert refuse(by_time, d=text) is Reason.GRAPHQL_VARIABLES
