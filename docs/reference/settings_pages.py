"""The settings pages, made from the settings models: each key with its type, its allowed values and what it is.

What a type allows is read from the JSON Schema that pydantic makes of a model, so a page cannot promise another range
than is checked. A key without a description is an error here and fails the test of the page.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from docs.reference.text import MADE, code, prose

_WORDS: Final = {
    r"^http://[^\s/?#@]+(/[^\s?#]*)?$": "`http://` URL without query",
    r"^https://[^\s/?#@]+(/[^\s?#]*)?$": "`https://` URL without query",
    r"^https://[a-z0-9.-]+(:[1-9][0-9]{0,4})?$": "`https://<host>[:port]`",
    r"^https://[a-z0-9.-]+(:[0-9]+)?$": "`https://<host>[:port]`",
    r"^https://[a-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9._~/-]*)?$": "`https://` URL without query",
    r"^http://[a-z0-9.:\[\]-]+(/[a-z0-9/_-]*[a-z0-9])?$": "`http://` URL without a slash at its end",
    r"^postgresql\+asyncpg://": "`postgresql+asyncpg://` URL",
    r"^[a-z0-9][a-z0-9-]{0,62}$": "name: small letters, digits, hyphens",
    r"^/[A-Za-z0-9._~/-]*$": "path of a URL",
    r"^[0-2](\.(0|[1-9][0-9]{0,9})){2,15}$": "OID",
    r"^[0-2](\.(0|[1-9][0-9]{0,38})){1,31}$": "OID",
    r"^[a-z][a-z0-9-]{0,31}$": "name: small letters, digits, hyphens; at most 32",
    r"^[ -~]{1,64}$": "1 to 64 printable ASCII characters",
    r"^([0-9a-f]{2}){1,32}$": "hex, 1 to 32 bytes",
}
_PLAIN: Final = {"integer": "integer", "number": "number", "boolean": "`true` or `false`", "string": "text"}
_FORMATS: Final = {"path": "path", "file-path": "path", "date-time": "time"}


class Undescribed(Exception):  # noqa: N818  names what is wrong
    """A key has no description, or nothing tells the members of a union apart."""


def settings_page(name: str, model: type[BaseModel]) -> str:
    """The page of one program.

    Raises:
        Undescribed: names the keys.
    """
    lines = [
        f"# Settings of `{name}`\n",
        MADE,
        "One TOML file. Relative paths are relative to it. Unknown keys, contradictions and missing files stop the",
        "start, all listed at once. Durations are in seconds unless the name says otherwise.\n",
    ]
    missing = list(_undescribed(model, ""))
    if missing:
        raise Undescribed(f"{name}: no description of {', '.join(missing)}")
    return "\n".join([*lines, *_table(model, "")]) + "\n"


def _table(model: type[BaseModel], prefix: str) -> list[str]:
    lines = ["| key | type | default | what it is |", "|---|---|---|---|"]
    sections: list[str] = []
    schema = model.model_json_schema()
    for key, field in model.model_fields.items():
        named = field.alias or key
        members, many = _sections(field.annotation)
        if not members:
            kind = _kind(schema["properties"][named], schema.get("$defs", {}))
            lines.append(f"| `{named}` | {kind} | {_default(field)} | {prose(field.description)} |")
            continue
        title = f"{prefix}{named}"
        said = prose(field.description) or _first_sentence(members[0])
        lines.append(f"| `{named}` | {'tables' if many else 'table'}, see below | {_default(field)} | {said} |")
        for member in members:
            heading = f"[[{title}]]" if many else f"[{title}]"
            apart = _told_apart_by(member) if len(members) > 1 else ""
            sections += [f"\n## `{heading}`{apart}\n", prose(member.__doc__) + "\n", *_table(member, f"{title}.")]
    return lines + sections


def _sections(annotation: Any) -> tuple[list[type[BaseModel]], bool]:  # noqa: ANN401  any annotation
    """Every settings class that a key may hold, and whether it may hold several of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation], False
    many = get_origin(annotation) in (tuple, list)
    found: list[type[BaseModel]] = []
    for part in get_args(annotation):
        members, several = _sections(part)
        found += [member for member in members if member not in found]
        many = many or several
    return found, many


def _told_apart_by(member: type[BaseModel]) -> str:
    for key, field in member.model_fields.items():
        values = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
        if len(values) == 1:
            return f' with `{key} = "{values[0]}"`' + ("" if field.is_required() else ", or without it")
    raise Undescribed(f"{member.__name__}: no key tells it apart")


def _undescribed(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for key, field in model.model_fields.items():
        named = f"{prefix}{field.alias or key}"
        members, _ = _sections(field.annotation)
        if not members and not (field.description or "").strip():
            yield named
        for member in members:
            if not (member.__doc__ or "").strip():
                yield f"{named} ({member.__name__})"
            yield from _undescribed(member, f"{named}.")


def _kind(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> str:  # noqa: PLR0911  one for each kind
    """Type and allowed values of one key, from its JSON Schema."""
    if "$ref" in schema:
        return _kind(defs[schema["$ref"].rpartition("/")[2]], defs)
    if "anyOf" in schema:
        return " or ".join(_kind(part, defs) for part in schema["anyOf"] if part.get("type") != "null")
    if "const" in schema or "enum" in schema:
        return ", ".join(code(f'"{value}"') for value in schema.get("enum", [schema.get("const")]))
    kind = schema["type"]
    if kind == "array":
        return f"list of {_kind(schema['items'], defs)}{_between(schema, 'minItems', 'maxItems')}"
    if kind == "object":
        return "table"
    if "pattern" in schema:
        return _WORDS.get(schema["pattern"]) or f"text of the form {code(schema['pattern'])}"
    words = _FORMATS.get(schema.get("format", ""), _PLAIN[kind])
    above = schema.get("exclusiveMinimum")
    between = _between(schema, "minimum", "maximum")
    if above is not None:
        most = f", at most {_plain(schema['maximum'])}" if "maximum" in schema else ""
        return f"{words} above {_plain(above)}{most}"
    return words + between


def _between(schema: Mapping[str, Any], low: str, high: str) -> str:
    least, most = schema.get(low), schema.get(high)
    if least is None and most is None:
        return ""
    if most is None:
        return f", at least {_plain(least)}"
    return f", at most {_plain(most)}" if least is None else f", {_plain(least)} to {_plain(most)}"


def _plain(number: object) -> object:
    return int(number) if isinstance(number, float) and number.is_integer() else number


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, BaseModel):
        return "its own defaults"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return code(str(value).lower())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return code(list(value))
    return code(_plain(value))


def _first_sentence(model: type[BaseModel]) -> str:
    return prose((model.__doc__ or "").split("\n\n")[0])
