"""The CRLs that the agent holds, as files: what it starts from while nothing can be fetched, and what Envoy reads.

A CRL is verified by `pki.validation.crl_store.CrlStore`, when it comes in and again when it is read back. The folder
follows what the store holds; a file that could not be read at the start is left where it is.
"""

import contextlib
import threading
from pathlib import Path
from typing import Final

import structlog

from authz.domain.clock import Clock
from authz.domain.errors import Refused
from pki.validation.crl_store import CrlStore
from trust_agent.material import Kept, MaterialFile, MaterialRefused, make_private_folder

_LOG: Final = structlog.get_logger(__name__)


class KeptCrls:
    """Takes CRLs in and keeps them.

    Args:
        folder: of the files, one `*.crl` each.
        crls: verifies and holds them.
        clock: the time.
    """

    def __init__(self, folder: Path, crls: CrlStore, clock: Clock) -> None:
        self.folder = folder
        self._crls = crls
        self._clock = clock
        self._taking = threading.Lock()
        self._unread: set[str] = set()

    def load(self) -> list[str]:
        """Take in what was kept, verified as if it came in now; returns the names of the files that were taken."""
        loaded = []
        for path in sorted(self.folder.glob("*.crl")):
            try:
                self._crls.put(path.read_bytes())
            except OSError as error:
                # What cannot be read now may be readable at the next start: it is all there is while authz is away.
                _LOG.error("kept_crl_not_read", file=path.name, why=error.strerror)
                self._unread.add(path.name)
            except Refused as error:
                _LOG.warning("kept_crl_refused", file=path.name, why=str(error))
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
            else:
                loaded.append(path.name)
        return loaded

    def take(self, content: bytes) -> bool:
        """Take one in; may be called from threads.

        Returns:
            Whether it is newer than what was held.

        Raises:
            MaterialRefused: not a CRL of a CA that is known here.
        """
        try:
            taken = self._crls.put(content)
        except Refused as refusal:
            raise MaterialRefused(refusal.detail) from None
        if taken:
            with self._taking:  # the files are made to be what is held at one moment
                self._keep()
        return taken

    def _keep(self) -> None:
        make_private_folder(self.folder)
        names = set()
        for crl in self._crls.held():
            name = crl.file_name
            names.add(name)
            file = MaterialFile(self.folder / name)
            kept = file.read()
            if kept is None or kept.content != crl.der:
                try:
                    file.write(Kept(crl.der, self._clock.now(), ""))
                except OSError as error:
                    _LOG.error("material_not_kept", material=name, why=error.strerror)
        for path in self.folder.glob("*.crl"):
            if path.name not in names | self._unread:
                path.unlink(missing_ok=True)
