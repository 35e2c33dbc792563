"""OCSP answers as files: those that `pki.validation.ocsp_following` fetched, and those that another program puts there.

    openssl ocsp -no_nonce -issuer issuing.pem -cert party.pem -url http://ocsp.example -respout answers/party.ocsp

Every `*.ocsp` file in the folder is one DER response, as web servers read a stapling file. New and changed files are
taken in within seconds, each verified by `OcspStore`; one that does not verify is logged and left alone. A folder that
becomes unreadable changes nothing: what is known grows old, and then refuses.
"""

import asyncio
import contextlib
import re
import stat
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Self

import structlog

from authz.domain.errors import Refused
from authz.domain.files import read_limited, write_whole
from authz.domain.reasons import Reason
from authz.edge.background import Loop
from pki.validation.ocsp_store import MAX_OCSP_BYTES, OcspStore

EVERY: Final = 2.0
"""Seconds between two looks into the folder."""
MAX_FILES: Final = 100_000

_KEY_DIGITS: Final = 16
_NAME: Final = re.compile(rf"([0-9a-f]{{{_KEY_DIGITS}}})-([0-9a-f]{{1,40}})\.ocsp")
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

    async def keep(self, der: bytes, named: tuple[str, int], at: datetime, skew: timedelta) -> bool:
        """Take in an answer that was fetched, and write it for the next start.

        Args:
            der: as received.
            named: the certificate that was asked about: hex SHA-256 of the key of its CA, and its serial number.
            at: this moment, UTC.
            skew: how far its `thisUpdate` may lie ahead.

        Returns:
            Whether it is newer than what was known.

        Raises:
            Refused: OCSP_INVALID: it does not verify, is about another certificate, is not of this moment, or is older
                than what is known.
        """
        answer = self.store.verify(der)
        if (answer.issuer_key, answer.serial_number) != named:
            raise _invalid("it is about another certificate than was asked about")
        if not answer.this_update - skew <= at <= answer.next_update:
            raise _invalid("it is not of this moment")
        held = self.store.about(*named)
        if held is not None and answer.this_update < held.this_update:
            raise _invalid("it is older than what is known")
        if not self.store.take(answer):
            return False
        try:
            await asyncio.to_thread(self._write, _name_of(named), der)
        except OSError as error:
            # What is in memory counts; only a restart would start without it.
            _LOG.error("ocsp_answer_not_kept", why=error.strerror)
        return True

    def kept(self, issuer_keys: Sequence[str]) -> list[tuple[str, int]]:
        """The certificates of these CAs about which `keep` wrote an answer, which is held now."""
        by_start = {key[:_KEY_DIGITS]: key for key in issuer_keys}
        found = []
        for name in self._seen:
            match = _NAME.fullmatch(name)
            if match is not None and match[1] in by_start:
                named = (by_start[match[1]], int(match[2], 16))
                if self.store.about(*named) is not None:
                    found.append(named)
        return found

    def forget(self, named: tuple[str, int]) -> None:
        """An answer is of no use any more, unless it says "revoked"."""
        if self.store.forget(*named):
            name = _name_of(named)
            self._seen.pop(name, None)
            with contextlib.suppress(OSError):
                (self._folder / name).unlink(missing_ok=True)

    def _write(self, name: str, der: bytes) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / name
        write_whole(path, der)
        written = path.stat()
        self._seen[name] = (written.st_mtime_ns, written.st_size)

    async def __aenter__(self) -> Self:
        self.refresh()
        self._task = asyncio.create_task(Loop("ocsp folder", self._look, EVERY).run(asyncio.Event()), name="ocsp")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _look(self) -> None:
        # Files are read beside the event loop; the store changes in it, where decisions read it.
        self._take(await asyncio.to_thread(self._changed))

    def _changed(self) -> list[tuple[str, bytes]]:
        changed = []
        try:
            paths = sorted(self._folder.glob("*.ocsp"))[:MAX_FILES]
        except OSError as error:
            _LOG.warning("ocsp_folder_unreadable", why=error.strerror)
            return []
        for path in paths:
            try:
                found = path.stat()
                mark = (found.st_mtime_ns, found.st_size)
                if not stat.S_ISREG(found.st_mode) or self._seen.get(path.name) == mark:
                    continue
                # One that cannot be read is told once, and holds up no other.
                self._seen[path.name] = mark
                changed.append((path.name, read_limited(path, MAX_OCSP_BYTES)))
            except OSError as error:
                _LOG.warning("ocsp_answer_unreadable", file=path.name, why=error.strerror)
        return changed

    def _take(self, files: Sequence[tuple[str, bytes]]) -> int:
        taken = 0
        for name, der in files:
            try:
                taken += self.store.put(der)
            except Refused as refusal:
                _LOG.warning("ocsp_answer_refused", file=name, why=refusal.detail)
        return taken


def _name_of(named: tuple[str, int]) -> str:
    issuer_key, serial_number = named
    return f"{issuer_key[:_KEY_DIGITS]}-{serial_number:x}.ocsp"


def _invalid(what: str) -> Refused:
    return Refused(Reason.OCSP_INVALID, f"The OCSP answer is refused: {what}.")
