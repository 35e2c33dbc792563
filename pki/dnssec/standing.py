"""Outcomes remembered for as long as they may be relied on.

Specification: shared `spec/dnssec.md` ("before a token is issued for an audience (cached by TTL)"). A secure outcome
lives until its smallest TTL or its first signature ends; any other lives briefly, so that a repaired zone passes
soon. Never serves an outcome past its time: when a fresh check fails, that failure is the standing.
"""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pki.dnssec.model import DnssecResult

MAX_NAMES = 4096
"""Names remembered; the network has some thousands of endpoints."""
MAX_CHARACTERS = 16 * 1024 * 1024
"""Text of all outcomes remembered; a common one has about a thousand characters, a zone can make one of 100,000."""


class Validator(Protocol):
    """What computes an outcome; `ChainValidator` is the one."""

    async def check(self, name: str, at: datetime, rdtype: str = "A") -> DnssecResult:
        """The outcome for a name at a moment."""
        ...


@dataclass(frozen=True, slots=True)
class _Remembered:
    since: datetime
    result: DnssecResult

    @property
    def characters(self) -> int:
        """How much text the outcome has."""
        links = sum(len(link.name) + len(link.detail) + len(link.zone) for link in self.result.chain)
        return links + sum(map(len, self.result.records)) + len(self.result.message)


class CachedStanding:
    """DNSSEC standing of names, cached and bounded; concurrent checks of one name share one run of queries.

    Args:
        validator: computes outcomes.
        max_names: outcomes kept; the least recently used goes first.
        max_characters: text of all of them; the same.
    """

    def __init__(
        self, validator: Validator, *, max_names: int = MAX_NAMES, max_characters: int = MAX_CHARACTERS
    ) -> None:
        self._validator = validator
        self._max_names = max_names
        self._max_characters = max_characters
        self._characters = 0
        self._known: OrderedDict[tuple[str, str], _Remembered] = OrderedDict()
        self._running: dict[tuple[str, str], asyncio.Task[DnssecResult]] = {}

    async def check(self, name: str, at: datetime, rdtype: str = "A") -> DnssecResult:
        """The standing of a name, from memory when it still holds at `at`.

        Args:
            name: a host or domain name.
            at: the moment of the decision. A moment before the remembered check asks anew.
            rdtype: the record type that must be secure.
        """
        if not name.isascii() or not rdtype.isascii():
            # Lower case of other letters can be a letter of ASCII: such a name is never looked up as another.
            return await self._validator.check(name, at, rdtype)
        key = (name.lower().removesuffix("."), rdtype.upper())
        known = self._known.get(key)
        if known is not None and known.since <= at < known.result.valid_until:
            self._known.move_to_end(key)
            return known.result
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(self._validator.check(name, at, rdtype), name="dnssec check")
            self._running[key] = task
            task.add_done_callback(lambda done: self._finish(key, at, done))
        # One caller that gives up must not take the answer away from the others.
        return await asyncio.shield(task)

    def forget(self, name: str | None = None) -> None:
        """Drop what is known of one name (all its types), or everything."""
        if name is None:
            self._known.clear()
            self._characters = 0
            return
        wanted = name.lower().removesuffix(".")
        for key in [key for key in self._known if key[0] == wanted]:
            self._drop(key)

    def _finish(self, key: tuple[str, str], since: datetime, task: asyncio.Task[DnssecResult]) -> None:
        self._running.pop(key, None)
        if task.cancelled() or task.exception() is not None:
            return
        self._drop(key)
        self._known[key] = _Remembered(since, task.result())
        self._characters += self._known[key].characters
        while len(self._known) > self._max_names or (self._known and self._characters > self._max_characters):
            self._drop(next(iter(self._known)))

    def _drop(self, key: tuple[str, str]) -> None:
        dropped = self._known.pop(key, None)
        if dropped is not None:
            self._characters -= dropped.characters
