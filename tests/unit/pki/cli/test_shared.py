"""What commands print: fields of the register, which others may have written, move no cursor and make no rows."""

import json

import pytest

from pki.cli.shared import emit, table

HOSTILE = "De Linde\x1b[1A\x1b[2Kapproved by carol\r\nready"


def test_a_cell_stays_in_its_row() -> None:
    shown = table([("reference", "organisation"), ("AAAAAAAA", HOSTILE), ("BBBBBBBB", "Zoë")])
    lines = shown.split("\n")
    assert len(lines) == 3
    assert all(line.isprintable() for line in lines)
    assert lines[1] == r"AAAAAAAA   De Linde\x1b[1A\x1b[2Kapproved by carol\r\nready"
    assert lines[2] == "BBBBBBBB   Zoë"


def test_no_text_of_a_command_holds_what_a_terminal_obeys(capsys: pytest.CaptureFixture[str]) -> None:
    emit({"organization": HOSTILE}, as_json=False, text=lambda: f"approved {HOSTILE}")
    shown = capsys.readouterr().out
    assert all(line.isprintable() for line in shown.rstrip("\n").split("\n"))
    assert "\x1b" not in shown
    emit({"organization": HOSTILE}, as_json=True, text=lambda: "")
    shown = capsys.readouterr().out
    assert json.loads(shown) == {"organization": HOSTILE}
    assert "\x1b" not in shown
