"""The document of a request: parsed, measured and validated, in the order of cost.

Specification: GraphQL October 2021; shared `cases/graphql.md` 15 to 26, 30 and 31. What is cheap and bounded comes
before what is not: tokens are counted before the text is parsed, aliases and fields after expansion of fragments
before anything is validated or expanded.
Nothing is authorized here.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from graphql import (
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    InlineFragmentNode,
    OperationDefinitionNode,
    OperationType,
    SelectionNode,
    SelectionSetNode,
    parse,
    validate,
)

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from trust_agent.graphql.limits import Limits

_DIRECTIVES: Final = frozenset({"skip", "include"})
_TOKEN: Final = re.compile(
    r'"""(?:[^"\\]|\\"""|\\|"(?!""))*+(?:""")?|"(?:[^"\\\n\r]|\\.)*+"?'  # texts
    r"|#[^\n\r]*+|[_A-Za-z][_0-9A-Za-z]*+|-?[0-9](?:[_0-9A-Za-z+-]|\.[0-9])*+|\.\.\.|[^\s,\ufeff]"
)
"""A lexical token or a comment, found without the parser's care and never more of them than it finds in what it takes.
Nothing is tried twice at one place, so that this takes time by length alone."""


@dataclass(frozen=True, slots=True)
class ValidDocument:
    """One valid operation with its fragments, within all limits.

    Attributes:
        operation: the only operation.
        fragments: by name; free of cycles, all of them used.
    """

    operation: OperationDefinitionNode
    fragments: Mapping[str, FragmentDefinitionNode]


def read_document(query: str, schema: GraphQLSchema, limits: Limits) -> ValidDocument:
    """Parse and validate one document.

    Args:
        query: as received.
        schema: the register's schema.
        limits: caps that hold before and after expansion.

    Raises:
        Refused: GRAPHQL_LIMIT, GRAPHQL_SYNTAX, GRAPHQL_NO_OPERATION, GRAPHQL_OPERATIONS, GRAPHQL_OPERATION_TYPE,
            GRAPHQL_DIRECTIVE, GRAPHQL_INTROSPECTION or GRAPHQL_INVALID.
    """
    # 1. Text to tree, under limits of length and tokens.
    document = _parse(query, limits)
    # 2. Exactly one operation, of a kind that the schema has.
    operation, fragments = _definitions(document)
    _check_operation(operation, schema, limits)
    if len(fragments) > limits.fragments:
        raise Refused(Reason.GRAPHQL_LIMIT, f"a document has at most {limits.fragments} named fragments")
    # 3. Size and depth after expansion, aliases, introspection, directives.
    _measure(operation, fragments, limits)
    # 4. The rules of the specification, against the schema.
    try:
        errors = validate(schema, document, max_errors=1, hide_suggestions=True)
    except RecursionError:
        raise Refused(Reason.GRAPHQL_LIMIT, "the document is nested too deeply") from None
    if errors:
        raise Refused(Reason.GRAPHQL_INVALID, f"the query does not fit the schema of this register{_place(errors[0])}")
    return ValidDocument(operation, fragments)


def measure(text: str, limits: Limits) -> None:
    """Hold a canonical text to the limits of a received one, so that canonical requests are accepted as they are.

    Raises:
        Refused: GRAPHQL_LIMIT or GRAPHQL_DIRECTIVE; expansion has made the document larger than a request may be.
    """
    operation, fragments = _definitions(_parse(text, limits))
    _measure(operation, fragments, limits)


def _measure(
    operation: OperationDefinitionNode, fragments: Mapping[str, FragmentDefinitionNode], limits: Limits
) -> None:
    survey = _Survey(fragments, limits)
    survey.directives(operation.directives, allowed=False)
    for variable in operation.variable_definitions or ():
        survey.directives(variable.directives, allowed=False)
    for fragment in fragments.values():
        survey.directives(fragment.directives, allowed=False)
    survey.selections(operation.selection_set, 1)
    if survey.heights.keys() != fragments.keys():
        raise Refused(Reason.GRAPHQL_INVALID, "the document holds a fragment that is not used")


def _parse(query: str, limits: Limits) -> DocumentNode:
    if len(query.encode()) > limits.document_bytes:
        raise Refused(Reason.GRAPHQL_LIMIT, f"a document has at most {limits.document_bytes} bytes")
    # The parser counts as well, but takes ten times as long to get that far.
    most = limits.tokens + limits.comments
    if sum(1 for _ in islice(_TOKEN.finditer(query), most + 1)) > most:
        raise _too_many(limits)
    try:
        return parse(query, max_lexical_tokens=limits.tokens, max_comments=limits.comments)
    except GraphQLSyntaxError as error:
        # The library has one error for both; only these two end in this sentence, and neither holds caller's text.
        if error.message.endswith("Parsing aborted.") or "too deep" in error.message:
            raise _too_many(limits) from None
        raise Refused(Reason.GRAPHQL_SYNTAX, f"the query is not a GraphQL document{_place(error)}") from None


def _too_many(limits: Limits) -> Refused:
    return Refused(
        Reason.GRAPHQL_LIMIT,
        f"a document has at most {limits.tokens} tokens and {limits.comments} comments, and bounded nesting",
    )


def _place(error: GraphQLError) -> str:
    # Line and column help an honest caller; the message would repeat names of the caller or of the schema.
    if not error.locations:
        return ""
    return f" (line {error.locations[0].line}, column {error.locations[0].column})"


def _definitions(document: DocumentNode) -> tuple[OperationDefinitionNode, dict[str, FragmentDefinitionNode]]:
    operations: list[OperationDefinitionNode] = []
    fragments: dict[str, FragmentDefinitionNode] = {}
    for definition in document.definitions:
        match definition:
            case OperationDefinitionNode():
                operations.append(definition)
            case FragmentDefinitionNode():
                if definition.name.value in fragments:
                    raise Refused(Reason.GRAPHQL_INVALID, "the document defines a fragment twice")
                fragments[definition.name.value] = definition
            case _:
                raise Refused(Reason.GRAPHQL_INVALID, "the document holds type definitions")
    if not operations:
        raise Refused(Reason.GRAPHQL_NO_OPERATION, "No operation found to evaluate")
    if len(operations) > 1:
        raise Refused(Reason.GRAPHQL_OPERATIONS, "the document holds more than one operation")
    return operations[0], fragments


def _check_operation(operation: OperationDefinitionNode, schema: GraphQLSchema, limits: Limits) -> None:
    if operation.operation is OperationType.SUBSCRIPTION or schema.get_root_type(operation.operation) is None:
        raise Refused(Reason.GRAPHQL_OPERATION_TYPE, "this register does not serve operations of this type")
    if len(operation.variable_definitions or ()) > limits.variables:
        raise Refused(Reason.GRAPHQL_LIMIT, f"an operation has at most {limits.variables} variables")


@dataclass(slots=True)
class _Survey:
    """Counts what a document comes to after expansion, without expanding it.

    A fragment is measured once and its size is added for each use: that is what keeps 22 doublings from costing 4
    million steps. Every fragment counts as a level, so recursion ends at `limits.depth`.
    """

    fragments: Mapping[str, FragmentDefinitionNode]
    limits: Limits
    heights: dict[str, int] = field(default_factory=dict)
    _sizes: dict[str, int] = field(default_factory=dict)
    _open: set[str] = field(default_factory=set)
    _directives: int = 0
    _aliases: int = 0

    def selections(self, selection_set: SelectionSetNode, depth: int) -> tuple[int, int]:
        """The number of fields in a selection set after expansion, and how many levels it is high."""
        if depth > self.limits.depth:
            raise Refused(Reason.GRAPHQL_LIMIT, f"selections are nested at most {self.limits.depth} deep")
        if not selection_set.selections:
            # The parser of this library accepts them, the specification does not.
            raise Refused(Reason.GRAPHQL_SYNTAX, "the query holds an empty selection")
        size, height = 0, 1
        names = Counter(
            (item.alias or item.name).value for item in selection_set.selections if isinstance(item, FieldNode)
        )
        if names and max(names.values()) > self.limits.repeats:
            raise Refused(Reason.GRAPHQL_LIMIT, f"a field is repeated at most {self.limits.repeats} times at one place")
        for item in selection_set.selections:
            self.directives(item.directives, allowed=True)
            fields, levels = self._selection(item, depth)
            size, height = size + fields, max(height, levels + 1)
            if size > self.limits.fields:
                raise Refused(Reason.GRAPHQL_LIMIT, f"a query selects at most {self.limits.fields} fields")
        return size, height

    def _selection(self, item: SelectionNode, depth: int) -> tuple[int, int]:
        if isinstance(item, FragmentSpreadNode):
            return self._spread(item.name.value, depth)
        if isinstance(item, FieldNode):
            if item.name.value.startswith("__") and item.name.value != "__typename":
                raise Refused(Reason.GRAPHQL_INTROSPECTION, "the schema cannot be asked for: see its publication")
            self._alias(item)
            if item.selection_set is None:
                return 1, 0
            size, height = self.selections(item.selection_set, depth + 1)
            return size + 1, height
        assert isinstance(item, InlineFragmentNode)  # noqa: S101  the only third kind of selection
        return self.selections(item.selection_set, depth + 1)

    def _alias(self, item: FieldNode) -> None:
        self._aliases += item.alias is not None
        if self._aliases > self.limits.aliases:
            raise Refused(Reason.GRAPHQL_LIMIT, f"a document has at most {self.limits.aliases} aliases")

    def _spread(self, name: str, depth: int) -> tuple[int, int]:
        fragment = self.fragments.get(name)
        if fragment is None:
            raise Refused(Reason.GRAPHQL_INVALID, "the document uses a fragment that it does not define")
        if name in self._open:
            raise Refused(Reason.GRAPHQL_INVALID, "a fragment contains itself")
        if name not in self.heights:
            self._open.add(name)
            self._sizes[name], self.heights[name] = self.selections(fragment.selection_set, depth + 1)
            self._open.remove(name)
        elif depth + self.heights[name] > self.limits.depth:
            raise Refused(Reason.GRAPHQL_LIMIT, f"selections are nested at most {self.limits.depth} deep")
        return self._sizes[name], self.heights[name]

    def directives(self, directives: tuple[DirectiveNode, ...] | None, *, allowed: bool) -> None:
        """Only `@skip` and `@include`, only on selections, and not many."""
        for directive in directives or ():
            self._directives += 1
            if not allowed or directive.name.value not in _DIRECTIVES:
                raise Refused(
                    Reason.GRAPHQL_DIRECTIVE, "a request has no directives but @skip and @include on selections"
                )
            if self._directives > self.limits.directives:
                raise Refused(Reason.GRAPHQL_DIRECTIVE, f"a request has at most {self.limits.directives} directives")
