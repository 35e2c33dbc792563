"""Whether an entity satisfies a filter, as the register itself reads filters.

Written apart from the agent's own reading of filters on purpose: what the agent calls conjunctively required must be so
at a register that knows nothing of the agent.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

_OPERATORS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "eq": lambda value, operand: value == operand,
    "neq": lambda value, operand: value != operand,
    "in": lambda value, operand: value in operand,
    "nin": lambda value, operand: value not in operand,
    # ISO dates sort as texts; a missing date is neither before nor after another.
    "gt": lambda value, operand: value is not None and value > operand,
    "gte": lambda value, operand: value is not None and value >= operand,
    "lt": lambda value, operand: value is not None and value < operand,
    "lte": lambda value, operand: value is not None and value <= operand,
}


def matches(entity: Mapping[str, Any], where: Mapping[str, Any] | None) -> bool:
    """True when the entity satisfies every member of the filter; an absent filter is satisfied by all."""
    return all(_member(entity, name, value) for name, value in (where or {}).items() if value is not None)


def _member(entity: Mapping[str, Any], name: str, value: Any) -> bool:  # noqa: ANN401  coerced by the schema
    if name == "and":
        return all(matches(entity, item) for item in value)
    if name == "or":
        return any(matches(entity, item) for item in value)
    if name == "not":
        return not matches(entity, value)
    member = entity[name]
    return matches(member, value) if isinstance(member, dict) else _compares(member, value)


def _compares(value: Any, operations: Mapping[str, Any]) -> bool:  # noqa: ANN401  a plain value of an entity
    results = []
    for name, operand in operations.items():
        if name == "and":
            results.append(all(_compares(value, item) for item in operand))
        elif name == "or":
            results.append(any(_compares(value, item) for item in operand))
        else:
            results.append(_OPERATORS[name](value, operand))
    return all(results)
