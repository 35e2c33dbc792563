"""The signing keys of one instance: key files on disk, their records in the database, the JWKS for readers.

Specification: shared `spec/authorization.md`, "Key rotation". Another process may rotate (the command line, another
instance): `refresh` is called when the version of the records has changed.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from authz.domain.claims import JWK_PURPOSE
from authz.domain.errors import SluisError
from authz.tokens.changes import Changed
from authz.tokens.issuer import ACCESS_TOKEN_TYPE, CompactSigner
from authz.tokens.keyfiles import KeyFiles
from authz.tokens.keys import Signer
from authz.tokens.rotation import KeySchedule, KeyState, SigningKeyRepository


class NoSigningKey(SluisError):  # noqa: N818  says what is so
    """There is no key that signs at this moment; `authz keys init` makes one."""


class KeyRing:
    """Signs with the key whose turn it is, and publishes what readers need.

    Args:
        repository: the records of token keys.
        files: the keys themselves.
        overlap: how long a retired key stays published.
        others: further signers (the feed key) that stand in the JWKS all the time, by the `typ` of what they sign.
    """

    def __init__(
        self,
        repository: SigningKeyRepository,
        files: KeyFiles,
        overlap: timedelta,
        others: Mapping[str, Signer] | None = None,
    ) -> None:
        self._repository = repository
        self._files = files
        self._overlap = overlap
        self._others = dict(others or {})
        self._schedule = KeySchedule((), overlap)
        self._signers: dict[str, CompactSigner] = {}
        self.changed = Changed()
        self.version = -1

    async def refresh(self, at: datetime) -> None:
        """Read the records, and the files of keys that are new and not yet retired.

        Raises:
            KeyFileError: a key that signs now or later has no readable file; the keys of before stay in use.
        """
        version, records = await self._repository.load()
        schedule = KeySchedule(records, self._overlap)
        needed = (record.kid for record in records if schedule.state(record.kid, at) in _SIGNS_NOW_OR_LATER)
        signers = {kid: self._signers.get(kid) or self._open(kid) for kid in needed}
        self._schedule, self._signers, self.version = schedule, signers, version
        self.changed.wake()

    def signs(self, at: datetime) -> bool:
        """Whether there is a key that signs at this moment."""
        record = self._schedule.signing(at)
        return record is not None and record.kid in self._signers

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
        """The JWK Set of this moment (RFC 7517 section 5), each key with what it signs, and its entity tag."""
        keys = [{**record.public_jwk, JWK_PURPOSE: ACCESS_TOKEN_TYPE} for record in self._schedule.published(at)]
        keys += [{**signer.public_jwk, JWK_PURPOSE: typ} for typ, signer in self._others.items()]
        body = msgspec.json.encode({"keys": keys})
        return body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'

    def _open(self, kid: str) -> CompactSigner:
        return CompactSigner(self._files.token_signer(kid), ACCESS_TOKEN_TYPE)


_SIGNS_NOW_OR_LATER = frozenset({KeyState.PREPUBLISH, KeyState.SIGNING})
