"""The Ed25519 key that signs checkpoints, in an encrypted file.

PKCS#8 in PEM, encrypted with a passphrase (PBES2). The file is made once, never overwritten, and readable by its owner
only.
"""

from pathlib import Path
from typing import Final, Self

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from authz.audit.note import VerifierKey
from authz.domain.errors import SluisError
from authz.domain.files import write_new

MIN_PASSPHRASE_BYTES: Final = 12
"""Shorter passphrases are refused when a key is made."""


class NoteKeyError(SluisError):
    """The key file cannot be made or opened. The text names the file, never the passphrase."""


class FileNoteSigner:
    """Implements `authz.audit.note.NoteSigner`.

    Args:
        name: origin of the log.
        key: the private key.
    """

    def __init__(self, name: str, key: Ed25519PrivateKey) -> None:
        self._key = key
        self._verifier = VerifierKey(name, key.public_key().public_bytes_raw())

    @property
    def verifier(self) -> VerifierKey:
        """The public half, with the name under which it signs."""
        return self._verifier

    def sign(self, text: bytes) -> bytes:
        """An Ed25519 signature over the text."""
        return self._key.sign(text)

    @classmethod
    def create(cls, name: str, path: Path, passphrase: bytes) -> Self:
        """Make a key and its file.

        Raises:
            NoteKeyError: the file exists already or cannot be written, or the passphrase is too short.
        """
        if len(passphrase) < MIN_PASSPHRASE_BYTES:
            raise NoteKeyError(f"the passphrase for {path.name} has fewer than {MIN_PASSPHRASE_BYTES} bytes")
        key = Ed25519PrivateKey.generate()
        data = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(passphrase),
        )
        try:
            write_new(path, data)
        except OSError as error:
            raise NoteKeyError(f"the key file {path.name} cannot be made: {error.strerror}") from error
        return cls(name, key)

    @classmethod
    def load(cls, name: str, path: Path, passphrase: bytes) -> Self:
        """Open a key file.

        Raises:
            NoteKeyError: no such file, a wrong passphrase, not encrypted, or not an Ed25519 key.
        """
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), passphrase)
        except OSError as error:
            raise NoteKeyError(f"the key file {path.name} cannot be read: {error.strerror}") from error
        except (ValueError, TypeError) as error:
            raise NoteKeyError(f"the key file {path.name} does not open: wrong passphrase, or not encrypted") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise NoteKeyError(f"the key file {path.name} holds another kind of key than Ed25519")
        return cls(name, key)
