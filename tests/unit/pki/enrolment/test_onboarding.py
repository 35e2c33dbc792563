"""Codes and first certificates for names that are not secure, tried at each door; each refusal beside its near miss."""

import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from authz.domain.audit import Outcome
from authz.domain.domains import DomainsNotSecure
from authz.domain.errors import Refused
from authz.domain.identifiers import Identifier
from authz.domain.reasons import Reason
from pki.app import OpenAuthority, open_authority
from pki.audit.records import new_trace, operator
from pki.authority import Issued
from pki.dnssec import DnssecResult
from pki.dnssec.model import Limits
from pki.enrolment.desk import CodeDesk
from pki.enrolment.onboarding import DomainGate
from pki.enrolment.operators.roster import Roster
from pki.enrolment.requests import parse_request
from pki.enrolment.service import Asker, Enrolment
from pki.issuing import Holder
from pki.settings import PkiSettings
from pki.store.register import Register
from pki.validation.validator import ValidatedCertificate
from tests.fakes.clock import FixedClock
from tests.fakes.dns import FakeDns
from tests.fakes.operators import ANNA_KEY, BRAM_KEY, needing_two
from tests.fakes.requests import request_der

WHO = Identifier.parse_subject("uzovi:5000")
ANNA, BRAM = operator("anna"), operator("bram")
HOST = {"pep": ["127.0.0.1"], "api": ["127.0.0.1"]}
BAD = {
    "pep.ongetekend.nl": Reason.DOMAIN_INSECURE,
    "pep.fout.nl": Reason.DOMAIN_BOGUS,
    "pep.verlopen.nl": Reason.DOMAIN_BOGUS,
    "pop.goed.nl": Reason.DOMAIN_ABSENT,
    "pep.stil.nl": Reason.DOMAIN_UNREACHABLE,
}
LAPSED = {"name": "goed.nl", "state": "unsigned", "records": HOST}


def world(goed: Mapping[str, Any] | None = None) -> FakeDns:
    found = FakeDns(
        goed or {"name": "goed.nl", "records": HOST},
        {"name": "ongetekend.nl", "state": "unsigned", "records": HOST},
        {"name": "fout.nl", "state": "wrong-ds", "records": HOST},
        {"name": "verlopen.nl", "state": "expired", "records": HOST},
        {"name": "stil.nl", "records": HOST},
    )
    found.tamper["pep.stil.nl.", "A"] = lambda _: None
    return found


class Dns:
    """A validator over zones that a test may exchange, as their holders do."""

    def __init__(self) -> None:
        self.world = world()
        self.checked: list[str] = []

    async def check(self, name: str, at: datetime, rdtype: str = "A") -> DnssecResult:
        self.checked.append(name)
        return await self.world.validator().check(name, at, rdtype)


@pytest.fixture
def dns() -> Dns:
    return Dns()


@pytest.fixture
async def pki(settings: PkiSettings, clock: FixedClock, dns: Dns) -> AsyncIterator[OpenAuthority]:
    async with open_authority(settings, clock, validator=dns) as opened:
        yield opened


@pytest.fixture
def desk(pki: OpenAuthority) -> CodeDesk:
    return CodeDesk(pki)


@pytest.fixture
def asker() -> Asker:
    return Asker(new_trace(), "192.0.2.1")


def holder(*names: str) -> Holder:
    return Holder(WHO, "Zorgkantoor Test", "12345678", names)


async def refused(reason: Reason, work: Awaitable[object]) -> DomainsNotSecure:
    with pytest.raises(DomainsNotSecure) as caught:
        await work
    assert caught.value.reason is reason
    return caught.value


async def redeem(pki: OpenAuthority, code: str, asker: Asker) -> Issued:
    enrolment = Enrolment(pki)
    return await enrolment.enrol(await enrolment.authenticate(WHO, code, asker), request_der(), asker)


async def issue(pki: OpenAuthority, *names: str) -> Issued:
    return await pki.issue(holder(*names), parse_request(request_der()), ANNA)


async def last_record(pki: OpenAuthority) -> dict[str, Any]:
    async with pki.database.read() as connection:
        found: dict[str, Any] = json.loads((await Register(connection).unshipped(500))[-1][1])
    return found


@pytest.mark.parametrize(("name", "reason"), BAD.items())
async def test_no_code_is_made_for_a_name_that_is_not_secure(
    pki: OpenAuthority, desk: CodeDesk, name: str, reason: Reason
) -> None:
    refusal = await refused(reason, desk.create("TST", holder("pep.goed.nl", name), ANNA))
    assert [item.name for item in refusal.findings] == [name]
    assert refusal.findings[0].where
    assert refusal.findings[0].to_do
    assert "pep.goed.nl" not in refusal.detail
    assert await desk.find(still_open=False) == []
    record = await last_record(pki)
    assert (record["event"]["type"], record["event"]["outcome"]) == ("enrolment.code_create", Outcome.REFUSED)
    assert record["event"]["reason"] == reason.value
    assert record["objects"][0]["identifier"] == "uzovi:5000"
    (told,) = record["objects"][0]["details"]["domains"]
    assert (told["domain"], told["state"]) == (name, reason.value.removeprefix("domain_"))
    # The near miss: the same without that name.
    made, _ = await desk.create("TST", holder("pep.goed.nl", "api.goed.nl"), ANNA)
    assert made.status == "ready"


@pytest.mark.parametrize(("name", "reason"), BAD.items())
async def test_no_first_certificate_is_issued_for_a_name_that_is_not_secure(
    pki: OpenAuthority, name: str, reason: Reason
) -> None:
    await refused(reason, issue(pki, "pep.goed.nl", name))
    # No intent either: the place of the identifier is free, and nothing waits to be signed.
    assert await pki.find() == []
    assert not pki.cas[0]._outstanding
    record = await last_record(pki)
    assert (record["event"]["type"], record["event"]["reason"]) == ("certificate.issue", reason.value)
    assert [item["domain"] for item in record["objects"][0]["details"]["domains"]] == [name]
    assert await issue(pki, "pep.goed.nl")


async def test_all_names_that_do_not_pass_are_told_at_once(desk: CodeDesk) -> None:
    refusal = await refused(Reason.DOMAIN_BOGUS, desk.create("TST", holder("pep.goed.nl", *BAD), ANNA))
    assert {item.name: item.reason for item in refusal.findings} == BAD


async def test_a_name_that_could_not_be_certified_anyway_asks_no_question_of_dns(
    pki: OpenAuthority, desk: CodeDesk, dns: Dns
) -> None:
    for name in ("*.goed.nl", "pep.goed.nl.", "PEP.goed.nl", "localhost"):
        for work in (desk.create("TST", holder(name), ANNA), issue(pki, name)):
            with pytest.raises(Refused) as caught:
                await work
            assert caught.value.reason in {Reason.REQUEST_MALFORMED, Reason.LINT_FAILED}
    assert dns.checked == []


async def test_a_second_operator_cannot_approve_a_name_that_lapsed_meanwhile(  # noqa: PLR0917  fixtures
    pki: OpenAuthority, desk: CodeDesk, dns: Dns, clock: FixedClock, asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pki.warrants, "_settings", needing_two(pki.settings))
    monkeypatch.setattr(pki.warrants, "roster", Roster(needing_two(pki.settings).operators, ["test"]))
    made, code = await desk.create("TST", holder("pep.goed.nl"), ANNA, key=ANNA_KEY.key)
    clock.advance(hours=2)
    dns.world = world(LAPSED)
    await refused(
        Reason.DOMAIN_INSECURE, desk.approve(made.selector, statement=made.statement, operator=BRAM, key=BRAM_KEY.key)
    )
    record = await last_record(pki)
    assert (record["event"]["type"], record["event"]["reason"]) == ("enrolment.code_approve", "domain_insecure")
    assert record["objects"][0]["identifier"] == "uzovi:5000"
    assert (await desk.find(still_open=True))[0].status == "pending"
    with pytest.raises(Refused) as caught:
        await redeem(pki, code, asker)
    assert caught.value.reason is Reason.CODE_UNAPPROVED
    # Who made the code is told that, whatever the domain: and asks nothing of DNS.
    asked = len(dns.checked)
    with pytest.raises(Refused) as caught:
        await desk.approve(made.selector, statement=made.statement, operator=ANNA, key=ANNA_KEY.key)
    assert (caught.value.reason, len(dns.checked)) == (Reason.APPROVER_IS_CREATOR, asked)
    dns.world = world()
    clock.advance(seconds=Limits().negative_seconds + 1)
    done, second = await desk.approve(made.selector, statement=made.statement, operator=BRAM, key=BRAM_KEY.key)
    assert done.status == "ready"
    assert await redeem(pki, code + second, asker)


async def test_a_code_that_is_redeemed_after_the_domain_lapsed_makes_nothing_and_stays_usable(
    pki: OpenAuthority, desk: CodeDesk, dns: Dns, clock: FixedClock, asker: Asker
) -> None:
    _, code = await desk.create("TST", holder("pep.goed.nl"), ANNA)
    clock.advance(days=3)
    dns.world = world(LAPSED)
    dns.world.at = clock.now()
    await refused(Reason.DOMAIN_INSECURE, redeem(pki, code, asker))
    assert await pki.find() == []
    assert [item.status for item in await desk.find(still_open=True)] == ["ready"]
    # A holder who tries on and on asks DNS once in a while, not each time.
    asked = len(dns.checked)
    for _ in range(3):
        await refused(Reason.DOMAIN_INSECURE, redeem(pki, code, asker))
    assert len(dns.checked) == asked
    dns.world = world()
    clock.advance(seconds=Limits().negative_seconds + 1)
    assert (await redeem(pki, code, asker)).registered.dns_names == ("pep.goed.nl",)


async def test_a_renewal_of_the_same_names_does_not_ask_how_they_stand(
    pki: OpenAuthority, dns: Dns, clock: FixedClock, asker: Asker
) -> None:
    first = await issue(pki, "pep.goed.nl")
    clock.advance(days=300)
    dns.world, dns.checked = world(LAPSED), []
    renewed = await pki.renew(WHO, parse_request(request_der()), ANNA, overlap=timedelta(0))
    assert (renewed.registered.dns_names, dns.checked) == (("pep.goed.nl",), [])
    await pki.withdrawal.sweep()
    assert [item.status for item in await pki.find()] == ["revoked", "active"]
    # By its holder too (EST simplereenroll).
    clock.advance(days=300)
    again = await Enrolment(pki).reenrol(_validated(renewed), renewed.certificate, request_der(), asker)
    assert f"{x509.load_der_x509_certificate(again).serial_number:x}" not in {
        first.registered.serial_number,
        renewed.registered.serial_number,
    }
    assert dns.checked == []


async def test_a_renewal_is_no_way_around_for_another_name(pki: OpenAuthority, dns: Dns, clock: FixedClock) -> None:
    await issue(pki, "pep.goed.nl")
    request = parse_request(request_der())
    clock.advance(hours=2)
    dns.world = world(LAPSED)
    refusal = await refused(
        Reason.DOMAIN_INSECURE, pki.renew(WHO, request, ANNA, dns_names=["pep.goed.nl", "pep.ongetekend.nl"])
    )
    assert [item.name for item in refusal.findings] == ["pep.ongetekend.nl"]
    record = await last_record(pki)
    assert (record["event"]["type"], record["event"]["reason"]) == ("certificate.renew", "domain_insecure")
    assert [item.status for item in await pki.find()] == ["active"]
    # Fewer names, and names of before, are not new.
    assert await pki.renew(WHO, request, ANNA, dns_names=["pep.goed.nl"])


async def test_who_was_revoked_is_taken_up_anew(pki: OpenAuthority, dns: Dns, clock: FixedClock) -> None:
    from pki.revocation.crl import RevocationReason  # noqa: PLC0415

    await issue(pki, "pep.goed.nl")
    await pki.revoke(RevocationReason.CESSATION_OF_OPERATION, ANNA, identifier=WHO)
    clock.advance(hours=2)
    dns.world = world(LAPSED)
    await refused(Reason.DOMAIN_INSECURE, issue(pki, "pep.goed.nl"))


async def test_without_a_resolver_nothing_is_known_and_only_who_has_no_name_passes(
    settings: PkiSettings, clock: FixedClock
) -> None:
    assert settings.dnssec.resolvers == ()
    async with open_authority(settings, clock) as pki:
        refusal = await refused(Reason.DOMAIN_UNCHECKED, issue(pki, "pep.goed.nl"))
        assert "resolvers" in refusal.findings[0].to_do
        await refused(Reason.DOMAIN_UNCHECKED, CodeDesk(pki).create("TST", holder("pep.goed.nl"), ANNA))
        assert await pki.find() == []
        assert (await issue(pki)).registered.dns_names == ()


@pytest.mark.parametrize("config", ["sqlite"], indirect=True)
async def test_a_local_name_is_no_dns_name_and_a_name_with_a_dot_always_is(
    settings: PkiSettings, clock: FixedClock, dns: Dns
) -> None:
    local = settings.issuing.model_copy(update={"local_names": ("lab", "pep.ongetekend.nl")})
    chosen = settings.model_copy(update={"issuing": local})
    gate = DomainGate(chosen, clock, dns)
    await gate.require_secure(["lab"])
    assert dns.checked == []
    for name in ("pep.ongetekend.nl", "lab2", "lab.nl"):
        with pytest.raises(DomainsNotSecure):
            await gate.require_secure(["lab", name])
    async with open_authority(chosen, clock) as pki:
        assert (await issue(pki, "lab")).registered.dns_names == ("lab",)


def _validated(issued: Issued) -> ValidatedCertificate:
    certificate = x509.load_der_x509_certificate(issued.certificate)
    issuer = x509.load_der_x509_certificate(issued.issuer).public_key()
    spki = issuer.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return ValidatedCertificate(
        thumbprint="",
        twin="",
        identity=WHO,
        environment="TST",
        issuer_key=hashlib.sha256(spki).hexdigest(),
        serial_number=certificate.serial_number,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        subject="",
        organization="",
        dns_names=(),
    )
