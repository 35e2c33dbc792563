"""Values of variables put into a canonical document: the part that runs for every request.

Specification: GraphQL October 2021 section 6.1.2, "Coercing Variable Values", as narrowed by shared `cases/graphql.md`
28: every declared variable has a value or a default, and no other is sent. Everything that does not depend on values
has been worked out before, so that a known document costs microseconds.
"""

from collections.abc import Mapping, Sequence
from json import JSONEncoder
from typing import Any, Final, TypeVar

import msgspec
from graphql import Undefined, coerce_input_value

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from trust_agent.graphql.canonical import REQUIRED, CanonicalDocument, FieldUse
from trust_agent.graphql.filters import Normaliser, Slot, Unresolved, fill, resolve, slot_value
from trust_agent.graphql.limits import Limits
from trust_agent.graphql.schema import Authz
from trust_agent.graphql.values import Tree, Variable, check

# ASCII on one line, because the body travels to the register by way of a header.
encode: Final = JSONEncoder(ensure_ascii=True, separators=(",", ":"), allow_nan=False).encode

_Segment = str | Slot
Place = TypeVar("Place", Slot, int)
"""What stands between fixed texts: a value to come, or the number of a filter to come."""


class Occurrence(msgspec.Struct, frozen=True):
    """One occurrence of an annotated field in a request.

    Attributes:
        coordinate: `Type.field` of the definition, for example `Query.wlzIndicatie`.
        path: names of fields from the root, by schema and never by alias.
        directives: the annotations; each is to be permitted.
        query_filter: in normal form (`trust_agent.graphql.filters`).
        fields: public fields selected under it, by schema; dotted where a public entity stands between.
    """

    coordinate: str
    path: tuple[str, ...]
    directives: tuple[Authz, ...]
    query_filter: Mapping[str, Any]
    fields: tuple[str, ...]


class CanonicalRequest(msgspec.Struct, frozen=True):
    """What is authorized, and, when it is, forwarded.

    Attributes:
        operation: QUERY or MUTATION.
        body: JSON with the canonical document and the coerced variables: ASCII, one line.
        occurrences: what must be permitted, at least one.
        digest: SHA-256 of the canonical document without values, lower-case hex; fit for logs.
        evaluations: the occurrences as a JSON array of AuthZEN evaluations, or empty when not prepared.
        coordinates: the coordinates of the occurrences, each once and sorted, or empty when not prepared.
    """

    operation: str
    body: str
    occurrences: tuple[Occurrence, ...]
    digest: str = ""
    evaluations: str = ""
    coordinates: tuple[str, ...] = ()


def evaluation_parts(operation: str, use: Occurrence | FieldUse, directive: Authz) -> tuple[str, str]:
    """JSON of one AuthZEN evaluation, before and after its `query_filter`."""
    before = (
        f'{{"action":{encode({"name": operation, "properties": {"action": directive.action}})},'
        f'"resource":{{"type":{encode(directive.resource_type)},"id":"",'
        f'"properties":{{"path":{encode(list(use.path))},"query_filter":'
    )
    after = f',"fields":{encode(list(use.fields))},"operation":{encode(directive.operation)}}}}}}}'
    return before, after


class _Template:
    """A filter whose shape is known; only comparison values are missing."""

    def __init__(self, form: dict[str, Any]) -> None:
        self._form = form
        self._segments = _merged(_segments(form))

    @property
    def fixed(self) -> str | None:
        """The JSON of the filter when it holds no variable."""
        return self._segments[0] if len(self._segments) == 1 and isinstance(self._segments[0], str) else None

    def bind(self, values: Mapping[str, Any], _limits: Limits) -> tuple[dict[str, Any], str]:
        text = [
            segment if isinstance(segment, str) else encode(slot_value(segment, values)) for segment in self._segments
        ]
        return fill(self._form, values), "".join(text)


class _Open:
    """A filter of which a variable holds a part; its shape is known with the value."""

    fixed: Final = None

    def __init__(self, use: FieldUse) -> None:
        self._use = use

    def bind(self, values: Mapping[str, Any], limits: Limits) -> tuple[dict[str, Any], str]:
        use = self._use
        arguments = {name: resolve(value, values) for name, value in use.arguments.items()}
        where = resolve(use.where, values)
        if where is None and use.where is not None:
            raise Refused(Reason.GRAPHQL_FILTER, "a filter is null")
        form = Normaliser(limits).normalise(where, use.where_type, arguments)
        return form, encode(form)


class PreparedDocument:
    """A canonical document with all JSON encoded that does not depend on variables.

    Args:
        document: the canonical document.
        limits: caps on values and on the body.

    Raises:
        Refused: GRAPHQL_FILTER or GRAPHQL_LIMIT for a filter that no value can make acceptable.
    """

    def __init__(self, document: CanonicalDocument, limits: Limits) -> None:
        self.document = document
        self._limits = limits
        self._head = f'{{"query":{encode(document.text)}'
        self._bound: list[tuple[int, _Template | _Open]] = []
        self._occurrences: list[Occurrence] = []
        pieces: list[str | int] = []
        for use in document.uses:
            pieces += self._add(use, first=not pieces)
        self._segments = _merged([*pieces, "]"])
        self._coordinates = tuple(sorted({use.coordinate for use in document.uses}))
        self._pages = [page for page in document.pages if isinstance(page, Variable)]
        for page in document.pages:
            if not isinstance(page, Variable):
                self._check_page(page)
        # An estimate: text and JSON once each, and a fixed sum for each object around them.
        self.size = (
            2 * len(self._head)
            + 2 * sum(len(item) for item in self._segments if isinstance(item, str))
            + 1_000 * (len(document.uses) + len(document.variables) + 4)
        )

    def _add(self, use: FieldUse, *, first: bool) -> list[str | int]:
        """Note one occurrence; gives the JSON of its evaluations, with the number of its filter if that is to come."""
        binder: _Template | _Open
        try:
            form = Normaliser(self._limits).normalise(use.where, use.where_type, use.arguments)
        except Unresolved:
            form, binder = {"and": []}, _Open(use)
        else:
            binder = _Template(form)
        fixed = binder.fixed
        pieces: list[str | int] = []
        for directive in use.directives:
            before, after = evaluation_parts(self.document.operation, use, directive)
            pieces += ["[" if first and not pieces else ",", before]
            pieces += [len(self._bound) if fixed is None else fixed, after]
        if fixed is None:
            self._bound.append((len(self._occurrences), binder))
        self._occurrences.append(Occurrence(use.coordinate, use.path, use.directives, form, tuple(use.fields)))
        return pieces

    def bind(self, variables: Mapping[str, Any]) -> CanonicalRequest:
        """The request that this document is with these variables.

        Args:
            variables: raw values by name, as received.

        Raises:
            Refused: GRAPHQL_VARIABLES for a missing, undeclared or wrongly typed value; GRAPHQL_VALUE, GRAPHQL_FILTER
                or GRAPHQL_LIMIT for values that are not acceptable.
        """
        values = self._coerce(variables)
        for page in self._pages:
            self._check_page(values[page.name])
        body = f'{self._head},"variables":{encode(values)}}}' if values else f"{self._head}}}"
        if len(body) > self._limits.canonical_bytes:
            raise Refused(
                Reason.GRAPHQL_LIMIT, f"the canonical request has at most {self._limits.canonical_bytes} bytes"
            )
        occurrences, filters = self._occurrences, []
        if self._bound:
            occurrences = occurrences.copy()
            for index, binder in self._bound:
                form, text = binder.bind(values, self._limits)
                known = occurrences[index]
                occurrences[index] = Occurrence(known.coordinate, known.path, known.directives, form, known.fields)
                filters.append(text)
        texts = [filters[item] if isinstance(item, int) else item for item in self._segments]
        return CanonicalRequest(
            operation=self.document.operation,
            body=body,
            occurrences=tuple(occurrences),
            digest=self.document.digest,
            evaluations="".join(texts),
            coordinates=self._coordinates,
        )

    def _coerce(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        sent = 0
        for declared in self.document.variables:
            if declared.name in variables:
                sent += 1
                value = coerce_input_value(variables[declared.name], declared.type)
                if value is Undefined:
                    raise Refused(Reason.GRAPHQL_VARIABLES, "a variable has a value that is not of its type")
                check(value, self._limits)
            else:
                value = declared.default
                if value is REQUIRED:
                    # GraphQL would leave out what a missing variable stands for, and so widen a filter.
                    raise Refused(Reason.GRAPHQL_VARIABLES, "a declared variable has no value")
            if value is None and declared.default not in (REQUIRED, None):
                raise Refused(Reason.GRAPHQL_VARIABLES, "a variable with a default is null")
            values[declared.name] = value
        if sent != len(variables):
            raise Refused(Reason.GRAPHQL_VARIABLES, "a variable was sent that the query does not declare")
        return values

    def _check_page(self, value: object) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= self._limits.page_size:
            raise Refused(Reason.GRAPHQL_LIMIT, f"at most {self._limits.page_size} results can be asked for at once")


def _segments(form: Tree) -> list[_Segment]:
    if isinstance(form, Slot):
        return [form]
    if isinstance(form, dict):
        parts: list[_Segment] = []
        for name, value in form.items():
            parts += ["," if parts else "{", f"{encode(name)}:", *_segments(value)]
        return [*parts, "}"] if parts else ["{}"]
    if isinstance(form, list):
        parts = []
        for value in form:
            parts += ["," if parts else "[", *_segments(value)]
        return [*parts, "]"] if parts else ["[]"]
    return [encode(form)]


def _merged(segments: Sequence[str | Place]) -> list[str | Place]:
    merged: list[str | Place] = []
    for segment in segments:
        if merged and isinstance(segment, str) and isinstance(merged[-1], str):
            merged[-1] += segment
        else:
            merged.append(segment)
    return merged
