"""A register's schema with the authorization of every field, or no schema at all.

Specification: shared `spec/enforcement.md`, "@authz"; `cases/graphql.md` 16, 22 and 33. Every field of every type is
annotated, or marked public by configuration; a public field is reachable only through an annotated one, because the
fields of the root types cannot be public. Whether a caller may see a field is not decided here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from graphql import (
    DirectiveDefinitionNode,
    DocumentNode,
    GraphQLError,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLString,
    StringValueNode,
    build_ast_schema,
    get_named_type,
    is_leaf_type,
    parse,
    validate_schema,
)

from authz.domain.errors import SluisError
from trust_agent.graphql.filters import filter_problems
from trust_agent.graphql.limits import Limits
from trust_agent.graphql.values import harden_scalars

DIRECTIVE: Final = (
    "directive @authz(service: String!, operation: String!, resourceType: String!, action: String!) "
    "repeatable on FIELD_DEFINITION"
)
"""The directive as the network writes it; added to a schema that does not declare it."""

_ARGUMENTS: Final = ("service", "operation", "resourceType", "action")


@dataclass(frozen=True, slots=True)
class Authz:
    """One `@authz` annotation of a field definition.

    Attributes:
        service: the service that the field belongs to, for example `wlzindicatieregister`.
        operation: the operation of the register that gives the field, for example `wlzIndicatie`.
        resource_type: kind of resource, for example `WLZ_INDICATIE`.
        action: what is done with it, for example `read`.
    """

    service: str
    operation: str
    resource_type: str
    action: str


class SchemaRefused(SluisError):  # noqa: N818  the schema is refused
    """A schema, overlay or list of public fields with which enforcement would have holes.

    Args:
        problems: all of them, one text each; a field by its coordinate.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("the schema of the register is refused:\n" + "\n".join(f"  {text}" for text in problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class AnnotatedSchema:
    """A valid schema and the annotations of its fields.

    Attributes:
        schema: the schema itself.
        annotations: by coordinate (`WlzIndicatie.client`); a field that is not in it is public.
        service: the one service that all annotations name.
    """

    schema: GraphQLSchema
    annotations: Mapping[str, tuple[Authz, ...]]
    service: str


def load_schema(
    sdl: str, overlay: Mapping[str, Mapping[str, str]], public_fields: Sequence[str], limits: Limits
) -> AnnotatedSchema:
    """Read a schema and prove that no field of it escapes authorization.

    Args:
        sdl: schema definition language, with or without `@authz`.
        overlay: annotations for a schema that has none: coordinate -> service, operation, resourceType, action.
        public_fields: coordinates, or `Type.*` for the fields of a type that are a plain value without arguments.
        limits: the names of the filter and paging arguments.

    Raises:
        SchemaRefused: with every problem found.
    """
    schema = _build(sdl)
    problems: list[str] = []
    if schema.subscription_type is not None:
        problems.append(f"{schema.subscription_type.name}: subscriptions are not served")
    fields = {
        f"{type_.name}.{name}": field
        for type_ in schema.type_map.values()
        if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType) and not type_.name.startswith("__")
        for name, field in type_.fields.items()
    }
    annotations = _annotations(fields, overlay, problems)
    public = _public(fields, public_fields, annotations, problems)
    roots = {type_.name for type_ in (schema.query_type, schema.mutation_type) if type_ is not None}
    for coordinate, field in fields.items():
        if coordinate not in annotations and coordinate not in public:
            problems.append(f"{coordinate}: neither annotated nor public")
        elif coordinate in public and coordinate.partition(".")[0] in roots:
            problems.append(f"{coordinate}: public, but reachable without passing an annotated field")
        elif coordinate in public and field.args:
            problems.append(f"{coordinate}: public, but its arguments would escape the policy")
        if coordinate in annotations and limits.filter_argument in field.args:
            problems += [f"{coordinate}: {text}" for text in filter_problems(field.args[limits.filter_argument].type)]
    problems += _disagreements(schema, annotations)
    services = sorted({item.service for items in annotations.values() for item in items})
    if len(services) > 1:
        problems.append(f"the annotations name several services: {', '.join(services)}")
    if problems:
        raise SchemaRefused(problems)
    return AnnotatedSchema(schema, annotations, services[0])


def _build(sdl: str) -> GraphQLSchema:
    try:
        document = parse(sdl)
        declared = any(
            isinstance(item, DirectiveDefinitionNode) and item.name.value == "authz" for item in document.definitions
        )
        if not declared:
            document = DocumentNode(definitions=(*document.definitions, *parse(DIRECTIVE).definitions))
        schema = build_ast_schema(document)
        errors = validate_schema(schema)
    except (GraphQLError, TypeError) as error:
        # TypeError is how the library reports SDL that does not hold together.
        raise SchemaRefused([str(error)]) from error
    if errors:
        raise SchemaRefused([error.message for error in errors])
    _check_directive(schema)
    harden_scalars(schema)
    return schema


def _check_directive(schema: GraphQLSchema) -> None:
    directive = schema.get_directive("authz")
    fits = (
        directive is not None
        and directive.is_repeatable
        and [location.name for location in directive.locations] == ["FIELD_DEFINITION"]
        and set(directive.args) == set(_ARGUMENTS)
        and all(
            isinstance(argument.type, GraphQLNonNull) and argument.type.of_type is GraphQLString
            for argument in directive.args.values()
        )
    )
    if not fits:
        raise SchemaRefused([f"@authz is declared differently from: {DIRECTIVE}"])


def _annotations(
    fields: Mapping[str, GraphQLField], overlay: Mapping[str, Mapping[str, str]], problems: list[str]
) -> dict[str, tuple[Authz, ...]]:
    found: dict[str, list[Authz]] = {}
    for coordinate, field in fields.items():
        for directive in (field.ast_node.directives or ()) if field.ast_node else ():
            if directive.name.value == "authz":
                values = {
                    item.name.value: item.value.value
                    for item in directive.arguments or ()
                    if isinstance(item.value, StringValueNode)
                }
                if set(values) == set(_ARGUMENTS):
                    found.setdefault(coordinate, []).append(_authz(values))
                else:
                    problems.append(f"{coordinate}: an annotation has {', '.join(_ARGUMENTS)}")
    for coordinate, given in overlay.items():
        if coordinate not in fields:
            problems.append(f"{coordinate}: annotated by the overlay, but not in the schema")
        elif set(given) != set(_ARGUMENTS):
            problems.append(f"{coordinate}: an annotation has {', '.join(_ARGUMENTS)}")
        else:
            found.setdefault(coordinate, []).append(_authz(given))
    problems += [
        f"{coordinate}: an annotation holds an empty text"
        for coordinate, items in found.items()
        if not all(item.service and item.operation and item.resource_type and item.action for item in items)
    ]
    return {coordinate: tuple(dict.fromkeys(items)) for coordinate, items in found.items()}


def _disagreements(schema: GraphQLSchema, annotations: Mapping[str, tuple[Authz, ...]]) -> list[str]:
    # A field may be asked for through an interface or on the type itself: it cannot be protected in one way only.
    return [
        f"{type_.name}.{name}: annotated, or public, other than {interface.name}.{name}"
        for type_ in schema.type_map.values()
        if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType)
        for interface in type_.interfaces
        for name in interface.fields
        if (f"{type_.name}.{name}" in annotations) != (f"{interface.name}.{name}" in annotations)
    ]


def _authz(values: Mapping[str, str]) -> Authz:
    return Authz(values["service"], values["operation"], values["resourceType"], values["action"])


def _public(
    fields: Mapping[str, GraphQLField],
    public_fields: Sequence[str],
    annotations: Mapping[str, tuple[Authz, ...]],
    problems: list[str],
) -> set[str]:
    public: set[str] = set()
    for entry in public_fields:
        type_name, _, name = entry.partition(".")
        if name == "*":
            # Only plain values: a nested entity must be named, so that nobody opens one by a wildcard.
            matches = {
                coordinate
                for coordinate, field in fields.items()
                if coordinate.startswith(f"{type_name}.") and coordinate not in annotations
                if is_leaf_type(get_named_type(field.type)) and not field.args
            }
        else:
            matches = {entry} & set(fields)
        if not matches:
            problems.append(f"{entry}: public, but not in the schema")
        problems += [f"{item}: both annotated and public" for item in sorted(matches & set(annotations))]
        public |= matches
    return public
