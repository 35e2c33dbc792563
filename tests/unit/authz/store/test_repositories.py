"""What goes in comes out as it was, in one transaction with its records, and nobody takes what is another's."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from authz.directory.model import Function, Service, SystemRole
from authz.domain.errors import InvalidValue
from authz.domain.identifiers import Identifier
from authz.participants.model import Credential, DaneRule, Environment, Participant, ParticipantStatus
from authz.store.audit_log import StoredAuditLog
from authz.store.bundles import StoredBundleSerials
from authz.store.database import Database
from authz.store.directory import StoredDirectory
from authz.store.participants import StoredParticipants
from authz.store.revocations import StoredRevocations
from authz.store.signing_keys import StoredSigningKeys
from authz.tokens.revocation import Revocation, RevocationKind
from authz.tokens.rotation import SigningKeyRecord
from tests.fakes.clock import FixedClock
from tests.fakes.records import audit_record


def credential(identity: str, issuer: str = "a", **changes: Any) -> Credential:
    return Credential(issuer * 64, Identifier.parse_subject(identity), **changes)


def participant(subject: str = "uzovi:5000", **changes: Any) -> Participant:
    values: dict[str, Any] = {
        "id": Identifier.parse_subject(subject),
        "name": "Zorgkantoor Één",
        "organization_type": "ZORGKANTOOR",
        "environment": Environment.TST,
        "roles": ("BRONHOUDER", "AUDITOR"),
        "identifiers": (Identifier.parse_subject(subject), Identifier.parse_subject("kvk:12345678")),
        "credentials": (
            credential(subject, allowed_addresses=("192.0.2.0/24", "2001:db8::/32")),
            credential(subject, "b", blocked=True),
        ),
        "log_sources": ("sluis/trust-agent/b", "sluis/trust-agent/a"),
        "status": ParticipantStatus.SUSPENDED,
        "dane": DaneRule.REQUIRED,
    }
    return Participant(**values | changes)


def plain(subject: str, **changes: Any) -> Participant:
    return participant(subject, **{"identifiers": (), "credentials": (), "log_sources": (), "roles": ()} | changes)


def service(**changes: Any) -> Service:
    values: dict[str, Any] = {
        "organisation": "CIZ",
        "function": Function.REGISTER,
        "environment": Environment.TST,
        "system_role": SystemRole.REGISTER,
        "holder": Identifier.parse_subject("uzovi:5000"),
        "authorization_endpoint": "https://pep.example.nl/graphql",
        "token_endpoint": "https://authz.example.nl/token",
        "resource_endpoint": "https://register.example.nl/graphql",
        "register": "wlzindicatieregister",
    }
    return Service(**values | changes)


async def test_a_deelnemer_comes_back_as_it_was_saved(database: Database) -> None:
    stored = StoredParticipants(database)
    assert (await stored.version(), await stored.load()) == (0, (0, ()))
    one, two = participant(), plain("agbcode:01234567")
    assert await stored.save([one, two], [audit_record()]) == 1
    assert await stored.load() == (1, (two, one))
    assert await StoredAuditLog(database).size() == 1


async def test_a_deelnemer_that_a_release_of_before_wrote_has_dane_optional_and_is_changed_by_it_in_nothing(
    database: Database,
) -> None:
    stored = StoredParticipants(database)
    await stored.save([plain("agbcode:01234567")], [])
    old = "INSERT INTO participant (environment, id, name, organization_type, status) VALUES ('TST', :id, 'x', 'X1', "
    upsert = f"{old} 'active') ON CONFLICT (environment, id) DO UPDATE SET name = excluded.name"
    for subject in ("uzovi:5001", "agbcode:01234567"):
        await database.write(lambda c, subject=subject: c.execute(text(upsert), {"id": subject}))  # type: ignore[misc]
    _, found = await stored.load()
    assert {item.id.subject: item.dane for item in found} == {
        "uzovi:5001": DaneRule.OPTIONAL,
        "agbcode:01234567": DaneRule.REQUIRED,
    }


async def test_a_deelnemer_is_replaced_whole(database: Database) -> None:
    stored = StoredParticipants(database)
    await stored.save([participant()], [])
    replaced = plain("uzovi:5000", name="Other", status=ParticipantStatus.ACTIVE)
    assert await stored.save([replaced], []) == 2
    assert await stored.load() == (2, (replaced,))


@pytest.mark.parametrize(
    "taken",
    [
        {"credentials": (credential("uzovi:5000"),)},
        {"identifiers": (Identifier.parse_subject("kvk:12345678"),)},
        {"log_sources": ("sluis/trust-agent/a",)},
    ],
)
async def test_what_belongs_to_another_deelnemer_is_refused_with_everything_beside_it(
    database: Database, taken: dict[str, Any]
) -> None:
    stored = StoredParticipants(database)
    await stored.save([participant()], [])
    before = await stored.load()
    with pytest.raises(InvalidValue):
        await stored.save([plain("agbcode:01234567"), plain("agbcode:01234568", **taken)], [audit_record()])
    assert await stored.load() == before
    assert await StoredAuditLog(database).size() == 0
    elsewhere = plain("agbcode:01234568", environment=Environment.ACC, **taken)
    assert await stored.save([elsewhere], []) == 2


async def test_two_deelnemers_exchange_a_credential_in_one_change(database: Database) -> None:
    stored = StoredParticipants(database)
    first, second = credential("uzovi:5000"), credential("uzovi:5001")
    await stored.save([plain("uzovi:5000", credentials=(first,)), plain("uzovi:5001", credentials=(second,))], [])
    swapped = (plain("uzovi:5000", credentials=(second,)), plain("uzovi:5001", credentials=(first,)))
    await stored.save(swapped, [])
    assert (await stored.load())[1] == swapped


async def test_a_service_needs_a_holder_of_its_environment(database: Database) -> None:
    stored = StoredDirectory(database)
    await StoredParticipants(database).save([plain("uzovi:5000")], [])
    assert await stored.save([service()], [audit_record()]) == 1
    with pytest.raises(InvalidValue):
        await stored.save([service(environment=Environment.PRD)], [audit_record()])
    with pytest.raises(InvalidValue):
        await stored.save([service(holder=Identifier.parse_subject("uzovi:5001"))], [])
    assert await stored.load() == (1, (service(),))
    moved = service(resource_endpoint="https://other.example.nl/graphql")
    melding = service(function=Function.MELDING, system_role=SystemRole.MELDING, register="")
    assert await stored.save([moved, melding], []) == 2
    assert await stored.load() == (2, (melding, moved))
    # Replacing the holder whole keeps its services.
    await StoredParticipants(database).save([plain("uzovi:5000", name="Other")], [])
    assert len((await stored.load())[1]) == 2


async def test_a_revocation_keeps_its_later_expiry_and_leaves_the_list_after_it(
    database: Database, clock: FixedClock
) -> None:
    stored = StoredRevocations(database, clock)
    soon, later = clock.now() + timedelta(minutes=5), clock.now() + timedelta(hours=1)
    token = Revocation(RevocationKind.JTI, "j" * 22, later)
    assert await stored.add([token], [audit_record()]) == 1
    assert await stored.add([Revocation(RevocationKind.JTI, "j" * 22, soon)], []) == 2
    certificate = Revocation(RevocationKind.CREDENTIAL, "c" * 43, soon)
    assert await stored.add([certificate], []) == 3
    listed = await stored.load(clock.now())
    assert (listed.version, listed.entries) == (3, (certificate, token))
    assert (await stored.load(soon)).entries == (certificate, token)
    assert (await stored.load(soon + timedelta(seconds=1))).entries == (token,)
    assert (await stored.load(later + timedelta(seconds=1))).entries == ()
    assert await stored.version() == 3


async def test_long_expired_revocations_do_not_pile_up(database: Database, clock: FixedClock) -> None:
    stored = StoredRevocations(database, clock)
    start = clock.now()
    await stored.add([Revocation(RevocationKind.JTI, "j" * 22, start + timedelta(hours=1))], [])
    clock.advance(days=3)
    await stored.add([Revocation(RevocationKind.JTI, "k" * 22, clock.now() + timedelta(hours=1))], [])
    assert [entry.value for entry in (await stored.load(start)).entries] == ["k" * 22]


async def test_a_signing_key_record_comes_back_as_it_was_saved(database: Database, clock: FixedClock) -> None:
    stored = StoredSigningKeys(database)
    key = SigningKeyRecord("kid1", "ES256", {"kty": "EC"}, clock.now(), clock.now() + timedelta(hours=1))
    other = SigningKeyRecord("kid0", "ES256", {"kty": "EC"}, clock.now(), clock.now())
    assert await stored.save([key, other], [audit_record()]) == 1
    assert await stored.load() == (1, (other, key))
    assert await stored.save([key], []) == await stored.version() == 2


async def test_a_withdrawn_key_and_its_revocation_are_one_act(database: Database, clock: FixedClock) -> None:
    stored, revocations = StoredSigningKeys(database), StoredRevocations(database, clock)
    key = SigningKeyRecord("k" * 43, "ES256", {"kty": "EC"}, clock.now(), clock.now(), withdrawn_at=clock.now())
    revocation = Revocation(RevocationKind.KEY, key.kid, clock.now() + timedelta(days=1))
    record = audit_record()
    await database.record(record)
    with pytest.raises(InvalidValue):
        await stored.save([key], [record], [revocation])
    assert (await stored.load(), (await revocations.load(clock.now())).entries) == ((0, ()), ())
    await stored.save([key], [audit_record()], [revocation])
    assert (await stored.load())[1] == (key,)
    assert (await revocations.load(clock.now())).entries == (revocation,)


async def test_the_number_of_a_bundle_only_grows(database: Database, clock: FixedClock) -> None:
    serials = StoredBundleSerials(database)

    async def publish(content: str) -> int:
        return await serials.publish("default", content, clock.now(), audit_record())

    first = await publish("a")
    assert first == int(clock.now().timestamp())
    assert await publish("a") == await serials.known("default", "a") == first
    # Within the same second, and with a clock that went back.
    assert await publish("b") == first + 1
    clock.advance(days=-1)
    assert await serials.known("default", "a") is None
    assert await publish("a") == first + 2
    await serials.renew("default", audit_record())
    assert await publish("a") == first + 3
    assert await serials.known("other", "a") is None


async def test_a_restored_backup_gives_out_no_number_that_readers_have_seen(
    database: Database, clock: FixedClock
) -> None:
    serials = StoredBundleSerials(database)
    seen = [await serials.publish("default", content, clock.now(), audit_record()) for content in "abcdef"]
    # Everything since the first publication is lost, and another content is published.
    await serials.renew("default", audit_record())
    clock.advance(hours=1)
    assert await serials.publish("default", "g", clock.now(), audit_record()) > max(seen)


async def test_another_process_sees_the_version_grow(database: Database, url: str, clock: FixedClock) -> None:
    other = Database(url, clock)
    await other.start()
    try:
        await StoredRevocations(other, clock).add([Revocation(RevocationKind.GRANT, "g", clock.now())], [])
        assert await StoredRevocations(database, clock).version() == 1
    finally:
        await other.close()
