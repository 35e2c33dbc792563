"""The text of codes, and how often somebody may try."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pki.enrolment.codes import MAX_TEXT, draw_code, draw_second, fits, in_groups, new_salt, read_code, verifier_of
from pki.http.rate import MAX_KEYS, RateLimiter, network_of


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


class Seconds:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_empties_and_refills() -> None:
    seconds = Seconds()
    limiter = RateLimiter(3, 60, seconds)
    assert [limiter.take("a") for _ in range(3)] == [0, 0, 0]
    assert limiter.take("a") == pytest.approx(20)
    assert limiter.take("b") == 0
    seconds.now = 19.9
    assert limiter.take("a") > 0
    seconds.now = 20.1
    assert limiter.take("a") == 0
    limiter.give_back("a")
    assert limiter.take("a") == 0
    assert limiter.take("a") > 0


def test_memory_is_bounded() -> None:
    limiter = RateLimiter(1, 60, Seconds())
    for number in range(MAX_KEYS + 100):
        limiter.take(str(number))
    assert len(limiter._buckets) == MAX_KEYS


def test_an_ipv6_subscriber_is_one_source() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1")
    assert network_of("2001:db8::1") != network_of("2001:db8:0:1::1")
    assert network_of("::ffff:192.0.2.1") == network_of("192.0.2.1") != network_of("192.0.2.2")
    assert network_of(None) == network_of("nonsense") == "unknown"
