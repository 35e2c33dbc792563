"""The table behind the scheme `mapped`: which certificate is whose, as the operator was told by the issuing CA.

A TOML file, checked as a whole when it is read:

    [[certificate]]
    identity = "agbcode:01234567"
    serial = "5f3a01c2"                   # hexadecimal, as openssl prints it; colons are allowed

    [[certificate]]
    identity = "uzovi:5000"
    thumbprint = "<SHA-256 of the DER: 64 hexadecimal digits, or 43 of base64url>"

A serial number means something only together with the key of the CA, which is that of the pin the table belongs to.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from authz.domain import base64url
from authz.domain.errors import InvalidValue, SluisError
from authz.domain.identifiers import Identifier

MAX_TABLE_BYTES: Final = 16 * 1024 * 1024
"""About 150,000 certificates."""
_SERIAL = re.compile(r"[0-9a-f]{1,40}")  # RFC 5280 section 4.1.2.2: at most 20 octets
_HEX = re.compile(r"[0-9a-f]{64}")
_DIGEST = 32
_MAX_PROBLEMS: Final = 20


class TableError(SluisError, ValueError):
    """The table can not be used. A ValueError too, so that it is listed among the problems of a settings file."""


@dataclass(frozen=True, slots=True)
class IdentityTable:
    """Certificates and their holders.

    Attributes:
        by_thumbprint: base64url SHA-256 of the DER without padding -> holder.
        by_serial: serial number under the key of the pin -> holder.
    """

    by_thumbprint: Mapping[str, Identifier]
    by_serial: Mapping[int, Identifier]

    @classmethod
    def load(cls, path: Path) -> "IdentityTable":
        """Read a table.

        Raises:
            TableError: unreadable, or entries that are malformed or contradict each other; says which, by number.
        """
        try:
            if path.stat().st_size > MAX_TABLE_BYTES:
                raise TableError(f"the table has more than {MAX_TABLE_BYTES} bytes")
            with path.open("rb") as file:
                return cls.parse(tomllib.load(file))
        except OSError as error:
            raise TableError(f"the table can not be read ({error.strerror})") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise TableError(f"the table is not TOML: {error}") from None

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> "IdentityTable":
        """Check a table that was read.

        Raises:
            TableError: see `load`.
        """
        entries = document.get("certificate")
        if set(document) != {"certificate"} or not isinstance(entries, list) or not entries:
            raise TableError("expected one or more [[certificate]] and nothing else")
        thumbprints: dict[str, Identifier] = {}
        serials: dict[int, Identifier] = {}
        problems: list[str] = []
        for number, entry in enumerate(entries, start=1):
            try:
                _take(entry, thumbprints, serials)
            except InvalidValue as error:
                problems.append(f"certificate {number}: {error}")
        if problems:
            more = [f"and {len(problems) - _MAX_PROBLEMS} more"] if len(problems) > _MAX_PROBLEMS else []
            raise TableError("; ".join(problems[:_MAX_PROBLEMS] + more))
        return cls(MappingProxyType(thumbprints), MappingProxyType(serials))


def _take(entry: object, thumbprints: dict[str, Identifier], serials: dict[int, Identifier]) -> None:
    if not isinstance(entry, dict) or set(entry) not in ({"identity", "serial"}, {"identity", "thumbprint"}):
        raise InvalidValue("expected identity, and either serial or thumbprint")
    if not all(isinstance(value, str) for value in entry.values()):
        raise InvalidValue("expected texts (a serial number is hexadecimal, between quotes)")
    holder = Identifier.parse_subject(entry["identity"])
    if "serial" in entry:
        serial = entry["serial"].replace(":", "").lower()
        if not _SERIAL.fullmatch(serial):
            raise InvalidValue("not a serial number: expected at most 40 hexadecimal digits")
        taken: Mapping[Any, Identifier] = serials
        key: Any = int(serial, 16)
    else:
        taken, key = thumbprints, _thumbprint(entry["thumbprint"])
    if key in taken:
        raise InvalidValue("this certificate is in the table already")
    if isinstance(key, int):
        serials[key] = holder
    else:
        thumbprints[key] = holder


def _thumbprint(text: str) -> str:
    plain = text.replace(":", "").lower()
    if _HEX.fullmatch(plain):
        return base64url.encode(bytes.fromhex(plain))
    expected = "not a thumbprint: expected SHA-256 in 64 hexadecimal or 43 base64url digits"
    try:
        content = base64url.decode(text)
    except InvalidValue:
        raise InvalidValue(expected) from None
    if len(content) != _DIGEST:
        raise InvalidValue(expected)
    return text
