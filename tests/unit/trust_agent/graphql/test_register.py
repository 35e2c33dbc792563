"""What is remembered between requests is bounded, and never changes an answer (cases/graphql.md, "Order of cost")."""

import gc
import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from tests.unit.trust_agent.graphql.conftest import PUBLIC, SDL, UUID, body
from trust_agent.graphql import CanonicalRequest, Limits, Register

SMALL = Limits(cached_documents=20, cached_bytes=60_000)


def test_many_distinct_texts_do_not_grow_memory() -> None:
    register = Register.load(SDL, public_fields=PUBLIC, limits=SMALL)

    def send(start: int, count: int) -> None:
        for index in range(start, start + count):
            register.canonicalize(body(f"{{a{index}: dossier {{id}}}}", None, {}))
            with pytest.raises(Refused):
                register.canonicalize(body(f"{{a{index}: unheard}}", None, {}))

    tracemalloc.start()
    try:
        send(0, 100)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        send(100, 400)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert len(register._seen._items) <= SMALL.cached_documents
    assert grown < 50_000


def test_large_documents_count_by_their_size() -> None:
    register = Register.load(SDL, public_fields=PUBLIC, limits=SMALL)
    fields = " ".join(f"a{index}: id" for index in range(300))
    for index in range(30):
        register.canonicalize(body(f"{{b{index}: dossier {{{fields}}}}}", None, {}))
    assert len(register._seen._items) < 10
    register.canonicalize(body(f"{{dossier {{{fields}}}}}", None, {}))


def test_a_document_larger_than_the_whole_memory_is_served_and_forgotten() -> None:
    register = Register.load(SDL, public_fields=PUBLIC, limits=Limits(cached_bytes=1))
    assert register.canonicalize(body("{dossier {id}}", None, {}))
    assert not register._seen._items
    assert register._seen._left == 1


def test_values_of_one_request_do_not_show_in_the_next(register: Register) -> None:
    query = "query ($t: String!) {dossier(where: {title: {eq: $t}}) {id}}"
    first = register.canonicalize(body(query, None, {"t": "a"}))
    second = register.canonicalize(body(query, None, {"t": "b"}))
    assert first.occurrences[0].query_filter["and"][0]["value"] == "a"
    assert second.occurrences[0].query_filter["and"][0]["value"] == "b"
    assert first.digest == second.digest
    assert len(first.digest) == 64


def test_the_canonical_body_is_limited_because_it_travels_in_a_header() -> None:
    register = Register.load(SDL, public_fields=PUBLIC, limits=Limits(canonical_bytes=120))
    query = "query ($t: String!) {dossier(where: {title: {eq: $t}}) {id}}"
    assert register.canonicalize(body(query, None, {"t": "a"}))
    with pytest.raises(Refused) as refusal:
        register.canonicalize(body(query, None, {"t": "a" * 60}))
    assert refusal.value.reason is Reason.GRAPHQL_LIMIT


def reduced(register: Register, query: str, variables: dict[str, Any]) -> CanonicalRequest | Reason:
    try:
        return register.canonicalize(body(query, None, variables))
    except Refused as refusal:
        return refusal.reason


TEXT = st.text(st.characters(codec="utf-8"), max_size=6)
COMPARISON = st.fixed_dictionaries({}, optional={"eq": st.none() | TEXT, "neq": TEXT, "in": st.lists(TEXT, max_size=3)})
FILTER = st.recursive(
    st.fixed_dictionaries(
        {}, optional={"title": COMPARISON, "id": st.fixed_dictionaries({}, optional={"eq": st.just(UUID)})}
    ),
    lambda inner: st.fixed_dictionaries(
        {}, optional={"and": st.lists(inner, max_size=3), "or": st.lists(inner, max_size=3), "not": inner}
    ),
    max_leaves=6,
)
SELECTION = st.recursive(
    st.sampled_from(["id", "a: title", "title @skip(if: true)", "__typename", "meta {pages}"]),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3)
        .map(" ".join)
        .flatmap(
            lambda text: st.sampled_from(
                [f"... {{{text}}}", f"... on Dossier {{{text}}}", f"... @include(if: true) {{{text}}}"]
            )
        )
        | st.sampled_from(
            ["owner {name age}", "o: owner {...on Party {secret}}", "parts(where: {number: {eq: 1}}) {text}"]
        )
    ),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(where=FILTER, selection=SELECTION)
def test_what_is_canonical_stays_as_it_is(register: Register, where: object, selection: str) -> None:
    query = f"query ($w: DossierFilter) {{dossier(where: $w) {{id {selection}}}}}"
    request = reduced(register, query, {"w": where})
    if isinstance(request, Reason):
        assert request in {Reason.GRAPHQL_FILTER, Reason.GRAPHQL_VALUE, Reason.GRAPHQL_LIMIT}
        return
    assert register.canonicalize(request.body.encode("ascii")) == request
    assert set(json.loads(request.body)) == {"query", "variables"}
    assert request.body.isprintable()


@given(st.text(st.sampled_from('{}()[]:!$@."a \nidossierqueryfragmentonwhere#&|')))
def test_any_text_is_reduced_or_refused(register: Register, text: str) -> None:
    outcome = reduced(register, text, {})
    assert isinstance(outcome, CanonicalRequest) or outcome.value.startswith("graphql_")
