"""OAuth scopes of the network: `<resource path>:<right>`.

Specification: shared `domain.md`, "Scopes"; RFC 6749 section 3.3. Case matters, order does not, duplicates merge.
Which scopes exist and who may have them is policy data, not code.
"""

import re
from dataclasses import dataclass
from typing import Self

from authz.domain.errors import InvalidValue

MAX_SCOPE_LENGTH = 200
"""Characters in one scope; the longest published one has 63."""
MAX_SCOPES = 20
"""Scopes in one request; a token is for one audience and stays under 1.5 kB."""

# Narrower than RFC 6749's scope-token on purpose: ASCII letters, digits, - and _ in path segments, one right.
_FORM = re.compile(r"[A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)*:[a-z]+")


@dataclass(frozen=True, slots=True, order=True)
class Scope:
    """One scope, for example `registers/wlzindicatieregister/indicaties/indicatie:read`."""

    value: str

    def __post_init__(self) -> None:
        if len(self.value) > MAX_SCOPE_LENGTH or not _FORM.fullmatch(self.value):
            raise InvalidValue("not a well-formed scope: expected <resource path>:<right>")

    @property
    def right(self) -> str:
        """What the scope permits: `read`, `create`, ..."""
        return self.value.rpartition(":")[2]

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class ScopeSet:
    """The scopes of one request or token: at least one, sorted, without duplicates."""

    scopes: tuple[Scope, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a space-separated list.

        Args:
            text: as received; a leading, trailing or double space is malformed (RFC 6749 section 3.3 allows
                exactly one space between scopes).

        Raises:
            InvalidValue: empty, malformed, or more than `MAX_SCOPES` scopes.
        """
        if len(text) > (MAX_SCOPE_LENGTH + 1) * MAX_SCOPES:
            raise InvalidValue("the scope list is too long")
        parts = text.split(" ")
        if len(parts) > MAX_SCOPES:
            raise InvalidValue(f"more than {MAX_SCOPES} scopes")
        return cls(tuple(sorted({Scope(part) for part in parts})))

    @property
    def values(self) -> tuple[str, ...]:
        """The scopes as text, sorted."""
        return tuple(scope.value for scope in self.scopes)

    def __str__(self) -> str:
        return " ".join(self.values)
