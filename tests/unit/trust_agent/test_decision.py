"""The ten steps in their order: what each refuses, what that costs, and that nothing but a permit passes."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from msgspec import structs
from structlog.testing import capture_logs

from authz.audit.record_format import decode_record, encode_record
from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from authz.domain.tracing import TraceContext
from authz.policy.engine import Decision, EvaluationDecision, PolicyEngine, PolicyUnavailable
from tests.fakes.certificates import NOW
from tests.fakes.clock import FixedClock
from tests.fakes.datastation import AUDIENCE, ISSUER, PUBLIC, QUERY, RECORD, SCOPE, SDL, TokenKey, claims
from tests.fakes.trust import FakeTrust
from tests.unit.authz.edge.test_client_certificate import xfcc
from tests.unit.trust_agent.test_verify import CA, CERTIFICATE, KEY, MINE, OTHER, VALIDATOR
from trust_agent.decision import Decider, Inquiry, Permit, Refusal, ServiceRules
from trust_agent.edge import AnswerWriter, status_of
from trust_agent.graphql import Register
from trust_agent.graphql.register import Reading
from trust_agent.records import DecisionRecords
from trust_agent.strangers import Strangers
from trust_agent.verify import TokenRules, Verifier

TRACE = TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
BODY = json.dumps({"query": QUERY, "variables": {"id": RECORD, "office": "5000"}}).encode()
XFCC = xfcc(MINE, (MINE.pem, CA.issuing.pem))


class Policies:
    """An engine that says what a test wants, and counts."""

    revision = "r7"

    def __init__(self, answer: Any = None) -> None:
        self.answer = answer
        self.asked: list[dict[str, Any]] = []
        self.unavailable: Reason | None = None

    def engine(self, _at: datetime) -> PolicyEngine:
        if self.unavailable:
            raise Refused(self.unavailable, "no policies")
        return self

    async def decide(self, _entrypoint: str, document: Mapping[str, Any] | bytes) -> Decision:
        assert isinstance(document, bytes)
        self.asked.append(json.loads(document))
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is not None:
            assert isinstance(self.answer, Decision)
            return self.answer
        allowed = tuple(EvaluationDecision(allow=True, reasons=()) for _ in self.asked[-1]["evaluations"])
        return Decision(allow=True, reasons=(), policy_id="IRA0001", revision="r7", evaluations=allowed)


class Log:
    """A journal in memory."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []
        self.fault: Exception | None = None

    async def append(self, payload: bytes) -> None:
        if self.fault:
            raise self.fault
        self.payloads.append(payload)

    @property
    def last(self) -> dict[str, Any]:
        return dict(json.loads(self.payloads[-1]))


class CountingRegister:
    """The real register, and how often it was asked."""

    def __init__(self) -> None:
        self._register = Register.load(SDL, public_fields=PUBLIC)
        self.asked = 0
        self.remembered = 0

    def read(self, body: bytes, caller: str) -> Reading:
        self.asked += 1
        return self._register.read(body, caller)

    def permitted(self, reading: Reading) -> None:
        self.remembered += 1
        self._register.permitted(reading)


class Bench:
    """One decider with everything around it."""

    def __init__(self) -> None:
        self.trust, self.policies, self.log, self.register = (
            FakeTrust(VALIDATOR, KEY),
            Policies(),
            Log(),
            CountingRegister(),
        )
        self.clock = FixedClock(NOW)
        self.strangers = Strangers(self.log, self.clock, "sluis/trust-agent/test", 60)
        verifier = Verifier(self.trust, TokenRules(ISSUER, AUDIENCE, frozenset({SCOPE})))
        self.decider = Decider(
            rules=ServiceRules("/graphql", 65536, "wlzindicatieregister", "WLZ_UITVOERING", ("wlzindicatieID",)),
            verifier=verifier,
            register=self.register,  # type: ignore[arg-type]
            policies=self.policies,
            journal=self.log,
            records=DecisionRecords("sluis/trust-agent/test", "wlzindicatieregister", AUDIENCE, ("wlzindicatieID",)),
            strangers=self.strangers,
            clock=self.clock,
        )

    async def ask(self, **changes: Any) -> Permit | Refusal:
        return await self.decider.decide(structs.replace(inquiry(), **changes))

    async def refusal(self, **changes: Any) -> Refusal:
        outcome = await self.ask(**changes)
        assert isinstance(outcome, Refusal)
        return outcome


def token(**changes: Any) -> str:
    return f"Bearer {KEY.sign(claims(MINE, NOW, **changes))}"


def inquiry() -> Inquiry:
    return Inquiry(
        method="POST",
        path="/graphql",
        query="",
        content_types=["application/json"],
        content_encodings=[],
        authorization=[token()],
        xfcc=XFCC,
        verified_by_edge="1",
        peer_address="127.0.0.1:40000",
        trace=TRACE,
        request_id=None,
        body=BODY,
    )


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_a_permit_holds_the_canonical_document_and_the_claims(bench: Bench) -> None:
    outcome = await bench.ask()
    assert isinstance(outcome, Permit)
    assert outcome.document.isascii()
    assert "\n" not in outcome.document
    assert json.loads(outcome.document)["variables"]["office"] == "5000"
    (asked,) = bench.policies.asked
    assert asked["subject"]["id"] == "uzovi:5000"
    assert asked["context"]["time"] == "2026-11-22T12:00:00Z"
    assert "Bearer" not in json.dumps(asked)


async def test_the_record_of_a_permit_is_an_audit_record(bench: Bench) -> None:
    await bench.ask()
    payload = bench.log.payloads[-1]
    record = decode_record(payload)
    assert encode_record(record) == payload  # byte for byte: authz stores and commits to it as it is
    assert record.reason == ""
    assert record.checks == "TFFF"
    assert record.trace == TRACE
    assert record.users[0].id == "uzovi:5000"
    assert record.users[0].access_point == "127.0.0.1"
    assert record.objects[0].protocol == "IRA0001@r7"
    assert {item.identifier for item in record.objects if item.identifier_type == "wlzindicatieID"} == {RECORD}


async def test_a_record_never_holds_a_token_a_query_or_a_filter_value(bench: Bench) -> None:
    body = BODY.replace(b"5000", b"123456782")
    # Its random id stands in the record, and could look like the beginning of a token.
    presented = token(jti="A" * 22)
    for changes in ({}, {"body": body}, {"body": BODY.replace(RECORD.encode(), b"x")}, {"verified_by_edge": None}):
        await bench.ask(authorization=[presented], **changes)
        text = bench.log.payloads[-1].decode()
        assert "eyJ" not in text
        assert "eq:" not in text
        assert "123456782" not in text


TRANSPORT: list[tuple[dict[str, Any], Reason]] = [
    ({"method": "GET"}, Reason.METHOD_NOT_ALLOWED),
    ({"method": "GET", "query": "?query=x"}, Reason.QUERY_PARAMETERS),
    ({"query": "?access_token=x"}, Reason.QUERY_PARAMETERS),
    ({"query": "?"}, Reason.QUERY_PARAMETERS),
    ({"path": "//graphql"}, Reason.NOT_FOUND),
    ({"path": "/graphql/"}, Reason.NOT_FOUND),
    ({"path": "/%67raphql"}, Reason.NOT_FOUND),
    ({"path": ""}, Reason.NOT_FOUND),
    ({"content_types": []}, Reason.CONTENT_TYPE),
    ({"content_types": ["application/json", "application/json"]}, Reason.CONTENT_TYPE),
    ({"content_types": ["text/plain"]}, Reason.CONTENT_TYPE),
    ({"content_types": ["application/x-www-form-urlencoded"]}, Reason.CONTENT_TYPE),
    ({"content_types": ["multipart/form-data; boundary=x"]}, Reason.CONTENT_TYPE),
    ({"content_types": ["application/graphql"]}, Reason.CONTENT_TYPE),
    ({"content_types": ["application/json; charset=utf-16"]}, Reason.CONTENT_TYPE),
    ({"content_types": ["application/json, text/plain"]}, Reason.CONTENT_TYPE),
    ({"content_encodings": ["gzip"]}, Reason.CONTENT_ENCODING),
    ({"content_encodings": ["identity", "br"]}, Reason.CONTENT_ENCODING),
    ({"body": b" " * 65537}, Reason.BODY_TOO_LARGE),
]


@pytest.mark.parametrize(("changes", "reason"), TRANSPORT)
async def test_transport_is_looked_at_first(bench: Bench, changes: dict[str, Any], reason: Reason) -> None:
    assert (await bench.refusal(**changes)).reason is reason
    record = decode_record(bench.log.payloads[-1])
    assert (record.reason, record.users[0].id) == (reason.value, "uzovi:5000")
    # Whom Envoy does not know does not reach the certificate.
    bench.trust.validator = None  # type: ignore[assignment]
    assert (await bench.refusal(**changes, verified_by_edge=None)).reason is reason
    record = decode_record(bench.log.payloads[-1])
    assert (record.reason, record.users[0].id) == (reason.value, "unknown")


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", 'application/json;charset="UTF-8"', "APPLICATION/JSON"]
)
async def test_json_in_utf8_is_accepted(bench: Bench, kind: str) -> None:
    assert isinstance(await bench.ask(content_types=[kind], content_encodings=["identity"]), Permit)


UNAUTHENTICATED: list[tuple[dict[str, Any], str]] = [
    ({"xfcc": None}, "certificate_missing"),
    ({"xfcc": "Hash=00"}, "certificate_malformed"),
    ({"verified_by_edge": None}, "certificate_unverified_by_edge"),
    ({"authorization": []}, "token_missing"),
    ({"authorization": ["Bearer x"]}, "token_malformed"),
    (
        {
            "authorization": [
                token(exp=int(NOW.timestamp()) - 60, iat=int(NOW.timestamp()) - 900, nbf=int(NOW.timestamp()) - 900)
            ]
        },
        "token_expired",
    ),
    ({"authorization": [token(cnf={"x5t#S256": "x" * 43})]}, "token_binding"),
    ({"authorization": [token(scope="other:read", scopes=["other:read"])]}, "token_scope"),
]


@pytest.mark.parametrize(("changes", "reason"), UNAUTHENTICATED, ids=[reason for _, reason in UNAUTHENTICATED])
async def test_who_is_not_authenticated_reaches_neither_parser_nor_policies(
    bench: Bench, changes: dict[str, Any], reason: str
) -> None:
    assert (await bench.refusal(**changes)).reason.value == reason
    assert bench.register.asked == 0
    assert bench.policies.asked == []
    assert bench.log.last["event"]["reason"] == reason


async def test_the_record_of_a_stolen_token_names_the_thief_as_user_and_the_token_as_object(bench: Bench) -> None:
    stolen = claims(OTHER, NOW, sub="uzovi:5001", uzovi="5001")
    assert (await bench.refusal(authorization=[f"Bearer {KEY.sign(stolen)}"])).reason is Reason.TOKEN_BINDING
    record = bench.log.last
    assert [user["id"] for user in record["users"]] == ["uzovi:5000"]
    assert {item["identifier"] for item in record["objects"] if item["identifier_type"] == "jti"} == {stolen["jti"]}
    assert "uzovi:5001" not in bench.log.payloads[-1].decode()
    decode_record(bench.log.payloads[-1])


async def test_a_forged_token_is_no_object_of_the_record(bench: Bench) -> None:
    forged = TokenKey().sign(claims(MINE, NOW))
    assert (await bench.refusal(authorization=[f"Bearer {forged}"])).reason is Reason.TOKEN_SIGNATURE
    assert not [item for item in bench.log.last["objects"] if item["identifier_type"] == "jti"]


async def test_somebody_elses_token_over_ones_own_certificate_is_refused(bench: Bench) -> None:
    refusal = await bench.refusal(xfcc=xfcc(OTHER, (OTHER.pem, CA.issuing.pem)))
    assert refusal.reason is Reason.TOKEN_BINDING


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"query":"{"}', BODY.replace(b"wlzIndicatie(", b"unknown(")])
async def test_what_is_not_graphql_for_this_register_does_not_reach_the_policies(bench: Bench, body: bytes) -> None:
    assert (await bench.refusal(body=body)).reason.value.startswith("graphql_")
    assert bench.policies.asked == []


def _decision(**changes: Any) -> Decision:
    one = (EvaluationDecision(allow=True, reasons=()),)
    good = Decision(allow=True, reasons=(), policy_id="p", revision="r7", evaluations=one)
    return replace(good, **changes)


NO_PERMIT: dict[str, tuple[Any, Reason]] = {
    "a denial": (_decision(allow=False, reasons=("no_rule",)), Reason.POLICY_DENIED),
    "a truthy text": (_decision(allow="true"), Reason.POLICY_DENIED),
    "one": (_decision(allow=1), Reason.POLICY_DENIED),
    "no evaluations": (_decision(evaluations=()), Reason.POLICY_UNAVAILABLE),
    "an evaluation that denies": (
        _decision(evaluations=(EvaluationDecision(allow=False, reasons=("x",)),)),
        Reason.POLICY_UNAVAILABLE,
    ),
    "an evaluation too many": (
        _decision(evaluations=(EvaluationDecision(allow=True, reasons=()),) * 2),
        Reason.POLICY_UNAVAILABLE,
    ),
    "an obligation that nobody meets": (_decision(obligations={"filter": "own"}), Reason.POLICY_UNAVAILABLE),
    "an engine that is away": (PolicyUnavailable("away"), Reason.POLICY_UNAVAILABLE),
    "an engine that breaks": (RuntimeError("secret"), Reason.INTERNAL_ERROR),
}


@pytest.mark.parametrize("name", NO_PERMIT)
async def test_anything_but_a_clear_permit_denies(bench: Bench, name: str) -> None:
    answer, reason = NO_PERMIT[name]
    bench.policies.answer = answer
    refusal = await bench.refusal()
    assert refusal.reason is reason
    assert "secret" not in refusal.detail
    bench.policies.answer = _decision()
    assert isinstance(await bench.ask(), Permit)


@pytest.mark.parametrize("reason", [Reason.BUNDLE_STALE, Reason.POLICY_UNAVAILABLE])
async def test_stale_policies_deny(bench: Bench, reason: Reason) -> None:
    bench.policies.unavailable = reason
    assert (await bench.refusal()).reason is reason


@pytest.mark.parametrize("reason", [Reason.KEYS_STALE, Reason.REVOCATIONS_STALE])
async def test_stale_trust_denies(bench: Bench, reason: Reason) -> None:
    bench.trust.stale = reason
    assert (await bench.refusal()).reason is reason


@pytest.mark.parametrize("fault", [Refused(Reason.JOURNAL_UNAVAILABLE, "full"), RuntimeError("bug")])
@pytest.mark.parametrize("changes", [{}, {"authorization": []}])
async def test_without_a_durable_record_nothing_passes(bench: Bench, fault: Exception, changes: dict[str, Any]) -> None:
    bench.log.fault = fault
    assert (await bench.refusal(**changes)).reason is Reason.JOURNAL_UNAVAILABLE


DETAIL = {"type": "iwlz_care_client", "grant_id": "g", "identifier": RECORD, "actions": ["read"]}
GRANTS: list[tuple[Any, bool]] = [
    ([DETAIL], True),
    ([DETAIL | {"datatypes": ["WLZ_INDICATIE"]}], True),
    ([DETAIL | {"identifier": "other"}, DETAIL], True),
    ([DETAIL | {"identifier": RECORD.replace("5a", "5b")}], False),
    ([DETAIL | {"actions": ["create"]}], False),
    ([DETAIL | {"actions": "read"}], False),
    ([DETAIL | {"datatypes": ["CLIENT"]}], False),
    ([DETAIL | {"type": "other"}], False),
    ([DETAIL | {"limit": 1}], False),
    ([DETAIL, DETAIL | {"type": "other"}], False),
    ([{"type": "iwlz_care_client"}], False),
]


@pytest.mark.parametrize(("details", "passes"), GRANTS)
async def test_a_token_with_a_grant_stays_within_it(bench: Bench, details: Any, passes: bool) -> None:  # noqa: FBT001
    outcome = await bench.ask(authorization=[token(authorization_details=details)])
    if passes:
        assert isinstance(outcome, Permit)
    else:
        assert isinstance(outcome, Refusal)
        assert outcome.reason is Reason.CARE_CLIENT_OUTSIDE_GRANT


def test_every_reason_has_an_answer_that_names_the_sender() -> None:
    writer = AnswerWriter("sluis/trust-agent/test")
    for reason in Reason:
        status, headers, body = writer.render(Refusal(reason, "a sentence"), TRACE)
        assert 400 <= status <= 599
        told = json.loads(body)
        told = told["errors"][0]["extensions"] if "errors" in told else told
        assert told["sender"] == "sluis/trust-agent/test"
        assert told["trace_id"] == TRACE.trace_id
        assert ("www-authenticate" in dict(headers)) == (status == 401)


TABLE = [
    (Reason.GRAPHQL_SYNTAX, 400),
    (Reason.GRAPHQL_NO_OPERATION, 400),
    (Reason.TOKEN_SCOPE, 400),
    (Reason.TOKEN_MISSING, 401),
    (Reason.TOKEN_EXPIRED, 401),
    (Reason.TOKEN_REVOKED, 401),
    (Reason.CERTIFICATE_MISSING, 403),
    (Reason.CERTIFICATE_REVOKED, 403),
    (Reason.CREDENTIAL_BLOCKED, 403),
    (Reason.ADDRESS_NOT_ALLOWED, 403),
    (Reason.POLICY_DENIED, 403),
    (Reason.INTERNAL_ERROR, 500),
    (Reason.SCOPE_UNKNOWN, 500),
]


@pytest.mark.parametrize(("reason", "status"), TABLE)
def test_the_table_of_errors(reason: Reason, status: int) -> None:
    assert status_of(reason) == status


def test_the_texts_of_the_table() -> None:
    writer = AnswerWriter("s")
    body = json.loads(writer.render(Refusal(Reason.GRAPHQL_NO_OPERATION, "No operation found to evaluate"), TRACE)[2])
    assert (body["ErrorCode"], body["Error"]) == ("bad_request", "No operation found to evaluate")
    _, headers, raw = writer.render(Refusal(Reason.GRAPHQL_SYNTAX, "the query is not GraphQL"), TRACE)
    assert dict(headers)["content-type"] == "application/graphql-response+json"
    assert json.loads(raw)["errors"][0]["message"] == "the query is not GraphQL"
    body = json.loads(writer.render(Refusal(Reason.CERTIFICATE_REVOKED, "it was revoked"), TRACE)[2])
    assert body["Error"] == "Invalid Client Certificate"
    body = json.loads(writer.render(Refusal(Reason.TOKEN_SCOPE, "Scope is not allowed"), TRACE)[2])
    assert body["Error"] == "Scope is not allowed"
    body = json.loads(writer.render(Refusal(Reason.INTERNAL_ERROR, "traceback of secrets"), TRACE)[2])
    assert body["Error"] == "Internal error"
    body = json.loads(writer.render(Refusal(Reason.CRL_STALE, "the CRL is too old"), TRACE)[2])
    assert body["reason"] == "crl_stale"


async def test_new_documents_beyond_the_share_are_refused_with_their_own_reason_and_recorded(bench: Bench) -> None:
    def new(number: int) -> bytes:
        return json.dumps({"query": f"{{z{number}}}"}).encode()

    assert isinstance(await bench.ask(), Permit)
    # The first of his share was the template.
    reasons = [(await bench.refusal(body=new(number))).reason for number in range(21)]
    assert reasons == [Reason.GRAPHQL_INVALID] * 19 + [Reason.NEW_DOCUMENTS_LIMITED] * 2
    record = decode_record(bench.log.payloads[-1])
    assert (record.reason, record.users[0].id) == ("new_documents_limited", "uzovi:5000")
    status, headers, content = AnswerWriter("agent").render(Refusal(reasons[-1], "x"), TRACE)
    assert (status, dict(headers)["retry-after"]) == (429, "1")
    assert json.loads(content)["reason"] == "new_documents_limited"
    # His template is still served, and that of others as well.
    assert isinstance(await bench.ask(), Permit)
    other = CA.issue("uzovi:5001")
    presented = f"Bearer {KEY.sign(claims(other, NOW, sub='uzovi:5001', uzovi='5001'))}"
    theirs = {"xfcc": xfcc(other, (other.pem, CA.issuing.pem)), "authorization": [presented]}
    assert (await bench.refusal(**theirs, body=new(99))).reason is Reason.GRAPHQL_INVALID


async def test_a_document_is_remembered_after_a_permit_only(bench: Bench) -> None:
    bench.policies.answer = Decision(allow=False, reasons=("no_rule",), policy_id="", revision="r7", obligations={})
    assert (await bench.refusal()).reason is Reason.POLICY_DENIED
    assert bench.register.remembered == 0
    bench.policies.answer = None
    assert isinstance(await bench.ask(), Permit)
    assert bench.register.remembered == 1


def block(bench: Bench) -> None:
    bench.trust.credentials = {CERTIFICATE.thumbprint}


def blind(bench: Bench) -> None:
    bench.clock.advance(hours=2)


def defect(bench: Bench) -> None:
    bench.trust.validator = None  # type: ignore[assignment]


@pytest.mark.parametrize("verified", ["1", None, "0"])
@pytest.mark.parametrize(
    ("cause", "reason"),
    [(block, Reason.CREDENTIAL_REVOKED), (blind, Reason.CRL_STALE), (defect, Reason.INTERNAL_ERROR)],
)
async def test_each_refusal_of_who_envoy_verified_is_recorded_also_when_he_is_blocked_or_we_are_blind(
    bench: Bench, cause: Callable[[Bench], None], reason: Reason, verified: str | None
) -> None:
    cause(bench)
    for _ in range(20):
        refusal = await bench.refusal(verified_by_edge=verified, peer_address="203.0.113.9:1000")
        assert refusal.reason is reason or verified != "1"
    assert len(bench.log.payloads) == (20 if verified == "1" else 10)
    for _ in range(20):
        await bench.refusal(verified_by_edge=verified, method="GET", peer_address="203.0.113.9:1000")
    assert len(bench.log.payloads) == (40 if verified == "1" else 10)


@pytest.mark.parametrize("changes", [{}, {"method": "GET"}])
async def test_the_record_of_a_blocked_credential_names_who_goes_on_trying(
    bench: Bench, changes: dict[str, Any]
) -> None:
    block(bench)
    await bench.refusal(**changes)
    assert decode_record(bench.log.payloads[-1]).users[0].id == "uzovi:5000"
    # The near miss: whom Envoy did not verify is not named, whatever he presents.
    await bench.refusal(**changes, verified_by_edge=None)
    assert decode_record(bench.log.payloads[-1]).users[0].id == "unknown"


async def test_a_certificate_that_is_no_good_fills_no_journal_though_envoy_verified_it(bench: Bench) -> None:
    rogue = CA.rogue().issue("uzovi:5000")
    presented = {"xfcc": xfcc(rogue, (rogue.pem, CA.issuing.pem)), "peer_address": "203.0.113.9:1000"}
    for _ in range(20):
        assert (await bench.refusal(**presented)).reason.is_about_the_certificate
        await bench.refusal(**presented, method="GET")
    assert len(bench.log.payloads) == 10


@pytest.mark.parametrize(("part", "event"), [("policies", "decision_failed"), ("log", "record_failed")])
async def test_a_defect_is_logged_by_its_kind_and_place_alone(bench: Bench, part: str, event: str) -> None:
    error = RuntimeError("a defect with 999911120")
    if part == "policies":
        bench.policies.answer = error
    else:
        bench.log.fault = error
    with capture_logs() as logs:
        await bench.refusal()
    (line,) = logs
    assert (line["event"], line["error_kind"]) == (event, "RuntimeError")
    assert line["at"].startswith("trust_agent.decision:")
    assert "exc_info" not in line
    assert "999911120" not in repr(logs)


async def test_strangers_do_not_fill_the_journal_and_hide_nothing_in_it(bench: Bench) -> None:
    stranger = {"xfcc": None, "peer_address": "203.0.113.9:1000"}
    for _ in range(500):
        assert (await bench.refusal(**stranger)).reason is Reason.CERTIFICATE_MISSING
    for _ in range(300):
        assert (
            await bench.refusal(**stranger, method="GET", verified_by_edge=None)
        ).reason is Reason.METHOD_NOT_ALLOWED
    assert len(bench.log.payloads) == 10
    # Another address, and whoever has a certificate, has a record for each.
    await bench.refusal(xfcc=None, peer_address="203.0.113.10:1000")
    for _ in range(100):
        await bench.refusal(authorization=[], peer_address="203.0.113.9:1001")
        await bench.refusal(method="GET", peer_address="203.0.113.9:1001")
    assert isinstance(await bench.ask(peer_address="203.0.113.9:1001"), Permit)
    assert len(bench.log.payloads) == 10 + 1 + 200 + 1
    await bench.strangers.tell()
    told = [decode_record(payload) for payload in bench.log.payloads[212:]]
    assert {(item.reason, item.objects[0].details["count"]) for item in told} == {
        ("certificate_missing", 490),
        ("method_not_allowed", 300),
    }
