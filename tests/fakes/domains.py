"""Domains for tests: a real server of signed zones that can change under the same anchor, and names that always pass.

`EveryName` is for tests whose subject is something else than DNS; whoever tests a check of domains takes `running_dns`.
"""

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dns.message

from deploy.lab.dns import Responder, Server, anchor_lines, build_zones, parse_config
from pki.dnssec import Answer, DnssecResult, DnssecState
from tests.fakes.clock import FixedClock

EXAMPLE = {"name": "example.nl", "records": {"@": ["127.0.0.1"], "*": ["127.0.0.1"]}}
"""Every name below example.nl exists and is secure."""
_YEARS = timedelta(days=20 * 365)


class EveryName:
    """Implements `pki.dnssec.standing.Validator`: every name is secure."""

    async def check(self, name: str, at: datetime, rdtype: str = "A") -> DnssecResult:
        """Secure."""
        assert rdtype == "A"
        until = at + timedelta(minutes=1)
        return DnssecResult(f"{name}.", DnssecState.SECURE, "by decree", until, (), Answer.DATA, ("127.0.0.1",))


class RunningDns:
    """Zones behind a port of the loopback.

    Args:
        anchor: where the anchor is written.
        zones: in the lab's JSON form.
    """

    def __init__(self, anchor: Path, *zones: Mapping[str, Any]) -> None:
        # Tests read the real clock or a fixed one: signatures are good at both.
        self._at = min(datetime.now(UTC), FixedClock().now()) - timedelta(hours=1)
        self._built = build_zones(parse_config(json.dumps({"zones": zones})), self._at, lifetime=_YEARS)
        self._responder = Responder(self._built)
        self.anchor = anchor
        self.anchor.write_text(anchor_lines(self._built), encoding="ascii")
        self.port = 0
        self.asked: list[str] = []
        self.silent = False

    def serve(self, *zones: Mapping[str, Any]) -> None:
        """From now on these zones, with the keys that they had."""
        specs = parse_config(json.dumps({"zones": zones}))
        self._built = build_zones(specs, self._at, before=self._built, lifetime=_YEARS)
        self._responder = Responder(self._built)

    def respond(self, query: dns.message.Message) -> dns.message.Message | None:
        """See `deploy.lab.dns.server.Answering`."""
        self.asked.append(str(query.question[0].name))
        return None if self.silent else self._responder.respond(query)

    @property
    def resolver(self) -> str:
        """Its address as settings have it."""
        return f"127.0.0.1:{self.port}"

    @property
    def settings(self) -> str:
        """The part of a settings file that has names checked here."""
        return f'\n[dnssec]\nresolvers = ["{self.resolver}"]\nanchors = "{self.anchor}"\n'


@contextmanager
def running_dns(folder: Path, *zones: Mapping[str, Any]) -> Iterator[RunningDns]:
    """Serve zones in a thread; its own loop, so that programs of any kind can ask."""
    found = RunningDns(folder / "dns-anchor.txt", *zones)
    loop = asyncio.new_event_loop()
    ready, stop = threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with Server(found) as server:
            found.port = server.port
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(30)
        yield found
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
