"""Values that different parties read differently: cases/graphql.md 12 and 32."""

from typing import Any

import pytest

from authz.domain.reasons import Reason
from tests.unit.trust_agent.graphql.conftest import UUID, Ask, Refuse

BY_TITLE = "query ($t: String!) {dossier(where: {title: {eq: $t}}) {id}}"


@pytest.mark.parametrize("text", ["", "5000", "a b", "Zo\u00eb", "\u00df \u4e00 \U0001f600", "x" * 512])
def test_the_near_misses_pass_and_travel_in_ascii(ask: Ask, text: str) -> None:
    assert ask(BY_TITLE, t=text).occurrences[0].query_filter["and"][0]["value"] == text


@pytest.mark.parametrize(
    "text",
    [
        "5000\u200b",
        "\u200d5000",
        "50\u00ad00",
        "\ufeff5000",
        "\u202e0005",
        "5000\n",
        "5000\x00",
        "5000\x7f",
        "\u0665\u0660\u0660\u0660",
        "\uff15\uff10\uff10\uff10",
        "\U0001d7d35000",
        "5000\u00a0",
        "5\u00b2",
        "Zoe\u0308",
        "\ue000",
        "\U000e0001",
        "5000\u2028",
    ],
)
def test_32_invisible_characters_and_variants_of_digits_are_refused(refuse: Refuse, text: str) -> None:
    assert refuse(BY_TITLE, t=text) is Reason.GRAPHQL_VALUE
    escaped = "".join(f"\\u{ord(character):04x}" if ord(character) < 65_536 else character for character in text)
    assert refuse(f'{{dossier(where: {{title: {{eq: "{escaped}"}}}}) {{id}}}}') is Reason.GRAPHQL_VALUE
    assert (
        refuse(f'query ($t: String = "{escaped}") {{dossier(where: {{title: {{eq: $t}}}}) {{id}}}}')
        is Reason.GRAPHQL_VALUE
    )
    nested = "query ($w: DossierFilter!) {dossier(where: $w) {id}}"
    assert refuse(nested, w={"or": [{"title": {"in": ["a", text]}}]}) is Reason.GRAPHQL_VALUE


def test_32_names_with_look_alikes_are_no_names(refuse: Refuse) -> None:
    assert refuse("{dossi\u0435r {id}}") is Reason.GRAPHQL_SYNTAX
    assert refuse("{dossier {i\u200bd}}") is Reason.GRAPHQL_SYNTAX


@pytest.mark.parametrize(
    "value",
    [
        UUID.replace("c", "\u0441"),
        UUID.replace("0", "\u0660", 1),
        UUID.replace("-", "\u2010"),
        UUID.replace("-", ""),
        f"{{{UUID}}}",
        f"urn:uuid:{UUID}",
        f"{UUID}\n",
        f"{UUID}\u200b",
    ],
)
def test_32_an_id_has_one_form(ask: Ask, refuse: Refuse, value: str) -> None:
    query = "query ($id: UUID!) {dossier(where: {id: {eq: $id}}) {id}}"
    assert refuse(query, id=value) is Reason.GRAPHQL_VARIABLES
    assert ask(query, id=UUID.upper()).body == ask(query, id=UUID).body


def test_long_texts_are_refused(refuse: Refuse) -> None:
    assert refuse(BY_TITLE, t="x" * 513) is Reason.GRAPHQL_LIMIT
    assert refuse('{dossier(where: {title: {eq: "' + "x" * 513 + '"}}) {id}}') is Reason.GRAPHQL_LIMIT


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1e16"])
def test_12_numbers_that_json_cannot_hold_are_refused_in_the_query_as_well(refuse: Refuse, number: str) -> None:
    assert refuse(f"{{byKind(weight: {number}) {{id}}}}") in {Reason.GRAPHQL_VALUE, Reason.GRAPHQL_INVALID}
    assert refuse(f"{{byKind(anything: {number}) {{id}}}}") in {Reason.GRAPHQL_VALUE, Reason.GRAPHQL_INVALID}
    assert refuse(f"{{byKind(anything: {'9' * 5_000}) {{id}}}}") is Reason.GRAPHQL_INVALID


@pytest.mark.parametrize("value", ["x", 1, 1.5, True])
def test_an_unknown_scalar_holds_a_single_value(ask: Ask, value: Any) -> None:
    query = "query ($a: Anything) {byKind(anything: $a) {id}}"
    assert ask(query, a=value).occurrences[0].query_filter["and"][1]["value"] == value


def test_an_unknown_scalar_that_holds_a_structure_is_refused(refuse: Refuse) -> None:
    query = "query ($a: Anything) {byKind(anything: $a) {id}}"
    assert refuse(query, a={"x": 1}) is Reason.GRAPHQL_VARIABLES
    assert refuse(query, a=[1]) is Reason.GRAPHQL_VARIABLES
    assert refuse("{byKind(anything: {x: 1}) {id}}") is Reason.GRAPHQL_INVALID
    assert refuse("{byKind(anything: [1]) {id}}") is Reason.GRAPHQL_INVALID
