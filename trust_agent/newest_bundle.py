"""Which bundle was the newest one taken, so that none of before is taken after it, whoever offers it.

Specification: shared `spec/policy.md`, "Bundles"; docs/decisions/0055. A signature says who made a bundle, not that it
is the latest: authz, restored from an old release, or somebody in its place with an old bundle, could bring back rules
that were withdrawn. The serial number of the manifest orders what one authz publishes. It is kept apart from the bundle
itself: when the kept bundle cannot be used any more, how far the numbers were is still known.
"""

from pathlib import Path
from typing import Final

import msgspec
import structlog

from authz.policy.bundle import BundleRefused, VerifiedBundle
from trust_agent.material import write_durably

_LOG: Final = structlog.get_logger(__name__)


class _Newest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    serial: int
    content: str


class NewestBundle:
    """Remembers the highest serial number, over restarts.

    Args:
        path: of the file that remembers.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = self._read()

    def require_not_older(self, bundle: VerifiedBundle) -> None:
        """Refuse what was published before the newest that was taken. Does not check anything else.

        Raises:
            BundleRefused: no serial number, a lower one, or the same one over other content.
        """
        if bundle.serial is None:
            raise BundleRefused("the bundle has no serial number")
        known = self._known
        if known is None:
            return
        if bundle.serial < known.serial:
            raise BundleRefused("the bundle is older than one that was in use here")
        if bundle.serial == known.serial and bundle.content != known.content:
            raise BundleRefused("the bundle has the serial number of another")

    def note(self, bundle: VerifiedBundle) -> None:
        """Remember a bundle that is taken.

        Raises:
            OSError: it counts until the next restart, and is not on disk.
        """
        if bundle.serial is None or (self._known is not None and bundle.serial <= self._known.serial):
            return
        self._known = _Newest(bundle.serial, bundle.content)
        write_durably(self._path, msgspec.json.encode(self._known))

    def _read(self) -> _Newest | None:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_Newest)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            # The kept bundle, which is read next, brings its own number back.
            _LOG.warning("newest_bundle_unknown", why=type(error).__name__)
            return None
