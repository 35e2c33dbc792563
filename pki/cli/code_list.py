"""How `pki code list` shows codes to a person: a block each, in the 80 columns of a terminal."""

from typing import TYPE_CHECKING

from pki.cli.blocks import block

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pki.store.codes import EnrolmentCode


def listed(codes: "Iterable[EnrolmentCode]") -> str:
    """Blocks of lines, none wider than a terminal."""
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
    return block(head, fields)
