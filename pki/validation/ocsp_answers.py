"""Everything about OCSP that a validating point has, made from its settings: the folder, the store and who fetches.

One place for authz and for a trust agent, so that both mean the same by the same settings.
"""

import contextlib
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Self

from authz.domain.clock import Clock
from pki.validation.ocsp_folder import OcspFolder
from pki.validation.ocsp_following import OcspFollower
from pki.validation.ocsp_source import OcspSource
from pki.validation.ocsp_store import OcspStore
from pki.validation.settings import PinnedIssuerSettings


class OcspAnswers:
    """The answers of one place; fetched and read in while the `async with` block runs.

    Args:
        folder: with the answers.
        sources: the CAs whose responders are asked, if any.
        clock: the time.
    """

    def __init__(self, folder: OcspFolder, sources: Sequence[OcspSource], clock: Clock) -> None:
        self.folder = folder
        self.follower = OcspFollower(sources, folder, clock) if sources else None
        self._stack = contextlib.AsyncExitStack()

    @property
    def store(self) -> OcspStore:
        """What decides."""
        return self.folder.store

    def saw(self, issuer_key: str, serial_number: int) -> None:
        """For `CertificateValidator(saw=...)`."""
        if self.follower is not None:
            self.follower.saw(issuer_key, serial_number)

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.folder)
        if self.follower is not None:
            await self._stack.enter_async_context(self.follower)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()


def make_answers(
    issuers: Sequence[tuple[PinnedIssuerSettings, bytes]],
    authorities: Sequence[bytes],
    *,
    folder: Path | None,
    own_folder: Path,
    clock: Clock,
    max_age: timedelta,
) -> OcspAnswers | None:
    """The answers that the settings ask for; None when they ask for none.

    Args:
        issuers: the issuing CAs, each with its certificate (DER).
        authorities: DER certificates of every CA whose answers are accepted.
        folder: that another program fills as well, if there is one.
        own_folder: where fetched answers are kept otherwise.
        clock: the time.
        max_age: how old an answer may be, where an issuer has no limit of its own.
    """
    sources = [
        OcspSource(item.ocsp_url, der, max_age if item.max_crl_age is None else timedelta(seconds=item.max_crl_age))
        for item, der in issuers
        if item.ocsp_url is not None
    ]
    if folder is None and not sources:
        return None
    return OcspAnswers(OcspFolder(folder or own_folder, authorities), sources, clock)
