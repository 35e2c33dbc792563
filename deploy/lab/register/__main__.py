"""`python -m deploy.lab.register --schema indicatie --uds PATH`: one register on a Unix socket, until SIGTERM."""

import argparse
from pathlib import Path

from granian.constants import Interfaces

from authz.edge.serving import run, serve_uds
from deploy.lab.register import SCHEMAS
from deploy.lab.register.app import register


def main() -> int:
    """Serve until stopped; the exit status is 0."""
    parser = argparse.ArgumentParser(prog="python -m deploy.lab.register", description="A register of the lab.")
    parser.add_argument("--schema", choices=sorted(SCHEMAS), required=True, help="which register to be")
    parser.add_argument("--uds", type=Path, required=True, help="the Unix socket to listen on")
    parser.add_argument("--holder", default="5001", help="UZOVI code of who holds the Bemiddelingsregister")
    arguments = parser.parse_args()

    async def serve() -> int:
        await serve_uds(register(arguments.schema, holder=arguments.holder), arguments.uds, Interfaces.RSGI)
        return 0

    return run(serve)


if __name__ == "__main__":
    raise SystemExit(main())
