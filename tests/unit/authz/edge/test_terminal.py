"""What somebody else wrote moves no cursor and makes no lines of its own."""

import pytest

from authz.edge.terminal import lines, one_line

HOSTILE = "\x1b[2K\x1b[1Aapproved\r\x07\x9b31m\u202e\n\x00"


def test_nothing_that_a_terminal_obeys_is_left() -> None:
    assert one_line(HOSTILE).isprintable()
    assert one_line(HOSTILE) == r"\x1b[2K\x1b[1Aapproved\r\x07\x9b31m\u202e\n\x00"
    assert [line.isprintable() for line in lines(HOSTILE).split("\n")] == [True, True]


@pytest.mark.parametrize("text", ["", "Zorgkantoor Noord", "Thuiszorg 't Gooi", "Zoë B.V.", r"C:\new", "ﬁets"])
def test_display_text_stays_as_it_is(text: str) -> None:
    assert one_line(text) == text
    assert lines(f"{text}\n{text}") == f"{text}\n{text}"
