"""How often a holder renews by himself: counted for the party, whatever certificate and key it has by now."""

from collections.abc import Awaitable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from pydantic import ValidationError
from sqlalchemy import select, update

from authz.domain.identifiers import Identifier
from authz.domain.reasons import Reason
from authz.edge.settings import load_settings
from pki.app import OpenAuthority
from pki.audit.records import new_trace, operator
from pki.enrolment.renewal_limits import TooOften
from pki.enrolment.requests import parse_request
from pki.enrolment.service import Asker, Enrolment
from pki.issuing import Holder, IssuingCa
from pki.names import identity_of
from pki.settings import IssuingSettings, PkiSettings
from pki.signing.signer import SignerError
from pki.store.register import Registered
from pki.store.tables import certificates
from pki.validation.validator import ValidatedCertificate
from tests.fakes.clock import FixedClock
from tests.fakes.requests import request_der

WHO = Identifier.parse_subject("uzovi:5000")
OTHER = Identifier.parse_subject("uzovi:6000")
ANNA = operator("anna")


@pytest.fixture
def at_once(config: Path) -> None:
    """No certificate is too young, so that only the counting is left."""
    config.write_text(f"{config.read_text()}\n[issuing]\nrenewal_after_hours = 0\n")


@pytest.fixture
def settings(config: Path, request: pytest.FixtureRequest) -> PkiSettings:
    if "at_once" in request.fixturenames:
        request.getfixturevalue("at_once")
    return load_settings(PkiSettings, config)


def validated(item: Registered) -> ValidatedCertificate:
    """What the validator says of it; validating has tests of its own."""
    assert item.certificate is not None
    named = identity_of(x509.load_der_x509_certificate(item.certificate))
    return ValidatedCertificate(
        thumbprint="",
        identity=named.identifier,
        environment=named.environment,
        issuer_key="",
        serial_number=int(item.serial_number, 16),
        not_before=item.not_before,
        not_after=item.not_after,
        subject="",
        organization="",
        dns_names=item.dns_names,
        twin="",
    )


async def active(pki: OpenAuthority, who: Identifier = WHO) -> Registered:
    return (await pki.find(identifier=who, status="active"))[0]


async def cycle(pki: OpenAuthority, who: Identifier = WHO) -> None:
    """What the loop does: renew with the newest certificate, then end the old one with the new one."""
    old = await active(pki, who)
    assert old.certificate is not None
    await Enrolment(pki).reenrol(validated(old), old.certificate, request_der(), Asker(new_trace()))
    new = await active(pki, who)
    assert new.serial_number != old.serial_number
    assert await pki.withdrawal.confirm_use(new.issuer, new.serial_number, ANNA)


async def refused(reason: Reason, work: Awaitable[object]) -> int:
    with pytest.raises(TooOften) as caught:
        await work
    assert caught.value.reason is reason
    return caught.value.seconds


async def issue(pki: OpenAuthority, who: Identifier = WHO) -> None:
    await pki.issue(Holder(who, "Zorgkantoor Test", "12345678"), parse_request(request_der()), ANNA)


async def test_a_certificate_younger_than_a_day_is_renewed_by_an_operator_only(
    pki: OpenAuthority, clock: FixedClock
) -> None:
    await issue(pki)
    clock.moment = (await active(pki)).not_before + timedelta(hours=24, seconds=-1)
    assert await refused(Reason.RENEWAL_TOO_SOON, cycle(pki)) == 2
    assert len(await pki.find()) == 1
    clock.advance(seconds=1)
    await cycle(pki)
    assert await refused(Reason.RENEWAL_TOO_SOON, cycle(pki)) > 86_000
    await pki.renew(WHO, parse_request(request_der()), ANNA)


@pytest.mark.usefixtures("at_once")
async def test_one_participant_cannot_make_the_crl_grow_without_limit(pki: OpenAuthority, clock: FixedClock) -> None:
    await issue(pki)
    await issue(pki, OTHER)
    made = 0
    for _ in range(200):
        clock.advance(hours=1)
        with suppress(TooOften):
            await cycle(pki)
            made += 1
    assert made == 10
    await cycle(pki, OTHER)
    # An operator is not counted against, and when the month is over its holder renews again.
    await pki.renew(WHO, parse_request(request_der()), ANNA, overlap=timedelta(0))
    await pki.withdrawal.sweep()
    wait = await refused(Reason.RENEWALS_EXHAUSTED, cycle(pki))
    assert 86_400 < wait < 31 * 86_400
    clock.advance(seconds=wait)
    await cycle(pki)


@pytest.mark.usefixtures("at_once")
async def test_the_limit_of_a_day_and_the_first_moment_after_it(pki: OpenAuthority, clock: FixedClock) -> None:
    await issue(pki)
    clock.advance(minutes=10)
    for _ in range(3):
        await cycle(pki)
    assert await refused(Reason.RENEWALS_EXHAUSTED, cycle(pki)) == 86_401
    clock.advance(hours=24, seconds=-1)
    await refused(Reason.RENEWALS_EXHAUSTED, cycle(pki))
    clock.advance(seconds=1)
    await cycle(pki)


@pytest.mark.usefixtures("at_once")
async def test_faults_of_our_signer_lock_no_honest_holder_out_and_a_crl_of_them_has_an_end(
    pki: OpenAuthority, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await issue(pki)
    clock.advance(minutes=10)

    async def fail(times: int) -> None:
        with monkeypatch.context() as broken:
            broken.setattr(IssuingCa, "redeem", _away)
            for _ in range(times):
                with pytest.raises(SignerError):
                    await cycle(pki)

    # More than he may renew, and he still may: the signer works again.
    await fail(9)
    await cycle(pki)
    # The near miss: one fault more, and he waits until the first is a day ago.
    await fail(1)
    assert await refused(Reason.RENEWALS_EXHAUSTED, cycle(pki)) == 86_401
    clock.advance(hours=24)
    await cycle(pki)


@pytest.mark.usefixtures("at_once")
async def test_a_renewal_that_was_signed_and_then_given_up_counts_as_one(pki: OpenAuthority, clock: FixedClock) -> None:
    await issue(pki)
    clock.advance(minutes=10)
    for _ in range(3):
        await cycle(pki)
    made = certificates.c.replaces.isnot(None)
    gone = {"status": "revoked", "revoked_at": clock.now(), "revocation_reason": "cessationOfOperation"}
    async with pki.database.write() as connection:
        found = (await connection.execute(select(certificates.c.id).where(made))).scalars().all()
        kept = certificates.c.id == found[0]
        await connection.execute(update(certificates).where(kept).values(**gone, given_up=True))
    await refused(Reason.RENEWALS_EXHAUSTED, cycle(pki))
    async with pki.database.write() as connection:
        await connection.execute(update(certificates).where(kept).values(certificate=None))
    await cycle(pki)


def _away(*_: object) -> None:
    raise SignerError("the token is away")


def test_limits_that_would_let_certificates_lapse_are_refused_at_the_start() -> None:
    assert IssuingSettings(lifetime_days=5).renewals_per_month == 10
    with pytest.raises(ValidationError, match="renewals_per_month: expected at least 12"):
        IssuingSettings(lifetime_days=4)
    assert IssuingSettings(lifetime_days=4, renewals_per_month=12)
    with pytest.raises(ValidationError, match="renewals_per_day: expected at least 2"):
        IssuingSettings(lifetime_days=1, renewals_per_day=1, renewals_per_month=100)
