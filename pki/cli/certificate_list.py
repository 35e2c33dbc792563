"""How `pki list` shows certificates to a person: a block each, in the 80 columns of a terminal."""

from typing import TYPE_CHECKING

from pki.cli.blocks import block

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pki.store.register import Registered


def listed(certificates: "Iterable[Registered]") -> str:
    """Blocks of lines, none wider than a terminal."""
    return "\n".join(_block(item) for item in certificates) or "no certificates"


def _block(item: "Registered") -> str:
    status = "on hold" if item.held_at else item.status
    fields: list[tuple[str, Iterable[str]]] = [
        ("certificate", [item.reference]),
        ("until", [f"{item.not_after:%Y-%m-%d}"]),
        ("organisation", [f"{item.organization}, KvK {item.kvk}"]),
        ("DNS names", item.dns_names or ["-"]),
    ]
    if item.revoked_at is not None:
        fields.append(("revoked", [f"{item.revoked_at:%Y-%m-%d %H:%M} UTC, {item.revocation_reason}"]))
    return block(f"{item.identifier}  {item.environment}  {status}", fields)
