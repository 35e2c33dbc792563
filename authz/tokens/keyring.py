"""The signing keys of one instance: key files on disk, their records in the database, the JWKS for readers.

Specification: shared `spec/authorization.md`, "Key rotation". Another process may rotate (the command line, another
instance): `refresh` is called when the version of the records has changed.
"""

import hashlib
import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from authz.domain.errors import SluisError
from authz.tokens.issuer import ACCESS_TOKEN_TYPE, CompactSigner
from authz.tokens.keys import Es256Signer, Signer, read_key
from authz.tokens.rotation import KeySchedule, SigningKeyRecord, SigningKeyRepository

_KID = re.compile(r"[A-Za-z0-9_-]{43}")


class NoSigningKey(SluisError):  # noqa: N818  says what is so
    """There is no key that signs at this moment; `authz keys init` makes one."""


def token_key_path(folder: Path, kid: str) -> Path:
    """Where the key file of a token key stands."""
    if not _KID.fullmatch(kid):
        # The kid comes from our own database, but it becomes a file name: check it where that happens.
        raise NoSigningKey("a signing key record has a malformed kid")
    return folder / f"token-{kid}.pem"


class KeyRing:
    """Signs with the key whose turn it is, and publishes what readers need.

    Args:
        repository: the records of token keys.
        folder: where the key files are.
        passphrase: of the key files.
        overlap: how long a retired key stays published.
        others: further signers (the feed key) that stand in the JWKS all the time.
    """

    def __init__(
        self,
        repository: SigningKeyRepository,
        folder: Path,
        passphrase: bytes,
        overlap: timedelta,
        others: Iterable[Signer] = (),
    ) -> None:
        self._repository = repository
        self._folder = folder
        self._passphrase = passphrase
        self._overlap = overlap
        self._others = tuple(others)
        self._schedule = KeySchedule((), overlap)
        self._signers: dict[str, CompactSigner] = {}
        self.version = -1

    async def refresh(self) -> None:
        """Read the records, and the files of keys that are new.

        Raises:
            KeyFileError: a key that signs now or later has no readable file; the keys of before stay in use.
        """
        version, records = await self._repository.load()
        signers = {record.kid: self._signers.get(record.kid) or self._open(record) for record in records}
        self._schedule, self._signers, self.version = KeySchedule(records, self._overlap), signers, version

    def current(self, at: datetime) -> CompactSigner:
        """The signer whose turn it is.

        Raises:
            NoSigningKey: none signs yet.
        """
        record = self._schedule.signing(at)
        if record is None:
            raise NoSigningKey("no token key signs yet: run `authz keys init`")
        return self._signers[record.kid]

    def jwks(self, at: datetime) -> tuple[bytes, str]:
        """The JWK Set of this moment (RFC 7517 section 5), and its entity tag."""
        keys = [dict(record.public_jwk) for record in self._schedule.published(at)]
        keys += [dict(signer.public_jwk) for signer in self._others]
        body = msgspec.json.encode({"keys": keys})
        return body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'

    def _open(self, record: SigningKeyRecord) -> CompactSigner:
        signer = Es256Signer(read_key(token_key_path(self._folder, record.kid), self._passphrase))
        if signer.kid != record.kid:
            raise NoSigningKey("a token key file does not hold the key that its record names")
        return CompactSigner(signer, ACCESS_TOKEN_TYPE)
