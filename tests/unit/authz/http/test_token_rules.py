"""The rules behind a good request: audience, domain, acting, policy, and what the token says.

Shared `spec/authorization.md`, "Rules"; `cases/oauth.md` 41-43, 49, 50, 69.
"""

from typing import Any

import jwt
import pytest

from authz.directory.endpoints import EndpointWatch
from authz.domain.audit import EventType, Outcome
from authz.domain.claims import AccessTokenClaims
from authz.domain.reasons import Reason
from authz.grants.audience import DaneState, DomainState
from authz.policy.engine import PolicyUnavailable
from authz.store.database import Database
from pki.validation.validator import thumbprint_of
from tests.fakes.authorization_server import AUDIENCE, CIZ, ISSUER, SCOPE, ZORGKANTOOR, AuthorizationServer

pytestmark = pytest.mark.asyncio(loop_scope="module")
HOST = "pep.ciz.test.nl"


async def refused(authz: AuthorizationServer, status: int, reason: Reason, **changes: Any) -> None:
    assert (await authz.iwlz(**changes)).status_code == status
    assert (await authz.last_record()).reason == reason


async def test_the_token_says_what_was_decided(authz: AuthorizationServer) -> None:
    answer = (await authz.iwlz()).json()
    keys = jwt.PyJWKSet.from_dict((await authz.client.get("/jwks")).json())
    header = jwt.get_unverified_header(answer["access_token"])
    assert (header["typ"], header["alg"]) == ("at+jwt", "ES256")
    payload = jwt.decode(
        answer["access_token"],
        keys[header["kid"]],
        algorithms=["ES256"],
        audience=AUDIENCE,
        issuer=ISSUER,
        options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
    )
    claims = AccessTokenClaims.from_json(payload)
    now = int(authz.clock.now().timestamp())
    assert (claims.issued_at, claims.expires_at, answer["expires_in"]) == (now, now + 900, 900)
    assert (claims.subject.subject, claims.client_id, claims.uzovi, claims.agb) == (
        ZORGKANTOOR,
        ZORGKANTOOR,
        "5000",
        None,
    )
    assert claims.thumbprint == thumbprint_of(authz.zorgkantoor.der)
    assert (payload["scopes"], payload["scope"]) == ([SCOPE], SCOPE)
    assert claims.actor is None
    assert len(answer["access_token"]) < 1500


async def test_each_token_has_its_own_jti_and_record(authz: AuthorizationServer) -> None:
    first, second = await authz.token_claims(), await authz.token_claims()
    assert first["jti"] != second["jti"]
    record = await authz.last_record()
    assert (record.event_type, record.outcome, record.checks) == (EventType.TOKEN_REQUEST, Outcome.SUCCESS, "TFFF")
    assert (record.objects[0].identifier, record.objects[1].identifier) == (second["jti"], AUDIENCE)
    assert record.objects[0].protocol == f"TOKEN@{second['policy']}"


async def test_the_trace_of_the_caller_is_kept_and_a_bad_one_replaced(authz: AuthorizationServer) -> None:
    trace = {"x-b3-traceid": "4bf92f3577b34da6a3ce929d0e0e4736", "x-b3-spanid": "00f067aa0ba902b7"}
    assert (await authz.iwlz(headers=trace)).headers["x-b3-traceid"] == trace["x-b3-traceid"]
    answer = await authz.iwlz(headers=trace | {"x-b3-traceid": "0" * 32})
    assert answer.status_code == 200
    assert answer.headers["x-b3-traceid"] not in {"0" * 32, trace["x-b3-traceid"]}


@pytest.mark.parametrize("audience", [None, ""])
async def test_49_no_audience(authz: AuthorizationServer, audience: str | None) -> None:
    answer = await authz.iwlz(audience=audience)
    assert (answer.status_code, answer.json()) == (400, "audience is required")
    assert (await authz.last_record()).reason == Reason.AUDIENCE_MISSING
    assert (await authz.oauth(resource=audience)).json()["error"] == "invalid_target"


@pytest.mark.parametrize(
    ("audience", "reason"),
    [
        (AUDIENCE.replace("https", "http"), Reason.AUDIENCE_MALFORMED),
        (AUDIENCE.replace("https://", ""), Reason.AUDIENCE_MALFORMED),
        ("/iwlz/indicatieregister/v2/graphql", Reason.AUDIENCE_MALFORMED),
        (AUDIENCE + "#x", Reason.AUDIENCE_MALFORMED),
        (AUDIENCE + "?", Reason.AUDIENCE_MALFORMED),
        (AUDIENCE + "/", Reason.AUDIENCE_MALFORMED),
        (AUDIENCE.replace("pep", "PEP"), Reason.AUDIENCE_MALFORMED),
        (AUDIENCE.replace("https", "HTTPS"), Reason.AUDIENCE_MALFORMED),
        (AUDIENCE.replace("pep.", "user:pass@pep."), Reason.AUDIENCE_MALFORMED),
        (AUDIENCE.replace(".nl", ".nl:443"), Reason.AUDIENCE_MALFORMED),
        (AUDIENCE.replace(".nl", ".nl."), Reason.AUDIENCE_MALFORMED),
        (AUDIENCE.replace("/v2/", "/./v2/"), Reason.AUDIENCE_MALFORMED),
        (AUDIENCE.replace("graphql", "%67raphql"), Reason.AUDIENCE_MALFORMED),
        (f"{AUDIENCE} {AUDIENCE}", Reason.AUDIENCE_MALFORMED),
        (AUDIENCE.replace("/v2/", "/v3/"), Reason.AUDIENCE_UNKNOWN),
        (AUDIENCE.replace("/graphql", ""), Reason.AUDIENCE_UNKNOWN),
        (AUDIENCE.replace("v2", "V2"), Reason.AUDIENCE_UNKNOWN),
        (AUDIENCE.replace("pep", "xn--pep-x"), Reason.AUDIENCE_UNKNOWN),
    ],
)
async def test_49_another_spelling_of_the_audience(authz: AuthorizationServer, audience: str, reason: Reason) -> None:
    await refused(authz, 400, reason, audience=audience)
    answer = await authz.oauth(resource=audience)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_target")


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (DomainState.INSECURE, Reason.DOMAIN_INSECURE),
        (DomainState.BOGUS, Reason.DOMAIN_BOGUS),
        (DomainState.INDETERMINATE, Reason.DOMAIN_INDETERMINATE),
        (DomainState.UNREACHABLE, Reason.DOMAIN_UNREACHABLE),
        (DomainState.ABSENT, Reason.DOMAIN_ABSENT),
    ],
)
async def test_50_a_domain_that_is_not_secure(authz: AuthorizationServer, state: DomainState, reason: Reason) -> None:
    authz.standing.states[HOST] = state
    try:
        await refused(authz, 403, reason)
        assert (await authz.oauth()).json()["error"] == "invalid_target"
        assert (await authz.send("GET", "/directory/v1/services")).json() == []
    finally:
        authz.standing.states.clear()
    assert (await authz.iwlz()).status_code == 200


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (DaneState.ABSENT, Reason.DANE_ABSENT),
        (DaneState.MISMATCHED, Reason.DANE_MISMATCH),
        (DaneState.FAILED, Reason.DANE_FAILED),
        (DaneState.ADDRESS, Reason.DANE_ADDRESS),
        (DaneState.UNREACHABLE, Reason.DANE_UNREACHABLE),
        (DaneState.UNCHECKED, Reason.DANE_UNCHECKED),
    ],
)
async def test_an_audience_that_must_have_dane_passes_only_while_it_matches(
    authz: AuthorizationServer, monkeypatch: pytest.MonkeyPatch, state: DaneState, reason: Reason
) -> None:
    for found, passes in ((state, False), (DaneState.MATCHED, True), (None, True)):
        asked: list[str] = []

        def dane(_: object, url: str, found: DaneState | None = found, asked: list[str] = asked) -> DaneState | None:
            asked.append(url)
            return found

        monkeypatch.setattr(EndpointWatch, "dane", dane)
        if not passes:
            await refused(authz, 403, reason)
            assert (await authz.oauth()).json()["error"] == "invalid_target"
        assert ((await authz.iwlz()).status_code == 200) == passes
        assert bool((await authz.send("GET", "/directory/v1/services")).json()) == passes
        assert set(asked) == {AUDIENCE}
    assert authz.eye.looks == []


async def test_41_actor_equals_subject(authz: AuthorizationServer) -> None:
    for own in (ZORGKANTOOR, "kvk:12345678"):
        answer = await authz.iwlz(access_token={"sub": own})
        assert (answer.status_code, answer.json()) == (401, "authenticating with issuing authority")
        assert (await authz.last_record()).reason == Reason.ACTOR_EQUALS_SUBJECT


async def test_42_no_mandate(authz: AuthorizationServer) -> None:
    answer = await authz.iwlz(access_token={"sub": "agbcode:01234567"})
    assert (answer.status_code, answer.json()) == (401, "authenticating with issuing authority")
    record = await authz.last_record()
    assert (record.reason, record.objects[0].details["on_behalf"]) == (Reason.MANDATE_MISSING, True)


async def test_43_a_party_that_does_not_take_part(authz: AuthorizationServer) -> None:
    await refused(authz, 401, Reason.SUBJECT_UNKNOWN, access_token={"sub": "uzovi:5998"})


@pytest.mark.parametrize(
    "access_token",
    [
        {"sub": "agbcode:012345678"},
        {"sub": "agbcode:00000000"},
        {"sub": "uzovi:500"},
        {"sub": "uzovi:\u0665\u0660\u0660\u0660"},
        {"sub": "UZOVI:5000"},
        {"sub": "5000"},
        {"sub": ""},
        {"sub": None},
        {"sub": ["uzovi:5000"]},
        {"sub": ZORGKANTOOR, "act": {}},
        {},
        "uzovi:5000",
    ],
)
async def test_43_a_malformed_party(authz: AuthorizationServer, access_token: object) -> None:
    await refused(authz, 400, Reason.SUBJECT_MALFORMED, access_token=access_token)


async def test_an_organisation_of_another_type(authz: AuthorizationServer) -> None:
    aanbieder = authz.authority.issue("agbcode:01234567")
    answer = await authz.iwlz(aanbieder, scope="organisaties/zorgkantoor/notificaties/notificatie:create")
    assert (answer.status_code, answer.json()) == (403, "Access denied, invalid scope")
    record = await authz.last_record()
    assert record.objects[0].details["policy_reasons"]
    assert record.objects[0].protocol.startswith("TOKEN@")


async def test_69_a_policy_that_can_not_answer(authz: AuthorizationServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise PolicyUnavailable("down")

    monkeypatch.setattr("authz.policy.wasm.WasmEngine.decide", broken)
    answer = await authz.iwlz()
    assert (answer.status_code, answer.json()["error"]) == (500, "server_error")
    record = await authz.last_record()
    assert (record.outcome, record.reason) == (Outcome.ERROR, Reason.POLICY_UNAVAILABLE)


async def test_71_a_log_that_can_not_be_written(authz: AuthorizationServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from authz.audit.log import AuditUnavailable  # noqa: PLC0415

    before = await authz.records()

    async def full(*_: object) -> None:
        raise AuditUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(Database, "record", full)
        for answer in (await authz.iwlz(), await authz.oauth(), await authz.iwlz(scope="x")):
            assert (answer.status_code, answer.json()["error"]) == (500, "server_error")
            assert "access_token" not in answer.text
    assert await authz.records() == before
    assert (await authz.iwlz()).status_code == 200


async def test_a_holder_of_the_register_is_not_a_consumer(authz: AuthorizationServer) -> None:
    answer = await authz.oauth(authz.authority.issue(CIZ), client_id=CIZ, scope="registers/onbekend:read")
    assert answer.json()["error"] == "invalid_scope"


async def test_a_server_that_no_longer_sees_what_is_revoked(
    authz: AuthorizationServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("authz.participants.following.Follower.blind", True)
        for answer in (await authz.iwlz(), await authz.oauth()):
            assert (answer.status_code, answer.json()["error"]) == (500, "server_error")
        record = await authz.last_record()
        assert (record.outcome, record.reason) == (Outcome.ERROR, Reason.REVOCATIONS_STALE)
    assert (await authz.iwlz()).status_code == 200
