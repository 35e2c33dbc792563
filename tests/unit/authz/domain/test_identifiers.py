"""Identifiers: what is not exactly of its form names nobody."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.domain.errors import InvalidValue
from authz.domain.identifiers import Bsn, Identifier, IdentifierKind

ARABIC_INDIC_5000 = "\u0665\u0660\u0660\u0660"


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (IdentifierKind.AGB, "01234567"),
        (IdentifierKind.UZOVI, "5000"),
        (IdentifierKind.OIN, "00000001234567890000"),
        (IdentifierKind.KVK, "12345678"),
        (IdentifierKind.URA, "1"),
    ],
)
def test_well_formed_identifier_survives_the_wire(kind: IdentifierKind, value: str) -> None:
    assert Identifier.parse_subject(Identifier(kind, value).subject) == Identifier(kind, value)


@pytest.mark.parametrize(
    "subject",
    [
        "agbcode:012345678",  # nine digits, as some published examples show
        "agbcode:1234567",  # a leading zero lost by a spreadsheet
        "agbcode:00000000",  # "none"
        "uzovi:50000",
        "uzovi:0000",
        f"uzovi:{ARABIC_INDIC_5000}",
        "uzovi:5000\n",
        " uzovi:5000",
        "UZOVI:5000",
        "uzovi:",
        "uzovi",
        ":5000",
        "",
        "uzovi:5000:5001",
        "bsn:999990019",
    ],
)
def test_subject_of_another_form_is_refused(subject: str) -> None:
    with pytest.raises(InvalidValue):
        Identifier.parse_subject(subject)


@pytest.mark.parametrize(
    ("one", "other"), [("1234567", "01234567"), ("1", "00000001"), ("0001", "1"), ("90000123", "90000123")]
)
def test_a_ura_with_and_without_leading_zeros_is_one_subscriber(one: str, other: str) -> None:
    first, second = Identifier(IdentifierKind.URA, one), Identifier(IdentifierKind.URA, other)
    assert first == second
    assert first.subject == second.subject == f"ura:{other.zfill(8)}"
    assert Identifier.parse_subject(f"ura:{one}") == first


@pytest.mark.parametrize(
    "value", ["", "0", "00000000", "012345678", "1234567 ", "+1234567", "1_2", "\u0661234567", "1\n"]
)
def test_what_is_no_ura_is_not_made_one_by_zeros(value: str) -> None:
    with pytest.raises(InvalidValue):
        Identifier(IdentifierKind.URA, value)


@given(st.sampled_from(IdentifierKind), st.text(alphabet="0123456789\u0660\uff11 \t\n+-", min_size=1, max_size=21))
def test_no_party_has_two_spellings(kind: IdentifierKind, value: str) -> None:
    """What is accepted is the one spelling already; only a URA may come with fewer zeros than it is kept with."""
    try:
        found = Identifier(kind, value)
    except InvalidValue:
        return
    assert value.isascii()
    assert found.value == (value.zfill(8) if kind is IdentifierKind.URA else value)
    assert Identifier.parse_subject(found.subject).subject == found.subject


@given(st.text(max_size=30))
def test_only_the_exact_form_of_an_agb_code_is_accepted(value: str) -> None:
    well_formed = len(value) == 8 and all(c in "0123456789" for c in value) and value != "00000000"
    try:
        Identifier(IdentifierKind.AGB, value)
    except InvalidValue:
        assert not well_formed
    else:
        assert well_formed


def test_bsn_is_masked_in_every_text_form() -> None:
    bsn = Bsn("999990019")
    assert "999990019" not in f"{bsn} {bsn!r} {[bsn]}"
    assert bsn.reveal() == "999990019"


@pytest.mark.parametrize("digits", ["999990018", "99999001", "9999900190", "000000000", "99999001x", ARABIC_INDIC_5000])
def test_bsn_that_fails_the_eleven_proof_is_refused_without_repeating_it(digits: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        Bsn(digits)
    assert digits not in str(refused.value)
