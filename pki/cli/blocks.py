"""How lists are shown to a person: a block each, in the 80 columns of a terminal."""

import textwrap
from collections.abc import Iterable
from typing import Final

WIDTH: Final = 80
_FIELD: Final = 16
"""Columns of the name of a field: a statement, 64 digits, fits behind it."""


def block(head: str, fields: Iterable[tuple[str, Iterable[str]]]) -> str:
    """Lines, none wider than `WIDTH`.

    Args:
        head: first line.
        fields: name and values of each.
    """
    return "\n".join([*_wrapped(head, ""), *(line for name, values in fields for line in _field(name, values))])


def _field(name: str, values: Iterable[str]) -> list[str]:
    label = f"  {name}".ljust(_FIELD)
    lines: list[str] = []
    for value in values:
        lines += _wrapped(value, " " * _FIELD if lines else label)
    return lines


def _wrapped(value: str, begin: str) -> list[str]:
    # A DNS name may have 253 characters: it is broken rather than left out.
    return textwrap.wrap(
        value, WIDTH, initial_indent=begin, subsequent_indent=" " * _FIELD, break_on_hyphens=False
    ) or [begin.rstrip()]
