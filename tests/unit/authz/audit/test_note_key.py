"""The key file: encrypted, private, made once."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from authz.audit.note import SignedNote, sign_note
from authz.audit.note_key import FileNoteSigner, NoteKeyError

PASSPHRASE = b"correct horse battery"


def test_a_key_opens_with_its_passphrase_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "note.key"
    made = FileNoteSigner.create("log", path, PASSPHRASE)
    opened = FileNoteSigner.load("log", path, PASSPHRASE)
    assert SignedNote.parse(sign_note("text\n", opened)).verified_text(made.verifier) == "text\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert b"ENCRYPTED" in path.read_bytes()
    with pytest.raises(NoteKeyError, match="wrong passphrase"):
        FileNoteSigner.load("log", path, b"wrong horse battery")


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "note.key"
    FileNoteSigner.create("log", path, PASSPHRASE)
    before = path.read_bytes()
    with pytest.raises(NoteKeyError):
        FileNoteSigner.create("log", path, PASSPHRASE)
    assert path.read_bytes() == before


def test_a_short_passphrase_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoteKeyError, match="passphrase"):
        FileNoteSigner.create("log", tmp_path / "note.key", b"short")
    assert not (tmp_path / "note.key").exists()


def test_an_unencrypted_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "note.key"
    path.write_bytes(
        Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    with pytest.raises(NoteKeyError, match="not encrypted"):
        FileNoteSigner.load("log", path, PASSPHRASE)


def test_another_kind_of_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "note.key"
    path.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(PASSPHRASE),
        )
    )
    with pytest.raises(NoteKeyError, match="Ed25519"):
        FileNoteSigner.load("log", path, PASSPHRASE)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(NoteKeyError, match=r"note\.key"):
        FileNoteSigner.load("log", tmp_path / "note.key", PASSPHRASE)
