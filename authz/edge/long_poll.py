"""Following one document on somebody else's server: fetched whole, and again as soon as there is a newer one.

Specification: RFC 9110 section 13 (`If-None-Match`), RFC 7240 section 4.3 (`Prefer: wait`). CRLs and feeds come over
plain HTTP, from whoever answers; those of authz come over mutual TLS, from a server that may not be well. So every
answer is bounded in size and time, none is unpacked (a kilobyte may say it is a gigabyte), no redirect is followed, and
nothing that an answer holds or causes ends the following. What a document is worth, its taker decides.

Documents are signed, their tags are not: an old list under the tag of the newest would make every later honest answer
"not modified". So a tag is believed of a document that was new, or that came under the same tag twice in a row; and
where anybody on the path can answer, for `TAG_LIFE` only.
"""

import asyncio
import hashlib
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from authz.domain.errors import SluisError
from authz.edge.background import Trouble
from authz.edge.entity_tag import usable_tag

WAIT: Final = 30
"""Seconds that a source is asked to hold its answer for something new."""
TIMEOUT: Final = 10.0
"""Seconds beyond that for connecting, and between two pieces of an answer."""
WHOLE: Final = 60.0
"""Seconds beyond `WAIT` for a whole answer: who sends one byte every few seconds is given up."""
TAG_LIFE: Final = 300.0
"""Seconds after which a document that came over plain HTTP is asked for as a whole, whatever its tag."""
_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 5.0
_AFTER_NEW: Final = 0.05
_AFTER_NOTHING: Final = 0.5
"""Seconds between two questions to a source that does not wait; a revocation has two to reach everybody."""


class SourceRefused(SluisError):  # noqa: N818  names what happened, like `Refused`
    """The source answered with something that is not taken in."""


@dataclass(frozen=True, slots=True)
class Source:
    """One document, where it is and what it is for.

    Attributes:
        name: for the log and metrics.
        url: from the settings, never from an answer.
        accept: media types.
        max_bytes: a longer document is given up while it arrives.
        take: verifies the content and keeps it with its entity tag; tells whether it is another than was held. What it
            raises is a failure of the source.
        confirm: called when the source says that what was taken last is current.
        client: gives the HTTP client for the next request.
        prefer: further preferences, before `wait`.
        wait: seconds of a long poll.
        timeout: see `TIMEOUT`.
        extensions: of httpx, such as `sni_hostname`.
    """

    name: str
    url: str
    accept: str
    max_bytes: int
    take: Callable[[bytes, str | None], Awaitable[bool]]
    client: Callable[[], httpx.AsyncClient]
    confirm: Callable[[], None] = lambda: None
    prefer: str = ""
    wait: int = WAIT
    timeout: float = TIMEOUT
    extensions: Mapping[str, Any] = field(default_factory=dict)


class LongPoll:
    """Follows one source.

    Args:
        source: what is followed.
        etag: of what was taken before a restart.
    """

    def __init__(self, source: Source, etag: str | None = None) -> None:
        self._source = source
        self.etag = etag
        """What is asked with the next time; None asks for the whole document, at once."""
        self.trouble = Trouble(source.name)
        self._last: tuple[bytes, str | None] | None = None
        self._tagged = time.monotonic()

    async def run(self) -> None:
        """Follow until cancelled."""
        loop = asyncio.get_running_loop()
        rest = _FIRST_PAUSE
        while True:
            began = loop.time()
            try:
                new = await self.fetch()
            except Exception as error:  # noqa: BLE001  whatever a source brings, the next answer may be a good one
                self.trouble.failed(error)
                # Jitter, so that not everybody comes back at the same moment.
                await asyncio.sleep(rest * random.uniform(0.8, 1.2))  # noqa: S311
                rest = min(rest * 2, _LONGEST_PAUSE)
                continue
            self.trouble.over()
            rest = _FIRST_PAUSE
            await asyncio.sleep(max(0.0, (_AFTER_NEW if new else _AFTER_NOTHING) - (loop.time() - began)))

    async def fetch(self, *, waiting: bool = True) -> bool:
        """Ask once.

        Args:
            waiting: let the source hold its answer until there is something newer.

        Returns:
            Whether something new was taken.

        Raises:
            SourceRefused: another status than 200 or 304, too much, or packed; or another document than before that is
                not newer than what is held.
            httpx.HTTPError: no answer.
            TimeoutError: no whole answer.
            SluisError: what `take` said.
        """
        source, asked_with = self._source, self.etag
        if source.url.startswith("http:") and time.monotonic() - self._tagged > TAG_LIFE:
            asked_with = None
        wait = source.wait if waiting and asked_with is not None else 0
        async with asyncio.timeout(wait + WHOLE):
            content, etag = await self._ask(asked_with, wait)
        if content is None:
            source.confirm()
            return False
        new = await source.take(content, etag)
        self._believe(content, etag, new=new)
        return new

    def _believe(self, content: bytes, etag: str | None, *, new: bool) -> None:
        """Ask with this tag from now on, or not."""
        before, self._last = self._last, (hashlib.sha256(content).digest(), etag)
        self.etag = etag if new or self._last == before else None
        self._tagged = time.monotonic()
        if not new and before is not None and before[0] != self._last[0]:
            raise SourceRefused("the source sent another document, which is not newer than what is held")

    async def _ask(self, asked_with: str | None, wait: int) -> tuple[bytes | None, str | None]:
        """The document and its tag; None when the one with the tag that was asked with is current."""
        source = self._source
        headers = {"accept": source.accept, "accept-encoding": "identity"}
        if asked_with is not None:
            headers["if-none-match"] = asked_with
        if wait:
            headers["prefer"] = f"{source.prefer}wait={wait}"
        timeout = httpx.Timeout(source.timeout, read=source.timeout + wait)
        request: dict[str, Any] = {"headers": headers, "timeout": timeout, "follow_redirects": False}
        async with source.client().stream("GET", source.url, **request, extensions=dict(source.extensions)) as answer:
            if answer.status_code == httpx.codes.NOT_MODIFIED and asked_with is not None:
                return None, asked_with
            if answer.status_code != httpx.codes.OK:
                raise SourceRefused(f"the source answered {answer.status_code}")
            if answer.headers.get("content-encoding", "identity").lower() != "identity":
                raise SourceRefused("the source sent a packed document")
            content = bytearray()
            async for part in answer.aiter_bytes():
                content += part
                if len(content) > source.max_bytes:
                    raise SourceRefused("the source sent too much")
            return bytes(content), usable_tag(answer.headers.get("etag"))
