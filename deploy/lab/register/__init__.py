"""Registers for the lab: GraphQL services with synthetic clients, behind a trust agent as in the field.

Part of the lab, not of the product. A register answers what it is asked: who may ask what is the agent's work, and the
Envoy in front of a register admits nobody but the agent.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

SCHEMAS: Final[Mapping[str, Path]] = {
    "indicatie": Path(__file__).parent / "indicatie.graphql",
    "bemiddeling": Path(__file__).parent / "bemiddeling.graphql",
}
"""The schema file of each register, as its trust agent needs it (`schema_file`)."""

PUBLIC_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "indicatie": (
        "WlzIndicatie.*",
        "Grondslag.*",
        "GeindiceerdZorgzwaartepakket.*",
        "Beperking.*",
        "BeperkingScore.*",
        "Stoornis.*",
        "StoornisScore.*",
        "Wzd.*",
        "Client.*",
        "ContactPersoon.*",
        "ContactGegevens.*",
        "Adres.*",
        "Email.*",
        "Telefoon.*",
    ),
    "bemiddeling": ("Bemiddeling.*", "Client.*"),
}
"""What the agent's settings mark as public (`public_fields`): plain values below an annotated field."""
