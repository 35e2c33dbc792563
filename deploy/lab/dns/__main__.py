"""`python -m deploy.lab.dns`: see the package docstring."""

import argparse
import asyncio
import contextlib
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

import dns.message

from authz.domain.errors import InvalidValue
from deploy.lab.dns.config import parse_config
from deploy.lab.dns.responder import Responder
from deploy.lab.dns.server import Server
from deploy.lab.dns.signing import BuiltZone, anchor_lines, build_zones


class _Answering:
    """Answers by the zones of this moment."""

    def __init__(self, config: Path) -> None:
        self._config = config
        self.zones: tuple[BuiltZone, ...] = ()
        self._responder = Responder(())
        self.read()

    def read(self) -> None:
        """Serve what the configuration says now; zones keep their keys.

        Raises:
            InvalidValue: it is malformed, and nothing changes.
            OSError: it cannot be read, and nothing changes.
        """
        specs = parse_config(self._config.read_text(encoding="utf-8"))
        self.zones = build_zones(specs, datetime.now(UTC), before=self.zones)
        self._responder = Responder(self.zones)

    def read_again(self) -> None:
        """As `read`; what is wrong with the configuration is said, and nothing changes."""
        try:
            self.read()
        except (InvalidValue, OSError) as problem:
            print(f"dns: {problem}", file=sys.stderr, flush=True)

    def respond(self, query: dns.message.Message) -> dns.message.Message | None:
        """See `Answering`."""
        return self._responder.respond(query)


async def _serve(config: Path, host: str, port: int, anchor_out: Path | None) -> None:
    answering = _Answering(config)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    loop.add_signal_handler(signal.SIGHUP, answering.read_again)
    async with Server(answering, host=host, port=port) as server:
        if anchor_out is not None:
            _replace(anchor_out, anchor_lines(answering.zones))
        print(f"dns: {host}:{server.port}", flush=True)
        await stopping.wait()


def _replace(path: Path, text: str) -> None:
    """Write whole or not at all, so that a reader never sees half an anchor."""
    draft = path.with_suffix(path.suffix + ".new")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def main() -> int:
    """Parse the command line and serve until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m deploy.lab.dns", description="Signed zones for the lab.")
    parser.add_argument("--config", type=Path, required=True, help="JSON file with zones and records")
    parser.add_argument("--host", default="127.0.0.1", help="loopback address to listen on")
    parser.add_argument("--port", type=int, default=0, help="UDP and TCP port; 0 takes a free one")
    parser.add_argument("--anchor-out", type=Path, help="where to write the root's DS lines")
    options = parser.parse_args()
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_serve(options.config, options.host, options.port, options.anchor_out))
    except (InvalidValue, OSError) as problem:
        print(f"dns: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
