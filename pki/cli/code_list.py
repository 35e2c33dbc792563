"""How `pki code list` shows codes to a person: a block each, in the 80 columns of a terminal."""

import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pki.store.codes import EnrolmentCode

WIDTH: Final = 80
_FIELD: Final = 16
"""Columns of the name of a field: a statement, 64 digits, fits behind it."""


def listed(codes: "Iterable[EnrolmentCode]") -> str:
    """Blocks of lines, none wider than `WIDTH`."""
    return "\n".join(_block(item) for item in codes) or "no codes"


def _block(item: "EnrolmentCode") -> str:
    head = f"{item.selector}  {item.identifier}  {item.environment}  {item.purpose}  {item.status}"
    fields: list[tuple[str, Iterable[str]]] = [
        ("until", [f"{item.expires_at:%Y-%m-%d %H:%M} UTC"]),
        ("organisation", [f"{item.organization}, KvK {item.kvk}"]),
        ("DNS names", item.dns_names or ["-"]),
        ("made by", [item.created_by]),
        ("approved by", [item.approved_by or "-"]),
        ("statement", [item.statement or "-"]),
    ]
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
