"""CRLs of 100,000 revoked certificates: making them, and revoking one more beside that.

    python -m deploy.bench.crl [--database postgresql+asyncpg://...]

A register of its own on SQLite, in a temporary folder, or in an empty database on PostgreSQL, filled with rows as
issuing would leave them; the CA, its key, the transactions and the CRL are the product's own. What is measured are
whole operations: transaction, signature and `fsync` included.
"""

import argparse
import asyncio
import contextlib
import json
import resource
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from sqlalchemy import insert

from authz.edge.settings import load_settings
from deploy.bench.rows import Row
from pki.app import OpenAuthority, open_authority
from pki.audit.records import operator
from pki.ceremony import CeremonyPlan, hold_ceremony
from pki.revocation.crl import RevocationReason
from pki.revocation.publishing import CrlPublisher
from pki.settings import PkiSettings
from pki.store.register import Register
from pki.store.tables import certificates

REVOKED: Final = 100_000
SINGLE: Final = 50
"""Revocations measured one by one."""
CRL_BUDGET: Final = 2.0
"""Seconds, shared `spec/pki.md`, "Revocation"."""
REVOKE_BUDGET: Final = 50.0
"""Milliseconds, issue "Certificates and DNSSEC that the whole sector could rely on"."""
_MOST_REGENERATIONS: Final = 10_000
"""So that the other process ends by itself should nobody end it."""
_BATCH: Final = 5_000
_PASSPHRASE: Final = b"only for this bench, and thrown away"


def measure(revoked: int = REVOKED, single: int = SINGLE, database: str | None = None) -> list[Row]:
    """Measure everything.

    Args:
        revoked: certificates on the CRL before.
        single: revocations measured one by one, in each situation.
        database: URL of an empty database on PostgreSQL; on SQLite when None.
    """
    with tempfile.TemporaryDirectory(prefix="sluis-crl-bench") as folder:
        return asyncio.run(_measure(Path(folder), revoked, single, database))


async def _measure(folder: Path, revoked: int, single: int, database: str | None) -> list[Row]:
    async with authority(folder, database) as (settings, pki):
        await fill(pki, revoked, "revoked")
        await fill(pki, single * 3, "active")
        publisher = CrlPublisher(pki.cas)
        started = time.perf_counter()
        [crl] = await publisher.rebuild(pki.database, pki.clock.now())
        rebuilt = time.perf_counter() - started
        if len(x509.load_der_x509_crl(crl.der)) != revoked:
            raise RuntimeError("the CRL does not have what was revoked")
        signed = [await _refresh(pki, publisher) for _ in range(5)]
        active = [item.serial_number for item in await pki.find(status="active", limit=single * 3)]
        before = _processor()
        alone = [await _revoke(pki, serial_number) for serial_number in active[:single]]
        processor = (_processor() - before) / single
        beside = await _beside(settings, pki, active[single : 2 * single])
        held_up = await _beside(settings, pki, active[2 * single :], "--within")
        async with pki.database.read() as connection:
            listed = x509.load_der_x509_crl((await Register(connection).crls())[0].der)
        if len(listed) != revoked + 3 * single:
            raise RuntimeError("a revocation is not on the CRL")
    count = f"{revoked:,} revoked"
    return [
        Row(f"CRL made from the register, {count}", rebuilt, "s", CRL_BUDGET),
        Row("the same, signed anew (every 30 minutes)", statistics.median(signed), "s", CRL_BUDGET),
        Row("size of that CRL", len(crl.der) / 1e6, "MB"),
        Row(f"one revoke, {count}, median", statistics.median(alone), "ms", REVOKE_BUDGET),
        Row("the same, processor time of that process", processor, "ms"),
        Row("one revoke beside unceasing regeneration, median", statistics.median(beside), "ms", REVOKE_BUDGET),
        Row("the same, p95", _p95(beside), "ms", REVOKE_BUDGET),
        Row("beside CRLs made as a revocation makes them, median", statistics.median(held_up), "ms", REVOKE_BUDGET),
        Row("the same, p95", _p95(held_up), "ms", REVOKE_BUDGET),
    ]


def _p95(measured: list[float]) -> float:
    return sorted(measured)[int(len(measured) * 0.95)]


def _processor() -> float:
    """Milliseconds that this process has used, in user and system mode: other work on the machine does not count."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return (used.ru_utime + used.ru_stime) * 1000


async def _refresh(pki: OpenAuthority, publisher: CrlPublisher) -> float:
    """Seconds for what `pki serve` does every 30 minutes."""
    started = time.perf_counter()
    await publisher.refresh(pki.database, pki.cas[0].name, pki.clock.now())
    return time.perf_counter() - started


async def _publish(pki: OpenAuthority, publisher: CrlPublisher) -> None:
    """Holds up other writers from beginning to end, as a revocation does."""
    async with pki.database.write() as connection:
        await publisher.publish(Register(connection), pki.cas[0], pki.clock.now())


async def _revoke(pki: OpenAuthority, serial_number: str) -> float:
    """Milliseconds until the revocation is durable and on the CRL."""
    started = time.perf_counter()
    await pki.revoke(RevocationReason.CESSATION_OF_OPERATION, operator("bench"), serial_number=serial_number)
    return (time.perf_counter() - started) * 1000


async def _beside(settings: Path, pki: OpenAuthority, serial_numbers: list[str], *how: str) -> list[float]:
    """Revoke while another process, as `pki serve` is one, makes the CRL again and again without a pause."""
    command = (sys.executable, "-m", "deploy.bench.crl", "--regenerate", str(settings), *how)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        if process.stdout is None or not await process.stdout.readline():
            raise RuntimeError("the other process made no CRL")
        return [await _revoke(pki, serial_number) for serial_number in serial_numbers]
    finally:
        process.terminate()
        await process.wait()


async def _regenerate(settings: Path, make: Callable[[OpenAuthority, CrlPublisher], Awaitable[object]]) -> None:
    """The other process: says when the first CRL is made, then goes on until it is terminated."""
    async with open_authority(load_settings(PkiSettings, settings), pooled=True) as pki:
        publisher = CrlPublisher(pki.cas)
        await publisher.make_ready(pki.database)
        for number in range(_MOST_REGENERATIONS):
            await make(pki, publisher)
            if not number:
                print("made", flush=True)


async def fill(pki: OpenAuthority, number: int, status: str) -> None:
    """Put certificates into the register, as issuing would leave them: `active`, or `revoked` and on the CRL."""
    now = datetime.now(UTC)
    for first in range(0, number, _BATCH):
        rows = [_row(pki, now, status) for _ in range(min(_BATCH, number - first))]
        async with pki.database.write() as connection:
            await connection.execute(insert(certificates), rows)


def _row(pki: OpenAuthority, now: datetime, status: str) -> dict[str, Any]:
    ended = status == "revoked"
    return {
        "issuer": pki.cas[0].name,
        "serial_number": f"{secrets.randbits(158) | 1 << 158:x}",
        "environment": "TST",
        "identifier": f"oin:{secrets.randbelow(10**20):020}",
        "status": status,
        "subject_key": secrets.token_hex(32),
        "organization": "Bench",
        "common_name": "bench.example.nl",
        "kvk": "12345678",
        "dns_names": json.dumps([]),
        "not_before": now,
        "not_after": now + timedelta(days=397),
        "intent_at": now,
        "tbs": b"",
        "issued_at": now,
        "certificate": b"",
        "revoked_at": now if ended else None,
        "revocation_reason": RevocationReason.SUPERSEDED.value if ended else None,
        "listed": ended,
    }


@contextlib.asynccontextmanager
async def authority(folder: Path, database: str | None = None) -> AsyncIterator[tuple[Path, OpenAuthority]]:
    """An authority of its own with an empty register, and its settings file."""
    secret = folder / "issuing.passphrase"
    secret.write_bytes(_PASSPHRASE)
    secret.chmod(0o600)
    files = hold_ceremony(
        CeremonyPlan(
            folder=folder / "ca",
            organization="Bench",
            environment="TST",
            base_url="http://127.0.0.1:18080",
            listen_port=18080,
            root_passphrase=_PASSPHRASE,
            issuing_passphrase=_PASSPHRASE,
            issuing_passphrase_file=secret,
        ),
        datetime.now(UTC) - timedelta(minutes=1),
    )
    settings = files["pki.toml"]
    if database is not None:
        settings.write_text(settings.read_text().replace('file = "pki.sqlite3"', f'url = "{database}"'))
    async with open_authority(load_settings(PkiSettings, settings), pooled=True) as pki:
        yield settings, pki


def main() -> None:
    """Print the rows; with `--regenerate`, be the other process."""
    parser = argparse.ArgumentParser(prog="python -m deploy.bench.crl", description="CRLs of 100,000 certificates.")
    parser.add_argument("--database", metavar="URL", help="an empty database on PostgreSQL; on SQLite when left out")
    parser.add_argument("--regenerate", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--within", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.regenerate is not None:
        asyncio.run(_regenerate(given.regenerate, _publish if given.within else _refresh))
        return
    for row in measure(database=given.database):
        verdict = "" if row.met is None else f"  (at most {row.budget:g}: {'met' if row.met else 'NOT MET'})"
        print(f"{row.what:60} {row.measured:8.3f} {row.unit}{verdict}")


if __name__ == "__main__":
    main()
