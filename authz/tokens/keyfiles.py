"""The folder with this server's encrypted key files.

    token-<kid>.pem   signs access tokens; several during a rotation
    feed.pem          signs the revocation feed; stands in the JWKS beside the token keys
    bundle.pem        signs policy bundles; agents hold its public key, bundle.pub.pem
    checkpoint.pem    signs the audit log (Ed25519, `authz.audit.note_key`)

Each purpose has its own key, so that one can be replaced, or taken offline, without the others.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from authz.domain.files import PUBLIC, write_whole
from authz.tokens.keys import Es256Signer, KeyFileError, Signer, jwk_of, read_key, read_passphrase, write_key

_KID: Final = re.compile(r"[A-Za-z0-9_-]{43}")
FEED: Final = "feed.pem"
BUNDLE: Final = "bundle.pem"
BUNDLE_PUBLIC: Final = "bundle.pub.pem"
CHECKPOINT: Final = "checkpoint.pem"


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """An opened folder.

    Attributes:
        folder: where the files are.
        passphrase: of every private key in it.
        feed: signs the revocation feed.
        bundle: signs policy bundles.
    """

    folder: Path
    passphrase: bytes
    feed: Signer
    bundle: Signer

    @classmethod
    def open(cls, folder: Path, passphrase_file: Path) -> Self:
        """Read the keys that are always needed.

        Raises:
            KeyFileError: a file is missing or cannot be decrypted.
        """
        passphrase = read_passphrase(passphrase_file)
        feed = Es256Signer(read_key(folder / FEED, passphrase))
        return cls(folder, passphrase, feed, Es256Signer(read_key(folder / BUNDLE, passphrase)))

    @classmethod
    def create(
        cls, folder: Path, passphrase_file: Path, create_checkpoint_key: Callable[[Path, bytes], object]
    ) -> Self:
        """Make the feed, bundle and checkpoint keys. A file that is there already is kept.

        Args:
            folder: made when it is not there, for its owner only.
            passphrase_file: must exist.
            create_checkpoint_key: makes the checkpoint key at a path, under a passphrase.

        Raises:
            KeyFileError: the folder or a file cannot be written, or an existing file cannot be decrypted.
        """
        passphrase = read_passphrase(passphrase_file)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise KeyFileError(f"{folder}: the key folder cannot be made ({error.strerror})") from None
        for name in (FEED, BUNDLE):
            if not (folder / name).exists():
                write_key(folder / name, ec.generate_private_key(ec.SECP256R1()), passphrase)
        if not (folder / CHECKPOINT).exists():
            create_checkpoint_key(folder / CHECKPOINT, passphrase)
        public = read_key(folder / BUNDLE, passphrase).public_key()
        write_whole(
            folder / BUNDLE_PUBLIC, public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), PUBLIC
        )
        return cls.open(folder, passphrase_file)

    @property
    def checkpoint_path(self) -> Path:
        """File of the key that signs the audit log."""
        return self.folder / CHECKPOINT

    @property
    def bundle_public_path(self) -> Path:
        """Public key that agents verify bundles with."""
        return self.folder / BUNDLE_PUBLIC

    def token_signer(self, kid: str) -> Signer:
        """The signer of one token key.

        Raises:
            KeyFileError: no such file, or it holds another key.
        """
        signer = Es256Signer(read_key(self._token_path(kid), self.passphrase))
        if signer.kid != kid:
            raise KeyFileError("a token key file does not hold the key that it is named after")
        return signer

    def create_token_key(self) -> Signer:
        """Make a new token key and its file.

        Its key id never begins with a hyphen, which command lines take for an option; one key in 64 is made again.

        Raises:
            KeyFileError: the file cannot be written.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        while jwk_of(key.public_key())["kid"].startswith("-"):
            key = ec.generate_private_key(ec.SECP256R1())
        write_key(self._token_path(jwk_of(key.public_key())["kid"]), key, self.passphrase)
        return Es256Signer(key)

    def _token_path(self, kid: str) -> Path:
        # The kid comes from our own database, but it becomes a file name: checked where that happens.
        if not _KID.fullmatch(kid):
            raise KeyFileError("a signing key record has a malformed kid")
        return self.folder / f"token-{kid}.pem"
