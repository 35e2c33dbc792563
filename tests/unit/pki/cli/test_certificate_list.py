"""The register fits the terminal of who looks at it, and none of it is left out."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from authz.domain.identifiers import Identifier
from pki.cli.blocks import WIDTH
from pki.cli.certificate_list import listed
from pki.store.register import Registered

AT = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SHORT = Registered(
    id=1, issuer="issuing-tst", serial_number="1" * 32, environment="TST",
    identifier=Identifier.parse_subject("uzovi:5000"),
    status="active", organization="Zorgkantoor Test", common_name="a", kvk="12345678", dns_names=("a.example.nl",),
    not_before=AT, not_after=AT, certificate=None, subject_key="", key_core=None, replaces=None, overlap_until=None,
    held_at=None, revoked_at=None, revocation_reason=None,
)  # fmt: skip
LONG = replace(
    SHORT,
    issuer="issuing-prd-" + "2" * 40,
    serial_number="f" * 40,
    identifier=Identifier.parse_subject("oin:00000003123456780000"),
    status="revoked",
    organization="W" * 64,
    dns_names=tuple(f"{label * 60}.{label * 60}.{label * 60}.{label * 60}.nl" for label in "xyz"),
    revoked_at=AT,
    revocation_reason="cessationOfOperation",
)


@pytest.mark.parametrize("item", [SHORT, LONG], ids=["short", "long"])
def test_every_line_fits_and_everything_is_there(item: Registered) -> None:
    text = listed([item, item])
    assert max(map(len, text.splitlines())) <= WIDTH
    read = "".join(text.split())
    for part in (
        item.reference, str(item.identifier), item.environment, item.status, item.organization, item.kvk,
        *item.dns_names, item.revocation_reason or "-", "2026-11-22",
    ):  # fmt: skip
        assert "".join(part.split()) in read


def test_what_is_held_says_so_and_an_empty_register_too() -> None:
    assert "  on hold" in listed([replace(SHORT, held_at=AT)]).splitlines()[0]
    assert listed([]) == "no certificates"
