"""CRLs by several makers that each remember parts of them: nothing that was revoked is ever missing."""

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509
from sqlalchemy import text, update

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from deploy.bench.crl import fill
from pki.app import OpenAuthority
from pki.audit.records import operator
from pki.revocation.crl import RevocationReason
from pki.revocation.crl_parts import read_part
from pki.revocation.publishing import CrlPublisher
from pki.store.crls import CrlRegister, part_name
from pki.store.database import Database
from pki.store.kept_parts import KeptParts
from pki.store.register import Register, StoredCrl
from pki.store.tables import certificates
from tests.fakes.clock import FixedClock

ROOT = Path(__file__).parents[4]
PART = "07"
"""The part that all certificates of these tests stand in, so that every change touches what others remember."""


class UndoneError(Exception):
    """Ends a transaction without its changes."""


async def active(pki: OpenAuthority, number: int) -> list[str]:
    """Serial numbers of certificates that are active, all of one part."""
    await fill(pki, number, "active")
    async with pki.database.write() as connection:
        await connection.execute(
            update(certificates).values(serial_number=text(f"substr(serial_number, 1, 38) || '{PART}'"))
        )
    return [item.serial_number for item in await pki.find(limit=number)]


async def newest(pki: OpenAuthority) -> StoredCrl:
    async with pki.database.read() as connection:
        [crl] = await Register(connection).crls()
    return crl


def listed(pki: OpenAuthority, crl: StoredCrl) -> set[str]:
    """Serial numbers on a CRL, in hex, after its signature was verified."""
    read = x509.load_der_x509_crl(crl.der)
    assert read.is_signature_valid(pki.cas[0].certificate.public_key())  # type: ignore[arg-type]
    assert read.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == crl.number
    serial_numbers = [f"{entry.serial_number:x}" for entry in read]
    assert len(set(serial_numbers)) == len(serial_numbers)
    return set(serial_numbers)


async def revoke(
    pki: OpenAuthority, serial_number: str, reason: RevocationReason = RevocationReason.SUPERSEDED
) -> None:
    await pki.revoke(reason, operator("test"), serial_number=serial_number)


async def publish(pki: OpenAuthority, publisher: CrlPublisher) -> StoredCrl:
    async with pki.database.write() as connection:
        return await publisher.publish(Register(connection), pki.cas[0], pki.clock.now())


def reads(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[int] | None]:
    """Which parts are read from the database from now on."""
    seen: list[Sequence[int] | None] = []
    whole = CrlRegister.crl_parts

    async def noted(self: CrlRegister, issuer: str, only: Sequence[int] | None = None) -> dict[int, bytes]:
        seen.append(only)
        return await whole(self, issuer, only)

    monkeypatch.setattr(CrlRegister, "crl_parts", noted)
    return seen


async def test_what_another_maker_wrote_is_on_the_next_crl_of_one_that_remembers_the_part(
    pki: OpenAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, three = await active(pki, 3)
    other = CrlPublisher(pki.cas)
    await revoke(pki, one)
    await publish(pki, other)
    await revoke(pki, two)  # by the authority's own publisher; the other remembers the part without it
    seen = reads(monkeypatch)
    assert listed(pki, await publish(pki, other)) == {one, two}
    assert seen == [[int(PART, 16)]]
    await publish(pki, other)
    assert len(seen) == 1  # nothing changed, nothing is read
    await revoke(pki, three)
    assert listed(pki, await newest(pki)) == {one, two, three}


async def test_what_a_migration_revoked_is_told_at_the_next_look_and_not_at_the_next_refresh(
    pki: OpenAuthority, clock: FixedClock
) -> None:
    one, two = await active(pki, 2)
    await pki.withdrawal.sweep()
    before = await newest(pki)
    clock.advance(seconds=1)
    await pki.withdrawal.sweep()
    assert await newest(pki) == before  # nothing is pending, nothing is made
    async with pki.database.write() as connection:
        version = await Register(connection).version()
        # As migrations 0006 and 0008 do it: they have no key to sign a CRL with.
        gone = {"status": "revoked", "revoked_at": clock.now(), "revocation_reason": "superseded", "crl_pending": True}
        await connection.execute(update(certificates).where(certificates.c.serial_number == one).values(**gone))
    await pki.withdrawal.sweep()
    after = await newest(pki)
    assert listed(pki, after) == {one}
    assert after.number == before.number + 1
    async with pki.database.read() as connection:
        assert await Register(connection).version() > version
    await revoke(pki, two)
    assert listed(pki, await newest(pki)) == {one, two}


async def test_what_was_rolled_back_is_neither_remembered_nor_forgotten(pki: OpenAuthority) -> None:
    one, two = await active(pki, 2)
    publisher = CrlPublisher(pki.cas)
    await publish(pki, publisher)
    before = await newest(pki)
    with pytest.raises(UndoneError):
        await revoke_and_undo(pki, publisher, one)
    assert await newest(pki) == before
    # Another maker takes the number that was given back, with another entry.
    await revoke(pki, two)
    assert (await newest(pki)).number == before.number + 1
    assert listed(pki, await publish(pki, publisher)) == {two}


async def revoke_and_undo(pki: OpenAuthority, publisher: CrlPublisher, serial_number: str) -> None:
    async with pki.database.write() as connection:
        register = Register(connection)
        [found] = await register.find(certificates.c.serial_number == serial_number)
        await register.revoke([found.id], RevocationReason.SUPERSEDED, pki.clock.now())
        await publisher.publish(register, pki.cas[0], pki.clock.now())
        # Once more in the same transaction: now the part is remembered that nobody will ever see.
        assert listed(pki, await publisher.publish(register, pki.cas[0], pki.clock.now())) == {serial_number}
        raise UndoneError


async def test_a_released_hold_leaves_the_list_of_one_that_remembers_it(pki: OpenAuthority) -> None:
    one, two = await active(pki, 2)
    other = CrlPublisher(pki.cas)
    await revoke(pki, one, RevocationReason.CERTIFICATE_HOLD)
    await revoke(pki, two)
    assert listed(pki, await publish(pki, other)) == {one, two}
    await revoke(pki, one, RevocationReason.REMOVE_FROM_CRL)
    assert listed(pki, await publish(pki, other)) == {two}
    await revoke(pki, one)
    assert listed(pki, await publish(pki, other)) == {one, two}


async def test_entries_that_are_not_what_was_written_are_not_signed(pki: OpenAuthority) -> None:
    one, two = await active(pki, 2)
    await revoke(pki, one)
    before = await newest(pki)
    async with pki.database.write() as connection:
        await connection.execute(text("UPDATE crl_parts SET entries = substr(entries, 1, length(entries) - 1)"))
    with pytest.raises(Refused) as caught:
        await publish(pki, CrlPublisher(pki.cas))
    assert caught.value.reason is Reason.LINT_FAILED
    # Whoever remembers the part does not read what was spoilt, and writes it well.
    await revoke(pki, two)
    assert listed(pki, await publish(pki, CrlPublisher(pki.cas))) == {one, two}
    assert (await newest(pki)).number == before.number + 2


async def test_a_list_made_anew_from_the_register_is_checked_in_whole(
    pki: OpenAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    serial_numbers = await active(pki, 3)
    for serial_number in serial_numbers:
        await revoke(pki, serial_number)
    read: list[int] = []

    def noted(part: int, encoded: bytes) -> dict[int, bytes]:
        read.append(part)
        return read_part(part, encoded)

    monkeypatch.setattr("pki.lint.crl.read_part", noted)
    [crl] = await CrlPublisher(pki.cas).rebuild(pki.database, pki.clock.now())
    assert listed(pki, crl) == set(serial_numbers)
    assert read == [int(PART, 16)]


async def test_what_expired_leaves_at_a_refresh_and_not_before(pki: OpenAuthority, clock: FixedClock) -> None:
    one, two, three = await active(pki, 3)
    await revoke(pki, one)
    async with pki.database.write() as connection:
        gone = update(certificates).where(certificates.c.serial_number == one)
        await connection.execute(gone.values(not_after=clock.now()))
    clock.advance(hours=24)
    await revoke(pki, two)
    assert listed(pki, await newest(pki)) == {one, two}  # one refresh after it expired is what RFC 5280 asks
    await pki.withdrawal.sweep()
    assert listed(pki, await newest(pki)) == {one, two}  # the CRL was of this moment: nothing is due
    clock.advance(minutes=30)
    await pki.withdrawal.sweep()
    assert listed(pki, await newest(pki)) == {two}
    await revoke(pki, three)
    assert listed(pki, await newest(pki)) == {two, three}


@pytest.mark.parametrize(("elapsed", "due"), [(-3600, True), (-1, True), (0, False), (1799, False), (1800, True)])
async def test_a_crl_of_a_clock_that_ran_ahead_is_made_anew_once_the_clock_is_right(
    pki: OpenAuthority, clock: FixedClock, elapsed: int, *, due: bool
) -> None:
    await pki.withdrawal.sweep()
    number = (await newest(pki)).number
    clock.advance(seconds=elapsed)
    await pki.withdrawal.sweep()
    await pki.withdrawal.sweep()  # once, not at every look
    made = await newest(pki)
    assert made.number == number + due
    assert made.this_update <= clock.now()


async def test_a_refresh_says_the_same_under_a_new_number(pki: OpenAuthority) -> None:
    [one] = await active(pki, 1)
    await revoke(pki, one)
    before = await newest(pki)
    publisher = CrlPublisher(pki.cas)
    assert await publisher.refresh(pki.database, pki.cas[0].name, pki.clock.now())
    after = await newest(pki)
    assert after.number == before.number + 1
    assert listed(pki, after) == listed(pki, before) == {one}


async def test_a_refresh_that_a_revocation_overtakes_is_seen_by_nobody(
    pki: OpenAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = await active(pki, 2)
    await revoke(pki, one)
    before = await newest(pki)
    read = KeptParts.read

    async def overtaken(self: KeptParts, register: CrlRegister, issuer: str) -> dict[int, bytes]:
        parts = await read(self, register, issuer)
        monkeypatch.undo()
        await revoke(pki, two)
        return parts

    monkeypatch.setattr(KeptParts, "read", overtaken)
    assert not await CrlPublisher(pki.cas).refresh(pki.database, pki.cas[0].name, pki.clock.now())
    after = await newest(pki)
    assert after.number == before.number + 1
    assert listed(pki, after) == {one, two}


async def test_a_refresh_does_not_leave_behind_what_waits_for_a_crl(pki: OpenAuthority, clock: FixedClock) -> None:
    [one] = await active(pki, 1)
    await pki.withdrawal.sweep()
    before = await newest(pki)
    async with pki.database.write() as connection:  # as when the key could not be used
        register = Register(connection)
        [found] = await register.find(certificates.c.serial_number == one)
        await register.revoke([found.id], RevocationReason.CESSATION_OF_OPERATION, clock.now())
    clock.advance(minutes=30)
    assert not await CrlPublisher(pki.cas).refresh(pki.database, pki.cas[0].name, clock.now())
    assert await newest(pki) == before
    await pki.withdrawal.sweep()
    after = await newest(pki)
    assert after.number == before.number + 1
    assert listed(pki, after) == {one}


async def test_a_refresh_signs_while_others_can_write(pki: OpenAuthority, monkeypatch: pytest.MonkeyPatch) -> None:
    await pki.withdrawal.sweep()
    sign = pki.cas[0].signer.sign
    statement = text("UPDATE changes SET version = version + 1")

    async def write_elsewhere() -> None:
        database = Database(pki.settings.database.address)
        async with asyncio.timeout(30), database.write() as connection:
            await connection.execute(statement)
        await database.close()

    def signing(*data: bytes) -> bytes:
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, write_elsewhere()).result()
        return sign(*data)

    monkeypatch.setattr(pki.cas[0].signer, "sign", signing)
    assert await CrlPublisher(pki.cas).refresh(pki.database, pki.cas[0].name, pki.clock.now())


async def test_parts_in_the_database_have_the_names_of_what_they_say(pki: OpenAuthority) -> None:
    [one] = await active(pki, 1)
    await revoke(pki, one)
    async with pki.database.read() as connection:
        names = await Register(connection).crl_part_names(pki.cas[0].name)
        parts = await Register(connection).crl_parts(pki.cas[0].name)
    assert names == {part: part_name(entries) for part, entries in parts.items()}
    assert parts.keys() == {int(PART, 16)}


def start(config: Path, serial_numbers: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.fakes.crl_maker", str(config), *serial_numbers]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)


@pytest.mark.integration
async def test_several_processes_that_revoke_and_regenerate_at_once_lose_nothing_and_use_no_number_twice(
    config: Path, pki: OpenAuthority
) -> None:
    serial_numbers = await active(pki, 20)
    makers = [start(config, serial_numbers[:8]), start(config, serial_numbers[8:16])]
    for maker in makers:
        assert maker.stdout is not None
        assert maker.stdin is not None
        assert maker.stdout.readline() == "ready\n"
        maker.stdin.write("go\n")
        maker.stdin.flush()
    number = 0
    for serial_number in serial_numbers[16:]:
        await revoke(pki, serial_number)
        crl = await newest(pki)
        assert serial_number in listed(pki, crl)  # acknowledged, hence published, whoever made the newest since
        assert crl.number > number
        number = crl.number
    numbers: list[int] = []
    refreshed = 0
    for maker in makers:
        out, _ = maker.communicate(timeout=240)
        assert maker.returncode == 0
        lines = out.splitlines()
        refreshed += lines.count("kept")
        theirs = [int(line) for line in lines if line != "kept"]
        assert theirs == sorted(theirs)
        numbers += theirs
    assert len(set(numbers)) == len(numbers) == 16
    last = await newest(pki)
    assert listed(pki, last) == set(serial_numbers)
    assert last.number == 1 + 16 + refreshed + 16 + 4  # one each, and none was skipped
