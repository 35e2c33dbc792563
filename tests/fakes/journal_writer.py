"""Appends to a journal until it is killed, and tells each acknowledged record on stdout: `python -m ... FOLDER`."""

import asyncio
import sys
from pathlib import Path

from trust_agent.journal import Journal


async def main(folder: Path) -> None:
    journal = Journal(folder, segment_bytes=256 * 1024)
    journal.open()
    number = 0

    async def one() -> None:
        nonlocal number
        while True:
            number += 1
            text = f"record-{number}"
            await journal.append(text.encode() + b" " * 500)
            # Written at once: what stands here was acknowledged before the process died.
            sys.stdout.write(text + "\n")
            sys.stdout.flush()

    await asyncio.gather(*(one() for _ in range(8)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
