"""What keeps the CA from its work, for `/health` and whoever watches it: stable codes, nothing about anybody."""

from collections.abc import Mapping
from typing import Final

from authz.edge.background import Loop
from pki.http.published import Published
from pki.revocation.feed import CertificateFeed

SILENT: Final = 60.0
"""Seconds without success after which a loop that runs each second, or ten times in one, counts as stopped."""


class Health:
    """Asks every part.

    Args:
        published: what readers need.
        loops: work that may not be postponed for ever, by how many seconds it may be silent.
        feed: of lately revoked certificates, where one is given out.
    """

    def __init__(self, published: Published, loops: Mapping[Loop, float], feed: CertificateFeed | None = None) -> None:
        self._published = published
        self._feed = feed
        self._loops = {published.watching: SILENT, **loops}

    async def problems(self) -> list[str]:
        """Codes of what is wrong; empty when all is well."""
        # Before the register is looked at: what is told meanwhile may be newer than that look.
        told = self._feed.told if self._feed is not None else 0
        found = await self._published.problems()
        if told > self._published.version:
            found.append("register_went_back")
        stopped = [f"{loop.name}_stopped" for loop, seconds in self._loops.items() if loop.silent_for > seconds]
        return [*found, *stopped]
