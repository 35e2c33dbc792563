"""The consultations of the lab: the plain one is the published template, and each near miss differs in one thing."""

import pytest
from graphql import build_schema, parse, print_ast, validate

from deploy.lab.queries import WHERE_INSIDE_OR, indication
from deploy.lab.register import SCHEMAS
from deploy.lab.story.refusals import ALIAS
from tests.support import vectors

SCHEMA = build_schema(SCHEMAS["indicatie"].read_text(encoding="utf-8"))
NEAR_MISSES = (indication(where=WHERE_INSIDE_OR), indication(client="id"), indication(ground=ALIAS))


@pytest.mark.parametrize("query", [indication(), *NEAR_MISSES])
def test_every_query_is_valid_so_that_only_the_policy_can_refuse_it(query: str) -> None:
    assert validate(SCHEMA, parse(query)) == []


def test_each_near_miss_is_another_query() -> None:
    assert len({print_ast(parse(query)) for query in (indication(), *NEAR_MISSES)}) == 4


def fields(node: object) -> object:
    """The selection as nested sets of field names, without order and layout."""
    selections = node.selection_set  # type: ignore[attr-defined]
    if selections is None:
        return None
    return {item.name.value: fields(item) for item in selections.selections}


@pytest.mark.vectors
def test_the_plain_query_asks_for_what_the_published_template_asks_for() -> None:
    published = (vectors() / "iwlz" / "QIR-0001-ZKi.graphql").read_text(encoding="utf-8")
    ours, theirs = (parse(text).definitions[0] for text in (indication(), published))
    assert fields(ours) == fields(theirs)
