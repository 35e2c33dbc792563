"""One active certificate for each identifier: enrol, renew, revoke, hold, and what falls due (on both databases)."""

import json
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from authz.domain.audit import AuditRecord, EventType, Outcome
from authz.domain.errors import Refused
from authz.domain.identifiers import Identifier
from authz.domain.reasons import Reason
from authz.domain.tracing import TraceContext
from pki.app import OpenAuthority
from pki.audit.records import Actor
from pki.authority import Issued
from pki.certificate_files import read_certificate
from pki.enrolment.requests import CertificateRequest, parse_request
from pki.issuing import Holder, IssuingError, Prepared
from pki.revocation.crl import RevocationReason
from pki.signing.signer import SignerError
from pki.store.register import Register
from pki.validation.validator import CertificateValidator, CrlStore, PinnedIssuer
from tests.fakes.clock import FixedClock

ZORGKANTOOR = Identifier.parse_subject("uzovi:5000")
OPERATOR = Actor("operator:test", "CA_OPERATOR", TraceContext("1" * 32, "1" * 16))


def request_for(key: ec.EllipticCurvePrivateKey | None = None) -> CertificateRequest:
    key = key or ec.generate_private_key(ec.SECP256R1())
    # Whatever a request says about names is ignored.
    evil = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "somebody else")])
    csr = x509.CertificateSigningRequestBuilder().subject_name(evil).sign(key, hashes.SHA256())
    return parse_request(csr.public_bytes(Encoding.DER))


def holder(subject: str = "uzovi:5000") -> Holder:
    return Holder(Identifier.parse_subject(subject), "Zorgkantoor Test", "12345678", ("a.example.nl",))


async def issue(pki: OpenAuthority, subject: str = "uzovi:5000") -> Issued:
    return await pki.issue(holder(subject), request_for(), OPERATOR)


async def renew(pki: OpenAuthority, **options: Any) -> Issued:
    return await pki.renew(ZORGKANTOOR, request_for(), OPERATOR, **options)


async def statuses(pki: OpenAuthority) -> list[str]:
    return [item.status for item in await pki.find()]


async def listed(pki: OpenAuthority) -> set[str]:
    """Serial numbers on the CRL as it stands."""
    async with pki.database.read() as connection:
        crls = await Register(connection).crls()
    return {f"{entry.serial_number:x}" for crl in crls for entry in x509.load_der_x509_crl(crl.der)}


async def records(pki: OpenAuthority) -> list[AuditRecord]:
    async with pki.database.read() as connection:
        return [AuditRecord.from_json(json.loads(text)) for _, text in await Register(connection).unshipped(100)]


async def refused(reason: Reason, work: Awaitable[object]) -> None:
    with pytest.raises(Refused) as caught:
        await work
    assert caught.value.reason is reason


async def test_what_is_issued_passes_the_validator(pki: OpenAuthority, clock: FixedClock) -> None:
    issued = await issue(pki)
    await pki.withdrawal.sweep()
    root = read_certificate(pki.settings.root.certificate)
    crls = CrlStore([root, pki.cas[0].der])
    crls.put(pki.settings.root.crl.read_bytes())
    async with pki.database.read() as connection:
        crls.put((await Register(connection).crls())[0].der)
    validator = CertificateValidator(
        anchors=[root],
        issuers=[PinnedIssuer(pki.cas[0].key, "sluis", "TST")],
        intermediates=[],
        crls=crls,
    )
    found = validator.validate(issued.certificate, [issued.issuer], clock.now())
    assert (found.identity, found.environment) == (ZORGKANTOOR, "TST")
    assert found.dns_names == ("a.example.nl",)
    assert "somebody else" not in found.subject
    assert found.not_after - found.not_before == timedelta(days=397, seconds=-1)


async def test_76_a_second_certificate_for_an_identifier(pki: OpenAuthority) -> None:
    await issue(pki)
    await refused(Reason.IDENTITY_HAS_CERTIFICATE, issue(pki))
    await issue(pki, "uzovi:6000")
    assert await statuses(pki) == ["active", "active"]


async def test_after_a_revocation_the_place_is_free(pki: OpenAuthority) -> None:
    first = await issue(pki)
    await pki.revoke(RevocationReason.SUPERSEDED, OPERATOR, identifier=ZORGKANTOOR)
    await issue(pki)
    assert await statuses(pki) == ["revoked", "active"]
    assert await listed(pki) == {first.registered.serial_number}


async def test_after_expiry_the_place_is_free(pki: OpenAuthority, clock: FixedClock) -> None:
    await issue(pki)
    clock.advance(days=396)
    await refused(Reason.IDENTITY_HAS_CERTIFICATE, issue(pki))
    clock.advance(days=2)
    await issue(pki)
    assert await statuses(pki) == ["expired", "active"]


async def test_a_renewal_overlaps_for_a_bounded_time_and_then_the_old_one_is_revoked(
    pki: OpenAuthority, clock: FixedClock
) -> None:
    first = await issue(pki)
    second = await renew(pki)
    assert await statuses(pki) == ["superseding", "active"]
    clock.advance(days=6, hours=23)
    await pki.withdrawal.sweep()
    assert await listed(pki) == set()
    clock.advance(hours=1)
    await pki.withdrawal.sweep()
    assert await statuses(pki) == ["revoked", "active"]
    assert await listed(pki) == {first.registered.serial_number}
    assert (await pki.find(status="revoked"))[0].revocation_reason == "superseded"
    assert second.registered.replaces == first.registered.serial_number


async def test_never_three_in_an_overlap(pki: OpenAuthority, clock: FixedClock) -> None:
    await issue(pki)
    await renew(pki)
    await refused(Reason.RENEWAL_UNDERWAY, renew(pki))
    assert await statuses(pki) == ["superseding", "active"]
    clock.advance(days=7)
    await pki.withdrawal.sweep()
    await renew(pki)
    assert await statuses(pki) == ["revoked", "superseding", "active"]


async def test_the_old_one_ends_when_its_holder_confirms_the_use_of_the_new_one_and_nobody_elses_does(
    pki: OpenAuthority,
) -> None:
    first = await issue(pki)
    second = await renew(pki)
    await issue(pki, "uzovi:6000")
    await pki.renew(Identifier.parse_subject("uzovi:6000"), request_for(), OPERATOR)
    for nothing_to_end in ("abc", first.registered.serial_number):
        assert not await pki.withdrawal.confirm_use("issuing-tst", nothing_to_end, OPERATOR)
    assert await pki.withdrawal.confirm_use("issuing-tst", second.registered.serial_number, OPERATOR)
    assert not await pki.withdrawal.confirm_use("issuing-tst", second.registered.serial_number, OPERATOR)
    assert await statuses(pki) == ["revoked", "active", "superseding", "active"]


async def test_renewing_with_the_same_key_or_a_new_one_but_never_with_another_partys(pki: OpenAuthority) -> None:
    key, other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    await pki.issue(holder(), request_for(key), OPERATOR)
    await pki.issue(holder("uzovi:6000"), request_for(other), OPERATOR)
    await refused(Reason.KEY_REUSED, pki.renew(ZORGKANTOOR, request_for(other), OPERATOR))
    await refused(Reason.KEY_REUSED, pki.issue(holder("uzovi:7000"), request_for(key), OPERATOR))
    # What was refused left nothing behind: the renewal may be tried again.
    await pki.renew(ZORGKANTOOR, request_for(key), OPERATOR)
    assert await statuses(pki) == ["superseding", "active", "active"]


async def test_a_compromised_key_takes_every_certificate_along_and_is_never_certified_again(pki: OpenAuthority) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    first = await pki.issue(holder(), request_for(key), OPERATOR)
    second = await pki.renew(ZORGKANTOOR, request_for(key), OPERATOR)
    serial = first.registered.serial_number
    await pki.revoke(RevocationReason.KEY_COMPROMISE, OPERATOR, serial_number=serial)
    assert await listed(pki) == {serial, second.registered.serial_number}
    await refused(Reason.KEY_BLOCKED, pki.issue(holder(), request_for(key), OPERATOR))
    await issue(pki)


async def test_revoking_one_by_serial_number_leaves_the_other(pki: OpenAuthority) -> None:
    first = await issue(pki)
    await renew(pki)
    await pki.revoke(RevocationReason.UNSPECIFIED, OPERATOR, serial_number=first.registered.serial_number)
    assert await statuses(pki) == ["revoked", "active"]
    await refused(
        Reason.CERTIFICATE_NOT_ACTIVE,
        pki.revoke(RevocationReason.UNSPECIFIED, OPERATOR, serial_number=first.registered.serial_number),
    )
    await refused(Reason.CERTIFICATE_UNKNOWN, pki.revoke(RevocationReason.UNSPECIFIED, OPERATOR, serial_number="abc"))


async def test_an_expired_certificate_can_still_be_revoked_on_the_record(pki: OpenAuthority, clock: FixedClock) -> None:
    first = await issue(pki)
    clock.advance(days=398)
    await pki.withdrawal.sweep()
    assert await statuses(pki) == ["expired"]
    await pki.revoke(RevocationReason.KEY_COMPROMISE, OPERATOR, serial_number=first.registered.serial_number)
    assert await statuses(pki) == ["revoked"]


async def test_a_hold_can_be_released_and_a_revocation_can_not(pki: OpenAuthority) -> None:
    first = await issue(pki)
    serial = first.registered.serial_number
    await pki.revoke(RevocationReason.CERTIFICATE_HOLD, OPERATOR, identifier=ZORGKANTOOR)
    assert await listed(pki) == {serial}
    # On hold it keeps its place, and cannot be renewed.
    await refused(Reason.IDENTITY_HAS_CERTIFICATE, issue(pki))
    await refused(Reason.CERTIFICATE_NOT_ACTIVE, renew(pki))
    await pki.revoke(RevocationReason.REMOVE_FROM_CRL, OPERATOR, serial_number=serial)
    assert await listed(pki) == set()
    await pki.revoke(RevocationReason.PRIVILEGE_WITHDRAWN, OPERATOR, serial_number=serial)
    await refused(
        Reason.CERTIFICATE_NOT_ACTIVE, pki.revoke(RevocationReason.REMOVE_FROM_CRL, OPERATOR, serial_number=serial)
    )
    assert await listed(pki) == {serial}


async def test_a_renewal_under_way_does_not_outlive_a_revocation(
    pki: OpenAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await issue(pki)
    sign = pki.authority._sign

    async def revoked_meanwhile(*given: object) -> bytes:
        await pki.revoke(RevocationReason.UNSPECIFIED, OPERATOR, serial_number=first.registered.serial_number)
        return await sign(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(pki.authority, "_sign", revoked_meanwhile)
    await refused(Reason.CERTIFICATE_NOT_ACTIVE, renew(pki))
    found = await pki.find()
    assert [item.status for item in found] == ["revoked", "revoked"]
    # What was signed is in the register and on the CRL, though nobody was given it.
    assert found[1].certificate is not None
    assert await listed(pki) == {item.serial_number for item in found}


async def test_an_enrolment_under_way_does_not_outlive_a_revocation_of_the_party(
    pki: OpenAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign = pki.authority._sign

    async def revoked_meanwhile(*given: object) -> bytes:
        await pki.revoke(RevocationReason.UNSPECIFIED, OPERATOR, identifier=ZORGKANTOOR)
        return await sign(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(pki.authority, "_sign", revoked_meanwhile)
    await refused(Reason.CERTIFICATE_NOT_ACTIVE, issue(pki))
    assert await statuses(pki) == ["revoked"]
    assert len(await listed(pki)) == 1


async def test_a_signer_that_fails_frees_the_place_and_the_renewal(
    pki: OpenAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    await issue(pki)
    redeem = pki.cas[0].redeem

    def broken(prepared: Prepared) -> bytes:
        raise IssuingError("the signer is broken")

    monkeypatch.setattr(pki.cas[0], "redeem", broken)
    with pytest.raises(IssuingError):
        await issue(pki, "uzovi:6000")
    with pytest.raises(IssuingError):
        await renew(pki)
    monkeypatch.setattr(pki.cas[0], "redeem", redeem)
    await issue(pki, "uzovi:6000")
    await renew(pki)
    assert sorted(await statuses(pki)) == ["active", "active", "revoked", "revoked", "superseding"]
    failed = [(item.event_type, item.reason) for item in await records(pki) if item.outcome is Outcome.ERROR]
    assert failed == [
        (EventType.CERTIFICATE_ISSUE, "internal_error"),
        (EventType.CERTIFICATE_RENEW, "internal_error"),
    ]


async def test_a_key_that_cannot_sign_anything_frees_the_place_too(
    pki: OpenAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*data: bytes) -> bytes:
        raise SignerError("the token is away")

    monkeypatch.setattr(pki.cas[0].signer, "sign", away)
    with pytest.raises(SignerError):
        await issue(pki)
    assert await statuses(pki) == ["revoked"]
    monkeypatch.undo()
    await issue(pki)
    await pki.withdrawal.sweep()
    assert await statuses(pki) == ["revoked", "active"]


async def test_only_one_crl_number_at_a_time_and_always_higher(pki: OpenAuthority, clock: FixedClock) -> None:
    numbers = []
    for _ in range(3):
        await pki.withdrawal.sweep()
        async with pki.database.read() as connection:
            numbers.append((await Register(connection).crls())[0].number)
        clock.advance(minutes=30)
    assert numbers == [2, 3, 4]
    await pki.withdrawal.sweep()
    async with pki.database.read() as connection:
        crl = x509.load_der_x509_crl((await Register(connection).crls())[0].der)
    point = crl.extensions.get_extension_for_class(x509.IssuingDistributionPoint)
    assert point.critical
    assert point.value.full_name is not None
    assert point.value.full_name[0].value == "http://127.0.0.1:18080/crl/issuing-tst.crl"


async def test_every_step_is_recorded_and_so_is_every_refusal(pki: OpenAuthority) -> None:
    first = await issue(pki)
    await refused(Reason.IDENTITY_HAS_CERTIFICATE, issue(pki))
    await renew(pki)
    await pki.revoke(RevocationReason.UNSPECIFIED, OPERATOR, serial_number=first.registered.serial_number)
    found = await records(pki)
    assert [(record.event_type, record.reason) for record in found] == [
        (EventType.CERTIFICATE_INTENT, ""),
        (EventType.CERTIFICATE_ISSUE, ""),
        (EventType.CERTIFICATE_ISSUE, "identity_has_certificate"),
        (EventType.CERTIFICATE_INTENT, ""),
        (EventType.CERTIFICATE_RENEW, ""),
        (EventType.CERTIFICATE_REVOKE, ""),
    ]
    assert found[1].objects[1].identifier == first.registered.reference
    assert {record.users[0].id for record in found} == {"operator:test"}


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        ({"common_name": "x\x00y"}, Reason.REQUEST_MALFORMED),
        ({"common_name": "x" * 65}, Reason.REQUEST_MALFORMED),
        ({"common_name": "é" * 33}, Reason.REQUEST_MALFORMED),  # 66 bytes
        ({"dns": ("*.example.nl",)}, Reason.REQUEST_MALFORMED),
        ({"dns": ("a.example.nl", "a.example.nl")}, Reason.REQUEST_MALFORMED),
        ({"dns": ("localhost",)}, Reason.LINT_FAILED),
        ({"kvk": "1234567"}, Reason.REQUEST_MALFORMED),
    ],
)
async def test_a_holder_that_breaks_the_profile_leaves_nothing(
    odd: dict[str, object], reason: Reason, pki: OpenAuthority
) -> None:
    who = Holder(
        ZORGKANTOOR,
        "Zorgkantoor Test",
        str(odd.get("kvk", "12345678")),
        tuple(odd.get("dns", ("a.example.nl",))),  # type: ignore[arg-type]
        str(odd.get("common_name", "")),
    )
    await refused(reason, pki.issue(who, request_for(), OPERATOR))
    assert await statuses(pki) == []
