"""EST as an ASGI application: what Envoy hands over decides, and each refusal has its status."""

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from authz.domain.domains import DomainFinding, DomainsNotSecure
from authz.domain.errors import Refused
from authz.domain.identifiers import Identifier
from authz.domain.reasons import Reason
from authz.edge.client_certificate import (
    EDGE_VERIFIED_HEADER,
    LISTENER_HEADER,
    PEER_ADDRESS_HEADER,
    RAW_PATH_HEADER,
    XFCC_HEADER,
)
from authz.edge.rate import RateLimiter
from pki.app import OpenAuthority
from pki.audit.records import operator
from pki.audit.tally import Tally
from pki.certificate_files import read_certificate
from pki.enrolment.desk import CodeDesk
from pki.enrolment.renewal_limits import TooOften
from pki.enrolment.service import Busy, Enrolment
from pki.http.est import PREFIX, EstApplication, _refusal, _status_of
from pki.http.peers import LOOKS_PER_MINUTE, Peers
from pki.http.published import Published
from pki.issuing import Holder
from pki.store.register import Register
from pki.validation.validator import CertificateValidator
from tests.fakes.authorization_server import xfcc
from tests.fakes.certificates import FakeAuthority
from tests.fakes.requests import request_der

pytestmark = pytest.mark.parametrize("config", ["sqlite"], indirect=True)
WHO = Identifier.parse_subject("uzovi:5000")
Pairs = list[tuple[str, str]]


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Caller:
    """What Envoy sends, and what it gets."""

    app: EstApplication
    tally: Tally
    address: str = "192.0.2.7:4711"

    async def __call__(
        self, operation: str, headers: Pairs, body: bytes = b"", *, method: str = "POST", envoy: Pairs | None = None
    ) -> Reply:
        raw = [(RAW_PATH_HEADER, f"{PREFIX}/{operation}"), (LISTENER_HEADER, "tls")] if envoy is None else envoy
        raw = [*raw, (PEER_ADDRESS_HEADER, self.address)]
        pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in (*headers, *raw)]
        sent: list[dict[str, object]] = []
        parts = [body[at : at + 1000] for at in range(0, len(body), 1000)] or [b""]
        messages = iter(
            {"type": "http.request", "body": part, "more_body": number < len(parts)}
            for number, part in enumerate(parts, 1)
        )

        async def receive() -> dict[str, object]:
            return next(messages)

        async def send(message: dict[str, object]) -> None:
            sent.append(message)

        await self.app({"type": "http", "method": method, "headers": pairs}, receive, send)  # type: ignore[arg-type]
        start, content = sent
        got = {name.decode(): value.decode() for name, value in start["headers"]}  # type: ignore[attr-defined]
        return Reply(start["status"], got, content["body"])  # type: ignore[arg-type]


@pytest.fixture
async def call(pki: OpenAuthority) -> AsyncIterator[Caller]:
    await pki.withdrawal.sweep()
    published = Published(pki)
    await published.load()
    root = read_certificate(pki.settings.root.certificate)
    tally = Tally(pki)
    yield Caller(
        EstApplication(Enrolment(pki), Peers(pki, published), [root], tally=tally, attempts_per_minute=3), tally
    )
    published.close()


def proof(code: str, name: str = "uzovi-5000") -> Pairs:
    basic = base64.b64encode(f"{name}:{code}".encode()).decode()
    return [("authorization", f"Basic {basic}"), ("content-type", "application/pkcs10")]


async def new_code(pki: OpenAuthority) -> str:
    _, code = await CodeDesk(pki).create("TST", Holder(WHO, "Zorgkantoor Test", "12345678"), operator("anna"))
    return code


async def test_failed_attempts_from_one_address_are_limited(call: Caller, pki: OpenAuthority) -> None:
    code = await new_code(pki)
    body = base64.b64encode(request_der())
    for _ in range(3):
        assert (await call("simpleenroll", proof("0" * 40), body)).status == 401
    limited = await call("simpleenroll", proof(code), body)
    assert limited.status == 429
    assert 0 < int(limited.headers["retry-after"]) <= 21
    # What is public is not limited.
    assert (await call("cacerts", [], method="GET")).status == 200


async def test_a_domain_that_lapsed_since_the_code_was_made_is_told_to_its_holder(
    call: Caller, pki: OpenAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = await new_code(pki)
    body = base64.b64encode(request_der())
    for reason, status in (
        (Reason.DOMAIN_INSECURE, 403),
        (Reason.DOMAIN_BOGUS, 403),
        (Reason.DOMAIN_ABSENT, 403),
        (Reason.DOMAIN_INDETERMINATE, 503),
        (Reason.DOMAIN_UNREACHABLE, 503),
        (Reason.DOMAIN_UNCHECKED, 503),
    ):
        found = DomainFinding(
            "pep.goed.nl", reason, "no DS at nl. for goed.nl.", "the registrar of goed.nl", "Sign it."
        )

        async def refuse(_names: object, found: DomainFinding = found) -> None:
            raise DomainsNotSecure([found])

        monkeypatch.setattr(call.app, "_attempts", RateLimiter(3, 60))
        with monkeypatch.context() as patched:
            patched.setattr(pki.domains, "require_secure", refuse)
            reply = await call("simpleenroll", proof(code), body)
        assert reply.status == status
        text = reply.body.decode()
        assert text.startswith(f"{reason.value}: pep.goed.nl is ")
        assert "the registrar of goed.nl: Sign it." in text
        assert text.count("\n") == 1
        # Trouble that may be ours is worth another try; what its holder repairs is not, until he did.
        assert ("retry-after" in reply.headers) is (status == 503)
    # None of it was a wrong guess, and none used the code.
    assert (await call("simpleenroll", proof(code), body)).status == 200


async def test_only_who_goes_away_with_a_certificate_is_not_counted_for_his_address(
    call: Caller, pki: OpenAuthority
) -> None:
    body = base64.b64encode(request_der())
    for number in range(5):
        holder = Holder(Identifier.parse_subject(f"uzovi:700{number}"), "Zorgkantoor Test", "12345678")
        _, good = await CodeDesk(pki).create("TST", holder, operator("anna"))
        fresh = base64.b64encode(request_der())
        assert (await call("simpleenroll", proof(good, f"uzovi-700{number}"), fresh)).status == 200
    code = await new_code(pki)
    for _ in range(3):
        assert (await call("simpleenroll", proof(code), base64.b64encode(b"\x30\x00"))).status == 400
    assert (await call("simpleenroll", proof(code), body)).status == 429
    call.address = "192.0.2.8:1"
    assert (await call("simpleenroll", proof(code), body)).status == 200


async def test_identities_are_not_tried_with_a_code_that_leaked(call: Caller, pki: OpenAuthority) -> None:
    code = await new_code(pki)
    body = base64.b64encode(request_der())
    statuses = [(await call("simpleenroll", proof(code, f"uzovi-60{number}0"), body)).status for number in range(5)]
    assert statuses == [401] * 3 + [429] * 2
    # From another address the code itself is over before the identity is found.
    call.address = "192.0.2.8:1"
    statuses = [(await call("simpleenroll", proof(code, f"uzovi-61{number}0"), body)).status for number in range(2)]
    assert statuses == [401] * 2
    reply = await call("simpleenroll", proof(code), body)
    assert (reply.status, reply.body.split(b":")[0]) == (401, b"code_locked")
    assert await pki.find() == []


async def test_a_spent_code_that_is_tried_for_ever_is_counted_and_stops_nobody_else(
    call: Caller, pki: OpenAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call.app, "_guesses", RateLimiter(2, 60))
    code = await new_code(pki)
    body = base64.b64encode(request_der())
    assert (await call("simpleenroll", proof(code), body)).status == 200
    before = await records(pki)
    for number in range(12):
        call.address = f"198.51.100.{number}:1"
        reply = await call("simpleenroll", proof(code), body)
        assert (reply.status, reply.body.split(b":")[0]) == (401, b"code_used")
    assert len(await records(pki)) == len(before) + 1
    assert await call.tally.write() == 1
    holder = Holder(Identifier.parse_subject("uzovi:7000"), "Zorgkantoor Test", "12345678")
    _, good = await CodeDesk(pki).create("TST", holder, operator("anna"))
    assert (await call("simpleenroll", proof(good, "uzovi-7000"), body)).status != 200  # the same key, another party
    other = base64.b64encode(request_der())
    assert (await call("simpleenroll", proof(good, "uzovi-7000"), other)).status == 200


async def test_many_uses_of_one_code_at_once_are_told_to_come_back_soon(
    call: Caller, pki: OpenAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = await new_code(pki)
    body = base64.b64encode(request_der())

    async def busy(*_: object) -> None:
        raise Busy(5)

    for _ in range(6):
        with monkeypatch.context() as patched:
            patched.setattr(Enrolment, "authenticate", busy)
            reply = await call("simpleenroll", proof(code), body)
        assert (reply.status, reply.headers["retry-after"]) == (503, "5")
    assert (await call("simpleenroll", proof(code), body)).status == 200


@pytest.mark.parametrize(
    "envoy",
    [
        [(RAW_PATH_HEADER, f"{PREFIX}/simpleenroll"), (LISTENER_HEADER, "plain")],
        [(RAW_PATH_HEADER, f"{PREFIX}/simpleenroll")],
        [(RAW_PATH_HEADER, f"{PREFIX}/tst/simpleenroll"), (LISTENER_HEADER, "tls")],
        [(RAW_PATH_HEADER, f"{PREFIX}/simpleenroll/"), (LISTENER_HEADER, "tls")],
        [(RAW_PATH_HEADER, f"{PREFIX}simpleenroll"), (LISTENER_HEADER, "tls")],
        [(LISTENER_HEADER, "tls")],
    ],
)
async def test_another_listener_or_path(call: Caller, pki: OpenAuthority, envoy: Pairs) -> None:
    code = await new_code(pki)
    reply = await call("simpleenroll", proof(code), base64.b64encode(request_der()), envoy=envoy)
    assert reply.status == 404
    assert await pki.find() == []


async def test_a_header_that_decides_and_is_there_twice(call: Caller, pki: OpenAuthority) -> None:
    headers = proof(await new_code(pki))
    body = base64.b64encode(request_der())
    for twice in (*headers, (LISTENER_HEADER, "tls"), (EDGE_VERIFIED_HEADER, "1")):
        more = [twice, twice] if twice[0] == EDGE_VERIFIED_HEADER else [twice]
        assert (await call("simpleenroll", [*headers, *more], body)).status == 400
    assert (await call("simpleenroll", [*headers, ("accept", "a"), ("accept", "b")], body)).status == 200


async def test_too_many_at_once_are_told_to_come_back(
    call: Caller, pki: OpenAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = await new_code(pki)
    body = base64.b64encode(request_der())

    async def busy(*_: object) -> None:
        raise Busy

    with monkeypatch.context() as patched:
        patched.setattr(Enrolment, "authenticate", busy)
        reply = await call("simpleenroll", proof(code), body)
    assert (reply.status, reply.headers["retry-after"]) == (503, "30")
    assert (await call("simpleenroll", proof(code), body)).status == 200


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/pkcs10; charset=utf-8", 200),
        ("Application/PKCS10 ;smime-type=certs-only", 200),
        ("application/pkcs10x", 415),
        ("text/plain; application/pkcs10", 415),
        ("", 415),
    ],
)
async def test_parameters_of_the_content_type_say_nothing(
    call: Caller, pki: OpenAuthority, kind: str, status: int
) -> None:
    headers = [*proof(await new_code(pki))[:1], ("content-type", kind)]
    assert (await call("simpleenroll", headers, base64.b64encode(request_der()))).status == status


async def test_no_certificate_and_a_forged_one(call: Caller) -> None:
    kind = [("content-type", "application/pkcs10")]
    body = base64.b64encode(request_der())
    for header in ([], [("x-forwarded-client-cert", "")], [("x-forwarded-client-cert", "Hash=00;Cert=x;Chain=y")]):
        reply = await call("simplereenroll", [*kind, *header, (EDGE_VERIFIED_HEADER, "1")], body)
        assert reply.status == 403
        assert b"certificate_" in reply.body


async def records(pki: OpenAuthority) -> list[dict[str, Any]]:
    async with pki.database.read() as connection:
        return [json.loads(text) for _, text in await Register(connection).unshipped(1000)]


async def test_who_has_no_verified_certificate_writes_no_record_however_often_he_asks(
    call: Caller, pki: OpenAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    def worked(*_: object) -> None:
        raise AssertionError("a chain that Envoy did not verify was validated")

    monkeypatch.setattr(CertificateValidator, "validate", worked)
    before = await records(pki)
    kind = [("content-type", "application/pkcs10")]
    body = base64.b64encode(request_der())
    shown: Pairs = [("x-forwarded-client-cert", "Hash=00;Cert=x;Chain=y")]
    for headers in ([*kind], [*kind, *shown], [*kind, *shown, (EDGE_VERIFIED_HEADER, "0")]):
        for _ in range(100):
            assert (await call("simplereenroll", headers, body)).status == 403
    assert await records(pki) == before
    # All of it is told, once.
    assert await call.tally.write() == 2
    assert await call.tally.write() == 0
    told = (await records(pki))[len(before) :]
    counts = {item["event"]["reason"]: item["objects"][0]["details"]["count"] for item in told}
    assert counts == {"certificate_missing": 100, "certificate_unverified_by_edge": 200}


async def test_a_verified_certificate_that_is_refused_is_recorded_and_looked_at_so_many_times(
    call: Caller, pki: OpenAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    def revoked(*_: object) -> None:
        raise Refused(Reason.CERTIFICATE_REVOKED, "revoked")

    monkeypatch.setattr(CertificateValidator, "validate", revoked)
    shown = xfcc(FakeAuthority().issue())
    before = await records(pki)
    headers = [("content-type", "application/pkcs10"), (XFCC_HEADER, shown), (EDGE_VERIFIED_HEADER, "1")]
    statuses = [(await call("simplereenroll", headers, b"x")).status for _ in range(LOOKS_PER_MINUTE + 20)]
    assert statuses == [403] * LOOKS_PER_MINUTE + [429] * 20
    assert len(await records(pki)) - len(before) == LOOKS_PER_MINUTE
    assert await call.tally.write() == 1


async def test_guesses_from_many_addresses_together_are_limited(
    call: Caller, pki: OpenAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call.app, "_guesses", RateLimiter(4, 60))
    code = await new_code(pki)
    body = base64.b64encode(request_der())
    envoy = [(RAW_PATH_HEADER, f"{PREFIX}/simpleenroll"), (LISTENER_HEADER, "tls")]
    statuses = []
    for number in range(6):
        call.address = f"198.51.100.{number}:1"
        statuses.append((await call("simpleenroll", proof("0" * 40), body, envoy=envoy)).status)
    assert statuses == [401] * 4 + [429] * 2
    monkeypatch.setattr(call.app, "_guesses", RateLimiter(4, 60))
    assert (await call("simpleenroll", proof(code), body)).status == 200


def test_every_reason_has_a_status_that_refuses(config: object) -> None:
    for reason in Reason:
        status = _status_of(reason)
        assert status >= 400 or reason is Reason.CODE_UNAPPROVED
        headers = _refusal(Refused(reason, "why")).headers
        assert ("www-authenticate" in headers) == (status == 401)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    asked=st.tuples(
        st.sampled_from(["simpleenroll", "simplereenroll", "cacerts", "x", ""]),
        st.sampled_from(["GET", "POST", "PUT", "HEAD"]),
    ),
    authorization=st.text(st.characters(max_codepoint=255), max_size=60),
    kind=st.sampled_from(["application/pkcs10", "text/plain", ""]),
    body=st.binary(max_size=300),
)
async def test_whatever_comes_gets_an_answer_that_refuses(
    call: Caller, asked: tuple[str, str], authorization: str, kind: str, body: bytes
) -> None:
    operation, method = asked
    headers = [("authorization", authorization), ("content-type", kind)]
    reply = await call(operation, headers, body, method=method)
    assert reply.status < 500
    if reply.status == 200:
        assert operation == "cacerts"
        assert method in {"GET", "HEAD"}
    assert b"Traceback" not in reply.body


def test_who_renews_too_often_is_told_when_to_come_back(config: object) -> None:
    for reason in (Reason.RENEWAL_TOO_SOON, Reason.RENEWALS_EXHAUSTED):
        answer = _refusal(TooOften(reason, "why", timedelta(days=3)))
        assert (answer.status, answer.headers["retry-after"]) == (429, "259201")
        assert answer.body == f"{reason.value}: why\n".encode()
    # A name of another organisation is a conflict that its holder cannot wait out.
    answer = _refusal(Refused(Reason.DNS_NAME_TAKEN, "why"))
    assert (answer.status, "retry-after" in answer.headers) == (409, False)
