"""A service behind Envoy that tells what it received: `python -m tests.fakes.echo_service --socket PATH`."""

import argparse
import json
from pathlib import Path
from typing import Any

from granian.constants import Interfaces

from authz.edge.serving import run, serve_uds


async def app(scope: Any, protocol: Any) -> None:
    body = await protocol()
    seen = {
        "path": scope.path,
        "query": scope.query_string,
        "method": scope.method,
        "headers": dict(scope.headers.items()),
    }
    protocol.response_str(200, [("content-type", "application/json")], json.dumps(seen | {"body": body.decode()}))


async def _main(socket: Path) -> int:
    await serve_uds(app, socket, Interfaces.RSGI)
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", type=Path, required=True)
    arguments = parser.parse_args()
    run(lambda: _main(arguments.socket))
