"""A valid document reduced to what is authorized and forwarded: one text and the occurrences of annotated fields.

Specification: shared `spec/enforcement.md`, checks 5, 6 and 10; `cases/graphql.md` 17 to 19, 22, 23 and 27. Fields are
named by the schema, never by alias; `@skip` and `@include` stay in the text and change nothing for authorization; each
occurrence has its own filter. The canonical text of a canonical text is itself.

Not done here: values of variables (`binding`), and whether anything is allowed.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from graphql import (
    ArgumentNode,
    ConstValueNode,
    DocumentNode,
    FieldNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLUnionType,
    InlineFragmentNode,
    NamedTypeNode,
    NameNode,
    OperationDefinitionNode,
    OperationType,
    SelectionNode,
    SelectionSetNode,
    Undefined,
    VariableDefinitionNode,
    get_named_type,
    get_nullable_type,
    is_abstract_type,
    print_ast,
    strip_ignored_characters,
    type_from_ast,
)

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from trust_agent.graphql.document import ValidDocument
from trust_agent.graphql.limits import Limits
from trust_agent.graphql.schema import AnnotatedSchema, Authz
from trust_agent.graphql.values import Variable, check, default_of, node_of, tree

_Composite = GraphQLObjectType | GraphQLInterfaceType | GraphQLUnionType
REQUIRED: Final = object()
"""Stands for the default of a variable that has none."""


@dataclass(frozen=True, slots=True)
class DeclaredVariable:
    """A variable of the operation.

    Attributes:
        name: without the dollar sign.
        type: as declared.
        default: coerced, or `REQUIRED`.
    """

    name: str
    type: GraphQLInputType
    default: Any


@dataclass(slots=True)
class FieldUse:
    """One occurrence of an annotated field, with its filter as the document states it.

    Attributes:
        coordinate: `Type.field` of the definition that carries the annotations.
        path: names of fields from the root, by schema.
        directives: the annotations.
        where: value tree of the filter, or None.
        where_type: type of the filter argument, or None.
        arguments: value trees of the other arguments.
        fields: public fields below it that no other annotated field stands over; dotted when nested.
    """

    coordinate: str
    path: tuple[str, ...]
    directives: tuple[Authz, ...]
    where: Any
    where_type: GraphQLInputObjectType | None
    arguments: dict[str, Any]
    fields: dict[str, None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CanonicalDocument:
    """What is known about a document before the values of its variables are.

    Attributes:
        operation: QUERY or MUTATION.
        name: of the operation, or None.
        text: canonical, on one line.
        digest: SHA-256 of the text, lower-case hex.
        variables: as declared.
        uses: all occurrences, in document order.
        pages: values of paging arguments, each a number or a `Variable`.
    """

    operation: str
    name: str | None
    text: str
    digest: str
    variables: tuple[DeclaredVariable, ...]
    uses: tuple[FieldUse, ...]
    pages: tuple[Any, ...]


def reduce_document(document: ValidDocument, schema: AnnotatedSchema, limits: Limits) -> CanonicalDocument:
    """Inline the fragments of a document and collect what must be authorized.

    Raises:
        Refused: GRAPHQL_INTROSPECTION for `__typename` where it is not allowed, GRAPHQL_NO_OPERATION when nothing
            annotated is selected, GRAPHQL_LIMIT, GRAPHQL_VALUE.
    """
    operation = document.operation
    root = schema.schema.get_root_type(operation.operation)
    assert root is not None  # noqa: S101  `read_document` has refused operations without a root type
    walk = _Walk(document, schema, limits)
    selections = _distinct(walk.selections(operation.selection_set, root, (), (), ""))
    if not walk.uses:
        # Nothing to verify is a failure (style rule 7).
        raise Refused(Reason.GRAPHQL_NO_OPERATION, "No operation found to evaluate")
    definitions = operation.variable_definitions or ()
    variables = tuple(_variable(item, schema, limits) for item in definitions)
    canonical = OperationDefinitionNode(
        operation=operation.operation,
        name=operation.name,
        variable_definitions=tuple(
            VariableDefinitionNode(
                variable=item.variable,
                type=item.type,
                default_value=_default(known),
            )
            for item, known in zip(definitions, variables, strict=True)
        ),
        selection_set=SelectionSetNode(selections=selections),
    )
    text = strip_ignored_characters(print_ast(DocumentNode(definitions=(canonical,))))
    return CanonicalDocument(
        operation="MUTATION" if operation.operation is OperationType.MUTATION else "QUERY",
        name=operation.name.value if operation.name else None,
        text=text,
        digest=hashlib.sha256(text.encode()).hexdigest(),
        variables=variables,
        uses=tuple(walk.uses),
        pages=tuple(walk.pages),
    )


def _variable(node: VariableDefinitionNode, schema: AnnotatedSchema, limits: Limits) -> DeclaredVariable:
    # Validation has made sure that the type exists and is an input type.
    type_ = cast("GraphQLInputType", type_from_ast(schema.schema, node.type))
    default = REQUIRED
    if node.default_value is not None:
        default = tree(node.default_value, type_)
        check(default, limits)
    return DeclaredVariable(node.variable.name.value, type_, default)


def _default(variable: DeclaredVariable) -> ConstValueNode | None:
    if variable.default is REQUIRED:
        return None
    return cast("ConstValueNode", node_of(variable.default, variable.type))


class _Walk:
    """Expands selections and notes every use of an annotated field on the way."""

    def __init__(self, document: ValidDocument, schema: AnnotatedSchema, limits: Limits) -> None:
        self._fragments = document.fragments
        self._schema = schema
        self._limits = limits
        self.uses: list[FieldUse] = []
        self.pages: list[Any] = []
        self._root_fields = 0

    def selections(
        self,
        selection_set: SelectionSetNode,
        parent: _Composite,
        path: tuple[str, ...],
        owners: Sequence[FieldUse],
        prefix: str,
    ) -> Iterator[SelectionNode]:
        """The expanded selections of one place.

        Args:
            selection_set: as in the document.
            parent: type that the fields are looked up in.
            path: names of fields from the root.
            owners: uses that public fields at this place belong to.
            prefix: names of public fields between the owner and this place, each with a dot.
        """
        for item in selection_set.selections:
            match item:
                case FieldNode():
                    yield self._field(item, parent, path, owners, prefix)
                case FragmentSpreadNode():
                    fragment = self._fragments[item.name.value]
                    inlined = InlineFragmentNode(
                        type_condition=fragment.type_condition,
                        directives=item.directives,
                        selection_set=fragment.selection_set,
                    )
                    yield from self._inline(inlined, parent, path, owners, prefix)
                case InlineFragmentNode():
                    yield from self._inline(item, parent, path, owners, prefix)

    def _inline(
        self,
        item: InlineFragmentNode,
        parent: _Composite,
        path: tuple[str, ...],
        owners: Sequence[FieldUse],
        prefix: str,
    ) -> Iterator[SelectionNode]:
        condition = self._composite(item.type_condition.name.value) if item.type_condition else parent
        # A condition that always holds says nothing; the fields of an object type are then looked up in that type,
        # so that its own annotations count and not those of its interface.
        holds = condition is parent or (
            is_abstract_type(condition)
            and not is_abstract_type(parent)
            and self._schema.schema.is_sub_type(condition, parent)
        )
        if holds and not item.directives:
            yield from self.selections(item.selection_set, parent, path, owners, prefix)
            return
        inner = parent if holds else condition
        yield InlineFragmentNode(
            type_condition=NamedTypeNode(name=NameNode(value=inner.name)),
            directives=item.directives,
            selection_set=SelectionSetNode(
                selections=_distinct(self.selections(item.selection_set, inner, path, owners, prefix))
            ),
        )

    def _field(
        self, item: FieldNode, parent: _Composite, path: tuple[str, ...], owners: Sequence[FieldUse], prefix: str
    ) -> FieldNode:
        name = item.name.value
        if not path:
            self._root_fields += 1
            if self._root_fields > self._limits.root_fields:
                raise Refused(Reason.GRAPHQL_LIMIT, f"a request selects at most {self._limits.root_fields} root fields")
        if name == "__typename":
            return self._typename(item, parent, path, owners, prefix)
        assert not isinstance(parent, GraphQLUnionType)  # noqa: S101  validation: a union has no fields of its own
        definition = parent.fields[name]
        path = (*path, name)
        values = self._arguments(item, definition)
        uses = self._uses(name, parent, path, definition, values)
        if uses:
            owners, prefix = uses, ""
        selections = None
        if item.selection_set is None:
            if not uses:
                _note(owners, f"{prefix}{name}")
        else:
            inner = get_named_type(definition.type)
            selections = SelectionSetNode(
                selections=_distinct(
                    self.selections(
                        item.selection_set,
                        self._composite(inner.name),
                        path,
                        owners,
                        prefix if uses else f"{prefix}{name}.",
                    )
                )
            )
        return FieldNode(
            alias=item.alias if item.alias and item.alias.value != name else None,
            name=item.name,
            arguments=tuple(
                ArgumentNode(name=NameNode(value=argument), value=node_of(value, definition.args[argument].type))
                for argument, value in values.items()
            ),
            directives=item.directives,
            selection_set=selections,
        )

    def _typename(
        self, item: FieldNode, parent: _Composite, path: tuple[str, ...], owners: Sequence[FieldUse], prefix: str
    ) -> FieldNode:
        if not path or not self._limits.typename:
            raise Refused(Reason.GRAPHQL_INTROSPECTION, "__typename cannot be asked for at this place")
        if is_abstract_type(parent):
            # Of an object type the name is known from the schema; here it tells something about the resource.
            _note(owners, f"{prefix}__typename")
        return FieldNode(alias=item.alias, name=item.name, directives=item.directives)

    def _uses(
        self,
        name: str,
        parent: GraphQLObjectType | GraphQLInterfaceType,
        path: tuple[str, ...],
        definition: GraphQLField,
        values: dict[str, Any],
    ) -> list[FieldUse]:
        # Through an interface any implementor may answer: the annotations of each of them count as well.
        types: list[GraphQLNamedType] = [parent]
        if is_abstract_type(parent):
            types += self._schema.schema.get_possible_types(parent)
        filter_name = self._limits.filter_argument
        where_type = None
        if filter_name in definition.args:
            where_type = get_nullable_type(definition.args[filter_name].type)
        uses = [
            FieldUse(
                coordinate=f"{type_.name}.{name}",
                path=path,
                directives=self._schema.annotations[f"{type_.name}.{name}"],
                where=values.get(filter_name),
                where_type=where_type if isinstance(where_type, GraphQLInputObjectType) else None,
                arguments={argument: value for argument, value in values.items() if argument != filter_name},
            )
            for type_ in types
            if f"{type_.name}.{name}" in self._schema.annotations
        ]
        self.uses += uses
        if sum(len(use.directives) for use in self.uses) > self._limits.evaluations:
            raise Refused(Reason.GRAPHQL_LIMIT, f"a request has at most {self._limits.evaluations} protected fields")
        return uses

    def _arguments(self, item: FieldNode, definition: GraphQLField) -> dict[str, Any]:
        """Value trees by argument in the order of the schema; what the schema adds by default is written out."""
        given = {argument.name.value: argument.value for argument in item.arguments or ()}
        values: dict[str, Any] = {}
        for name, argument in definition.args.items():
            if name in given:
                values[name] = tree(given[name], argument.type)
            elif (default := default_of(argument)) is not Undefined:
                values[name] = default
        check(values, self._limits)
        paging = [name for name in self._limits.page_arguments if name in definition.args]
        if paging:
            pages = [values[name] for name in paging if values.get(name) is not None]
            if not pages:
                raise Refused(Reason.GRAPHQL_LIMIT, "the number of results must be asked for at this field")
            self.pages += pages
        return values

    def _composite(self, name: str) -> _Composite:
        type_ = self._schema.schema.type_map[name]
        assert isinstance(type_, GraphQLObjectType | GraphQLInterfaceType | GraphQLUnionType)  # noqa: S101  validated
        return type_


def _distinct(nodes: Iterator[SelectionNode]) -> tuple[SelectionNode, ...]:
    """The selections without plain values that are asked for twice under one name; they say nothing more.

    Validation has made sure that one response name at one place means one field with the same arguments.
    """
    kept: list[SelectionNode] = []
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, FieldNode) and node.selection_set is None and not node.directives:
            name = (node.alias or node.name).value
            if name in names:
                continue
            names.add(name)
        kept.append(node)
    return tuple(kept)


def _note(owners: Sequence[FieldUse], name: str) -> None:
    for use in owners:
        use.fields[name] = None


__all__ = ["REQUIRED", "CanonicalDocument", "DeclaredVariable", "FieldUse", "Variable", "reduce_document"]
