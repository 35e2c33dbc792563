"""Documents that many readers keep a copy of: entity tags, "not modified", and long polls.

Specification: RFC 9110 section 13 (If-None-Match), RFC 7240 (Prefer: wait); shared `spec/policy.md`, "Bundles" (OPA
long polling: `Prefer: modes=snapshot;wait=N`).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from authz.tokens.changes import Changed

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


class Publication:
    """A document that changes now and then.

    Args:
        current: gives the state of this moment.
        changed: says when to look again.
    """

    def __init__(self, current: Callable[[], State], changed: Changed) -> None:
        self.current = current
        self._changed = changed

    def wake(self) -> None:
        """Let everyone who waits look again, also when nothing changed (so that a stopping server ends quickly)."""
        self._changed.wake()

    async def newer_than(self, etag: str, wait: float) -> State | None:
        """A state with another tag, waiting at most so many seconds for it; None when there was none."""
        if wait > 0:
            await self._changed.wait(wait)
        state = self.current()
        return None if state.etag == etag else state


def wait_of(prefer: str | None) -> float:
    """Seconds that a reader is willing to wait, at most `MAX_WAIT`; 0 when it did not say."""
    match = _WAIT.search(prefer or "")
    return min(float(match[1]), MAX_WAIT) if match else 0.0


def matching(if_none_match: str | None, etag: str) -> bool:
    """Whether the reader has this state (RFC 9110 section 13.1.2, weak comparison)."""
    tags = (tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(","))
    return any(tag in {etag, "*"} for tag in tags)
