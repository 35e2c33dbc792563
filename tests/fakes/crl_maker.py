"""A process that makes CRLs beside others on the same register.

    python -m tests.fakes.crl_maker <settings> <serial number>...

Says `ready`, waits for a line on stdin, then for each serial number makes the CRL anew, refreshes it, and revokes that
certificate. Prints the number of each CRL that it made without a revocation, and `kept` for each refresh that counts.
"""

import asyncio
import sys
from pathlib import Path

from authz.edge.settings import load_settings
from pki.app import OpenAuthority, open_authority
from pki.audit.records import operator
from pki.revocation.crl import RevocationReason
from pki.revocation.publishing import CrlPublisher
from pki.settings import PkiSettings
from pki.store.register import Register
from tests.fakes.clock import FixedClock


async def make(pki: OpenAuthority, serial_numbers: list[str]) -> None:
    publisher = CrlPublisher(pki.cas)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    for serial_number in serial_numbers:
        async with pki.database.write() as connection:
            crl = await publisher.publish(Register(connection), pki.cas[0], pki.clock.now())
        sys.stdout.write(f"{crl.number}\n")
        if await publisher.refresh(pki.database, pki.cas[0].name, pki.clock.now()):
            sys.stdout.write("kept\n")
        await pki.revoke(RevocationReason.SUPERSEDED, operator("maker"), serial_number=serial_number)


async def main(config: str, *serial_numbers: str) -> None:
    async with open_authority(load_settings(PkiSettings, Path(config)), FixedClock(), pooled=True) as pki:
        await make(pki, list(serial_numbers))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
