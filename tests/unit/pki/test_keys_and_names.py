"""Keys in another dress, DNS names of others, and identities that contradict themselves (both databases)."""

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import text

from authz.domain.errors import InvalidValue, Refused
from authz.domain.identifiers import Identifier
from authz.domain.reasons import Reason
from pki.app import OpenAuthority
from pki.audit.records import operator
from pki.enrolment.blocking import key_name_of
from pki.enrolment.desk import CodeDesk
from pki.enrolment.key_names import KeyName, name_of
from pki.enrolment.requests import CertificateRequest, parse_request
from pki.enrolment.warrants import Warrants
from pki.issuing import Holder
from pki.names import CertificateIdentity, decode_identity, encode_identity, subject_name
from pki.revocation.crl import RevocationReason
from pki.signing.signer import PrivateKey
from pki.store.dns_names import DnsNames
from pki.store.register import Registered
from tests.fakes.clock import FixedClock
from tests.fakes.operators import ANNA_KEY, needing_two
from tests.fakes.requests import request_der

ANNA = operator("anna")
ORDER = {  # SEC 2 version 2, sections 2.4.2 and 2.5.1
    "secp256r1": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "secp384r1": int("F" * 48 + "C7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973", 16),
}
FIRST = Holder(Identifier.parse_subject("uzovi:5000"), "Zorgkantoor Test", "12345678", ("a.example.nl",))
SECOND = Holder(Identifier.parse_subject("uzovi:6000"), "Ander zorgkantoor", "87654321", ("b.example.nl",))


def negated(key: ec.EllipticCurvePrivateKey) -> ec.EllipticCurvePrivateKey:
    secret = key.private_numbers().private_value
    return ec.derive_private_key(ORDER[key.curve.name] - secret, key.curve)


def with_exponent(key: rsa.RSAPrivateKey, exponent: int) -> rsa.RSAPrivateKey:
    old = key.private_numbers()
    secret = pow(exponent, -1, (old.p - 1) * (old.q - 1))
    public = rsa.RSAPublicNumbers(exponent, old.public_numbers.n)
    made = rsa.RSAPrivateNumbers(
        old.p, old.q, secret, secret % (old.p - 1), secret % (old.q - 1), rsa.rsa_crt_iqmp(old.p, old.q), public
    )
    return made.private_key()


def request_for(key: PrivateKey) -> CertificateRequest:
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return parse_request(csr.public_bytes(Encoding.DER))


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    while True:  # one of which both exponents have an inverse
        key = rsa.generate_private_key(65537, 3072)
        primes = key.private_numbers()
        if (primes.p - 1) % 65539 and (primes.q - 1) % 65539:
            return key


def in_two_dresses(kind: str, rsa_key: rsa.RSAPrivateKey) -> tuple[PrivateKey, PrivateKey]:
    if kind == "rsa":
        return rsa_key, with_exponent(rsa_key, 65539)
    key = ec.generate_private_key(ec.SECP256R1() if kind == "p256" else ec.SECP384R1())
    return key, negated(key)


async def refused(reason: Reason, work: Awaitable[object]) -> None:
    with pytest.raises(Refused) as caught:
        await work
    assert caught.value.reason is reason


async def issue(pki: OpenAuthority, holder: Holder, key: PrivateKey | None = None) -> object:
    request = request_for(key) if key is not None else parse_request(request_der())
    return await pki.issue(holder, request, ANNA)


# Keys.


@pytest.mark.parametrize("kind", ["p256", "p384", "rsa"])
async def test_a_blocked_key_does_not_come_back_in_another_dress(
    pki: OpenAuthority, rsa_key: rsa.RSAPrivateKey, kind: str
) -> None:
    key, other = in_two_dresses(kind, rsa_key)
    await CodeDesk(pki).block_keys([name_of(key.public_key())], "compromised", ANNA)
    await refused(Reason.KEY_BLOCKED, issue(pki, FIRST, key))
    await refused(Reason.KEY_BLOCKED, issue(pki, FIRST, other))
    await issue(pki, FIRST)


@pytest.mark.parametrize("kind", ["p256", "rsa"])
async def test_a_key_in_another_dress_is_nobodys_second_key(
    pki: OpenAuthority, rsa_key: rsa.RSAPrivateKey, kind: str
) -> None:
    key, other = in_two_dresses(kind, rsa_key)
    await issue(pki, FIRST, key)
    await refused(Reason.KEY_REUSED, issue(pki, SECOND, other))
    # Not for the same party either; the very same key is allowed to it.
    await refused(Reason.KEY_REUSED, pki.renew(FIRST.identifier, request_for(other), ANNA))
    await pki.renew(FIRST.identifier, request_for(key), ANNA)
    await issue(pki, SECOND)


async def test_blocking_one_dress_revokes_the_certificate_of_the_other(
    pki: OpenAuthority, rsa_key: rsa.RSAPrivateKey
) -> None:
    key, other = in_two_dresses("p256", rsa_key)
    await issue(pki, FIRST, key)
    await issue(pki, SECOND)
    _, revoked = await CodeDesk(pki).block_keys([name_of(other.public_key())], "compromised", ANNA)
    assert [item.identifier for item in revoked] == [FIRST.identifier]
    assert [item.status for item in await pki.find()] == ["revoked", "active"]


async def test_a_block_of_which_another_operator_did_the_revocation_is_done_to_the_end(
    pki: OpenAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    await issue(pki, FIRST, keys[0])
    await issue(pki, SECOND, keys[1])
    revoke = pki.withdrawal.revoke

    async def beaten(*given: Any) -> list[Registered]:
        monkeypatch.undo()
        await revoke(*given)
        return await revoke(*given)

    monkeypatch.setattr(type(pki.withdrawal), "revoke", lambda _self, *given: beaten(*given))
    monkeypatch.setattr("pki.enrolment.desk._AT_ONCE", 1)
    added, revoked = await CodeDesk(pki).block_keys([name_of(key.public_key()) for key in keys], "weak", ANNA)
    assert (added, [item.identifier for item in revoked]) == (2, [SECOND.identifier])
    assert [item.status for item in await pki.find()] == ["revoked", "revoked"]


async def test_a_compromised_key_is_refused_in_another_dress(pki: OpenAuthority, rsa_key: rsa.RSAPrivateKey) -> None:
    key, other = in_two_dresses("p256", rsa_key)
    await issue(pki, FIRST, key)
    await pki.revoke(RevocationReason.KEY_COMPROMISE, ANNA, identifier=FIRST.identifier)
    await refused(Reason.KEY_BLOCKED, issue(pki, FIRST, other))


async def test_a_key_on_a_list_of_hashes_is_found_in_another_dress_once_it_was_certified_here(
    pki: OpenAuthority, rsa_key: rsa.RSAPrivateKey
) -> None:
    key, other = in_two_dresses("p256", rsa_key)
    await issue(pki, FIRST, key)
    _, revoked = await CodeDesk(pki).block_keys([KeyName(name_of(key.public_key()).subject_key)], "published", ANNA)
    assert len(revoked) == 1
    await refused(Reason.KEY_BLOCKED, issue(pki, FIRST, other))
    # Of one that was never seen, only the hash is known; a file of it later gives the rest.
    key, other = in_two_dresses("p256", rsa_key)
    desk = CodeDesk(pki)
    assert await desk.block_keys([KeyName(name_of(key.public_key()).subject_key)], "published", ANNA) == (1, [])
    assert await desk.block_keys([name_of(key.public_key())], "published", ANNA) == (0, [])
    await refused(Reason.KEY_BLOCKED, issue(pki, FIRST, other))


def test_the_core_of_a_key(rsa_key: rsa.RSAPrivateKey) -> None:
    for kind in ("p256", "p384", "rsa"):
        key, other = (name_of(made.public_key()) for made in in_two_dresses(kind, rsa_key))
        assert key.core == other.core
        assert key.subject_key != other.subject_key
    one, another = (name_of(ec.generate_private_key(ec.SECP256R1()).public_key()) for _ in range(2))
    assert one.core != another.core
    with pytest.raises(TypeError):
        name_of(b"a key")


def test_a_key_file_is_blocked_in_every_dress(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    path.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert key_name_of(path) == name_of(key)


# DNS names.


async def test_a_dns_name_of_another_organisation(pki: OpenAuthority, clock: FixedClock) -> None:
    await issue(pki, FIRST)
    intruder = replace(SECOND, dns_names=("b.example.nl", "a.example.nl"))
    await refused(Reason.DNS_NAME_TAKEN, issue(pki, intruder))
    await refused(Reason.DNS_NAME_TAKEN, CodeDesk(pki).create("TST", intruder, ANNA))
    assert len(await pki.find()) == 1
    # The near miss: a name that only looks alike.
    await issue(pki, replace(SECOND, dns_names=("xa.example.nl", "a.example.nl.example.nl")))
    request = parse_request(request_der())
    await refused(
        Reason.DNS_NAME_TAKEN, pki.renew(SECOND.identifier, request, ANNA, dns_names=["xa.example.nl", "a.example.nl"])
    )
    # Its own party renews with it, in whatever order.
    await pki.renew(FIRST.identifier, parse_request(request_der()), ANNA, dns_names=["c.example.nl", "a.example.nl"])


async def test_one_organisation_with_two_identifiers_has_one_name_for_both(pki: OpenAuthority) -> None:
    await issue(pki, FIRST)
    await issue(pki, replace(SECOND, kvk=FIRST.kvk, dns_names=FIRST.dns_names))
    # The name lives as long as one of them does.
    await pki.revoke(RevocationReason.SUPERSEDED, ANNA, identifier=FIRST.identifier)
    third = Holder(Identifier.parse_subject("uzovi:7000"), "Derde", "11112222", FIRST.dns_names)
    await refused(Reason.DNS_NAME_TAKEN, issue(pki, third))
    await pki.revoke(RevocationReason.SUPERSEDED, ANNA, identifier=SECOND.identifier)
    await issue(pki, third)
    await refused(Reason.DNS_NAME_TAKEN, issue(pki, FIRST))


async def test_one_operator_gets_no_test_certificate_with_a_name_of_production_whatever_kvk_number_he_types(
    pki: OpenAuthority,
) -> None:
    await issue(pki, FIRST)
    await issue(pki, replace(SECOND, kvk=FIRST.kvk))
    async with pki.database.write() as connection:
        production = "UPDATE certificates SET environment = 'PRD' WHERE identifier = 'uzovi:5000'"
        await connection.execute(text(production))
    # The KvK number is that of the owner of the name: nobody but the operator says so.
    forged = Holder(
        Identifier.parse_subject("uzovi:7000"), FIRST.organization, FIRST.kvk, ("z.example.nl", "a.example.nl")
    )
    await refused(Reason.DNS_NAME_OF_PRODUCTION, issue(pki, forged))
    await refused(Reason.DNS_NAME_OF_PRODUCTION, issue(pki, FIRST))
    await refused(Reason.DNS_NAME_OF_PRODUCTION, CodeDesk(pki).create("TST", forged, ANNA))
    request = parse_request(request_der())
    added = pki.renew(SECOND.identifier, request, ANNA, dns_names=["b.example.nl", "a.example.nl"])
    await refused(Reason.DNS_NAME_OF_PRODUCTION, added)
    # Of somebody else altogether it is that, first.
    await refused(Reason.DNS_NAME_TAKEN, issue(pki, replace(forged, kvk="11112222")))
    assert [item.environment for item in await pki.find(identifier=FIRST.identifier)] == ["PRD"]
    # The near misses: a name that looks alike, one of tests of the same organisation, one that production gave up.
    await issue(pki, replace(forged, dns_names=("xa.example.nl", "b.example.nl")))
    await pki.withdrawal.revoke(await pki.find(identifier=FIRST.identifier), RevocationReason.SUPERSEDED, ANNA)
    await issue(pki, FIRST)


async def test_where_two_vouch_for_tests_as_well_they_may_vouch_for_a_name_of_production(pki: OpenAuthority) -> None:
    await issue(pki, FIRST)
    async with pki.database.write() as connection:
        await connection.execute(text("UPDATE certificates SET environment = 'PRD'"))
    assert pki.warrants.guarded_from("TST") == ("PRD",)
    assert pki.warrants.guarded_from("PRD") == ()
    desk = CodeDesk(replace(pki, warrants=Warrants(needing_two(pki.settings), [ca.key for ca in pki.cas], [])))
    made, _ = await desk.create("TST", FIRST, ANNA, key=ANNA_KEY.key)
    assert (made.status, made.dns_names) == ("pending", FIRST.dns_names)


async def test_of_a_name_for_production_and_for_tests_at_once_production_or_the_first_gets_it(
    pki: OpenAuthority,
) -> None:
    """Two transactions want one name: whoever is second has waited, and sees what the first one did."""
    await issue(pki, FIRST)
    async with pki.database.write() as connection:
        await connection.execute(text("UPDATE certificates SET environment = 'PRD', status = 'revoked'"))

    async def production() -> None:
        async with pki.database.write() as connection:
            await DnsNames(connection).take(FIRST.dns_names, FIRST.kvk)
            await connection.execute(text("UPDATE certificates SET status = 'active' WHERE environment = 'PRD'"))

    other = Holder(Identifier.parse_subject("uzovi:7000"), "Test", FIRST.kvk, FIRST.dns_names)
    _, second = await asyncio.gather(production(), issue(pki, other), return_exceptions=True)
    reasons = [item.reason for item in (second,) if isinstance(item, Refused)]
    assert reasons in ([], [Reason.DNS_NAME_OF_PRODUCTION])
    # Afterwards production lives with it whichever came first, and no further certificate for tests gets it.
    again = Holder(Identifier.parse_subject("uzovi:8000"), "Test", FIRST.kvk, FIRST.dns_names)
    await refused(Reason.DNS_NAME_OF_PRODUCTION, issue(pki, again))


async def test_a_name_is_free_when_the_last_certificate_with_it_expired_or_was_revoked_and_not_on_hold(
    pki: OpenAuthority, clock: FixedClock
) -> None:
    await issue(pki, FIRST)
    heir = replace(SECOND, dns_names=FIRST.dns_names)
    await pki.revoke(RevocationReason.CERTIFICATE_HOLD, ANNA, identifier=FIRST.identifier)
    await refused(Reason.DNS_NAME_TAKEN, issue(pki, heir))
    clock.advance(days=398)
    await issue(pki, heir)


async def test_of_two_organisations_that_ask_for_a_name_at_once_one_gets_it(pki: OpenAuthority) -> None:
    names = ("x.example.nl", "y.example.nl")
    holders = [
        Holder(Identifier.parse_subject(f"uzovi:700{digit}"), "Test", f"1111222{digit}", names[:: 1 - 2 * (digit % 2)])
        for digit in range(1, 5)
    ]
    found = await asyncio.gather(*(issue(pki, holder) for holder in holders), return_exceptions=True)
    assert [item.reason for item in found if isinstance(item, Refused)] == [Reason.DNS_NAME_TAKEN] * 3
    assert [item.status for item in await pki.find()] == ["active"]


@pytest.mark.parametrize("who", ["third", "owner"])
async def test_a_name_that_two_organisations_live_with_is_nobodys_until_the_other_one_goes(
    pki: OpenAuthority, who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As a register of before names had owners comes to this version: the first is recorded, the second lives as well.
    await issue(pki, FIRST)
    with monkeypatch.context() as before:
        before.setattr(DnsNames, "take", _unasked)
        await issue(pki, replace(SECOND, dns_names=FIRST.dns_names))
    await pki.revoke(RevocationReason.SUPERSEDED, ANNA, identifier=FIRST.identifier)
    third = Holder(Identifier.parse_subject("uzovi:7000"), "Derde", "11112222", FIRST.dns_names)
    heir = third if who == "third" else FIRST
    await refused(Reason.DNS_NAME_TAKEN, issue(pki, heir))
    await refused(Reason.DNS_NAME_TAKEN, CodeDesk(pki).create("TST", heir, ANNA))
    assert [item.kvk for item in await pki.find(status="active")] == [SECOND.kvk]
    await issue(pki, replace(third, dns_names=("aa.example.nl",)))
    # The second goes on with it, and when it is gone the name is free.
    await pki.renew(SECOND.identifier, parse_request(request_der()), ANNA, overlap=timedelta(0))
    await pki.revoke(RevocationReason.SUPERSEDED, ANNA, identifier=SECOND.identifier)
    await issue(pki, replace(heir, identifier=Identifier.parse_subject("uzovi:8000")))


async def _unasked(*_: object, **__: object) -> None:
    pass


# Identities.


@pytest.mark.parametrize(
    ("identity", "kvk"),
    [
        ("kvk:11111111", "22222222"),
        ("oin:00000003111111110000", "22222222"),
        ("oin:00000003111111110001", "11111112"),
    ],
)
async def test_an_identity_that_contradicts_its_kvk_number(pki: OpenAuthority, identity: str, kvk: str) -> None:
    holder = Holder(Identifier.parse_subject(identity), "Test", kvk)
    await refused(Reason.REQUEST_MALFORMED, issue(pki, holder))
    await refused(Reason.REQUEST_MALFORMED, CodeDesk(pki).create("TST", holder, ANNA))
    await issue(pki, replace(holder, kvk="11111111"))


async def test_an_oin_that_holds_no_kvk_number_stands_beside_any(pki: OpenAuthority) -> None:
    await issue(pki, Holder(Identifier.parse_subject("oin:00000001111111110000"), "Test", "22222222"))


@pytest.mark.parametrize("organization", [" Test", "Test ", "\tTest", "Test\u00a0", "\u2003Test"])
def test_an_organisation_with_spaces_around_it(organization: str) -> None:
    identifier = FIRST.identifier
    with pytest.raises(InvalidValue):
        subject_name(organization=organization, common_name="a", kvk="12345678", identifier=identifier)
    with pytest.raises(InvalidValue):
        subject_name(organization="a", common_name=organization, kvk="12345678", identifier=identifier)
    assert subject_name(organization="Te st", common_name="a b", kvk="12345678", identifier=identifier)


async def test_a_ura_in_two_spellings_is_one_party(pki: OpenAuthority) -> None:
    await issue(pki, Holder(Identifier.parse_subject("ura:1234567"), "Test", "12345678"))
    again = Holder(Identifier.parse_subject("ura:01234567"), "Test", "12345678")
    await refused(Reason.IDENTITY_HAS_CERTIFICATE, issue(pki, again))
    await issue(pki, replace(again, identifier=Identifier.parse_subject("ura:12345670")))


def test_a_certificate_of_before_a_ura_had_one_spelling_names_the_same_party() -> None:
    now = encode_identity(CertificateIdentity("TST", Identifier.parse_subject("ura:1234567"))).value
    assert now.endswith(b"\x12\x0801234567")
    before = bytes((0x30, now[1] - 1)) + now[2:].replace(b"\x12\x0801234567", b"\x12\x071234567")
    assert decode_identity(before) == decode_identity(now)
    # Only that is read both ways: an AGB-code without its zero is none.
    agb = encode_identity(CertificateIdentity("TST", Identifier.parse_subject("agbcode:01234567"))).value
    with pytest.raises(Refused):
        decode_identity(bytes((0x30, agb[1] - 1)) + agb[2:].replace(b"\x12\x0801234567", b"\x12\x071234567"))
