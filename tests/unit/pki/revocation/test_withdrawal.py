"""What a revocation leaves behind: nothing that keeps a party out, and nothing that lets it back in."""

import asyncio
import json
from collections.abc import Awaitable
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from authz.domain.errors import Refused
from authz.domain.identifiers import Identifier
from authz.domain.reasons import Reason
from pki.app import OpenAuthority
from pki.audit.records import new_trace, operator
from pki.authority import Issued
from pki.enrolment.desk import CodeDesk
from pki.enrolment.requests import CertificateRequest, parse_request
from pki.enrolment.service import Asker, Enrolment
from pki.issuing import Holder, Prepared
from pki.revocation.crl import RevocationReason
from pki.revocation.withdrawal import Withdrawn
from pki.store.keys import Keys
from pki.store.register import Register, Registered
from tests.fakes.clock import FixedClock
from tests.fakes.requests import request_der

WHO = Identifier.parse_subject("uzovi:5000")
HOLDER = Holder(WHO, "Zorgkantoor Test", "12345678", ("a.example.nl",))
ANNA = operator("anna")


class Killed(BaseException):
    """The process is gone: nothing that would have come after is done."""


async def refused(reason: Reason, work: Awaitable[object]) -> None:
    with pytest.raises(Refused) as caught:
        await work
    assert caught.value.reason is reason


def new_request(key: ec.EllipticCurvePrivateKey | None = None) -> CertificateRequest:
    return parse_request(request_der(key))


async def issue(pki: OpenAuthority, key: ec.EllipticCurvePrivateKey | None = None) -> Issued:
    return await pki.issue(HOLDER, new_request(key), ANNA)


async def renew(pki: OpenAuthority, request: CertificateRequest | None = None) -> Issued:
    return await pki.renew(WHO, request or new_request(), ANNA)


async def revoke(pki: OpenAuthority, reason: RevocationReason, serial_number: str | None = None) -> list[Registered]:
    who = WHO if serial_number is None else None
    return await pki.revoke(reason, ANNA, identifier=who, serial_number=serial_number)


async def party(pki: OpenAuthority, reason: RevocationReason = RevocationReason.UNSPECIFIED) -> Withdrawn:
    return await pki.revoke_party(reason, ANNA, WHO)


async def statuses(pki: OpenAuthority) -> list[str]:
    return [item.status for item in await pki.find()]


async def on_crl(pki: OpenAuthority) -> dict[str, str]:
    """Serial number -> reason, on the CRL as it stands."""
    async with pki.database.read() as connection:
        crls = await Register(connection).crls()
    return {
        f"{entry.serial_number:x}": next((item.value.reason.value for item in entry.extensions), "unspecified")
        for crl in crls
        for entry in x509.load_der_x509_crl(crl.der)
    }


async def events(pki: OpenAuthority) -> list[tuple[str, str]]:
    async with pki.database.read() as connection:
        records = [json.loads(record) for _, record in await Register(connection).unshipped(500)]
    return [(record["event"]["type"], record["event"]["reason"]) for record in records]


async def killed_renewal(pki: OpenAuthority, monkeypatch: pytest.MonkeyPatch) -> tuple[CertificateRequest, Registered]:
    """Between the intent and the signature."""

    def die(prepared: Prepared) -> bytes:
        raise Killed

    request = new_request()
    with monkeypatch.context() as patched:
        patched.setattr(pki.cas[0], "redeem", die)
        with pytest.raises(Killed):
            await renew(pki, request)
    return request, (await pki.find(status="renewing"))[0]


# A renewal that came to nothing leaves its party renewable.


@pytest.mark.parametrize("how", ["by serial number", "by its key"])
async def test_a_killed_renewal_that_somebody_withdraws_does_not_keep_its_party_from_renewing(
    pki: OpenAuthority, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    await issue(pki)
    request, row = await killed_renewal(pki, monkeypatch)
    # While nobody knows what became of it, there is one renewal.
    await refused(Reason.RENEWAL_UNDERWAY, renew(pki))
    if how == "by serial number":
        await revoke(pki, RevocationReason.UNSPECIFIED, row.serial_number)
    else:
        await CodeDesk(pki).block_keys([request.name], "compromised", ANNA)
    assert await statuses(pki) == ["active", "revoked"]
    await renew(pki)
    assert await statuses(pki) == ["superseding", "revoked", "active"]
    await refused(Reason.RENEWAL_UNDERWAY, renew(pki))


async def test_a_killed_renewal_that_nobody_withdraws_is_given_up_in_a_minute(
    pki: OpenAuthority, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await issue(pki)
    await killed_renewal(pki, monkeypatch)
    clock.advance(seconds=60)
    await pki.withdrawal.sweep()
    await refused(Reason.RENEWAL_UNDERWAY, renew(pki))
    clock.advance(seconds=1)
    await pki.withdrawal.sweep()
    await renew(pki)


async def test_a_hold_of_the_old_one_during_a_killed_renewal_ends_with_its_release(
    pki: OpenAuthority, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = (await issue(pki)).registered.serial_number
    _, row = await killed_renewal(pki, monkeypatch)
    # What is not a certificate yet cannot be put on hold.
    await refused(Reason.CERTIFICATE_NOT_ACTIVE, revoke(pki, RevocationReason.CERTIFICATE_HOLD, row.serial_number))
    await revoke(pki, RevocationReason.CERTIFICATE_HOLD, first)
    clock.advance(seconds=61)
    await pki.withdrawal.sweep()
    await refused(Reason.CERTIFICATE_NOT_ACTIVE, renew(pki))
    await revoke(pki, RevocationReason.REMOVE_FROM_CRL, first)
    await renew(pki)


async def test_a_renewal_whose_key_is_blocked_before_its_outcome_leaves_the_old_one_active_and_renewable(
    pki: OpenAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await issue(pki)
    request = new_request()
    sign = pki.authority._sign

    async def blocked_meanwhile(*given: Any) -> bytes:
        async with pki.database.write() as connection:
            await Keys(connection).block([request.name], "compromised", ANNA.id, pki.clock.now())
        return await sign(*given)

    with monkeypatch.context() as patched:
        patched.setattr(pki.authority, "_sign", blocked_meanwhile)
        await refused(Reason.CERTIFICATE_NOT_ACTIVE, renew(pki, request))
    found = await pki.find()
    assert [(item.status, item.overlap_until) for item in found] == [("active", None), ("revoked", None)]
    # What was signed is in the register and on the CRL, though nobody was given it.
    assert found[1].certificate is not None
    assert (await on_crl(pki)).keys() == {found[1].serial_number}
    assert (await renew(pki)).registered.replaces == first.registered.serial_number


async def test_a_slow_renewal_does_not_take_over_from_the_one_begun_since(
    pki: OpenAuthority, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await issue(pki)
    sign = pki.authority._sign
    quick: list[Issued] = []

    async def overtaken(*given: Any) -> bytes:
        monkeypatch.undo()
        clock.advance(seconds=61)
        await pki.withdrawal.sweep()
        quick.append(await renew(pki))
        return await sign(*given)

    monkeypatch.setattr(pki.authority, "_sign", overtaken)
    await refused(Reason.CERTIFICATE_NOT_ACTIVE, renew(pki))
    found = {item.serial_number: item for item in await pki.find()}
    assert [item.status for item in found.values()] == ["superseding", "revoked", "active"]
    assert found[quick[0].registered.serial_number].status == "active"
    assert [item.certificate is not None for item in found.values()] == [True, True, True]


# That a key is compromised is often learnt late.


@pytest.mark.parametrize("by_identity", [True, False])
async def test_a_key_that_turns_out_compromised_after_its_certificate_was_revoked(
    pki: OpenAuthority, clock: FixedClock, *, by_identity: bool
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    serial = (await issue(pki, key)).registered.serial_number
    await revoke(pki, RevocationReason.SUPERSEDED)
    at = clock.now()
    # The near miss: the same key again, while nothing is known against it.
    second = (await issue(pki, key)).registered.serial_number
    await revoke(pki, RevocationReason.CESSATION_OF_OPERATION)
    clock.advance(days=3)
    changed = await revoke(pki, RevocationReason.KEY_COMPROMISE, None if by_identity else serial)
    assert {item.serial_number for item in changed} == {serial, second}
    # The entries say so from now on, of the moment since which the certificates do not work.
    assert await on_crl(pki) == {serial: "keyCompromise", second: "keyCompromise"}
    assert {item.revoked_at for item in await pki.find()} == {at}
    await refused(Reason.KEY_BLOCKED, issue(pki, key))
    await issue(pki)


@pytest.mark.parametrize("weaker", ["superseded", "unspecified", "cessationOfOperation", "certificateHold"])
async def test_no_weaker_reason_replaces_that_the_key_is_compromised(pki: OpenAuthority, weaker: str) -> None:
    serial = (await issue(pki)).registered.serial_number
    await revoke(pki, RevocationReason.KEY_COMPROMISE)
    await refused(Reason.CERTIFICATE_NOT_ACTIVE, revoke(pki, RevocationReason(weaker), serial))
    # Said once: to say it again changes nothing.
    await refused(Reason.CERTIFICATE_NOT_ACTIVE, revoke(pki, RevocationReason.KEY_COMPROMISE, serial))
    assert await on_crl(pki) == {serial: "keyCompromise"}


async def test_other_reasons_do_not_replace_each_other(pki: OpenAuthority) -> None:
    serial = (await issue(pki)).registered.serial_number
    await revoke(pki, RevocationReason.SUPERSEDED)
    await refused(Reason.CERTIFICATE_NOT_ACTIVE, revoke(pki, RevocationReason.PRIVILEGE_WITHDRAWN, serial))
    assert await on_crl(pki) == {serial: "superseded"}


# Codes.


async def code_for(pki: OpenAuthority, *, renewal: bool = False) -> tuple[str, str]:
    made, text = await CodeDesk(pki).create("TST", HOLDER, ANNA, renewal=renewal)
    return made.selector, text


async def redeem(pki: OpenAuthority, code: str, who: Identifier = WHO) -> Issued:
    enrolment, asker = Enrolment(pki), Asker(new_trace(), "192.0.2.1")
    return await enrolment.enrol(await enrolment.authenticate(who, code, asker), request_der(), asker)


@pytest.mark.parametrize("waiting", [False, True], ids=["ready", "waiting for approval"])
@pytest.mark.parametrize("certified", [False, True], ids=["without a certificate", "with one"])
async def test_a_revoked_party_does_not_come_back_with_a_code_that_was_open(
    pki: OpenAuthority, *, waiting: bool, certified: bool
) -> None:
    if certified:
        await issue(pki)
    selector, code = await code_for(pki, renewal=certified)
    other = Identifier.parse_subject("uzovi:6000")
    _, theirs = await CodeDesk(pki).create("TST", Holder(other, "Ander", "87654321"), ANNA)
    if waiting:
        async with pki.database.write() as connection:
            await connection.exec_driver_sql(
                "UPDATE enrolment_codes SET status = 'pending' WHERE identifier = 'uzovi:5000'"
            )
    done = await party(pki)
    assert [(item.selector, item.status) for item in done.codes] == [(selector, "withdrawn")]
    assert len(done.certificates) == certified
    await refused(Reason.CODE_WITHDRAWN, redeem(pki, code))
    await refused(Reason.CODE_UNKNOWN, CodeDesk(pki).approve(selector, operator("bram"), statement=None))
    assert ("enrolment.code_withdraw", "") in await events(pki)
    # Another party's code is another party's, and who was revoked is taken up anew with a new code.
    assert (await redeem(pki, theirs, other)).registered.status == "active"
    assert (await redeem(pki, (await code_for(pki))[1])).registered.status == "active"


@pytest.mark.parametrize("reason", ["keyCompromise", "unspecified"])
async def test_a_code_goes_also_when_there_is_no_certificate_left_to_revoke(pki: OpenAuthority, reason: str) -> None:
    await issue(pki)
    await party(pki, RevocationReason.KEY_COMPROMISE)
    selector, code = await code_for(pki)
    done = await party(pki, RevocationReason(reason))
    assert (done.certificates, [item.selector for item in done.codes]) == ([], [selector])
    await refused(Reason.CODE_WITHDRAWN, redeem(pki, code))


async def test_a_hold_leaves_the_code_and_a_party_with_nothing_is_unknown(pki: OpenAuthority) -> None:
    await refused(Reason.CERTIFICATE_UNKNOWN, party(pki))
    await issue(pki)
    await code_for(pki, renewal=True)
    done = await party(pki, RevocationReason.CERTIFICATE_HOLD)
    assert (len(done.certificates), done.codes) == (1, [])
    assert [item.status for item in await CodeDesk(pki).find(still_open=True)] == ["ready"]


@pytest.mark.parametrize("reason", ["cessationOfOperation", "unspecified", "keyCompromise"])
@pytest.mark.parametrize("signed", [False, True], ids=["before it is signed", "after it is signed"])
async def test_a_party_that_is_revoked_while_it_enrols_does_not_use_its_code_twice(
    pki: OpenAuthority, monkeypatch: pytest.MonkeyPatch, reason: str, *, signed: bool
) -> None:
    _, code = await code_for(pki)
    sign = pki.authority._sign

    async def revoked_meanwhile(*given: Any) -> bytes:
        der = await sign(*given) if signed else b""
        await party(pki, RevocationReason(reason))
        return der or await sign(*given)

    with monkeypatch.context() as patched:
        patched.setattr(pki.authority, "_sign", revoked_meanwhile)
        await refused(Reason.CERTIFICATE_NOT_ACTIVE, redeem(pki, code))
    await refused(Reason.CODE_USED, redeem(pki, code))
    # What was signed is kept, as after a renewal.
    [found] = await pki.find()
    assert (found.status, found.revocation_reason, found.certificate is not None) == ("revoked", reason, True)
    assert (await on_crl(pki)).keys() == {found.serial_number}


async def test_a_killed_enrolment_that_the_operator_revokes_does_not_give_the_code_back(
    pki: OpenAuthority, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(prepared: Prepared) -> bytes:
        raise Killed

    _, code = await code_for(pki)
    with monkeypatch.context() as patched:
        patched.setattr(pki.cas[0], "redeem", die)
        with pytest.raises(Killed):
            await redeem(pki, code)
    await party(pki, RevocationReason.CESSATION_OF_OPERATION)
    clock.advance(seconds=61)
    await pki.withdrawal.sweep()
    await refused(Reason.CODE_USED, redeem(pki, code))


async def test_a_code_that_is_used_while_its_party_is_revoked(pki: OpenAuthority) -> None:
    """Whoever comes first: afterwards nothing works, and no code is open."""
    for _ in range(4):
        _, code = await code_for(pki)
        await asyncio.gather(redeem(pki, code), party(pki), return_exceptions=True)
        assert not {"active", "superseding", "issuing"} & set(await statuses(pki))
        assert await CodeDesk(pki).find(still_open=True) == []


# What expired.


async def test_of_a_party_whose_certificates_expired_the_newest_is_revoked_on_the_record(
    pki: OpenAuthority, clock: FixedClock
) -> None:
    await issue(pki)
    clock.advance(days=398)
    second = await issue(pki)
    clock.advance(days=398)
    await pki.withdrawal.sweep()
    await refused(Reason.CERTIFICATE_NOT_ACTIVE, party(pki, RevocationReason.CERTIFICATE_HOLD))
    done = await party(pki, RevocationReason.KEY_COMPROMISE)
    assert [item.serial_number for item in done.certificates] == [second.registered.serial_number]
    assert await statuses(pki) == ["expired", "revoked"]


async def test_a_live_certificate_is_revoked_rather_than_one_that_expired(
    pki: OpenAuthority, clock: FixedClock
) -> None:
    await issue(pki)
    clock.advance(days=398)
    second = await issue(pki)
    done = await party(pki)
    assert [item.serial_number for item in done.certificates] == [second.registered.serial_number]
    assert await statuses(pki) == ["expired", "revoked"]


async def test_a_hold_gives_up_its_place_when_its_certificate_expires_and_not_before(
    pki: OpenAuthority, clock: FixedClock
) -> None:
    first = (await issue(pki)).registered
    await revoke(pki, RevocationReason.CERTIFICATE_HOLD)
    clock.moment = first.not_after
    await refused(Reason.IDENTITY_HAS_CERTIFICATE, issue(pki))
    clock.advance(seconds=1)
    await issue(pki)
    assert await statuses(pki) == ["expired", "active"]
    # There is nothing to release any more; the CRL tells the hold for a day after the end.
    await refused(Reason.CERTIFICATE_NOT_ACTIVE, revoke(pki, RevocationReason.REMOVE_FROM_CRL, first.serial_number))
    await pki.withdrawal.sweep()
    assert await on_crl(pki) == {first.serial_number: "certificateHold"}
    clock.advance(days=1)
    await pki.withdrawal.sweep()
    assert await on_crl(pki) == {}
