"""OCSP answers as files that somebody else fetches ahead of time, as web servers read a stapling file.

    openssl ocsp -no_nonce -issuer issuing.pem -cert party.pem -url http://ocsp.example -respout answers/party.ocsp

Every `*.ocsp` file in the folder is one DER response. New and changed files are taken in within seconds, each verified
by `OcspStore`; one that does not verify is logged and left alone. A folder that becomes unreadable changes nothing:
what is known grows old, and then refuses.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

import structlog

from authz.domain.errors import Refused
from pki.ocsp_store import MAX_OCSP_BYTES, OcspStore

EVERY: Final = 2.0
"""Seconds between two looks into the folder."""
MAX_FILES: Final = 100_000

_LOG: Final = structlog.get_logger(__name__)


class OcspFolder:
    """Keeps a store equal to a folder; as a context manager, also while it goes on.

    Args:
        folder: where the files are.
        issuers: DER certificates of the CAs whose answers are accepted.
    """

    def __init__(self, folder: Path, issuers: Sequence[bytes]) -> None:
        self._folder = folder
        self.store = OcspStore(issuers)
        self._seen: dict[str, tuple[int, int]] = {}
        self._task: asyncio.Task[None] | None = None

    def refresh(self) -> int:
        """Take in what is new.

        Returns:
            How many answers were taken.
        """
        return self._take(self._changed())

    async def __aenter__(self) -> Self:
        self.refresh()
        self._task = asyncio.create_task(self._run(), name="ocsp")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            # Files are read beside the event loop; the store changes in it, where decisions read it.
            self._take(await asyncio.to_thread(self._changed))

    def _changed(self) -> list[tuple[str, bytes]]:
        changed = []
        try:
            for path in sorted(self._folder.glob("*.ocsp"))[:MAX_FILES]:
                stat = path.stat()
                mark = (stat.st_mtime_ns, stat.st_size)
                if self._seen.get(path.name) != mark:
                    with path.open("rb") as file:
                        changed.append((path.name, file.read(MAX_OCSP_BYTES + 1)))
                    self._seen[path.name] = mark
        except OSError as error:
            _LOG.warning("ocsp_folder_unreadable", why=error.strerror)
        return changed

    def _take(self, files: Sequence[tuple[str, bytes]]) -> int:
        taken = 0
        for name, der in files:
            try:
                taken += self.store.put(der)
            except Refused as refusal:
                _LOG.warning("ocsp_answer_refused", file=name, why=refusal.detail)
        return taken
