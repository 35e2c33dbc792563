"""One text for each content: whoever is blocked under one spelling does not come back under another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.domain import base64url
from authz.domain.errors import InvalidValue


@given(st.binary(max_size=70))
def test_what_was_encoded_is_decoded(content: bytes) -> None:
    text = base64url.encode(content)
    assert base64url.decode(text) == base64url.decode(text.encode()) == content


@given(st.text(max_size=8))
def test_a_text_that_is_taken_is_the_only_one_of_its_content(text: str) -> None:
    try:
        content = base64url.decode(text)
    except InvalidValue:
        return
    assert base64url.encode(content) == text


@pytest.mark.parametrize(
    "text",
    ["AA==", "AAA=", "A", "AB", "AAB", "AA\n", " AA", "A A", "AA+_", "AA/_", "ÁAAA", "AA.AA"],
)
def test_another_spelling_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        base64url.decode(text)
