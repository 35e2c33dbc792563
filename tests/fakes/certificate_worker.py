"""A process that works the authority as it is told, beside others that work the same register.

    python -m tests.fakes.certificate_worker <settings>

Reads one JSON object a line from stdin and works on all of them at once; writes one for each when it is done, with the
outcome and every serial number that was signed on the way, handed over or not. `pause` is a time in seconds: between
intent and outcome, during which the whole process stands still, as one behind a slow HSM does; and after each look at
the register that an act is based on. `killed` ends an act before or after the signature, and nothing of it is tidied
up, as when the process is killed there (test_processes.py really kills some).
"""

import asyncio
import json
import sys
import time
from contextvars import ContextVar
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509

from authz.domain.errors import Refused
from authz.domain.identifiers import Identifier
from authz.edge.settings import load_settings
from pki.app import OpenAuthority, open_authority
from pki.audit.records import operator
from pki.authority import Issued
from pki.enrolment.desk import CodeDesk
from pki.issuing import Holder, IssuingCa, Prepared
from pki.revocation.crl import RevocationReason
from pki.settings import PkiSettings
from pki.store.register import Register, Registered
from tests.fakes.certificate_racer import new_request
from tests.fakes.clock import FixedClock
from tests.fakes.domains import EveryName

_PAUSE: ContextVar[float] = ContextVar("pause", default=0.0)
_SIGNED: ContextVar[list[str]] = ContextVar("signed")
_KILLED: ContextVar[str] = ContextVar("killed", default="")
_ACTOR = operator("worker")


class Killed(BaseException):
    """Nothing that would have come after is done."""


class Worker:
    """One authority of its own on the shared register."""

    def __init__(self, pki: OpenAuthority, clock: FixedClock) -> None:
        self._pki = pki
        self._clock = clock

    async def work(self, order: dict[str, Any]) -> dict[str, Any]:
        signed: list[str] = []
        _PAUSE.set(order["pause"])
        _SIGNED.set(signed)
        _KILLED.set(order.get("killed", ""))
        self._clock.moment = datetime.fromisoformat(order["at"])
        try:
            touched = await getattr(self, order["do"])(order)
        except Refused as refused:
            return {"order": order, "outcome": refused.reason.value, "signed": signed, "touched": []}
        except Killed:
            return {"order": order, "outcome": "killed", "signed": signed, "touched": []}
        return {"order": order, "outcome": "done", "signed": signed, "touched": touched}

    async def enrol(self, order: dict[str, Any]) -> list[str]:
        holder = Holder(Identifier.parse_subject(order["subject"]), "Test", "12345678", ("a.example.nl",))
        return _serials(await self._pki.issue(holder, new_request(), _ACTOR))

    async def renew(self, order: dict[str, Any]) -> list[str]:
        who, overlap = Identifier.parse_subject(order["subject"]), timedelta(days=order["overlap"])
        return _serials(await self._pki.renew(who, new_request(), _ACTOR, overlap=overlap))

    async def revoke(self, order: dict[str, Any]) -> list[str]:
        who = Identifier.parse_subject(order["subject"])
        return _serials(*await self._pki.revoke(RevocationReason(order["reason"]), _ACTOR, identifier=who))

    async def revoke_one(self, order: dict[str, Any]) -> list[str]:
        reason = RevocationReason(order["reason"])
        return _serials(*await self._pki.revoke(reason, _ACTOR, serial_number=order["serial"]))

    async def block(self, order: dict[str, Any]) -> list[str]:
        found = await self._pki.find(serial_number=order["serial"])
        _, revoked = await CodeDesk(self._pki).block_keys([item.key for item in found], "compromised", _ACTOR)
        return _serials(*revoked)

    async def confirm(self, order: dict[str, Any]) -> list[str]:
        await self._pki.withdrawal.confirm_use(self._pki.cas[0].name, order["serial"], _ACTOR)
        return []

    async def sweep(self, order: dict[str, Any]) -> list[str]:  # noqa: ARG002  one shape for all
        await self._pki.withdrawal.sweep()
        return []


def _serials(*items: Issued | Registered) -> list[str]:
    return [(item.registered if isinstance(item, Issued) else item).serial_number for item in items]


def _act_late() -> None:
    find = Register.find

    async def find_slowly(self: Register, *conditions: Any, **limits: Any) -> list[Registered]:
        found = await find(self, *conditions, **limits)
        await asyncio.sleep(_PAUSE.get())
        return found

    Register.find = find_slowly  # type: ignore[method-assign]


def _watch_signing() -> None:
    redeem = IssuingCa.redeem

    def slowly(self: IssuingCa, prepared: Prepared) -> bytes:
        time.sleep(_PAUSE.get())
        if _KILLED.get() == "before":
            raise Killed
        der = redeem(self, prepared)
        _SIGNED.get().append(f"{x509.load_der_x509_certificate(der).serial_number:x}")
        time.sleep(_PAUSE.get())
        if _KILLED.get() == "after":
            raise Killed
        return der

    IssuingCa.redeem = slowly  # type: ignore[method-assign]


async def main(config: str) -> None:
    _watch_signing()
    _act_late()
    clock = FixedClock()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with open_authority(
        load_settings(PkiSettings, Path(config)), clock, pooled=True, validator=EveryName()
    ) as pki:
        worker = Worker(pki, clock)

        async def answer(line: bytes) -> None:
            done = await worker.work(json.loads(line))
            sys.stdout.write(json.dumps(done) + "\n")
            sys.stdout.flush()

        sys.stdout.write("ready\n")
        sys.stdout.flush()
        async with asyncio.TaskGroup() as tasks:
            while line := await reader.readline():
                tasks.create_task(answer(line))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
