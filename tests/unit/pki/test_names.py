"""The identity name: one form is read, every neighbour of it is refused."""

import pytest
from asn1crypto import core
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from authz.domain.errors import InvalidValue, Refused
from authz.domain.identifiers import Identifier
from authz.domain.reasons import Reason
from pki.names import (
    IDENTITY_OID,
    CertificateIdentity,
    decode_identity,
    dns_names_of,
    encode_identity,
    identity_of,
    is_host_name,
    require_dns_name,
    subject_alternative_name,
    subject_name,
)
from tests.fakes.certificates import FakeAuthority

IDENTITY = CertificateIdentity("TST", Identifier.parse_subject("agbcode:01234567"))
GOOD = encode_identity(IDENTITY).value


@given(
    st.sampled_from(["PRD", "TST", "ACC"]),
    st.one_of(
        st.from_regex(r"agbcode:[0-9]{7}[1-9]", fullmatch=True),
        st.from_regex(r"uzovi:[0-9]{3}[1-9]", fullmatch=True),
        st.from_regex(r"oin:[0-9]{19}[1-9]", fullmatch=True),
    ),
)
def test_what_is_written_is_read(environment: str, subject: str) -> None:
    identity = CertificateIdentity(environment, Identifier.parse_subject(subject))
    assert decode_identity(encode_identity(identity).value) == identity


@given(st.binary(max_size=64))
def test_anything_else_is_refused_and_never_crashes(data: bytes) -> None:
    with pytest.raises(Refused) as caught:
        decode_identity(data)
    assert caught.value.reason is Reason.CERTIFICATE_IDENTITY


@given(st.integers(min_value=0, max_value=len(GOOD) - 1), st.integers(min_value=1, max_value=255))
def test_one_changed_byte_is_refused_or_another_well_formed_identity(position: int, change: int) -> None:
    data = bytearray(GOOD)
    data[position] ^= change
    try:
        found = decode_identity(bytes(data))
    except Refused:
        return
    assert found != IDENTITY
    assert encode_identity(found).value == bytes(data)


class _Other(core.Sequence):  # type: ignore[misc]
    _fields = [("a", core.UTF8String), ("b", core.UTF8String), ("c", core.UTF8String)]  # noqa: RUF012


def test_other_string_types_extra_members_and_indefinite_length_are_refused() -> None:
    assert decode_identity(GOOD) == IDENTITY
    utf8 = bytes(_Other({"a": "TST", "b": "agbcode", "c": "01234567"}).dump())
    trailing = GOOD + b"\x05\x00"
    extra = bytes([GOOD[0], GOOD[1] + 2]) + GOOD[2:] + b"\x05\x00"
    long_length = bytes([GOOD[0], 0x81, GOOD[1]]) + GOOD[2:]
    indefinite = bytes([GOOD[0], 0x80]) + GOOD[2:] + b"\x00\x00"
    nul = GOOD.replace(b"01234567", b"0123456\x00")
    nobody = GOOD.replace(b"01234567", b"00000000")
    nowhere = GOOD.replace(b"TST", b"DEV")
    for der in (utf8, trailing, extra, long_length, indefinite, nul, nobody, nowhere):
        with pytest.raises(Refused):
            decode_identity(der)


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("a.example.nl", True),
        ("xn--caf-dma.nl", True),
        ("1.2.3.4", True),
        ("A.example.nl", False),
        ("a.example.nl.", False),
        ("*.example.nl", False),
        ("a..nl", False),
        ("-a.nl", False),
        ("a_b.nl", False),
        ("a.nl\n", False),
        ("é.nl", False),
        ("a" * 64 + ".nl", False),
        ("a." * 127 + "nl", False),
        ("", False),
    ],
)
def test_host_names(text: str, good: bool) -> None:  # noqa: FBT001
    assert is_host_name(text) is good


def test_a_subject_that_cannot_be_shown_is_refused() -> None:
    who = IDENTITY.identifier
    subject_name(organization="Zorg & Co", common_name="a", kvk="12345678", identifier=who)
    # Characters of an organisation and not its bytes; of a common name bytes, which some readers count.
    subject_name(organization="é" * 64, common_name="é" * 32, kvk="12345678", identifier=who)
    for organization, common_name, kvk in (
        ("é" * 65, "a", "12345678"),
        ("a", "é" * 33, "12345678"),
        ("a ", "a", "12345678"),
        ("", "a", "12345678"),
        (" ", "a", "12345678"),
        ("x" * 65, "a", "12345678"),
        ("a\u202eb", "a", "12345678"),
        ("a", "a\n", "12345678"),
        ("a", "a", "1234567"),
        ("a", "a", "00000000"),
        ("a", "a", "١٢٣٤٥٦٧٨"),
    ):
        with pytest.raises(InvalidValue):
            subject_name(organization=organization, common_name=common_name, kvk=kvk, identifier=who)


@pytest.mark.parametrize("text", ["127.0.0.1", "127.1", "::1", "[::1]", "2001:db8::1", "a.b.9", "10.0.0.256"])
def test_an_address_is_no_dns_name(text: str) -> None:
    with pytest.raises(InvalidValue, match="not a DNS name"):
        require_dns_name(text)
    require_dns_name(f"x{text.replace(':', '').strip('[]')}.nl")


def test_too_many_or_repeated_dns_names_are_refused() -> None:
    names = [f"h{number}.nl" for number in range(25)]
    assert len(list(subject_alternative_name(IDENTITY, names))) == 26
    for wrong in ([*names, "one.more.nl"], ["a.nl", "a.nl"], ["A.nl"]):
        with pytest.raises(InvalidValue):
            subject_alternative_name(IDENTITY, wrong)


def test_the_identity_is_found_beside_dns_names_only() -> None:
    ca = FakeAuthority()
    leaf = ca.issue("agbcode:01234567", dns=("a.test", "b.test")).certificate
    assert identity_of(leaf) == IDENTITY
    assert dns_names_of(leaf) == ("a.test", "b.test")
    with_uri = [x509.OtherName(IDENTITY_OID, GOOD), x509.UniformResourceIdentifier("https://a.test")]
    with pytest.raises(Refused):
        identity_of(ca.issue(names=with_uri).certificate)
