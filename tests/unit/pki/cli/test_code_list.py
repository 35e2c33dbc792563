"""What an operator reads before he agrees with a code fits his terminal, and none of it is left out."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from authz.domain.identifiers import Identifier
from pki.cli.blocks import WIDTH
from pki.cli.code_list import listed
from pki.enrolment.operators.signing import Signed
from pki.store.codes import EnrolmentCode
from tests.fakes.operators import ANNA_KEY
from tests.unit.pki.cli.test_enrolment import CREATE
from tests.unit.pki.cli.test_main import Run, run  # noqa: F401  a fixture

AT = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SHORT = EnrolmentCode(
    selector="ABCDEFGH", environment="TST", identifier=Identifier.parse_subject("uzovi:5000"),
    organization="Zorgkantoor Test", kvk="12345678", dns_names=("a.example.nl", "b.example.nl"), status="pending",
    two_person=True, created_by="operator-key:anna", created_at=AT, expires_at=AT, salt=b"salt", verifier=b"verifier",
)  # fmt: skip
LONG = replace(
    SHORT,
    identifier=Identifier.parse_subject("oin:00000003123456780000"),
    environment="ACC",
    purpose="renew",
    status="withdrawn",
    organization="Coöperatieve Vereniging " + "W" * 40,
    dns_names=tuple(f"{label * 60}.{label * 60}.{label * 60}.{label * 60}.nl" for label in "xyz"),
    created_by=f"operator-key:{'a' * 32}",
    approved_by=f"operator:{'b' * 55}",
    request=Signed('{"act":"code_create"}', ANNA_KEY.settings().public_key, "signature"),
)


@pytest.mark.parametrize("code", [SHORT, LONG], ids=["short", "long"])
def test_every_line_fits_and_everything_is_there(code: EnrolmentCode) -> None:
    text = listed([code, code])
    assert max(map(len, text.splitlines())) <= WIDTH
    read = "".join(text.split())
    for part in (
        code.selector, str(code.identifier), code.environment, code.purpose, code.status, code.organization, code.kvk,
        *code.dns_names, code.created_by, code.approved_by or "-", code.statement or "-", "2026-11-22 12:00",
    ):  # fmt: skip
        assert "".join(part.split()) in read


def test_what_stands_on_one_line_can_be_copied() -> None:
    lines = [line.split() for line in listed([LONG]).splitlines()]
    assert ["statement", LONG.statement] in lines
    assert lines[0][0] == LONG.selector
    assert ["DNS", "names", "a.example.nl"] in [line.split() for line in listed([SHORT]).splitlines()]


@pytest.mark.parametrize("config", ["sqlite"], indirect=True)
def test_the_command_shows_it_so(run: Run) -> None:  # noqa: F811
    assert run("code", "list").out == "no codes\n"
    assert run(*CREATE).status == 0
    shown = run("code", "list").out
    assert max(map(len, shown.splitlines())) <= WIDTH
    assert "  DNS names     a.example.nl\n" in shown
