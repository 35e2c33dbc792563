"""Schemas with which enforcement would have holes: cases/graphql.md 16, 22 and 33. All holes are named at once."""

import pytest

from tests.unit.trust_agent.graphql.conftest import PUBLIC, SDL
from trust_agent.graphql import Register, SchemaRefused
from trust_agent.graphql.schema import DIRECTIVE

READ = '@authz(service: "s", operation: "o", resourceType: "R", action: "read")'
ANNOTATION = {"service": "s", "operation": "o", "resourceType": "R", "action": "read"}


def problems(
    sdl: str, public: tuple[str, ...] = (), overlay: dict[str, dict[str, str]] | None = None
) -> tuple[str, ...]:
    with pytest.raises(SchemaRefused) as refusal:
        Register.load(sdl, public_fields=public, overlay=overlay or {})
    assert all(problem in str(refusal.value) for problem in refusal.value.problems)
    return refusal.value.problems


def test_the_near_miss_loads_and_names_its_service() -> None:
    assert Register.load(SDL, public_fields=PUBLIC).service == "dossiers"
    assert Register.load(f"type Query {{a: A {READ}}} type A {{b: Int c: Int}}", public_fields=["A.*"]).service == "s"


def test_33_every_field_that_is_neither_annotated_nor_public_is_listed() -> None:
    sdl = f"type Query {{a: A {READ} b: Int}} type A {{c: Int d: B e(x: Int): Int}} type B {{f: Int}} type U {{g: Int}}"
    assert problems(sdl) == tuple(
        f"{name}: neither annotated nor public" for name in ("Query.b", "A.c", "A.d", "A.e", "B.f", "U.g")
    )
    # A wildcard opens plain values without arguments only: an entity and a field with arguments must be named.
    assert problems(sdl, ("A.*", "B.*", "U.*")) == tuple(
        f"{name}: neither annotated nor public" for name in ("Query.b", "A.d", "A.e")
    )


def test_33_a_root_field_cannot_be_public() -> None:
    sdl = f"type Query {{a: Int b: Int {READ}}} type Mutation {{c: Int}}"
    assert problems(sdl, ("Query.a", "Mutation.*")) == (
        "Query.a: public, but reachable without passing an annotated field",
        "Mutation.c: public, but reachable without passing an annotated field",
    )


def test_33_a_public_field_has_no_arguments() -> None:
    sdl = f"type Query {{a: A {READ}}} type A {{b(all: Boolean): Int}}"
    assert problems(sdl, ("A.b",)) == ("A.b: public, but its arguments would escape the policy",)


def test_22_a_field_is_annotated_on_an_interface_and_on_its_implementors_or_on_neither() -> None:
    for on_interface, on_type in ((READ, ""), ("", READ)):
        sdl = f"""type Query {{a: I {READ}}} interface I {{b: Int {on_interface}}}
            type A implements I {{b: Int {on_type}}} type B implements I {{b: Int {on_interface}}}"""
        public = ("A.b",) if on_interface else ("I.b", "B.b")
        assert problems(sdl, public) == ("A.b: annotated, or public, other than I.b",)


def test_16_subscriptions_are_refused() -> None:
    sdl = f"type Query {{a: Int {READ}}} type Subscription {{b: Int {READ}}}"
    assert problems(sdl) == ("Subscription: subscriptions are not served",)


def test_an_overlay_annotates_a_schema_that_has_no_annotations() -> None:
    sdl = "type Query {a: A} type A {b: Int}"
    assert Register.load(sdl, overlay={"Query.a": ANNOTATION}, public_fields=["A.b"]).service == "s"
    assert problems(sdl, ("A.*",), {"Query.aa": ANNOTATION}) == (
        "Query.aa: annotated by the overlay, but not in the schema",
        "Query.a: neither annotated nor public",
    )
    assert "Query.a: an annotation has service, operation, resourceType, action" in problems(
        sdl, ("A.*",), {"Query.a": {"service": "s"}}
    )
    assert "Query.a: an annotation has service, operation, resourceType, action" in problems(
        sdl, ("A.*",), {"Query.a": {**ANNOTATION, "extra": "x"}}
    )


def test_entries_that_match_nothing_or_contradict_an_annotation_are_refused() -> None:
    sdl = f"type Query {{a: A {READ}}} type A {{b: Int c: Int {READ}}}"
    assert problems(sdl, ("A.b", "A.c", "A.x", "X.*", "A")) == (
        "A.c: both annotated and public",
        "A.x: public, but not in the schema",
        "X.*: public, but not in the schema",
        "A: public, but not in the schema",
    )


def test_annotations_of_several_services_and_empty_ones_are_refused() -> None:
    other = READ.replace('"s"', '"t"')
    assert problems(f"type Query {{a: Int {READ} b: Int {other}}}") == ("the annotations name several services: s, t",)
    assert problems(f"type Query {{a: Int {READ.replace('read', '')}}}") == (
        "Query.a: an annotation holds an empty text",
    )


@pytest.mark.parametrize(
    "directive",
    [
        DIRECTIVE.replace(" repeatable", ""),
        DIRECTIVE + " | FIELD",
        DIRECTIVE.replace("action: String!", "action: String!, skip: Boolean"),
        DIRECTIVE.replace("action: String!", "action: String"),
        DIRECTIVE.replace("service: String!", "service: ID!"),
    ],
)
def test_another_declaration_of_the_directive_is_refused(directive: str) -> None:
    assert Register.load(f"{DIRECTIVE} type Query {{a: Int {READ}}}")
    assert "declared differently" in problems(f"{directive} type Query {{a: Int {READ}}}")[0]


@pytest.mark.parametrize(
    "sdl",
    [
        "",
        "type Query",
        "type Query {a: B}",
        'type Query {a: Int @authz(service: "s")}',
        'type Query {a: Int @authz(service: 1, operation: "o", resourceType: "R", action: "read")}',
        "type Query {a: Int @authzz}",
        "{a}",
        "type A {b: Int}",
    ],
)
def test_what_is_not_a_schema_is_refused(sdl: str) -> None:
    assert problems(sdl)


@pytest.mark.parametrize(
    ("filters", "problem"),
    [
        ("input F {a: String}", "the filter is not an input object of fields with operators"),
        ("input F {a: O b: String} input O {eq: Int}", "F.b has no operator"),
        ("input F {a: G} input G {h: O i: Int} input O {eq: Int}", "G.i has no operator"),
        ("input F {a: [G]} input G {h: O} input O {eq: Int}", "F.a is a list of filters without a quantifier"),
        ("input F {a: O or: [G]} input G {h: O} input O {eq: Int}", "F.or combines another type than its own"),
    ],
)
def test_a_filter_that_has_no_normal_form_is_refused(filters: str, problem: str) -> None:
    assert problems(f"type Query {{a(where: F): Int {READ}}} {filters}") == (f"Query.a: {problem}",)


def test_annotations_of_extensions_count() -> None:
    sdl = f"type Query {{a: A {READ}}} type A {{b: Int}} extend type A {{c: Int {READ}}} extend type Query {{d: Int}}"
    assert problems(sdl, ("A.b",)) == ("Query.d: neither annotated nor public",)
