"""Documents that are refused before anything is authorized: cases/graphql.md 15 to 26, 30 and 31."""

import time
from collections.abc import Callable
from typing import Any

import graphql
import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from tests.unit.trust_agent.graphql.conftest import PUBLIC, SDL, Ask, Refuse, body
from trust_agent.graphql import Register, document


def test_15_several_operations_are_refused_also_with_a_name(ask: Ask, refuse: Refuse) -> None:
    two = "query A {dossier {id}} query B {found {__typename}}"
    assert refuse(two) is Reason.GRAPHQL_OPERATIONS
    assert refuse(two, "A") is Reason.GRAPHQL_OPERATIONS
    assert refuse("{dossier {id}} {dossier {id}}") is Reason.GRAPHQL_OPERATIONS
    assert ask("query A {dossier {id}}", "A").operation == "QUERY"


def test_16_an_unknown_operation_name_is_refused(ask: Ask, refuse: Refuse) -> None:
    assert refuse("query A {dossier {id}}", "B") is Reason.GRAPHQL_NO_OPERATION
    assert refuse("query A {dossier {id}}", "a") is Reason.GRAPHQL_NO_OPERATION
    assert refuse("{dossier {id}}", "A") is Reason.GRAPHQL_NO_OPERATION
    assert refuse("query A {dossier {id}}", "") is Reason.GRAPHQL_NO_OPERATION
    assert ask("query A {dossier {id}}").body == '{"query":"query A{dossier{id}}"}'


def test_16_a_mutation_shows_as_one_and_a_subscription_is_refused(ask: Ask, refuse: Refuse) -> None:
    assert ask('mutation {close(id: "c0000000-0000-4000-8000-000000000001") {id}}').operation == "MUTATION"
    assert refuse("subscription {dossier {id}}") is Reason.GRAPHQL_OPERATION_TYPE


def test_16_a_mutation_is_refused_where_the_register_has_none() -> None:
    register = Register.load(
        'type Query {a: Int @authz(service: "s", operation: "o", resourceType: "R", action: "read")}'
    )
    with pytest.raises(Refused) as refusal:
        register.canonicalize(body("mutation {a}", None, {}))
    assert refusal.value.reason is Reason.GRAPHQL_OPERATION_TYPE


@pytest.mark.parametrize("text", ["#", "fragment A on Dossier {id}", "# only a comment\n"])
def test_a_document_without_an_operation_is_refused(refuse: Refuse, text: str) -> None:
    assert refuse(text) in {Reason.GRAPHQL_NO_OPERATION, Reason.GRAPHQL_SYNTAX}


@pytest.mark.parametrize(
    "text",
    [
        "{dossier {id}",
        "{dossier {}}",
        "{}",
        "dossier",
        "{dossier {id}} }",
        "query ($a: ) {dossier {id}}",
        "{d\u043essier {id}}",
    ],
)
def test_bad_syntax_is_refused_with_the_place_and_nothing_else(register: Register, text: str) -> None:
    with pytest.raises(Refused) as refusal:
        register.canonicalize(body(text, None, {}))
    assert refusal.value.reason is Reason.GRAPHQL_SYNTAX
    assert "ossier" not in refusal.value.detail


def test_20_fragments_that_contain_themselves_or_each_other_are_refused(ask: Ask, refuse: Refuse) -> None:
    assert refuse("{dossier {...A}} fragment A on Dossier {...A}") is Reason.GRAPHQL_INVALID
    cycle = "fragment A on Dossier {id ...B} fragment B on Dossier {title ...A}"
    assert refuse("{dossier {...A}}" + cycle) is Reason.GRAPHQL_INVALID
    assert refuse("{dossier {id}}" + cycle) is Reason.GRAPHQL_INVALID
    ask("{dossier {...A}} fragment A on Dossier {id ...B} fragment B on Dossier {title}")


def test_20_duplicate_fragment_names_are_refused(refuse: Refuse) -> None:
    twice = "{dossier {...A}} fragment A on Dossier {id} fragment A on Dossier {owner {name}}"
    assert refuse(twice) is Reason.GRAPHQL_INVALID


@pytest.mark.parametrize("levels", [8, 18, 22, 60])
def test_21_doubling_fragments_are_counted_after_expansion_and_refused_quickly(refuse: Refuse, levels: int) -> None:
    doubling = " ".join(f"fragment F{level} on Dossier {{...F{level + 1} ...F{level + 1}}}" for level in range(levels))
    started = time.thread_time()
    last = " ".join(f"a{index}: id" for index in range(3))
    assert refuse(f"{{dossier {{...F0}}}} {doubling} fragment F{levels} on Dossier {{{last}}}") is Reason.GRAPHQL_LIMIT
    # Four million steps would take seconds of the processor; what others take of it is not counted.
    assert time.thread_time() - started < 1


def test_21_a_few_doublings_pass(ask: Ask) -> None:
    doubling = " ".join(f"fragment F{level} on Dossier {{...F{level + 1} ...F{level + 1}}}" for level in range(5))
    request = ask(f"{{dossier {{...F0}}}} {doubling} fragment F5 on Dossier {{a: id b: id}}")
    assert request.body == '{"query":"{dossier{a:id b:id}}"}'


def test_21_expansion_that_outgrows_what_a_request_may_be_is_refused(refuse: Refuse) -> None:
    owners = "fragment A on Dossier {owner {name}}"
    spreads = " ".join("...A ...on Dossier {owner {age}}" for _ in range(8))
    assert refuse(f"{{dossier {{{spreads}}}}} {owners}") is Reason.GRAPHQL_LIMIT


def test_23_introspection_is_refused_and_typename_only_below_the_root(ask: Ask, refuse: Refuse) -> None:
    assert refuse("{__schema {types {name}}}") is Reason.GRAPHQL_INTROSPECTION
    assert refuse('{__type(name: "Dossier") {name}}') is Reason.GRAPHQL_INTROSPECTION
    assert refuse("{dossier {id} s: __schema {types {name}}}") is Reason.GRAPHQL_INTROSPECTION
    assert refuse("{...A} fragment A on Query {__schema {types {name}}}") is Reason.GRAPHQL_INTROSPECTION
    assert refuse("{dossier {__schema {types {name}}}}") is Reason.GRAPHQL_INTROSPECTION
    assert refuse("{__typename}") is Reason.GRAPHQL_INTROSPECTION
    assert refuse("{dossier {id} ...{__typename}}") is Reason.GRAPHQL_INTROSPECTION
    assert ask("{dossier {__typename id}}").occurrences[0].fields == ("id",)


@pytest.mark.parametrize(
    "text",
    [
        '{dossier @authz(service: "s", operation: "o", resourceType: "R", action: "read") {id}}',
        "query @skip(if: true) {dossier {id}}",
        "query ($a: Boolean! @skip(if: true)) {dossier {id @skip(if: $a)}}",
        "{dossier {...A}} fragment A on Dossier @include(if: true) {id}",
        "{dossier {id @defer}}",
        "{dossier {... @defer {id}}}",
        "{dossier {...A @unknown}} fragment A on Dossier {id}",
        "{dossier {id @skipp(if: true)}}",
        "{dossier {id @deprecated}}",
    ],
)
def test_24_directives_other_than_skip_and_include_on_selections_are_refused(refuse: Refuse, text: str) -> None:
    assert refuse(text, **({"a": True} if "$a" in text else {})) is Reason.GRAPHQL_DIRECTIVE


def test_24_many_directives_are_refused(ask: Ask, refuse: Refuse) -> None:
    def fields(count: int) -> str:
        return " ".join(f"a{index}: id @skip(if: false)" for index in range(count))

    assert ask(f"{{dossier {{{fields(20)}}}}}")
    assert refuse(f"{{dossier {{{fields(21)}}}}}") is Reason.GRAPHQL_DIRECTIVE
    assert refuse("{dossier {id " + "@x" * 20_000 + "}}") is Reason.GRAPHQL_LIMIT
    assert refuse("{dossier {id @skip(if: true) @skip(if: false)}}") is Reason.GRAPHQL_INVALID


def fragments(count: int) -> str:
    uses = " ".join(f"...F{index}" for index in range(count))
    return f"{{dossier {{{uses}}}}} " + " ".join(f"fragment F{index} on Dossier {{id}}" for index in range(count))


@pytest.mark.parametrize(
    ("write", "most"),
    [
        (lambda count: f"{{dossier {{{' '.join(f'a{index}: id' for index in range(count))}}}}}", 20),
        # Five braces and names around them, four tokens each.
        (lambda count: "{dossier {%s}}" % ("...{id} " * count), 148),
        (lambda count: "{dossier {%s id}}" % ("# a\n" * count), 200),
        (lambda count: "{dossier {id #%s\n}}" % ("a" * count), 12_271),
        (fragments, 20),
    ],
    ids=["aliases", "tokens", "comments", "bytes", "fragments"],
)
def test_25_what_costs_time_is_limited_one_by_one(
    ask: Ask, refuse: Refuse, write: Callable[[int], str], most: int
) -> None:
    assert ask(write(most))
    assert refuse(write(most + 1)) is Reason.GRAPHQL_LIMIT


def test_25_too_many_tokens_are_counted_before_the_parser_sees_any(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []

    def parse(text: str, **caps: Any) -> graphql.DocumentNode:
        parsed.append(text)
        return graphql.parse(text, **caps)

    register = Register.load(SDL, public_fields=PUBLIC)
    monkeypatch.setattr(document, "parse", parse)
    for text in ("{dossier {%s}}" % ("id " * 800), "[" * 5_000, "{" * 12_000, "{dossier {id #" + "a" * 13_000 + "\n}}"):
        with pytest.raises(Refused) as refusal:
            register.canonicalize(body(text, None, {}))
        assert refusal.value.reason is Reason.GRAPHQL_LIMIT
    assert not parsed
    assert register.canonicalize(body("{dossier {id}}", None, {}))
    assert parsed[0] == "{dossier {id}}"


WORDS = st.lists(
    st.sampled_from(
        [
            *("dossier", "_a1", "-3", "1.5", "-0.25e+10", "2E-7", "0", "# note # more"),
            *('""', '"a b # c"', '"\\\\ \\" x"', '"""a "" b\n"""', '"""x \\""" y"""', '""""""'),
            *("...", "{", "}", "(", ")", "[", "]", ":", "=", "!", "|", "&", "@", "$"),
        ]
    ),
    max_size=40,
)


@given(WORDS)
def test_the_early_count_finds_what_the_parser_finds(words: list[str]) -> None:
    text = "\n".join(words)
    lexer, found = graphql.Lexer(graphql.Source(text)), 0
    while lexer.advance().kind is not graphql.TokenKind.EOF:
        found += 1
    comments = sum(word.startswith("#") for word in words)
    assert sum(1 for _ in document._TOKEN.finditer(text)) == found + comments


@given(st.text(st.sampled_from('"\\#a1.- \n{')))
def test_the_early_count_never_finds_more_than_the_parser(text: str) -> None:
    lexer, found = graphql.Lexer(graphql.Source(text)), 0
    try:
        while lexer.advance().kind is not graphql.TokenKind.EOF:
            found += 1
    except graphql.GraphQLSyntaxError:
        return
    counted = [item for item in document._TOKEN.findall(text) if not item.startswith("#")]
    assert len(counted) <= found


def test_25_many_aliases_and_duplicate_fields_are_refused_before_they_cost(ask: Ask, refuse: Refuse) -> None:
    for count, repeated in ((3_000, "a{}: id"), (1_500, "id"), (600, "id"), (11, "id")):
        fields = " ".join(repeated.format(index) for index in range(count))
        started = time.thread_time()
        assert refuse(f"{{dossier {{{fields}}}}}") is Reason.GRAPHQL_LIMIT
        assert time.thread_time() - started < 1
    roots = " ".join(f"a{index}: dossier {{id}}" for index in range(10))
    assert len(ask(f"{{{roots}}}").occurrences) == 10
    assert refuse(f"{{{roots} b: dossier {{id}}}}") is Reason.GRAPHQL_LIMIT


def test_25_comments_are_limited(ask: Ask, refuse: Refuse) -> None:
    ask("#\n" * 200 + "{dossier {id}}")
    assert refuse("#\n" * 201 + "{dossier {id}}") is Reason.GRAPHQL_LIMIT


@pytest.mark.parametrize("levels", [21, 150, 300, 1_000])
def test_26_deep_nesting_is_refused(refuse: Refuse, levels: int) -> None:
    assert refuse("{dossier {" + "...{" * levels + "id" + "}" * levels + "}}") is Reason.GRAPHQL_LIMIT
    nested = '{id: {eq: "c0000000-0000-4000-8000-000000000001"}}'
    for _ in range(min(levels, 300)):
        nested = f"{{and: [{nested}]}}"
    assert refuse(f"{{dossier(where: {nested}) {{id}}}}") is Reason.GRAPHQL_LIMIT


def test_26_a_chain_of_fragments_is_deep_as_well(ask: Ask, refuse: Refuse) -> None:
    def chain(length: int) -> str:
        links = " ".join(f"fragment F{link} on Dossier {{...F{link + 1}}}" for link in range(length))
        return f"{{dossier {{...F0}}}} {links} fragment F{length} on Dossier {{id}}"

    ask(chain(15))
    assert refuse(chain(25)) is Reason.GRAPHQL_LIMIT
    # Entered at its deep end first, a chain is as deep when it is used again from its start.
    nested = "{dossier {...F0 " + "...{" * 10 + "...F0" + "}" * 10 + "}} " + chain(12).partition("}} ")[2]
    assert refuse(nested) is Reason.GRAPHQL_LIMIT


@pytest.mark.parametrize("field", ["titel", "ttle", "owners", "_title"])
def test_30_an_unknown_field_gets_no_suggestion(register: Register, field: str) -> None:
    with pytest.raises(Refused) as refusal:
        register.canonicalize(body(f"{{dossier {{\n  {field}\n}}}}", None, {}))
    assert refusal.value.reason is Reason.GRAPHQL_INVALID
    assert refusal.value.detail == "the query does not fit the schema of this register (line 2, column 3)"


@pytest.mark.parametrize(
    "text",
    [
        "{dossier {id}} type A {a: Int}",
        "{dossier {id}} extend type Query {a: Int}",
        "{dossier {id}} directive @x on FIELD",
        "schema {query: Query} {dossier {id}}",
        "{dossier {id}} fragment A on Dossier {id}",
        "{dossier {...A}}",
        "query ($a: Int) {dossier {id}}",
        "{dossier}",
        "{dossier {id {x}}}",
        "{dossier {...on Person {name}}}",
        "{dossier {...on Nobody {name}}}",
        "{dossier {...A}} fragment A on Meta {pages}",
        "{dossier {a: id a: title}}",
        "{dossier(where: {id: {eq: 1}}) {id}}",
        "{dossier(where: {nobody: {eq: 1}}) {id}}",
        '{dossier(where: {title: {eq: "a", eq: "b"}}) {id}}',
        "{dossier(where: null, where: null) {id}}",
        "{dossier(wher: {}) {id}}",
        "{byKind(kind: NONE) {id}}",
        '{byKind(kind: "ZIN") {id}}',
    ],
)
def test_31_what_does_not_fit_the_specification_or_the_schema_is_refused(refuse: Refuse, text: str) -> None:
    variables = {"a": 1} if "$a" in text else {}
    assert refuse(text, **variables) is Reason.GRAPHQL_INVALID


def test_a_refusal_is_remembered_and_the_same(register: Register) -> None:
    details = []
    for _ in range(2):
        with pytest.raises(Refused) as refusal:
            register.read(body("{dossier {unheard}}", None, {}), "a")
        details.append((refusal.value.reason, refusal.value.detail))
    assert details[0] == details[1]
