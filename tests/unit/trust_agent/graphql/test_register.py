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
from authz.edge.rate import MAX_KEYS
from tests.unit.trust_agent.graphql.conftest import PUBLIC, SDL, UUID, body
from trust_agent.graphql import CanonicalRequest, Limits, Register
from trust_agent.graphql import register as graphql_register
from trust_agent.graphql.document import ValidDocument, read_document

SMALL = Limits(
    cached_documents=20,
    cached_bytes=60_000,
    other_documents=10,
    other_bytes=30_000,
    new_documents=10_000,
)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Counted:
    """A register that counts how often a text is parsed, and whose clock stands still."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, limits: Limits | None = None) -> None:
        self.clock = Clock()
        self.register = Register.load(SDL, public_fields=PUBLIC, limits=limits, monotonic=self.clock)
        self.parsed = 0
        monkeypatch.setattr(graphql_register, "read_document", self._read)

    def _read(self, *given: Any) -> ValidDocument:
        self.parsed += 1
        return read_document(*given)

    def ask(self, query: str, caller: str, *, permit: bool = True) -> Reason | None:
        """Send a query; the reason for which it is refused."""
        try:
            reading = self.register.read(body(query, None, {}), caller)
        except Refused as refusal:
            return refusal.reason
        if permit:
            self.register.permitted(reading)
        return None


def test_many_distinct_texts_do_not_grow_memory() -> None:
    register = Register.load(SDL, public_fields=PUBLIC, limits=SMALL)

    def send(start: int, count: int) -> None:
        for index in range(start, start + count):
            register.permitted(register.read(body(f"{{a{index}: dossier {{id}}}}", None, {}), "a"))
            register.read(body(f"{{a{index}: dossier {{title}}}}", None, {}), "a")
            with pytest.raises(Refused):
                register.read(body(f"{{a{index}: unheard}}", None, {}), "a")

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
    assert len(register._templates._items) <= SMALL.cached_documents
    assert len(register._others._items) <= SMALL.other_documents
    assert grown < 50_000


def test_many_callers_do_not_grow_memory() -> None:
    register = Register.load(SDL, public_fields=PUBLIC)
    for index in range(MAX_KEYS + 10):
        register._shares.take(f"kvk:{index}")
    assert len(register._shares._buckets) == MAX_KEYS


def test_large_documents_count_by_their_size() -> None:
    register = Register.load(SDL, public_fields=PUBLIC, limits=SMALL)
    fields = " ".join(["...{id title opened}"] * 60)
    for index in range(30):
        register.permitted(register.read(body(f"{{{'b' * 3_000}{index}: dossier {{{fields}}}}}", None, {}), "a"))
    assert len(register._templates._items) < 10
    assert len(register._others._items) < 10
    register.read(body(f"{{dossier {{{fields}}}}}", None, {}), "a")


def test_a_document_larger_than_the_whole_memory_is_served_and_forgotten() -> None:
    register = Register.load(SDL, public_fields=PUBLIC, limits=Limits(cached_bytes=1, other_bytes=1))
    reading = register.read(body("{dossier {id}}", None, {}), "a")
    register.permitted(reading)
    assert reading.request.body
    for memory in (register._templates, register._others):
        assert not memory._items
        assert memory._left == 1


def test_a_template_is_parsed_once_for_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)
    for caller in range(100):
        assert counted.ask("{dossier {id}}", f"kvk:{caller}") is None
    assert counted.parsed == 1


@pytest.mark.parametrize("query", ["{{dossier {{a{}: id}}}}", "{{z{}}}", "{{{{{}"], ids=["good", "invalid", "syntax"])
def test_new_documents_of_one_caller_beyond_his_share_are_refused_unparsed(
    monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    counted = Counted(monkeypatch)
    found = [counted.ask(query.format(index), "kvk:1") for index in range(500)]
    assert found.index(Reason.NEW_DOCUMENTS_LIMITED) == counted.parsed == 20
    assert set(found[20:]) == {Reason.NEW_DOCUMENTS_LIMITED}
    # Another one is served, also with what is new.
    assert counted.ask("{dossier {title}}", "kvk:2") is None
    # And so is this one, with what is known.
    assert counted.ask("{dossier {title}}", "kvk:1") is None
    assert counted.parsed == 21


def test_the_share_comes_back_with_time(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)
    assert [counted.ask(f"{{z{index}}}", "a") for index in range(21)][-1] is Reason.NEW_DOCUMENTS_LIMITED
    counted.clock.now += 1.0
    found = [counted.ask(f"{{y{index}}}", "a") for index in range(3)]
    assert found == [Reason.GRAPHQL_INVALID, Reason.GRAPHQL_INVALID, Reason.NEW_DOCUMENTS_LIMITED]


@pytest.mark.parametrize("query", ["{{z{}}}", "{{dossier {{a{}: id}}}}"], ids=["refused", "not permitted"])
def test_documents_without_a_permit_push_out_no_template(monkeypatch: pytest.MonkeyPatch, query: str) -> None:
    counted = Counted(monkeypatch, Limits(new_documents=10_000))
    assert counted.ask("{dossier {id}}", "honest") is None
    for index in range(1_000):
        counted.ask(query.format(index), "a", permit=False)
    parsed = counted.parsed
    assert counted.ask("{dossier {id}}", "honest") is None
    assert counted.parsed == parsed
    # The near miss: the same text, not permitted before, was pushed out.
    counted.ask(query.format(0), "a", permit=False)
    assert counted.parsed == parsed + 1


def test_a_template_is_kept_although_others_came_between_its_reading_and_its_permit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted = Counted(monkeypatch, Limits(new_documents=10_000))
    reading = counted.register.read(body("{dossier {id}}", None, {}), "honest")
    for index in range(1_000):
        counted.ask(f"{{z{index}}}", "a")
    counted.register.permitted(reading)
    parsed = counted.parsed
    assert counted.ask("{dossier {id}}", "honest") is None
    assert counted.parsed == parsed


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
