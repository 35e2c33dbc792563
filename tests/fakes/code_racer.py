"""A process that redeems a code: one of several at once, or one that is killed while it enrols.

    python -m tests.fakes.code_racer <settings> race <identifier> <code>    waits for a line on stdin
    python -m tests.fakes.code_racer <settings> die <identifier> <code>     SIGKILL right after signing

Prints `issued` or the reason of the refusal.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from authz.domain.errors import Refused
from authz.domain.identifiers import Identifier
from authz.edge.settings import load_settings
from pki.app import open_authority
from pki.audit.records import new_trace
from pki.enrolment.service import Asker, Enrolment
from pki.issuing import IssuingCa, Prepared
from pki.settings import PkiSettings
from tests.fakes.clock import FixedClock
from tests.fakes.domains import EveryName
from tests.fakes.requests import request_der


async def main(config: str, mode: str, subject: str, code: str) -> None:
    async with open_authority(load_settings(PkiSettings, Path(config)), FixedClock(), validator=EveryName()) as pki:
        enrolment = Enrolment(pki)
        asker = Asker(new_trace(), "192.0.2.1")
        if mode == "race":
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            sys.stdin.readline()
        else:
            redeem = IssuingCa.redeem

            def last(self: IssuingCa, prepared: Prepared) -> bytes:
                redeem(self, prepared)
                os.kill(os.getpid(), signal.SIGKILL)
                raise AssertionError

            IssuingCa.redeem = last  # type: ignore[method-assign]
        try:
            entitled = await enrolment.authenticate(Identifier.parse_subject(subject), code, asker)
            await enrolment.enrol(entitled, request_der(), asker)
        except Refused as refused:
            sys.stdout.write(f"{refused.reason}\n")
        else:
            sys.stdout.write("issued\n")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
