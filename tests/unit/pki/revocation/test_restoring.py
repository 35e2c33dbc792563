"""An older copy of the register is put back: what was revoked since does not come back to life (both databases)."""

from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import delete, insert, select, update

from authz.audit.ingest import SHIPPED
from authz.domain.audit import EventType
from authz.domain.errors import Refused
from authz.domain.identifiers import Identifier
from authz.domain.reasons import Reason
from pki.app import OpenAuthority
from pki.audit.records import operator
from pki.enrolment.desk import CodeDesk
from pki.enrolment.requests import CertificateRequest, parse_request
from pki.issuing import Holder
from pki.revocation.crl import CrlPlan, RevocationReason, make_crl
from pki.revocation.restoring import MAX_CRL_NUMBER, Restoration, Restored
from pki.signing.encoding import CrlEntry
from pki.signing.signer import KeySigner, Signer
from pki.store.codes import Codes
from pki.store.register import Register, Registered, StoredCrl
from pki.store.tables import certificates, enrolment_codes, metadata, outbox
from tests.fakes.clock import FixedClock
from tests.fakes.requests import request_der

ANNA = operator("anna")
Copy = dict[str, list[dict[str, Any]]]


async def copied(pki: OpenAuthority) -> Copy:
    """A backup."""
    async with pki.database.read() as connection:
        return {
            table.name: [dict(row) for row in (await connection.execute(select(table))).mappings()]
            for table in metadata.sorted_tables
        }


async def put_back(pki: OpenAuthority, copy: Copy) -> None:
    async with pki.database.write() as connection:
        for table in reversed(metadata.sorted_tables):
            await connection.execute(delete(table))
        for table in metadata.sorted_tables:
            if copy[table.name]:
                await connection.execute(insert(table), copy[table.name])


def who(number: int) -> Identifier:
    return Identifier.parse_subject(f"uzovi:{number}")


async def issue(pki: OpenAuthority, number: int, request: CertificateRequest | None = None) -> Registered:
    holder = Holder(who(number), "Zorgkantoor Test", f"1234{number}")
    return (await pki.issue(holder, request or parse_request(request_der()), ANNA)).registered


async def newest(pki: OpenAuthority) -> StoredCrl:
    async with pki.database.read() as connection:
        [crl] = await Register(connection).crls()
    return crl


def listed(crl: StoredCrl | bytes) -> dict[str, str]:
    """Serial number -> date and reason."""
    found = {}
    for entry in x509.load_der_x509_crl(crl if isinstance(crl, bytes) else crl.der):
        reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason.value
        found[f"{entry.serial_number:x}"] = f"{entry.revocation_date_utc} {reason}"
    return found


async def version(pki: OpenAuthority) -> int:
    """Of the feed: its readers take no lower one than they saw."""
    async with pki.database.read() as connection:
        return await Register(connection).version()


async def restore(pki: OpenAuthority, *files: bytes) -> Restored:
    return await Restoration(pki).restore(files, ANNA)


async def state(pki: OpenAuthority, item: Registered) -> Registered:
    return (await pki.find(serial_number=item.serial_number))[0]


async def test_what_was_revoked_held_or_used_since_the_copy_does_not_come_back(
    pki: OpenAuthority, clock: FixedClock
) -> None:
    stolen, lives, suspended, renewed, ended = [await issue(pki, number) for number in range(5000, 5005)]
    await pki.revoke(RevocationReason.SUPERSEDED, ANNA, identifier=ended.identifier)
    code, _ = await CodeDesk(pki).create("TST", Holder(who(6000), "Zorgkantoor Test", "12346000"), ANNA)
    copy = await copied(pki)
    clock.advance(hours=1)
    await pki.revoke(RevocationReason.KEY_COMPROMISE, ANNA, identifier=stolen.identifier)
    clock.advance(hours=1)
    await pki.revoke(RevocationReason.CERTIFICATE_HOLD, ANNA, identifier=suspended.identifier)
    await pki.renew(renewed.identifier, parse_request(request_der()), ANNA, overlap=timedelta(0))
    await pki.withdrawal.sweep()
    await pki.withdrawal.revoke([await state(pki, ended)], RevocationReason.KEY_COMPROMISE, ANNA)
    young = await issue(pki, 7000)
    await pki.revoke(RevocationReason.PRIVILEGE_WITHDRAWN, ANNA, identifier=young.identifier)
    published = await newest(pki)
    seen = await version(pki)
    clock.advance(hours=1)
    await put_back(pki, copy)
    # Without the command: nobody listens to the numbers, and the thief's certificate is good.
    await pki.withdrawal.sweep()
    assert (await newest(pki)).number <= published.number
    assert stolen.serial_number not in listed(await newest(pki))
    assert await version(pki) <= seen

    found = await restore(pki, published.der)
    after = await newest(pki)
    assert after.number == found.crls[0].number == published.number + 1
    assert listed(after) == listed(published)
    assert await version(pki) > seen
    name = pki.cas[0].name
    assert set(found.revoked) == {f"{name}/{item.serial_number}" for item in (stolen, renewed)}
    assert found.held == [f"{name}/{suspended.serial_number}"]
    assert found.unknown == [f"{name}/{young.serial_number}"]
    assert found.codes == [code.selector]
    # The near miss: what no list says goes on working.
    assert (await state(pki, lives)).status == "active"
    assert (await state(pki, suspended)).held_at is not None
    assert (await state(pki, ended)).revocation_reason == "keyCompromise"
    async with pki.database.read() as connection:
        assert [item.status for item in await Codes(connection).find()] == ["withdrawn"]
    # What the register does not know stays on the list, and doing it twice tells nothing new.
    await pki.revoke(RevocationReason.REMOVE_FROM_CRL, ANNA, identifier=suspended.identifier)
    assert set(listed(published)) - set(listed(await newest(pki))) == {suspended.serial_number}
    again = await restore(pki, (await newest(pki)).der)
    assert (again.revoked, again.held, again.codes) == ([], [], [])
    assert again.unknown == found.unknown
    assert (await newest(pki)).number == published.number + 3


async def test_a_compromised_key_is_blocked_again(pki: OpenAuthority) -> None:
    request = parse_request(request_der())
    item = await issue(pki, 5000, request)
    copy = await copied(pki)
    await pki.revoke(RevocationReason.KEY_COMPROMISE, ANNA, identifier=item.identifier)
    published = await newest(pki)
    await put_back(pki, copy)
    pem = x509.load_der_x509_crl(published.der).public_bytes(Encoding.PEM)
    await restore(pki, pem)
    with pytest.raises(Refused) as caught:
        await issue(pki, 5000, request)
    assert caught.value.reason is Reason.KEY_BLOCKED
    await issue(pki, 5000)


async def test_a_certificate_that_was_about_to_be_signed_frees_neither_itself_nor_its_code(
    pki: OpenAuthority, clock: FixedClock
) -> None:
    desk = CodeDesk(pki)
    code, _ = await desk.create("TST", Holder(who(5000), "Zorgkantoor Test", "12345000"), ANNA)
    item = await issue(pki, 5000)
    other = await issue(pki, 6000)
    await pki.revoke(RevocationReason.CERTIFICATE_HOLD, ANNA, identifier=item.identifier)
    published = await newest(pki)
    async with pki.database.write() as connection:
        # As a copy made in between says it.
        intent = {"status": "issuing", "certificate": None, "held_at": None, "listed": False}
        theirs = certificates.c.serial_number == item.serial_number
        await connection.execute(update(certificates).where(theirs).values(**intent))
        used = {"status": "used", "issuer": item.issuer, "serial_number": item.serial_number}
        await connection.execute(update(enrolment_codes).values(**used))
    found = await restore(pki, published.der)
    assert found.codes == [code.selector]
    assert found.revoked == [item.reference]
    assert (await state(pki, item)).status == "revoked"
    assert (await state(pki, other)).status == "active"


async def test_one_record_tells_it_and_authz_takes_it(pki: OpenAuthority) -> None:
    await issue(pki, 5000)
    await pki.withdrawal.sweep()
    async with pki.database.read() as connection:
        before = len(await Register(connection).unshipped(100))
    await restore(pki, (await newest(pki)).der)
    async with pki.database.read() as connection:
        [record] = (await connection.execute(select(outbox.c.record).order_by(outbox.c.id).offset(before))).scalars()
    assert '"restored": "pki"' in record
    assert "operator:anna" in record
    assert EventType.COMPONENT_GAP in SHIPPED["pki"]


def crl_of(pki: OpenAuthority, number: int, signer: Signer | None = None, *entries: CrlEntry) -> bytes:
    """A CRL in the name of our CA."""
    ca, at = pki.cas[0], pki.clock.now()
    plan = CrlPlan(number, at, at + timedelta(hours=1))
    return make_crl(signer or ca.signer, ca.certificate.subject, ca.published, plan, entries)


@pytest.mark.parametrize("attack", ["another key", "bad signature", "too large", "no CRL", "a certificate", "none"])
async def test_a_list_that_is_not_our_own_changes_nothing(pki: OpenAuthority, attack: str) -> None:
    item = await issue(pki, 5000)
    await CodeDesk(pki).create("TST", Holder(who(6000), "Zorgkantoor Test", "12346000"), ANNA)
    await pki.withdrawal.sweep()
    entry = CrlEntry(int(item.serial_number, 16), pki.clock.now(), RevocationReason.SUPERSEDED.code)
    good = crl_of(pki, 1000, None, entry)
    files = {
        "another key": [crl_of(pki, 1000, KeySigner(ec.generate_private_key(ec.SECP256R1())), entry)],
        "bad signature": [good[:-1] + bytes((good[-1] ^ 1,))],
        "too large": [crl_of(pki, MAX_CRL_NUMBER, None, entry)],
        "no CRL": [b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"],
        "a certificate": [good, item.certificate or b""],
        "none": [],
    }[attack]
    before = await newest(pki)
    with pytest.raises(Refused) as caught:
        await restore(pki, *files)
    assert caught.value.reason is (Reason.PARAMETER_MISSING if attack == "none" else Reason.CRL_INVALID)
    assert await newest(pki) == before
    assert (await state(pki, item)).status == "active"
    async with pki.database.read() as connection:
        assert [code.status for code in await Codes(connection).find()] == ["ready"]
    # The near miss, twice over: an older one beside it, and the largest number that fits.
    assert (await restore(pki, good, crl_of(pki, 999))).revoked == [item.reference]
    assert (await newest(pki)).number == 1001
    await restore(pki, crl_of(pki, MAX_CRL_NUMBER - 1))
    assert (await newest(pki)).number == MAX_CRL_NUMBER
