"""EST as bytes: what is taken, what is refused, and that nothing makes it fail in another way."""

import base64
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.domain.errors import Refused
from authz.domain.identifiers import Identifier
from authz.domain.reasons import Reason
from pki.enrolment.est import MAX_BODY_BYTES, csr_attributes, read_body, read_credentials, user_name

WHO = Identifier.parse_subject("uzovi:5000")


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


def test_credentials() -> None:
    assert read_credentials(basic(f"{user_name(WHO)}:A:B")) == (WHO, "A:B")
    assert read_credentials(basic("uzovi-5000:x").replace("Basic", "bAsIc")) == (WHO, "x")


@pytest.mark.parametrize("name", ["uzovi", "", "uzovi-50000", "UZOVI-5000", "uzovi--5000", "enrol", "agbcode-00000000"])
def test_a_user_name_that_is_no_identity(name: str) -> None:
    assert read_credentials(basic(f"{name}:code")) == (None, "code")


@pytest.mark.parametrize(
    "header",
    [
        "", "Basic", "Basic ", "Bearer abc", basic("no colon"), basic("uzovi-5000:x") + "=", basic("a:b") + ", Basic x",
        "Basic " + base64.b64encode(b"\xff:\xff").decode(), basic("uzovi-5000:" + "x" * 500), " " + basic("a:b"),
        "Basic dXpv dmk6eA==",
    ],
)  # fmt: skip
def test_what_is_no_basic(header: str) -> None:
    with pytest.raises(Refused) as caught:
        read_credentials(header)
    assert caught.value.reason is Reason.CREDENTIALS_MISSING


def test_a_body_in_lines_of_any_length() -> None:
    der = bytes(range(256))
    text = base64.b64encode(der)
    for body in (text, base64.encodebytes(der), b"\r\n".join(text[at : at + 7] for at in range(0, len(text), 7))):
        assert read_body(body) == der


@pytest.mark.parametrize(
    "body", [b"", b"\n", b"A", b"AAA", b"AB==", b"AA=A", b"AAAA====", b"AA%A", b"\xff\xff\xff\xff"]
)
def test_a_body_that_is_not_base64(body: bytes) -> None:
    with pytest.raises(Refused) as caught:
        read_body(body)
    assert caught.value.reason is Reason.BODY_MALFORMED


def test_a_body_that_is_too_large() -> None:
    assert read_body(b"A" * (MAX_BODY_BYTES // 4 * 4))
    with pytest.raises(Refused) as caught:
        read_body(b"A" * (MAX_BODY_BYTES + 1))
    assert caught.value.reason is Reason.BODY_TOO_LARGE


@given(st.binary(max_size=2000))
def test_a_body_is_read_or_refused(body: bytes) -> None:
    try:
        der = read_body(body)
    except Refused:
        return
    assert read_body(base64.b64encode(der)) == der


@given(st.text(max_size=600))
def test_credentials_are_read_or_refused(header: str) -> None:
    with suppress(Refused):
        assert read_credentials(header)[1].isascii()


def test_the_attributes_never_change() -> None:
    assert csr_attributes() == csr_attributes()
    assert all(len(line) <= 64 for line in csr_attributes().splitlines())
