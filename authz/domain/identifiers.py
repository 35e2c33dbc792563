"""Identifiers of the care field, parsed once into frozen values.

Specification: shared `domain.md`, "Identifiers". Leading zeros matter, so all of them are text. An identifier that
parses is well-formed, nothing more: that the party exists and takes part is checked elsewhere.

Each party has one spelling here. A URA is written with and without leading zeros in the field ("up to 8 digits"); it is
kept in eight digits, as the UZI-register writes it in certificates, or one subscriber would be two parties.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from authz.domain.errors import InvalidValue


class IdentifierKind(StrEnum):
    """The register that hands out an identifier. The value is the prefix of the subject on the wire."""

    AGB = "agbcode"
    UZOVI = "uzovi"
    OIN = "oin"
    KVK = "kvk"
    URA = "ura"


# ASCII digits only: `\d` would also take Arabic-Indic and other decimal digits, which are homoglyphs here.
_FORMS = {
    IdentifierKind.AGB: re.compile(r"[0-9]{8}"),
    IdentifierKind.UZOVI: re.compile(r"[0-9]{4}"),
    IdentifierKind.OIN: re.compile(r"[0-9]{20}"),
    IdentifierKind.KVK: re.compile(r"[0-9]{8}"),
    IdentifierKind.URA: re.compile(r"[0-9]{1,8}"),
}
_SAID = {
    # Some published examples show nine, which is a known trap (shared `domain.md`).
    IdentifierKind.AGB: "8 digits (never 9, as some examples show)",
    IdentifierKind.UZOVI: "4 digits",
    IdentifierKind.OIN: "20 digits",
    IdentifierKind.KVK: "8 digits",
    IdentifierKind.URA: "1 to 8 digits",
}
_URA_DIGITS = 8

OID_OF_KIND = {
    IdentifierKind.AGB: "2.16.840.1.113883.2.4.6.1",
    IdentifierKind.UZOVI: "2.16.840.1.113883.2.4.6.4",
    IdentifierKind.URA: "2.16.528.1.1007.3.3",
}
"""Object identifiers under which a register is known in certificates and messages (HL7 / UZI)."""


@dataclass(frozen=True, slots=True, order=True)
class Identifier:
    """One identifier of an organisation, for example AGB 01234567 or UZOVI 5000.

    Attributes:
        kind: the register.
        value: the digits, in the one spelling of the kind.

    Raises:
        InvalidValue: the value has not the form of its kind, or is all zeros, which the field uses for "none".
    """

    kind: IdentifierKind
    value: str

    def __post_init__(self) -> None:
        if not _FORMS[self.kind].fullmatch(self.value):
            raise InvalidValue(f"not a well-formed {self.kind.name} identifier: expected {_SAID[self.kind]}")
        if not self.value.strip("0"):
            raise InvalidValue(f"an all-zero {self.kind.name} identifier means 'none' and names nobody")
        if self.kind is IdentifierKind.URA:
            object.__setattr__(self, "value", self.value.zfill(_URA_DIGITS))

    @classmethod
    def parse_subject(cls, text: str) -> Self:
        """Read the wire form `uzovi:5000`, `agbcode:01234567`.

        Raises:
            InvalidValue: unknown prefix or malformed value.
        """
        prefix, separator, value = text.partition(":")
        if not separator or prefix not in IdentifierKind._value2member_map_:
            raise InvalidValue("not a subject identifier: expected <kind>:<value>, for example uzovi:5000")
        return cls(IdentifierKind(prefix), value)

    @property
    def subject(self) -> str:
        """The wire form, for example `uzovi:5000`."""
        return f"{self.kind.value}:{self.value}"

    def __str__(self) -> str:
        return self.subject


_BSN_WEIGHTS = (9, 8, 7, 6, 5, 4, 3, 2, -1)


@dataclass(frozen=True, slots=True)
class Bsn:
    """A citizen service number: 9 digits that satisfy the 11-proof.

    Its text forms are masked, so that it cannot slip into a log line or an error; `reveal()` is the one way out and
    is easy to find in a review.
    """

    _digits: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[0-9]{9}", self._digits) or not self._digits.strip("0"):
            raise InvalidValue("not a BSN: expected nine digits")
        if sum(w * int(d) for w, d in zip(_BSN_WEIGHTS, self._digits, strict=True)) % 11:
            raise InvalidValue("not a BSN: the 11-proof fails")

    def reveal(self) -> str:
        """The nine digits. Only for the pseudonymisation function and for registers themselves."""
        return self._digits

    def __repr__(self) -> str:
        return "Bsn(*********)"

    __str__ = __repr__
