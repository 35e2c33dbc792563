"""Two operators with two keys, or nothing: one alone, one twice, and somebody with the database try every door."""

import base64
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from sqlalchemy import bindparam, select, text
from sqlalchemy.exc import IntegrityError

from authz.domain.errors import Refused
from authz.domain.identifiers import Identifier
from authz.domain.reasons import Reason
from pki.app import OpenAuthority, open_authority
from pki.audit.records import new_trace, operator
from pki.enrolment.codes import read_code, verifier_of
from pki.enrolment.desk import CodeDesk
from pki.enrolment.operators import roster
from pki.enrolment.operators.report import verify_code
from pki.enrolment.operators.signing import Signed, verify
from pki.enrolment.requests import CertificateRequest, parse_request
from pki.enrolment.service import Asker, Enrolment
from pki.issuing import Holder
from pki.looking import open_register
from pki.names import dns_names_of
from pki.notices.settings import WebhookSettings
from pki.settings import PkiSettings
from pki.store.codes import MAX_ATTEMPTS, EnrolmentCode
from pki.store.register import Register
from pki.store.tables import certificates, webhook_deliveries
from pki.validation.validator import ValidatedCertificate
from tests.fakes.clock import FixedClock
from tests.fakes.domains import EveryName
from tests.fakes.operators import ANNA_KEY, BRAM_KEY, CLARA_KEY, needing_two
from tests.fakes.requests import request_der

WHO = Identifier.parse_subject("uzovi:5000")
HOLDER = Holder(WHO, "Zorgkantoor Test", "12345678", ("a.example.nl",))
OTHER = Holder(Identifier.parse_subject("uzovi:6000"), "Test", "12345678")
FORGED = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""A secret that somebody made up."""
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


async def refused(reason: Reason, work: Awaitable[object], said: str = "") -> None:
    with pytest.raises(Refused) as caught:
        await work
    assert caught.value.reason is reason
    assert said in caught.value.detail


async def approved(desk: CodeDesk, holder: Holder = HOLDER, *, renewal: bool = False) -> tuple[EnrolmentCode, str]:
    made, first = await desk.create("TST", holder, TYPED, key=ANNA_KEY.key, renewal=renewal)
    done, second = await desk.approve(made.selector, statement=made.statement, operator=TYPED, key=BRAM_KEY.key)
    return done, f"{first}\n{second}"


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
    done, second = await desk.approve(made.selector, statement=made.statement, operator=TYPED, key=BRAM_KEY.key)
    assert (done.status, done.approved_by) == ("ready", "operator-key:bram")
    await refused(
        Reason.CODE_UNKNOWN, desk.approve(made.selector, statement=made.statement, operator=TYPED, key=BRAM_KEY.key)
    )
    await redeem(pki, f"{code}-{second}")
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
    _, second = await desk.approve(made.selector, TYPED, statement=read.statement, key=BRAM_KEY.key)
    await redeem(pki, code + second)


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
    done, _ = await desk.approve(made.selector, statement=made.statement, operator=TYPED, key=BRAM_KEY.key)
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
    given = read_code(code)
    assert given is not None
    assert made.second_salt is not None
    # Either operator, and whoever else can write the register, knows one half at most and puts his own for the other.
    for half, salt, mine, forged in (
        ("verifier", made.salt, FORGED, replace(given, secret=FORGED)),
        ("second_verifier", made.second_salt, FORGED, replace(given, second=FORGED)),
    ):
        put = f"UPDATE enrolment_codes SET {half} = :verifier"  # noqa: S608  names above
        await change(pki, put, verifier=verifier_of(mine, salt))
        await refused(Reason.OPERATOR_SIGNATURE, redeem(pki, forged.text()))
        await change(pki, put, verifier=getattr(made, half))
    await redeem(pki, code)


async def test_one_operator_alone_redeems_nothing_of_what_both_vouched_for(pki: OpenAuthority, desk: CodeDesk) -> None:
    """After an honest approval each of them comes with the half that he was shown, and a key of his own."""
    made, code = await approved(desk)
    given = read_code(code)
    assert given is not None
    assert given.second is not None
    annas, brams = replace(given, second=None), replace(given, secret=FORGED)
    await refused(Reason.CODE_INCOMPLETE, redeem(pki, annas.text()))
    await refused(Reason.CODE_INVALID, redeem(pki, replace(annas, second=FORGED).text()))
    await refused(Reason.CODE_INVALID, redeem(pki, brams.text()))
    await refused(Reason.CODE_INVALID, redeem(pki, made.selector + given.second))
    await refused(Reason.CODE_INVALID, redeem(pki, given.second))
    swapped = given.second + annas.selector + annas.secret
    await refused(Reason.CODE_INVALID, redeem(pki, swapped), "were the halves in the order first, second?")
    await refused(Reason.CODE_INVALID, redeem(pki, replace(annas, secret=FORGED).text()), "gave you a half each")
    assert await pki.find() == []
    await redeem(pki, code)
    assert [item.status for item in await pki.find()] == ["active"]


@pytest.mark.parametrize("renewal", [False, True])
async def test_a_wrong_half_is_an_attempt_and_a_missing_one_is_not(
    pki: OpenAuthority,
    desk: CodeDesk,
    renewal: bool,  # noqa: FBT001
) -> None:
    if renewal:
        await redeem(pki, (await approved(desk))[1])
    made, code = await approved(desk, renewal=renewal)
    given = read_code(code)
    assert given is not None
    for _ in range(MAX_ATTEMPTS + 1):
        await refused(Reason.CODE_INCOMPLETE, redeem(pki, replace(given, second=None).text()))
    for _ in range(MAX_ATTEMPTS - 1):
        await refused(Reason.CODE_INVALID, redeem(pki, replace(given, second=FORGED).text()))
    await redeem(pki, code)
    made, code = await approved(desk, renewal=True)
    given = read_code(code)
    assert given is not None
    for wrong in (
        replace(given, second=FORGED),
        replace(given, secret=FORGED),
        replace(given, secret=FORGED, second=None),
    ):
        await refused(Reason.CODE_INVALID, redeem(pki, wrong.text()))
    for _ in range(MAX_ATTEMPTS - 3):
        await refused(Reason.CODE_INVALID, redeem(pki, replace(given, second=FORGED).text()))
    await refused(Reason.CODE_LOCKED, redeem(pki, code))
    assert [item.selector for item in await desk.find(still_open=True) if item.status == "locked"] == [made.selector]


async def test_what_was_shown_is_what_both_signed_for_at_the_moment_of_the_certificate(
    pki: OpenAuthority, desk: CodeDesk
) -> None:
    """The second half is another one while it is compared, and the right one when the signatures are."""
    made, code = await approved(desk)
    given = read_code(code)
    assert given is not None
    assert made.second_salt is not None
    work, put = Enrolment(pki), "UPDATE enrolment_codes SET second_verifier = :verifier"
    await change(pki, put, verifier=verifier_of(FORGED, made.second_salt))
    shown = await work.authenticate(WHO, replace(given, second=FORGED).text(), ASKER)
    await change(pki, put, verifier=made.second_verifier)
    await refused(Reason.OPERATOR_SIGNATURE, work.enrol(shown, request_der(), ASKER))
    assert await pki.find() == []
    await redeem(pki, code)


async def test_a_code_that_two_approved_before_there_were_halves_gets_nothing_and_can_be_verified(
    pki: OpenAuthority, desk: CodeDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = roster._secrets
    with monkeypatch.context() as old:
        old.setattr(roster, "_secrets", lambda code, act, whole=True: secrets(code, act, whole=True))  # noqa: ARG005
        old.setattr(roster.Roster, "_acting", staticmethod(lambda vouched: vouched))
        made, code = await approved(desk)
        asked, _ = await desk.create("TST", OTHER, TYPED, key=ANNA_KEY.key)
    await refused(Reason.TWO_PERSONS_REQUIRED, redeem(pki, code))
    # Nor is what one asked for then approved now: he knows the whole of it.
    await refused(Reason.TWO_PERSONS_REQUIRED, desk.look(asked.selector, TYPED, key=BRAM_KEY.key))
    await refused(
        Reason.TWO_PERSONS_REQUIRED, desk.approve(asked.selector, TYPED, statement=asked.statement, key=BRAM_KEY.key)
    )
    async with open_register(pki.settings) as register:
        found = await verify_code(pki.settings, register, made.selector)
    assert [item["whole_code"] for item in found["vouched"]] == [True, True]
    await desk.withdraw(made.selector, TYPED)
    await redeem(pki, (await approved(desk))[1])


async def test_a_code_for_one_key_is_for_no_other(pki: OpenAuthority, desk: CodeDesk) -> None:
    mine = request()
    made, first = await desk.create("TST", HOLDER, TYPED, key=ANNA_KEY.key, subject_key=mine.subject_key)
    done, second = await desk.approve(made.selector, TYPED, statement=made.statement, key=BRAM_KEY.key)
    code = await Enrolment(pki).authenticate(WHO, first + second, ASKER)
    assert json.loads(done.approval.statement if done.approval else "")["key"] == mine.subject_key
    evil = request()
    await refused(Reason.CODE_OTHER_KEY, pki.authority.issue("TST", HOLDER, evil, TYPED, code=code))
    for value in (None, evil.subject_key):
        await change(pki, "UPDATE enrolment_codes SET subject_key = :value", value=value)
        await refused(Reason.OPERATOR_SIGNATURE, pki.authority.issue("TST", HOLDER, evil, TYPED, code=code))
    await change(pki, "UPDATE enrolment_codes SET subject_key = :value", value=mine.subject_key)
    assert await pki.authority.issue("TST", HOLDER, mine, TYPED, code=code)
    async with open_register(pki.settings) as register:
        assert (await verify_code(pki.settings, register, made.selector))["key"] == mine.subject_key


async def test_signatures_of_one_code_are_worth_nothing_on_another(pki: OpenAuthority, desk: CodeDesk) -> None:
    good, _ = await approved(desk)
    other = Holder(Identifier.parse_subject("uzovi:6000"), "Test", "12345678")
    made, _ = await desk.create("TST", other, TYPED, key=ANNA_KEY.key)
    assert good.approval is not None
    await change(
        pki,
        "UPDATE enrolment_codes SET status = 'ready', approved_by = 'operator-key:bram', approved_at = created_at,"
        " approval_statement = :stated, approval_key = :key, approval_signature = :signature,"
        " second_salt = salt, second_verifier = verifier WHERE selector = :code",
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
        """UPDATE enrolment_codes SET status = 'ready', approved_by = 'operator-key:bram', approval_signature = 'x',
           approval_key = 'y'""",
        "UPDATE enrolment_codes SET before_halves = true",
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
        " approval_key = 'y', second_salt = 'x', second_verifier = 'x'",
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
    _, second = await CodeDesk(later).approve(good.selector, TYPED, statement=good.statement, key=CLARA_KEY.key)
    await redeem(later, code + second)


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


async def test_a_code_beside_a_certificate_that_works_is_told_to_the_webhook(
    settings: PkiSettings, pki: OpenAuthority, desk: CodeDesk, clock: FixedClock
) -> None:
    hook = WebhookSettings.model_construct(url="https://hook.example.nl", secret_file=Path("nowhere"))
    notices = settings.notices.model_copy(update={"webhook": hook})

    async def told() -> list[dict[str, object]]:
        async with pki.database.read() as connection:
            rows = await connection.execute(select(webhook_deliveries.c.body).order_by(webhook_deliveries.c.id))
            return [json.loads(row.body) for row in rows]

    async with open_authority(settings.model_copy(update={"notices": notices}), clock, validator=EveryName()) as opened:
        watched = CodeDesk(opened)
        _, code = await approved(watched)
        await redeem(opened, code)
        assert await told() == []
        made, _ = await watched.create("TST", HOLDER, TYPED, key=ANNA_KEY.key, renewal=True)
    [body] = await told()
    assert (body["type"], body["subject"]) == ("enrolment.code_create", "uzovi:5000")
    assert body["data"] == {
        "code": made.selector,
        "environment": "TST",
        "purpose": "renew",
        "certificate": (await pki.find())[0].reference,
    }
    # Nobody to tell where no webhook is named; the audit record says it in any case.
    await desk.withdraw(made.selector, TYPED)
    await desk.create("TST", HOLDER, TYPED, key=ANNA_KEY.key, renewal=True)
    assert len(await told()) == 1
    async with pki.database.read() as connection:
        records = [json.loads(record) for _, record in await Register(connection).unshipped(100)]
    assert [
        item["objects"][0]["details"]["purpose"] for item in records if item["event"]["type"].endswith("create")
    ] == [
        "issue",
        "renew",
        "renew",
    ]
