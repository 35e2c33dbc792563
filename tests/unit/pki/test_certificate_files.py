"""What is no certificate file is refused by name, and which of several certificates is meant is never guessed."""

import os
from pathlib import Path

import pytest

from pki.certificate_files import MAX_FILE, CertificateFileError, pin_of, read_certificate, read_certificates
from tests.fakes.certificates import FakeAuthority

CA = FakeAuthority()
NAME = r"ca\.crt"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ca.crt"


@pytest.mark.parametrize("content", [CA.root.pem, CA.root.der, b"Subject: a root\n" + CA.root.pem])
def test_one_certificate_in_pem_or_der(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert read_certificate(path) == CA.root.der
    assert pin_of(path) == CA.root.spki_sha256


def test_of_several_it_is_not_guessed_which_is_meant(path: Path) -> None:
    path.write_bytes(CA.issuing.pem + CA.root.pem)
    assert read_certificates(path) == (CA.issuing.der, CA.root.der)
    for read in (read_certificate, pin_of):
        with pytest.raises(CertificateFileError, match="found 2"):
            read(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"-----BEGIN CERTIFICATE-----\n",
        CA.root.der[:-1],
        CA.root.pem.replace(b"MII", b"MIJ", 1),
        CA.root.key_pem,
        CA.root.pem * (MAX_FILE // len(CA.root.pem) + 1),
    ],
)
def test_what_is_no_certificate_file_is_refused_by_name(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(CertificateFileError, match=NAME):
        read_certificates(path)


def test_what_cannot_be_read_is_refused_by_name(path: Path) -> None:
    with pytest.raises(CertificateFileError, match=NAME):
        read_certificates(path)
    os.mkfifo(path)  # nobody ever writes to it
    with pytest.raises(CertificateFileError, match=NAME):
        read_certificates(path)
