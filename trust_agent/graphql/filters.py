"""Filters in one normal form that keeps what is conjunctively required apart from what is not.

Specification: shared `spec/enforcement.md`, "AuthZEN request"; `cases/graphql.md` 28 and 29. The form is
`{"and": [condition, ...]}`, where a condition is a comparison `{"field", "operator", "value"}`, `{"or": [...]}` or
`{"not": ...}`. Nested conjunctions are flattened, relations become dotted fields (`client.bsn`). Arguments other
than the filter appear as comparisons with the operator `argument`, so that nothing a caller says stays hidden from a
policy: a policy that knows a filter and no argument then refuses by itself.

Nothing here decides whether a filter is wide or narrow; that is the policy's work.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from graphql import (
    GraphQLInputObjectType,
    GraphQLInputType,
    get_named_type,
    get_nullable_type,
    is_input_object_type,
    is_list_type,
)

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from trust_agent.graphql.limits import Limits
from trust_agent.graphql.values import Tree, Variable

_COMBINATORS: Final = frozenset({"and", "or", "not"})
_LIST_OPERATORS: Final = frozenset({"all", "none", "some", "any"})
_MAY_BE_NULL: Final = frozenset({"eq", "neq"})
ARGUMENT: Final = "argument"
"""Operator of a condition that stands for an argument other than the filter."""


class FilterKind(Enum):
    """What the members of an input object of a filter mean."""

    ENTITY = "entity"
    """Fields of an entity, each with an operator object or a nested entity."""
    OPERATORS = "operators"
    """Comparisons with one field: `eq`, `in`, `gte`."""
    LIST = "list"
    """Quantifiers over a related list: `some`, `all`, `none`, `any`."""


def kind_of(type_: GraphQLInputObjectType) -> FilterKind:
    """Tell from its members what kind of filter object this is."""
    members = {name: item.type for name, item in type_.fields.items() if name not in _COMBINATORS}
    if members and members.keys() <= _LIST_OPERATORS:
        return FilterKind.LIST
    if members and not any(is_input_object_type(get_named_type(item)) for item in members.values()):
        return FilterKind.OPERATORS
    return FilterKind.ENTITY


def filter_problems(type_: GraphQLInputType) -> list[str]:
    """Why the filters of this type cannot be brought into the normal form; empty when they can.

    Args:
        type_: the type of the filter argument.
    """
    root = get_nullable_type(type_)
    if not isinstance(root, GraphQLInputObjectType) or kind_of(root) is not FilterKind.ENTITY:
        return ["the filter is not an input object of fields with operators"]
    problems, seen, waiting = [], {root.name}, [root]
    while waiting:
        current = waiting.pop()
        kind = kind_of(current)
        for name, item in current.fields.items():
            named = get_named_type(item.type)
            nested = isinstance(named, GraphQLInputObjectType)
            if name in _COMBINATORS and named is not current:
                problems.append(f"{current.name}.{name} combines another type than its own")
            elif kind is FilterKind.ENTITY and not nested:
                problems.append(f"{current.name}.{name} has no operator")
            elif kind is FilterKind.ENTITY and name not in _COMBINATORS and is_list_type(get_nullable_type(item.type)):
                problems.append(f"{current.name}.{name} is a list of filters without a quantifier")
            if isinstance(named, GraphQLInputObjectType) and named.name not in seen:
                seen.add(named.name)
                waiting.append(named)
    return problems


class Unresolved(Exception):  # noqa: N818  not an error: the caller then waits for the values
    """A variable stands where its value decides the shape of the filter."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A comparison value that comes from a variable.

    Attributes:
        name: of the variable.
        may_be_null: whether null is a value here and not an omission.
    """

    name: str
    may_be_null: bool


def _refuse(detail: str) -> Refused:
    return Refused(Reason.GRAPHQL_FILTER, detail)


@dataclass(slots=True)
class Normaliser:
    """Brings one filter into the normal form; one instance for each filter, because it counts."""

    limits: Limits
    _conditions: int = field(default=0, init=False)

    def normalise(
        self,
        where: Tree,
        type_: GraphQLInputObjectType | None,
        arguments: Mapping[str, Tree],
    ) -> dict[str, Any]:
        """The normal form, with `Slot` for a variable that is one comparison value.

        Args:
            where: value tree of the filter argument; an empty or absent filter requires nothing.
            type_: type of the filter argument, or None when there is none.
            arguments: value trees of the other arguments.

        Raises:
            Refused: GRAPHQL_FILTER for null or nothing where a condition is expected; GRAPHQL_LIMIT.
            Unresolved: a variable holds more than one comparison value.
        """
        conditions = []
        if type_ is not None and where:
            conditions = self._entity(where, type_, "", 0)
        for name, value in arguments.items():
            self._count()
            conditions.append({"field": name, "operator": ARGUMENT, "value": _leaf(value, may_be_null=True)})
        return {"and": conditions}

    def _entity(self, value: Tree, type_: GraphQLInputObjectType, prefix: str, depth: int) -> list[dict[str, Any]]:
        conditions: list[dict[str, Any]] = []
        for name, inner in self._members(value, depth):
            item = type_.fields[name]
            if name in _COMBINATORS:
                conditions += self._combined(name, inner, type_, prefix, depth)
                continue
            # `filter_problems` has made sure that every other member of an entity is an input object.
            nested = get_named_type(item.type)
            assert isinstance(nested, GraphQLInputObjectType)  # noqa: S101  for the type checker
            path = f"{prefix}{name}"
            match kind_of(nested):
                case FilterKind.ENTITY:
                    conditions += self._entity(inner, nested, f"{path}.", depth + 1)
                case FilterKind.OPERATORS:
                    conditions += self._operators(inner, nested, path, depth + 1)
                case FilterKind.LIST:
                    conditions += self._quantified(inner, nested, path, depth + 1)
        return conditions

    def _operators(self, value: Tree, type_: GraphQLInputObjectType, path: str, depth: int) -> list[dict[str, Any]]:
        conditions: list[dict[str, Any]] = []
        for name, inner in self._members(value, depth):
            if name in _COMBINATORS:
                conditions += self._combined(name, inner, type_, path, depth)
                continue
            self._count()
            may_be_null = name in _MAY_BE_NULL
            if isinstance(inner, Variable) and is_list_type(get_nullable_type(type_.fields[name].type)):
                raise Unresolved
            if isinstance(inner, list) and (not inner or None in inner):
                raise _refuse("a list in a filter is empty or holds null")
            conditions.append({"field": path, "operator": name, "value": _leaf(inner, may_be_null=may_be_null)})
        return conditions

    def _quantified(self, value: Tree, type_: GraphQLInputObjectType, path: str, depth: int) -> list[dict[str, Any]]:
        conditions: list[dict[str, Any]] = []
        for name, inner in self._members(value, depth):
            self._count()
            nested = get_named_type(type_.fields[name].type)
            if isinstance(nested, GraphQLInputObjectType):
                # Within a quantifier the fields are those of the related entity; the quantifier stands outside.
                operand: Tree = {"and": self._entity(inner, nested, "", depth + 1)}
            else:
                operand = _leaf(inner, may_be_null=False)
            conditions.append({"field": path, "operator": name, "value": operand})
        return conditions

    def _combined(
        self,
        name: str,
        value: Tree,
        type_: GraphQLInputObjectType,
        path: str,
        depth: int,
    ) -> list[dict[str, Any]]:
        if isinstance(value, Variable):
            raise Unresolved
        operands = value if isinstance(value, list) else [value]
        if not operands:
            raise _refuse("a list of conditions is empty")
        read = self._operators if kind_of(type_) is FilterKind.OPERATORS else self._entity
        groups = [read(operand, type_, path, depth + 1) for operand in operands]
        if name == "and":
            return [condition for group in groups for condition in group]
        if name == "or":
            return [{"or": [_one(group) for group in groups]}]
        # `not` of several operands is the negation of each, in every dialect that allows a list there.
        return [{"not": _one(group)} for group in groups]

    def _members(self, value: Tree, depth: int) -> list[tuple[str, Tree]]:
        if isinstance(value, Variable):
            raise Unresolved
        if depth > self.limits.filter_depth:
            raise Refused(Reason.GRAPHQL_LIMIT, f"a filter is nested at most {self.limits.filter_depth} deep")
        # An empty or null condition requires nothing where the caller seems to require something; registers differ in
        # how they read it, so nobody gets to find out.
        if not value:
            raise _refuse("a condition in a filter is empty or null")
        return list(value.items())

    def _count(self) -> None:
        self._conditions += 1
        if self._conditions > self.limits.filter_conditions:
            raise Refused(Reason.GRAPHQL_LIMIT, f"a filter has at most {self.limits.filter_conditions} conditions")


def _one(group: list[dict[str, Any]]) -> dict[str, Any]:
    return group[0] if len(group) == 1 else {"and": group}


def _leaf(value: Tree, *, may_be_null: bool) -> Tree:
    if isinstance(value, Variable):
        return Slot(value.name, may_be_null)
    if value is None and not may_be_null:
        raise _refuse("a comparison with null is only possible with eq and neq")
    if _holds_variable(value):
        raise Unresolved
    return value


def _holds_variable(value: Tree) -> bool:
    if isinstance(value, list):
        return any(_holds_variable(item) for item in value)
    if isinstance(value, dict):
        return any(_holds_variable(item) for item in value.values())
    return isinstance(value, Variable)


def resolve(value: Tree, values: Mapping[str, Tree]) -> Tree:
    """The value tree with every variable replaced by its value."""
    if isinstance(value, Variable):
        return values[value.name]
    if isinstance(value, list):
        return [resolve(item, values) for item in value]
    if isinstance(value, dict):
        return {name: resolve(item, values) for name, item in value.items()}
    return value


def fill(value: Tree, values: Mapping[str, Tree]) -> Tree:
    """The normal form with every slot filled.

    Raises:
        Refused: GRAPHQL_FILTER, null where it would leave a condition out.
    """
    if isinstance(value, Slot):
        return slot_value(value, values)
    if isinstance(value, list):
        return [fill(item, values) for item in value]
    if isinstance(value, dict):
        return {name: fill(item, values) for name, item in value.items()}
    return value


def slot_value(slot: Slot, values: Mapping[str, Tree]) -> Tree:
    """The value for one slot.

    Raises:
        Refused: GRAPHQL_FILTER, null where it would leave a condition out.
    """
    value = values[slot.name]
    if value is None and not slot.may_be_null:
        raise _refuse("a comparison with null is only possible with eq and neq")
    return value
