"""The text of codes."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pki.enrolment.codes import (
    MAX_TEXT,
    are_swapped,
    draw_code,
    draw_second,
    fits,
    in_groups,
    new_salt,
    read_code,
    verifier_of,
)


def test_a_code_is_read_as_it_was_written_and_as_people_copy_it() -> None:
    code = draw_code()
    text = code.text()
    for copied in (text, text.lower(), text.replace("-", " "), text.replace("-", ""), f"  {text}\n"):
        assert read_code(copied) == code
    assert read_code(text.replace("0", "O").replace("1", "l")) == code


def test_two_halves_are_read_behind_one_another_and_in_no_other_way() -> None:
    first, second = draw_code(), draw_second()
    whole = replace(first, second=second)
    halves = first.text(), in_groups(second)
    for copied in (
        whole.text(),
        "-".join(halves),
        "\n".join(halves),
        "\r\n".join(halves) + "\n",
        " ".join(halves).lower(),
    ):
        assert read_code(copied) == whole
    assert read_code(halves[0]) == first != whole
    for wrong in (halves[1], "".join(halves)[:-1], halves[0] * 2, second + second):
        assert read_code(wrong) is None
    assert second not in f"{whole!r} {whole}"


def test_halves_in_the_wrong_order_are_seen_where_each_has_a_line() -> None:
    first, second = draw_code().text(), in_groups(draw_second())
    for swapped in (f"{second}\n{first}", f"{second}\r\n\n {first.lower()}\n", f"{second.replace('-', ' ')}\n{first}"):
        assert read_code(swapped) is not None
        assert are_swapped(swapped)
    right = (f"{first}\n{second}", first, second, f"{first[:20]}\n{first[20:]}\n{second}", f"{second} {first}", "")
    assert not any(map(are_swapped, right))


@pytest.mark.parametrize("change", [lambda text: text[:-1], lambda text: text + "0", lambda text: "U" + text[1:]])
def test_what_is_no_code(change: object) -> None:
    assert read_code(change(draw_code().text())) is None  # type: ignore[operator]


@given(st.text(max_size=MAX_TEXT + 20))
def test_no_text_makes_it_fail(text: str) -> None:
    code = read_code(text)
    assert code is None or read_code(code.text()) == code


def test_only_the_code_itself_fits() -> None:
    code, salt = draw_code(), new_salt()
    verifier = verifier_of(code.secret, salt)
    assert fits(code.secret, salt, verifier)
    assert not fits(draw_code().secret, salt, verifier)
    assert not fits(code.secret, new_salt(), verifier)
    assert not fits(code.secret, salt, b"")
    assert code.secret.encode() not in verifier


def test_a_code_does_not_slip_into_a_log() -> None:
    code = draw_code()
    assert code.secret not in f"{code!r} {code}"


def test_codes_differ() -> None:
    assert len({draw_code().text() for _ in range(1000)}) == 1000
