"""Documents that many readers keep a copy of: entity tags, "not modified", and long polls.

Specification: RFC 9110 section 13 (If-None-Match), RFC 7240 (Prefer: wait); shared `spec/policy.md`, "Bundles" (OPA
long polling: `Prefer: modes=snapshot;wait=N`).
"""

import asyncio
import re
from dataclasses import dataclass
from typing import Final, Protocol

MAX_WAIT: Final = 60.0
"""Seconds. A reader that asks for more waits this long; Envoy's route timeout is above it."""

_WAIT: Final = re.compile(r"(?:^|[;,\s])wait=([0-9]{1,5})(?:$|[;,\s])")


class State(Protocol):
    """One state of a document."""

    @property
    def body(self) -> bytes:
        """What is sent."""
        ...

    @property
    def etag(self) -> str:
        """Quoted, strong, and another one whenever the body is another."""
        ...


@dataclass(frozen=True, slots=True)
class Document:
    """A `State` as a plain value."""

    body: bytes
    etag: str


class Publication(Protocol):
    """A document that changes now and then."""

    def current(self) -> State:
        """The state of this moment."""
        ...

    async def newer_than(self, etag: str, wait: float) -> State | None:
        """A state with another tag, waiting at most so many seconds for it; None when there was none."""
        ...

    def wake(self) -> None:
        """Let everyone who waits look again."""
        ...


class Published:
    """A publication that is told its changes.

    Args:
        document: the first state.
    """

    def __init__(self, document: Document) -> None:
        self._document = document
        self._changed = asyncio.Event()

    def current(self) -> Document:
        """The state of this moment."""
        return self._document

    def publish(self, document: Document) -> None:
        """Replace the document and wake every reader that waits."""
        self._document = document
        self.wake()

    def wake(self) -> None:
        """Let everyone who waits look again, also when nothing changed (so that a stopping server ends quickly)."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def newer_than(self, etag: str, wait: float) -> Document | None:
        """See `Publication.newer_than`."""
        if self._document.etag == etag and wait > 0:
            changed = self._changed
            try:
                async with asyncio.timeout(wait):
                    await changed.wait()
            except TimeoutError:
                return None
        return None if self._document.etag == etag else self._document


def wait_of(prefer: str | None) -> float:
    """Seconds that a reader is willing to wait, at most `MAX_WAIT`; 0 when it did not say."""
    match = _WAIT.search(prefer or "")
    return min(float(match[1]), MAX_WAIT) if match else 0.0


def matching(if_none_match: str | None, etag: str) -> bool:
    """Whether the reader has this state (RFC 9110 section 13.1.2, weak comparison)."""
    tags = (tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(","))
    return any(tag in {etag, "*"} for tag in tags)
