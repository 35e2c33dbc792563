"""The scheme `mapped`: the table decides, and a table that is wrong is refused as a whole."""

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.validation.schemes.table import IdentityTable, TableError
from pki.validation.validator import CertificateValidator, PinnedIssuer, thumbprint_of
from tests.fakes.certificates import FakeAuthority, FakeCertificate, Odd


@pytest.fixture(scope="module")
def ca() -> FakeAuthority:
    return FakeAuthority()


def table(*entries: Mapping[str, str]) -> IdentityTable:
    return IdentityTable.parse({"certificate": [dict(entry) for entry in entries]})


def serial_of(leaf: FakeCertificate) -> str:
    return f"{leaf.certificate.serial_number:x}"


def validator(ca: FakeAuthority, *entries: Mapping[str, str], **options: Any) -> CertificateValidator:
    pin = PinnedIssuer(ca.issuing.spki_sha256, "mapped", "TST", table=table(*entries))
    return ca.validator(issuers=[pin], **options)


def refusal(by: CertificateValidator, leaf: FakeCertificate, ca: FakeAuthority) -> Reason:
    with pytest.raises(Refused) as caught:
        by.validate(leaf.der, (), ca.now)
    return caught.value.reason


def test_a_certificate_by_serial_number_and_by_thumbprint(ca: FakeAuthority) -> None:
    # Names say nothing here: the certificates even claim to be somebody else under another scheme.
    one, two, three = ca.issue("uzovi:6000"), ca.issue("uzovi:6000"), ca.issue("uzovi:6000")
    by = validator(
        ca,
        {"serial": serial_of(one), "identity": "agbcode:01234567"},
        {"thumbprint": thumbprint_of(two.der), "identity": "uzovi:5000"},
    )
    found = by.validate(one.der, (), ca.now)
    assert (found.identity.subject, found.environment) == ("agbcode:01234567", "TST")
    assert by.validate(two.der, (), ca.now).identity.subject == "uzovi:5000"
    assert refusal(by, three, ca) is Reason.CERTIFICATE_IDENTITY


def test_a_certificate_without_any_names(ca: FakeAuthority) -> None:
    leaf = ca.issue(names=[])
    by = validator(ca, {"serial": serial_of(leaf), "identity": "agbcode:01234567"})
    assert by.validate(leaf.der, (), ca.now).dns_names == ()


def test_odd_names_refuse_nothing_and_are_not_shown(ca: FakeAuthority) -> None:
    nul = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Zorg\x00evil")])
    leaf = ca.issue(dns=("*.zorg.test",), odd=Odd(subject=nul))
    found = validator(ca, {"serial": serial_of(leaf), "identity": "agbcode:01234567"}).validate(leaf.der, (), ca.now)
    assert (found.organization, found.dns_names) == ("", ())
    assert refusal(ca.validator(), leaf, ca) is Reason.CERTIFICATE_IDENTITY


def test_the_same_serial_number_of_another_ca(ca: FakeAuthority) -> None:
    leaf = ca.issue()
    sibling = ca.make_ca("Another CA", ca.root)
    by = validator(
        ca, {"serial": serial_of(leaf), "identity": "agbcode:01234567"}, intermediates=[ca.issuing.der, sibling.der]
    )
    other = ca.issue(issuer=sibling, odd=Odd(serial_number=leaf.certificate.serial_number))
    assert by.validate(leaf.der, (), ca.now)
    assert refusal(by, other, ca) is Reason.CERTIFICATE_ISSUER_UNPINNED


def test_two_entries_that_disagree_about_one_certificate(ca: FakeAuthority) -> None:
    leaf = ca.issue()
    serial = {"serial": serial_of(leaf), "identity": "agbcode:01234567"}
    thumbprint = {"thumbprint": thumbprint_of(leaf.der), "identity": "agbcode:01234568"}
    assert refusal(validator(ca, serial, thumbprint), leaf, ca) is Reason.CERTIFICATE_IDENTITY
    assert validator(ca, serial, thumbprint | {"identity": "agbcode:01234567"}).validate(leaf.der, (), ca.now)


def test_every_other_check_is_made_as_well(ca: FakeAuthority) -> None:
    leaf, late = ca.issue(), ca.expired()
    entries = [{"serial": serial_of(item), "identity": "agbcode:01234567"} for item in (leaf, late)]
    revoked = ca.crl_store(ca.root_crl(), ca.crl(revoked=[leaf.certificate.serial_number]))
    assert refusal(validator(ca, *entries, crls=revoked), leaf, ca) is Reason.CERTIFICATE_REVOKED
    assert refusal(validator(ca, *entries), late, ca) is Reason.CERTIFICATE_EXPIRED


def test_all_ways_to_write_a_thumbprint_or_serial_number() -> None:
    digest = hashlib.sha256(b"x").digest()
    text = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    for written in (text, digest.hex(), digest.hex().upper(), digest.hex(":")):
        assert table({"thumbprint": written, "identity": "uzovi:5000"}).by_thumbprint.keys() == {text}
    for written in ("0a0B", "a0b", "0A:0B"):
        assert table({"serial": written, "identity": "uzovi:5000"}).by_serial.keys() == {0x0A0B}


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"serial": "0a"}, "identity"),
        ({"identity": "uzovi:5000"}, "serial"),
        ({"identity": "uzovi:5000", "serial": "0a", "thumbprint": "a" * 64}, "either"),
        ({"identity": "uzovi:5000", "serial": "0a", "name": "x"}, "expected"),
        ({"identity": "uzovi:5000", "serial": 10}, "texts"),
        ({"identity": "uzovi:5000", "serial": ""}, "serial number"),
        ({"identity": "uzovi:5000", "serial": "-0a"}, "serial number"),
        ({"identity": "uzovi:5000", "serial": "g"}, "serial number"),
        ({"identity": "uzovi:5000", "serial": "a" * 41}, "serial number"),
        ({"identity": "uzovi:5000", "thumbprint": "a" * 63}, "thumbprint"),
        ({"identity": "uzovi:5000", "thumbprint": "b" * 43}, "thumbprint"),  # bits that mean nothing are set
        ({"identity": "uzovi:50000", "serial": "0a"}, "UZOVI"),
        ({"identity": "agbcode:00000000", "serial": "0a"}, "none"),
        ({"identity": "bsn:123456782", "serial": "0a"}, "subject identifier"),
        ("uzovi:5000", "expected"),
    ],
)
def test_a_wrong_entry_is_named_by_its_number(entry: object, said: str) -> None:
    good = {"identity": "uzovi:5000", "serial": "0b"}
    assert IdentityTable.parse({"certificate": [good]})
    with pytest.raises(TableError, match=rf"certificate 2: .*{said}"):
        IdentityTable.parse({"certificate": [good, entry]})


def test_a_certificate_that_is_in_the_table_twice() -> None:
    with pytest.raises(TableError, match=r"certificate 2: .*already"):
        table({"serial": "0a", "identity": "uzovi:5000"}, {"serial": "00:0A", "identity": "uzovi:6000"})


@pytest.mark.parametrize("text", ["", "x = 1", "certificate = []", "certificate = 3", "[[certificate]", "\xff"])
def test_a_file_that_is_no_table(text: str, tmp_path: Path) -> None:
    file = tmp_path / "table.toml"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(TableError):
        IdentityTable.load(file)
    file.write_text('[[certificate]]\nidentity = "uzovi:5000"\nserial = "0a"\n')
    assert IdentityTable.load(file).by_serial
    with pytest.raises(TableError, match="read"):
        IdentityTable.load(tmp_path / "absent.toml")


def test_a_long_list_of_mistakes_is_cut_short() -> None:
    with pytest.raises(TableError, match="and 980 more"):
        IdentityTable.parse({"certificate": [{}] * 1000})
