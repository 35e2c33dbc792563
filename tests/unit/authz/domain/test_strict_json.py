"""Texts that two JSON parsers may read differently (cases/graphql.md 11 and 12), each beside one that is read."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.domain.errors import InvalidValue
from authz.domain.strict_json import MAX_BYTES, MAX_DEPTH, parse, parse_object


def test_the_near_misses_are_read() -> None:
    assert parse(b'{"a": {"x": 1}, "b": {"x": 1}}') == {"a": {"x": 1}, "b": {"x": 1}}
    assert parse(b' [1, -0, 1.5, 1e3, true, null, "\\u00e9\\ud83d\\ude00"] ') == [1, 0, 1.5, 1000.0, True, None, "é😀"]
    assert parse("{'q': 'é'}".replace("'", '"').encode()) == {"q": "é"}
    assert parse(str(2**53 - 1).encode()) == 2**53 - 1


@pytest.mark.parametrize(
    "text",
    [
        b'{"query": 1, "query": 2}',
        b'{"query": 1, "qu\\u0065ry": 2}',
        b'{"a": {"x": 1, "x": 1}}',
        b'[{"": 1, "": 1}]',
    ],
)
def test_duplicate_members_are_refused_also_escaped_and_nested(text: bytes) -> None:
    with pytest.raises(InvalidValue, match="same member twice"):
        parse(text)


@pytest.mark.parametrize("text", [b"NaN", b"Infinity", b"[-Infinity]", b'{"a": NaN}'])
def test_constants_that_are_not_json_are_refused(text: bytes) -> None:
    with pytest.raises(InvalidValue, match="NaN and Infinity"):
        parse(text)


@pytest.mark.parametrize(
    "text", [b"9007199254740992", b"-9007199254740992", b"1e400", b"-1e400", b"9" * 5_000, b"1." + b"0" * 40, b"1e-400"]
)
def test_numbers_that_cannot_be_held_are_refused(text: bytes) -> None:
    with pytest.raises(InvalidValue, match="a number is"):
        parse(text)


@pytest.mark.parametrize("text", [b'"\\ud800"', b'{"a": ["x\\udfffy"]}', b'{"\\uDC00": 1}'])
def test_lone_surrogates_are_refused(text: bytes) -> None:
    with pytest.raises(InvalidValue, match="surrogate"):
        parse(text)


@pytest.mark.parametrize("text", [b'"\xff"', b'"\xc0\x80"', b'"\xed\xa0\x80"', '"é"'.encode("latin-1")])
def test_anything_but_utf8_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidValue, match="UTF-8"):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbf{}",
        b"",
        b"{} {}",
        b"{}x",
        b"{'a': 1}",
        b'{"a": 1,}',
        b"[1,]",
        b"01",
        b"+1",
        b".5",
        b"1.",
        b'"a\nb"',
        b'"\\x41"',
        b"// x\n{}",
        b"\x0c{}",
        "\u00a0{}".encode(),
        "[\u0661]".encode(),
        '{"a": 1}'.encode("utf-16-be"),
    ],
)
def test_what_is_not_json_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidValue, match="not a JSON text"):
        parse(text)


def test_depth_is_bounded_also_where_the_parser_itself_would_give_up() -> None:
    assert parse(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH) is not None
    for depth in (MAX_DEPTH + 1, 30_000):
        with pytest.raises(InvalidValue, match="deeper"):
            parse(b"[" * depth + b"]" * depth)
        with pytest.raises(InvalidValue, match="deeper"):
            parse(b'{"a":' * depth + b"1" + b"}" * depth, max_bytes=1_000_000)


def test_length_is_bounded_before_anything_is_read() -> None:
    assert parse(b'"' + b"a" * (MAX_BYTES - 2) + b'"')
    with pytest.raises(InvalidValue, match="longer"):
        parse(b"\xff" * (MAX_BYTES + 1))


def test_an_object_is_demanded() -> None:
    assert parse_object(b"{}") == {}
    for text in (b"[]", b"null", b'"{}"', b"1"):
        with pytest.raises(InvalidValue, match="not an object"):
            parse_object(text)


def test_no_refusal_repeats_what_was_sent() -> None:
    for text in (b'{"999990019": 1, "999990019": 2}', b"999990019999990019999", b'{"a" 999990019'):
        with pytest.raises(InvalidValue) as refusal:
            parse(text)
        assert "99999" not in str(refusal.value)
        assert refusal.value.__cause__ is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(JSON, st.booleans())
def test_what_json_writes_is_read_back(value: object, ascii_only: bool) -> None:  # noqa: FBT001  a drawn value
    assert parse(json.dumps(value, ensure_ascii=ascii_only).encode(), max_depth=50) == value


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        parse(data)
    except InvalidValue:
        return
