"""The entries of a CRL in 256 parts, by the last octet of the serial number.

With 100,000 entries a part is 20 kB of 5 MB, so a revocation encodes, checks and writes one part and takes the others
as they are. A serial number has one part, so it is listed once when each part has it at most once. Only for bytes that
`encode_crl_entry` made; CRLs of others are read by `pki.validation.crl`.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.signing.encoding import CrlEntry, encode_crl_entry

_LAST_OCTET: Final = 0xFF
_SEQUENCE: Final = 0x30
_INTEGER: Final = 0x02


def parts_of(entries: Iterable[CrlEntry]) -> dict[int, bytes]:
    """All parts of a list of these entries; a part without any is left out."""
    return take_up({}, {entry.serial_number: entry for entry in entries})


def take_up(parts: Mapping[int, bytes], changes: Mapping[int, CrlEntry | None]) -> dict[int, bytes]:
    """The parts that change, as they are then; what is new stands last.

    Args:
        parts: as they are.
        changes: entries by serial number; None where one is to leave the list.

    Raises:
        Refused: LINT_FAILED, see `read_part`.
    """
    by_part: dict[int, dict[int, bytes]] = {}
    for serial_number, entry in changes.items():
        part = serial_number & _LAST_OCTET
        if part not in by_part:
            by_part[part] = read_part(part, parts.get(part, b""))
        by_part[part].pop(serial_number, None)
        if entry is not None:
            by_part[part][serial_number] = encode_crl_entry(entry)
    return {part: b"".join(entries.values()) for part, entries in by_part.items()}


def read_part(part: int, encoded: bytes) -> dict[int, bytes]:
    """Its entries by serial number, in their order.

    Raises:
        Refused: LINT_FAILED, they do not fill it to its end, one is of another part, or a serial number is there twice.
    """
    found: dict[int, bytes] = {}
    at = 0
    while at < len(encoded):
        if at + 4 > len(encoded) or encoded[at] != _SEQUENCE or encoded[at + 2] != _INTEGER:
            raise _broken("something that is no entry")
        # Entries stay under 128 bytes: a serial number of 20 octets, a UTCTime and a reason. So lengths are one octet.
        end = at + 2 + encoded[at + 1]
        serial_end = at + 4 + encoded[at + 3]
        if not serial_end <= end <= len(encoded):
            raise _broken("an entry that does not end where it says")
        serial_number = int.from_bytes(encoded[at + 4 : serial_end], "big")
        if serial_number & _LAST_OCTET != part:
            raise _broken("an entry in the part of others")
        if serial_number in found:
            raise _broken("a serial number twice")
        found[serial_number] = encoded[at:end]
        at = end
    return found


def _broken(what: str) -> Refused:
    return Refused(Reason.LINT_FAILED, f"The entries of the CRL would hold {what} (RFC 5280 5.1.2.6).")
