"""What is authorized is what is selected, however it is written: cases/graphql.md 17 to 19, 22 and 27."""

import pytest

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from tests.unit.trust_agent.graphql.conftest import PUBLIC, SDL, Ask, Refuse, body
from trust_agent.graphql import CanonicalRequest, Limits, Register


def seen(request: CanonicalRequest) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(item.coordinate, "/".join(item.path), item.fields) for item in request.occurrences]


def test_17_an_alias_hides_nothing(ask: Ask) -> None:
    request = ask("{title: dossier {id: title title: id number: owner {name: age}}}")
    assert seen(request) == [
        ("Query.dossier", "dossier", ("title", "id")),
        ("Dossier.owner", "dossier/owner", ("age",)),
    ]
    assert request.body == '{"query":"{title:dossier{id:title title:id number:owner{name:age}}}"}'
    assert ask("{dossier: dossier {id: id}}").body == '{"query":"{dossier{id}}"}'


def test_18_a_field_inside_a_fragment_is_seen(ask: Ask) -> None:
    plain = ask("{dossier {id owner {age}}}")
    for text in (
        "{dossier {id ...{owner {age}}}}",
        "{dossier {id ...on Dossier {owner {age}}}}",
        "{dossier {id ...A}} fragment A on Dossier {owner {age}}",
        "{...A} fragment A on Query {dossier {id ...B}} fragment B on Dossier {owner {...C}} fragment C on Person{age}",
        "{dossier {id owner {...on Party {...on Person {age}}}}}",
    ):
        assert ask(text).body == plain.body
        assert ask(text).occurrences == plain.occurrences
    assert seen(plain)[1] == ("Dossier.owner", "dossier/owner", ("age",))


def test_19_skip_and_include_change_nothing_for_authorization(ask: Ask) -> None:
    plain = ask("{dossier {id owner {age}}}").occurrences
    for text in (
        "{dossier {id owner @skip(if: true) {age}}}",
        "{dossier {id owner @include(if: false) {age}}}",
        "{dossier {id owner {age @skip(if: true)}}}",
        "{dossier {id ... @include(if: false) {owner {age}}}}",
        "{dossier {id ...A @skip(if: true)}} fragment A on Dossier {owner {age}}",
    ):
        assert ask(text).occurrences == plain
    request = ask(
        "query ($v: Boolean!) {dossier {id ...A @include(if: $v)}} fragment A on Dossier {owner {age}}", v=False
    )
    assert request.occurrences == plain
    assert "...on Dossier@include(if:$v){owner{age}}" in request.body


def test_22_a_protected_implementor_is_seen_through_its_interface(ask: Ask) -> None:
    coordinates = [item.coordinate for item in ask("{party {name secret}}").occurrences]
    assert coordinates == ["Query.party", "Party.secret", "Person.secret", "Office.secret"]
    assert [item.coordinate for item in ask("{party {...on Person {secret}}}").occurrences] == [
        "Query.party",
        "Person.secret",
    ]
    assert [item.coordinate for item in ask("{found {...on Person {...on Party {secret}}}}").occurrences] == [
        "Query.found",
        "Person.secret",
    ]
    assert [item.coordinate for item in ask("{found {...on Party {secret}}}").occurrences] == [
        "Query.found",
        "Party.secret",
        "Person.secret",
        "Office.secret",
    ]
    assert seen(ask("{party {name}}")) == [("Query.party", "party", ("name",))]


def test_22_a_union_shows_what_is_selected_of_each_member(ask: Ask) -> None:
    request = ask("{found {__typename ...on Person {age} ...on Dossier {title owner {name}}}}")
    assert seen(request) == [
        ("Query.found", "found", ("__typename", "age", "title")),
        ("Dossier.owner", "found/owner", ("name",)),
    ]


def test_27_the_same_field_twice_is_judged_twice_with_its_own_filter(ask: Ask, refuse: Refuse) -> None:
    request = ask(
        '{a: dossier(where: {title: {eq: "x"}}) {id} b: dossier {id} c: dossier(where: {title: {eq: "y"}}) {id}}'
    )
    assert [item.query_filter["and"] for item in request.occurrences] == [
        [{"field": "title", "operator": "eq", "value": "x"}],
        [],
        [{"field": "title", "operator": "eq", "value": "y"}],
    ]
    assert refuse('{dossier(where: {title: {eq: "x"}}) {id} dossier {id}}') is Reason.GRAPHQL_INVALID
    nested = ask("{dossier {a: parts {number} b: parts(where: {number: {eq: 1}}) {text}}}")
    assert [len(item.query_filter["and"]) for item in nested.occurrences] == [0, 0, 1]


def test_the_same_field_twice_under_one_name_is_judged_with_the_fields_of_each(ask: Ask) -> None:
    request = ask("{dossier {owner {name} owner {age}}}")
    assert seen(request)[1:] == [
        ("Dossier.owner", "dossier/owner", ("name",)),
        ("Dossier.owner", "dossier/owner", ("age",)),
    ]


def test_public_entities_show_their_fields_with_a_dot(ask: Ask) -> None:
    assert seen(ask("{dossier {meta {pages v: version}}}")) == [
        ("Query.dossier", "dossier", ("meta.pages", "meta.version"))
    ]


def test_every_annotation_of_a_field_counts(ask: Ask) -> None:
    owner = ask("{dossier {owner {name}}}").occurrences[1]
    assert [item.resource_type for item in owner.directives] == ["PERSON", "OWNERSHIP"]


def test_typename_can_be_switched_off() -> None:
    register = Register.load(SDL, public_fields=PUBLIC, limits=Limits(typename=False))
    assert register.canonicalize(body("{dossier {id}}", None, {}))
    with pytest.raises(Refused) as refusal:
        register.canonicalize(body("{dossier {__typename}}", None, {}))
    assert refusal.value.reason is Reason.GRAPHQL_INTROSPECTION


def test_the_number_of_protected_fields_is_limited(ask: Ask, refuse: Refuse) -> None:
    def owners(count: int) -> str:
        # The same field ten times at one place is as often as it may be.
        roots = [" ".join(["owner {age}"] * min(10, count - done)) for done in range(0, count, 10)]
        return "{" + " ".join(f"a{index}: dossier {{{text}}}" for index, text in enumerate(roots)) + "}"

    # Two annotations for each owner, and one for each of the five dossiers they are of.
    assert len(ask(owners(47)).occurrences) == 52
    assert refuse(owners(48)) is Reason.GRAPHQL_LIMIT


def test_descriptions_comments_and_block_texts_leave_no_trace(ask: Ask) -> None:
    request = ask('"about"\nquery A {dossier(where: {title: {eq: """x"""}}) {\n# note\nid,}}')
    assert request.body == '{"query":"query A{dossier(where:{title:{eq:\\"x\\"}}){id}}"}'


def test_arguments_stand_in_the_order_of_the_schema_with_defaults_written_out(ask: Ask) -> None:
    request = ask("{byKind(weight: 2) {id}}")
    assert request.body == '{"query":"{byKind(kind:ZIN weight:2.0){id}}"}'
    assert request.occurrences[0].query_filter["and"] == [
        {"field": "kind", "operator": "argument", "value": "ZIN"},
        {"field": "weight", "operator": "argument", "value": 2.0},
    ]


def test_the_number_of_results_is_asked_for_and_bounded(ask: Ask, refuse: Refuse) -> None:
    assert ask("{dossiers(first: 100) {id}}")
    assert ask("query ($n: Int!) {dossiers(first: $n) {id}}", n=100)
    assert ask("query ($n: Int = 10) {dossiers(first: $n) {id}}")
    assert refuse("{dossiers {id}}") is Reason.GRAPHQL_LIMIT
    assert refuse("{dossiers(first: null) {id}}") is Reason.GRAPHQL_LIMIT
    for number in (101, 0, -1, 2_000_000_000):
        assert refuse(f"{{dossiers(first: {number}) {{id}}}}") is Reason.GRAPHQL_LIMIT
        assert refuse("query ($n: Int!) {dossiers(first: $n) {id}}", n=number) is Reason.GRAPHQL_LIMIT
    assert refuse("query ($n: Int) {dossiers(first: $n) {id}}", n=None) is Reason.GRAPHQL_LIMIT
