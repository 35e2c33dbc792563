"""What the lab writes as settings is read back as it was meant."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.lab.toml import to_toml

# TOML's integers have 64 bits; a lone surrogate is no text in any file.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x7f"))
PLAIN = st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), TEXTS)
KEYS = st.one_of(st.from_regex(r"[A-Za-z0-9_-]+", fullmatch=True), TEXTS)
TABLES = st.recursive(
    st.dictionaries(KEYS, st.one_of(PLAIN, st.lists(PLAIN, max_size=4)), max_size=4),
    lambda below: st.dictionaries(KEYS, st.one_of(PLAIN, below, st.lists(below, max_size=3)), max_size=4),
    max_leaves=12,
)


@given(TABLES)
def test_a_document_is_read_back_unchanged(document: dict[str, Any]) -> None:
    assert tomllib.loads(to_toml(document)) == document


def test_a_path_is_a_text() -> None:
    assert tomllib.loads(to_toml({"file": Path("a") / "b"})) == {"file": "a/b"}


def test_a_value_without_a_form_in_toml_is_refused() -> None:
    with pytest.raises(TypeError, match="NoneType"):
        to_toml({"nothing": None})
