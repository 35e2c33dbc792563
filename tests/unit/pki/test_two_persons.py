"""Two operators with two keys, or nothing: one alone, one twice, and somebody with the database try every door."""

import base64
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from sqlalchemy import bindparam, text
from sqlalchemy.exc import IntegrityError

from authz.domain.errors import Refused
from authz.domain.identifiers import Identifier
from authz.domain.reasons import Reason
from pki.app import OpenAuthority, open_authority
from pki.audit.records import new_trace, operator
from pki.enrolment.codes import draw_code, verifier_of
from pki.enrolment.desk import CodeDesk
from pki.enrolment.operators.report import verify_code
from pki.enrolment.operators.signing import Signed, verify
from pki.enrolment.requests import CertificateRequest, parse_request
from pki.enrolment.service import Asker, Enrolment
from pki.issuing import Holder
from pki.looking import open_register
from pki.names import dns_names_of
from pki.settings import PkiSettings
from pki.store.codes import EnrolmentCode
from pki.store.register import Register
from pki.store.tables import certificates
from pki.validation.validator import ValidatedCertificate
from tests.fakes.clock import FixedClock
from tests.fakes.domains import EveryName
from tests.fakes.operators import ANNA_KEY, BRAM_KEY, CLARA_KEY, needing_two
from tests.fakes.requests import request_der

WHO = Identifier.parse_subject("uzovi:5000")
HOLDER = Holder(WHO, "Zorgkantoor Test", "12345678", ("a.example.nl",))
TYPED = operator("somebody")
ASKER = Asker(new_trace(), "192.0.2.1")


@pytest.fixture
def settings(settings: PkiSettings) -> PkiSettings:
    return needing_two(settings)


@pytest.fixture
def desk(pki: OpenAuthority) -> CodeDesk:
    return CodeDesk(pki)


def request() -> CertificateRequest:
    return parse_request(request_der())


async def refused(reason: Reason, work: Awaitable[object]) -> None:
    with pytest.raises(Refused) as caught:
        await work
    assert caught.value.reason is reason


async def approved(desk: CodeDesk, holder: Holder = HOLDER, *, renewal: bool = False) -> tuple[EnrolmentCode, str]:
    made, code = await desk.create("TST", holder, TYPED, key=ANNA_KEY.key, renewal=renewal)
    return await desk.approve(made.selector, statement=made.statement, operator=TYPED, key=BRAM_KEY.key), code


async def redeem(pki: OpenAuthority, code: str) -> None:
    enrolment = Enrolment(pki)
    await enrolment.enrol(await enrolment.authenticate(WHO, code, ASKER), request_der(), ASKER)


async def change(pki: OpenAuthority, statement: str, **values: object) -> None:
    async with pki.database.write() as connection:
        await connection.execute(text(statement), values)


async def test_two_operators_with_two_keys(pki: OpenAuthority, desk: CodeDesk) -> None:
    made, code = await desk.create("TST", HOLDER, TYPED, key=ANNA_KEY.key)
    assert (made.status, made.created_by) == ("pending", "operator-key:anna")
    await refused(Reason.CODE_UNAPPROVED, redeem(pki, code))
    await refused(
        Reason.APPROVER_IS_CREATOR,
        desk.approve(made.selector, statement=made.statement, operator=operator("another"), key=ANNA_KEY.key),
    )
    await refused(
        Reason.OPERATOR_UNKNOWN,
        desk.approve(made.selector, statement=made.statement, operator=TYPED, key=CLARA_KEY.key),
    )
    await refused(
        Reason.OPERATOR_KEY_REQUIRED, desk.approve(made.selector, statement=made.statement, operator=operator("bram"))
    )
    await refused(Reason.CODE_UNAPPROVED, redeem(pki, code))
    done = await desk.approve(made.selector, statement=made.statement, operator=TYPED, key=BRAM_KEY.key)
    assert (done.status, done.approved_by) == ("ready", "operator-key:bram")
    await refused(
        Reason.CODE_UNKNOWN, desk.approve(made.selector, statement=made.statement, operator=TYPED, key=BRAM_KEY.key)
    )
    await redeem(pki, code)
    assert [item.status for item in await pki.find()] == ["active"]


async def test_nobody_signs_for_what_he_did_not_read(pki: OpenAuthority, desk: CodeDesk) -> None:
    """Anna, who can write the database, has Bram look at one party and then puts another in its place."""
    made, code = await desk.create("TST", HOLDER, TYPED, key=ANNA_KEY.key)
    read = await desk.look(made.selector, TYPED, key=BRAM_KEY.key)
    assert read.statement == made.statement == (await desk.find(still_open=True))[0].statement
    evil = replace(
        made, identifier=Identifier.parse_subject("uzovi:9999"), organization="Victim BV", kvk="87654321", dns_names=()
    )
    signed = pki.warrants.roster.request(ANNA_KEY.key, evil)
    change_row = (
        "UPDATE enrolment_codes SET identifier = :identifier, organization = :organization, kvk = :kvk,"
        " dns_names = :names, request_statement = :stated, request_signature = :signature"
    )
    names = {"identifier": "uzovi:9999", "organization": "Victim BV", "kvk": "87654321", "names": "[]"}
    await change(pki, change_row, **names, stated=signed.statement, signature=signed.signature)
    for statement in (read.statement, None, "", "0" * 64):
        await refused(
            Reason.STATEMENT_DIFFERS, desk.approve(made.selector, TYPED, statement=statement, key=BRAM_KEY.key)
        )
    assert [item.status for item in await desk.find(still_open=True)] == ["pending"]
    assert made.request is not None
    names = {"identifier": WHO.subject, "organization": HOLDER.organization, "kvk": HOLDER.kvk}
    kept = {"stated": made.request.statement, "signature": made.request.signature}
    await change(pki, change_row, **names, names=json.dumps(HOLDER.dns_names), **kept)
    await desk.approve(made.selector, TYPED, statement=read.statement, key=BRAM_KEY.key)
    await redeem(pki, code)


async def test_what_the_second_operator_reads_was_signed_by_another(pki: OpenAuthority, desk: CodeDesk) -> None:
    made, _ = await desk.create("TST", HOLDER, TYPED, key=ANNA_KEY.key)
    await refused(Reason.APPROVER_IS_CREATOR, desk.look(made.selector, TYPED, key=ANNA_KEY.key))
    await refused(Reason.OPERATOR_KEY_REQUIRED, desk.look(made.selector, TYPED))
    await refused(Reason.CODE_UNKNOWN, desk.look("00000000", TYPED, key=BRAM_KEY.key))
    await change(pki, "UPDATE enrolment_codes SET organization = 'Victim BV'")
    await refused(Reason.OPERATOR_SIGNATURE, desk.look(made.selector, TYPED, key=BRAM_KEY.key))


async def test_no_code_without_a_key_that_is_known(desk: CodeDesk) -> None:
    await refused(Reason.OPERATOR_KEY_REQUIRED, desk.create("TST", HOLDER, TYPED))
    await refused(Reason.OPERATOR_UNKNOWN, desk.create("TST", HOLDER, TYPED, key=CLARA_KEY.key))
    assert await desk.find(still_open=False) == []
    assert await desk.create("TST", HOLDER, TYPED, key=ANNA_KEY.key)


async def test_one_operator_alone_issues_nothing_at_any_door(pki: OpenAuthority, desk: CodeDesk) -> None:
    await refused(Reason.TWO_PERSONS_REQUIRED, pki.issue(HOLDER, request(), TYPED))
    await refused(Reason.TWO_PERSONS_REQUIRED, pki.authority.issue("TST", HOLDER, request(), TYPED))
    made, _ = await desk.create("TST", HOLDER, TYPED, key=ANNA_KEY.key)
    # Waiting for approval; and a caller who says that it was approved.
    for code in (made, replace(made, status="ready", approved_by="operator-key:bram", two_person=False)):
        await refused(Reason.CODE_USED, pki.authority.issue("TST", HOLDER, request(), TYPED, code=code))
    assert await pki.find() == []
    done = await desk.approve(made.selector, statement=made.statement, operator=TYPED, key=BRAM_KEY.key)
    assert await pki.authority.issue("TST", HOLDER, request(), TYPED, code=done)


async def test_one_operator_alone_renews_only_what_was_vetted(pki: OpenAuthority, desk: CodeDesk) -> None:
    done, _ = await approved(desk)
    mine = request()
    first = await pki.authority.issue("TST", HOLDER, mine, TYPED, code=done)
    await refused(Reason.TWO_PERSONS_REQUIRED, pki.renew(WHO, request(), TYPED))
    await refused(Reason.TWO_PERSONS_REQUIRED, pki.renew(WHO, mine, TYPED, dns_names=["other-party.nl"]))
    await refused(Reason.TWO_PERSONS_REQUIRED, pki.renew(WHO, mine, TYPED, dns_names=[]))
    # The holder himself takes a new key, with his own certificate and nobody else's.
    await refused(Reason.TWO_PERSONS_REQUIRED, pki.renew(WHO, request(), TYPED, shown=validated(first.issuer)))
    second = await pki.renew(WHO, request(), TYPED, shown=validated(first.certificate))
    assert await pki.withdrawal.confirm_use(second.registered.issuer, second.registered.serial_number, TYPED)
    await refused(
        Reason.TWO_PERSONS_REQUIRED,
        pki.renew(WHO, request(), TYPED, shown=validated(second.certificate), dns_names=["other-party.nl"]),
    )
    await refused(Reason.TWO_PERSONS_REQUIRED, pki.renew(WHO, request(), TYPED, shown=validated(first.certificate)))
    # Other names and another key, vouched for by two.
    renamed = replace(HOLDER, dns_names=("b.example.nl",))
    both, code = await approved(desk, renamed, renewal=True)
    assert both.purpose == "renew"
    await redeem(pki, code)
    assert [(item.status, item.dns_names) for item in await pki.find(status="active")] == [
        ("active", ("b.example.nl",))
    ]


async def test_the_same_key_and_names_stay_one_act(pki: OpenAuthority, desk: CodeDesk) -> None:
    done, _ = await approved(desk)
    mine = request()
    await pki.authority.issue("TST", HOLDER, mine, TYPED, code=done)
    assert await pki.renew(WHO, mine, TYPED)


def validated(certificate: bytes) -> ValidatedCertificate:
    digest = base64.urlsafe_b64encode(hashlib.sha256(certificate).digest()).rstrip(b"=").decode()
    shown = object.__new__(ValidatedCertificate)
    object.__setattr__(shown, "thumbprint", digest)
    return shown


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("organization", "Somebody Else"),
        ("kvk", "87654321"),
        ("dns_names", '["evil.example.nl"]'),
        ("identifier", "uzovi:6000"),
        ("purpose", "renew"),
        ("two_person", False),
        ("request_signature", "AAAA"),
        ("approval_signature", "AAAA"),
        ("request_statement", "{}"),
        ("approval_statement", "{}"),
    ],
)
async def test_whoever_changes_an_approved_code_in_the_database_gets_nothing(
    pki: OpenAuthority, desk: CodeDesk, column: str, value: object
) -> None:
    made, _ = await approved(desk)
    await change(pki, f"UPDATE enrolment_codes SET {column} = :value", value=value)  # noqa: S608  names above
    code = (await desk.find(still_open=True))[0]
    holder = Holder(code.identifier, code.organization, code.kvk, code.dns_names)
    with pytest.raises(Refused) as caught:
        await pki.authority.issue("TST", holder, request(), TYPED, code=code)
    assert caught.value.reason in {Reason.TWO_PERSONS_REQUIRED, Reason.OPERATOR_SIGNATURE, Reason.CODE_USED}
    assert await pki.find() == []
    assert made.selector == code.selector


async def test_a_secret_that_was_put_in_place_of_the_right_one(pki: OpenAuthority, desk: CodeDesk) -> None:
    made, code = await approved(desk)
    forged = replace(draw_code(), selector=made.selector)
    await change(pki, "UPDATE enrolment_codes SET verifier = :verifier", verifier=verifier_of(forged, made.salt))
    await refused(Reason.OPERATOR_SIGNATURE, redeem(pki, forged.text()))
    await change(pki, "UPDATE enrolment_codes SET verifier = :verifier", verifier=made.verifier)
    await redeem(pki, code)


async def test_signatures_of_one_code_are_worth_nothing_on_another(pki: OpenAuthority, desk: CodeDesk) -> None:
    good, _ = await approved(desk)
    other = Holder(Identifier.parse_subject("uzovi:6000"), "Test", "12345678")
    made, _ = await desk.create("TST", other, TYPED, key=ANNA_KEY.key)
    assert good.approval is not None
    await change(
        pki,
        "UPDATE enrolment_codes SET status = 'ready', approved_by = 'operator-key:bram', approved_at = created_at,"
        " approval_statement = :stated, approval_key = :key, approval_signature = :signature WHERE selector = :code",
        stated=good.approval.statement,
        key=good.approval.key,
        signature=good.approval.signature,
        code=made.selector,
    )
    await refused(Reason.OPERATOR_SIGNATURE, pki.authority.issue("TST", other, request(), TYPED, code=made))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE enrolment_codes SET status = 'ready'",
        "UPDATE enrolment_codes SET status = 'used'",
        "UPDATE enrolment_codes SET status = 'ready', approved_by = created_by",
        "UPDATE enrolment_codes SET status = 'ready', approved_by = 'operator-key:bram'",
        """UPDATE enrolment_codes SET status = 'ready', approved_by = 'operator-key:bram', approval_signature = 'x',
           approval_key = request_key""",
        "UPDATE enrolment_codes SET before_keys = true",
    ],
)
async def test_the_database_itself_keeps_two_keys_apart(pki: OpenAuthority, desk: CodeDesk, statement: str) -> None:
    await desk.create("TST", HOLDER, TYPED, key=ANNA_KEY.key)
    with pytest.raises(IntegrityError):
        await change(pki, statement)
    await change(
        pki,
        "UPDATE enrolment_codes SET status = 'ready', approved_by = 'operator-key:bram', approval_signature = 'x',"
        " approval_key = 'y'",
    )


async def test_the_database_itself_begins_no_certificate_for_production_without_a_code(
    pki: OpenAuthority, desk: CodeDesk
) -> None:
    done, _ = await approved(desk)
    await pki.authority.issue("TST", HOLDER, request(), TYPED, code=done)
    begun = "UPDATE certificates SET environment = 'PRD', status = 'issuing'"
    with pytest.raises(IntegrityError):
        await change(pki, f"{begun}, code = NULL")
    await change(pki, begun)


@pytest.fixture
async def later(pki: OpenAuthority, settings: PkiSettings, clock: FixedClock) -> AsyncIterator[OpenAuthority]:
    """The same authority, of which Bram acts no more."""
    changed = needing_two(settings, ANNA_KEY.settings(), BRAM_KEY.settings(retired=True), CLARA_KEY.settings())
    async with open_authority(changed, clock, validator=EveryName()) as opened:
        yield opened


async def test_what_an_operator_signed_who_acts_no_more_gets_nobody_a_certificate(
    desk: CodeDesk, later: OpenAuthority
) -> None:
    made, code = await approved(desk)
    await refused(Reason.TWO_PERSONS_REQUIRED, redeem(later, code))
    await CodeDesk(later).withdraw(made.selector, TYPED)
    await refused(Reason.OPERATOR_UNKNOWN, CodeDesk(later).create("TST", HOLDER, TYPED, key=BRAM_KEY.key))
    # Nor can what he asked for be approved by another; what two others vouch for can.
    asked, _ = await desk.create("TST", HOLDER, TYPED, key=BRAM_KEY.key)
    await refused(
        Reason.TWO_PERSONS_REQUIRED,
        CodeDesk(later).approve(asked.selector, statement=asked.statement, operator=TYPED, key=CLARA_KEY.key),
    )
    await desk.withdraw(asked.selector, TYPED)
    good, code = await CodeDesk(later).create("TST", HOLDER, TYPED, key=ANNA_KEY.key)
    await CodeDesk(later).approve(good.selector, statement=good.statement, operator=TYPED, key=CLARA_KEY.key)
    await redeem(later, code)


async def test_a_code_of_before_two_were_needed_is_worth_nothing_afterwards(
    settings: PkiSettings, pki: OpenAuthority, clock: FixedClock
) -> None:
    alone = settings.model_copy(update={"enrolment": settings.enrolment.model_copy(update={"two_person": False})})
    async with open_authority(alone, clock, validator=EveryName()) as before:
        _, code = await CodeDesk(before).create("TST", HOLDER, TYPED, key=ANNA_KEY.key)
    await refused(Reason.TWO_PERSONS_REQUIRED, redeem(pki, code))
    async with open_authority(alone, clock, validator=EveryName()) as before:
        await redeem(before, code)


async def test_an_auditor_sees_who_asked_and_who_approved(
    pki: OpenAuthority, desk: CodeDesk, later: OpenAuthority
) -> None:
    made, code = await approved(desk)
    await redeem(pki, code)
    async with open_register(later.settings) as register:
        found = await verify_code(later.settings, register, made.selector)
        assert [(item["act"], item["operator"], item["retired"]) for item in found["vouched"]] == [
            ("code_create", "anna", False),
            ("code_approve", "bram", True),
        ]
        assert found["certificate"] == (await pki.find())[0].reference
        await change(pki, "UPDATE certificates SET organization = 'Somebody Else'")
        contradicts = Reason.REGISTER_CONTRADICTS_CERTIFICATE
        await refused(contradicts, verify_code(later.settings, register, made.selector))
        await change(pki, "UPDATE certificates SET organization = 'Zorgkantoor Test', code = '00000000'")
        await refused(Reason.OPERATOR_SIGNATURE, verify_code(later.settings, register, made.selector))
        await change(pki, "UPDATE certificates SET code = :code", code=made.selector)
        assert await verify_code(later.settings, register, made.selector) == found
        await refused(Reason.CODE_UNKNOWN, verify_code(later.settings, register, "00000000"))
    # The audit record alone suffices too.
    async with pki.database.read() as connection:
        records = [json.loads(record) for _, record in await Register(connection).unshipped(100)]
    signed = [item["objects"][0]["details"] for item in records if "statement" in item["objects"][0]["details"]]
    stated = [verify(Signed(item["statement"], item["operator_key"], item["signature"])) for item in signed]
    assert [(item["act"], item["operator"], item["identity"]) for item in stated] == [
        ("code_create", "anna", "uzovi:5000"),
        ("code_approve", "bram", "uzovi:5000"),
    ]
    assert stated[0]["dns_names"] == ["a.example.nl"]
    assert stated[0]["key"] == "any"
    with pytest.raises(Refused):
        verify(Signed(signed[0]["statement"], signed[1]["operator_key"], signed[0]["signature"]))


@pytest.mark.parametrize(
    "column",
    [
        "dns_names",
        "organization",
        "kvk",
        "common_name",
        "identifier",
        "not_after",
        "subject_key",
        "certificate",
        "issuer",
    ],
)
async def test_whoever_changes_a_row_of_the_register_renews_nothing_with_it(
    pki: OpenAuthority, desk: CodeDesk, clock: FixedClock, column: str
) -> None:
    done, _ = await approved(desk)
    mine, evil = request(), request()
    first = await pki.authority.issue("TST", HOLDER, mine, TYPED, code=done)
    shown = validated(first.certificate)
    forged = {
        "dns_names": '["register.victim.nl"]',
        "organization": "Victim BV",
        "kvk": "87654321",
        "common_name": "register.victim.nl",
        "identifier": "uzovi:9999",
        "not_after": clock.now() + timedelta(days=900),
        "subject_key": evil.subject_key,
        "certificate": first.issuer,
        "issuer": "another",
    }
    kept = (await pki.find())[0]
    statement = text(f"UPDATE certificates SET {column} = :value")  # noqa: S608  names above
    typed = statement.bindparams(bindparam("value", type_=certificates.c[column].type))
    async with pki.database.write() as connection:
        await connection.execute(typed, {"value": forged[column]})
    old = (await pki.find())[0]
    wanted = Reason.REGISTER_CONTRADICTS_CERTIFICATE
    for key in (mine, evil):
        await refused(wanted, pki.authority.renew(old, key, TYPED, shown=shown))
        await refused(wanted, pki.renew(old.identifier, key, TYPED))
    assert [item.status for item in await pki.find()] == ["active"]
    async with pki.database.read() as connection:
        records = [json.loads(record) for _, record in await Register(connection).unshipped(100)]
    assert "register_contradicts_certificate" in json.dumps(records[-1])
    # The row as it was is renewed, by the holder with a new key.
    was = {"identifier": WHO.subject, "dns_names": json.dumps(kept.dns_names)}.get(column, getattr(kept, column))
    async with pki.database.write() as connection:
        await connection.execute(typed, {"value": was})
    new = await pki.renew(WHO, request(), TYPED, shown=shown)
    assert new.registered.dns_names == HOLDER.dns_names


async def test_a_holder_who_reenrols_gets_nothing_of_what_was_written_into_the_register(
    pki: OpenAuthority, desk: CodeDesk, clock: FixedClock
) -> None:
    done, _ = await approved(desk)
    first = await pki.authority.issue("TST", HOLDER, request(), TYPED, code=done)
    clock.advance(days=3)
    leaf = x509.load_der_x509_certificate(first.certificate)
    shown = validated(first.certificate)
    for name, value in {"identity": WHO, "environment": "TST", "serial_number": leaf.serial_number}.items():
        object.__setattr__(shown, name, value)
    work = Enrolment(pki)
    await change(pki, "UPDATE certificates SET dns_names = '[\"register.victim.nl\"]', kvk = '87654321'")
    await refused(Reason.REGISTER_CONTRADICTS_CERTIFICATE, work.reenrol(shown, first.certificate, request_der(), ASKER))
    await change(pki, "UPDATE certificates SET dns_names = '[\"a.example.nl\"]', kvk = '12345678'")
    der = await work.reenrol(shown, first.certificate, request_der(), ASKER)
    assert dns_names_of(x509.load_der_x509_certificate(der)) == HOLDER.dns_names


async def test_an_auditor_looks_at_the_certificate_and_not_at_the_row_beside_it(
    pki: OpenAuthority, desk: CodeDesk
) -> None:
    made, code = await approved(desk)
    await redeem(pki, code)
    other = Holder(Identifier.parse_subject("uzovi:6000"), "Victim BV", "87654321", ("b.example.nl",))
    theirs = await pki.authority.issue("TST", other, request(), TYPED, code=(await approved(desk, other))[0])
    mine = (await pki.find(identifier=WHO))[0]
    put = "UPDATE certificates SET certificate = :der WHERE identifier = 'uzovi:5000'"
    async with open_register(pki.settings) as register:
        for der in (theirs.certificate, theirs.issuer, b"none"):
            await change(pki, put, der=der)
            await refused(Reason.REGISTER_CONTRADICTS_CERTIFICATE, verify_code(pki.settings, register, made.selector))
        # Gone, although it was active; and a second one for the same code.
        await change(pki, "UPDATE certificates SET certificate = NULL WHERE identifier = 'uzovi:5000'")
        await refused(Reason.OPERATOR_SIGNATURE, verify_code(pki.settings, register, made.selector))
        await change(pki, put, der=mine.certificate)
        assert (await verify_code(pki.settings, register, made.selector))["certificate"] == mine.reference
        await change(pki, "UPDATE certificates SET code = :code WHERE identifier = 'uzovi:6000'", code=made.selector)
        await refused(Reason.OPERATOR_SIGNATURE, verify_code(pki.settings, register, made.selector))


async def test_a_code_for_which_a_certificate_was_signed_makes_no_other_whatever_its_row_says(
    pki: OpenAuthority, desk: CodeDesk
) -> None:
    _, code = await approved(desk)
    await redeem(pki, code)
    await change(pki, "UPDATE certificates SET status = 'expired'")
    await change(pki, "UPDATE enrolment_codes SET status = 'ready'")
    await refused(Reason.CODE_USED, redeem(pki, code))
    assert len(await pki.find()) == 1
    # The party has none any more, so a new code makes one.
    await change(pki, "UPDATE enrolment_codes SET status = 'used'")
    _, code = await approved(desk)
    await redeem(pki, code)
    assert [item.status for item in await pki.find()] == ["expired", "active"]
