"""Values in arguments and variables: strict scalars, plain texts, bounded lists.

What reaches a filter must mean the same to the policy and to every register. So an id has one spelling, a date exists,
and a text holds no character that one party sees and another does not. Specification: shared `cases/graphql.md` 29
and 32.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final

from graphql import (
    BooleanValueNode,
    EnumValueNode,
    FloatValueNode,
    GraphQLArgument,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLScalarType,
    GraphQLSchema,
    IntValueNode,
    ListValueNode,
    NameNode,
    NullValueNode,
    ObjectFieldNode,
    ObjectValueNode,
    StringValueNode,
    Undefined,
    ValueNode,
    VariableNode,
    coerce_input_literal,
    get_nullable_type,
    is_enum_type,
    is_specified_scalar_type,
)

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from authz.domain.strict_json import MAX_INTEGER
from trust_agent.graphql.limits import Limits

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DATE_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|[+-][0-9]{2}:[0-9]{2})"
)


Tree = Any
"""A value tree: a text, number, boolean or None, lists and dicts of these, and `Variable` in places."""


@dataclass(frozen=True, slots=True)
class Variable:
    """A place in a value tree where the value of a variable goes."""

    name: str


def harden_scalars(schema: GraphQLSchema) -> None:
    """Give the custom scalars of a schema strict input rules, because the SDL of a register states none.

    `UUID` (RFC 4122, made lower case), `Date` (a day that exists) and `DateTime` (RFC 3339 with an offset) are known by
    name. Any other custom scalar accepts a text, number or boolean, never an object or list.
    """
    for scalar in schema.type_map.values():
        if isinstance(scalar, GraphQLScalarType) and not is_specified_scalar_type(scalar):
            coerce = _SCALARS.get(scalar.name, _plain)
            scalar.coerce_input_value = coerce
            scalar.coerce_input_literal = _literal_with(coerce)


def _uuid(value: object) -> str:
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise ValueError("not a UUID")
    # One spelling, because policies compare texts: RFC 4122 section 3 has lower case on output.
    return value.lower()


def _date(value: object) -> str:
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        raise ValueError("not a date")
    date.fromisoformat(value)
    return value


def _date_time(value: object) -> str:
    if not isinstance(value, str) or not _DATE_TIME.fullmatch(value):
        raise ValueError("not a date and time with an offset")
    # One spelling as well: in UTC, so that a limit means the same in every time zone.
    return datetime.fromisoformat(value).astimezone(UTC).isoformat().replace("+00:00", "Z")


def _plain(value: object) -> str | int | float | bool:
    if not isinstance(value, str | int | float | bool):
        raise TypeError("not a single value")
    return value


_SCALARS: Final[dict[str, Callable[[object], Any]]] = {"UUID": _uuid, "Date": _date, "DateTime": _date_time}


def _literal_with(coerce: Callable[[object], Any]) -> Callable[[ValueNode], Any]:
    def coerce_literal(node: ValueNode) -> Tree:
        match node:
            case StringValueNode(value=text):
                return coerce(text)
            case BooleanValueNode(value=flag):
                return coerce(flag)
            case IntValueNode(value=digits):
                return coerce(int(digits))
            case FloatValueNode(value=digits):
                return coerce(float(digits))
            case _:
                return Undefined

    return coerce_literal


def tree(node: ValueNode, type_: GraphQLInputType) -> Tree:
    """A literal as coerced Python values, with `Variable` where the document has one.

    Defaults of input fields are written out, so that what a register would add by itself is seen by the policy too. The
    members of an object stand in the order of the schema.

    Raises:
        Refused: GRAPHQL_INVALID for a value that is not of its type; validation has normally said so before.
    """
    if isinstance(node, VariableNode):
        return Variable(node.name.value)
    if isinstance(node, NullValueNode):
        return None
    nullable = get_nullable_type(type_)
    if isinstance(nullable, GraphQLList):
        nodes = node.values if isinstance(node, ListValueNode) else (node,)
        return [tree(item, nullable.of_type) for item in nodes]
    if isinstance(nullable, GraphQLInputObjectType):
        if not isinstance(node, ObjectValueNode):
            raise Refused(Reason.GRAPHQL_INVALID, "a value is not of the type that the schema asks for")
        given = {field.name.value: field.value for field in node.fields}
        members = {}
        for name, field in nullable.fields.items():
            if name in given:
                members[name] = tree(given[name], field.type)
            elif (default := default_of(field)) is not Undefined:
                members[name] = default
        return members
    value = coerce_input_literal(node, type_)
    if value is Undefined:
        raise Refused(Reason.GRAPHQL_INVALID, "a value is not of the type that the schema asks for")
    return value


def default_of(item: GraphQLInputField | GraphQLArgument) -> Tree:
    """The default that a schema gives an argument or input field, coerced, or `Undefined`."""
    node = item.ast_node.default_value if item.ast_node else None
    return Undefined if node is None else tree(node, item.type)


def node_of(value: Tree, type_: GraphQLInputType) -> ValueNode:  # noqa: PLR0911  one return for each kind of node
    """The literal that says what a value tree says; the reverse of `tree`."""
    nullable = get_nullable_type(type_)
    if isinstance(value, Variable):
        return VariableNode(name=NameNode(value=value.name))
    if value is None:
        return NullValueNode()
    if isinstance(nullable, GraphQLList):
        return ListValueNode(values=tuple(node_of(item, nullable.of_type) for item in value))
    if isinstance(nullable, GraphQLInputObjectType):
        fields = nullable.fields
        return ObjectValueNode(
            fields=tuple(
                ObjectFieldNode(name=NameNode(value=name), value=node_of(item, fields[name].type))
                for name, item in value.items()
            )
        )
    if is_enum_type(nullable):
        return EnumValueNode(value=value)
    if isinstance(value, bool):
        return BooleanValueNode(value=value)
    if isinstance(value, int):
        return IntValueNode(value=str(value))
    if isinstance(value, float):
        return FloatValueNode(value=repr(value))
    return StringValueNode(value=value, block=False)


def check(value: Tree, limits: Limits) -> None:
    """Refuse long lists and texts, inexact numbers, and texts that different parties read differently.

    Refused are control and format characters (zero-width ones, direction marks), private and unassigned ones, digits
    and numerals other than 0 to 9, and any text that is not in Unicode normalisation form C.

    Raises:
        Refused: GRAPHQL_LIMIT or GRAPHQL_VALUE.
    """
    if isinstance(value, str):
        _check_text(value, limits)
    elif isinstance(value, int | float):
        # What JSON cannot say exactly, two parsers may read differently (RFC 7493 section 2.2).
        if not -MAX_INTEGER <= value <= MAX_INTEGER:
            raise Refused(Reason.GRAPHQL_VALUE, "a number is out of range")
    elif isinstance(value, list):
        if len(value) > limits.list_items:
            raise Refused(Reason.GRAPHQL_LIMIT, f"a list has at most {limits.list_items} values")
        for item in value:
            check(item, limits)
    elif isinstance(value, dict):
        for item in value.values():
            check(item, limits)


def _check_text(value: str, limits: Limits) -> None:
    if len(value) > limits.text_length:
        raise Refused(Reason.GRAPHQL_LIMIT, f"a text value has at most {limits.text_length} characters")
    if not (value.isascii() and value.isprintable()) and not _is_plain(value):
        raise Refused(Reason.GRAPHQL_VALUE, "a text value holds invisible, private or look-alike characters")


def _is_plain(text: str) -> bool:
    if not unicodedata.is_normalized("NFC", text):
        return False
    for character in text:
        category = unicodedata.category(character)
        if category[0] == "C" or category in {"Zl", "Zp"} or (category[0] == "N" and not character.isascii()):
            return False
        # Other spaces than the plain one look the same and compare differently.
        if category == "Zs" and character != " ":
            return False
    return True
