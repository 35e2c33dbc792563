"""The endpoints around the token: keys, metadata, bundles, revocations, address book, records of others."""

import asyncio
import json
import sqlite3
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import jwt
import pytest
import pytest_asyncio

from authz.domain.audit import Action, AuditObject, AuditRecord, AuditUser, EventType, Outcome
from authz.domain.errors import SluisError
from authz.domain.reasons import Reason
from authz.edge.client_certificate import XFCC_HEADER
from authz.edge.tracing import new_trace
from authz.edge.waiters import MOST_EACH
from authz.http.headers import _KNOWN
from authz.policy.bundle import BundleKey, verify_bundle
from authz.tokens.keyfiles import BUNDLE_PUBLIC
from authz.tokens.revocation import RevocationKind
from tests.fakes.authorization_server import (
    AUDIENCE,
    CIZ,
    ISSUER,
    ZORGKANTOOR,
    AuthorizationServer,
    authorization_server,
    publish_crls,
    xfcc,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")
JTI = "NjX5JcVXoKeYjaq1VRoLJA"
PARTICIPANTS_ONLY = ("/bundles/default", "/revocations", "/directory/v1/services")


@pytest_asyncio.fixture(loop_scope="module")
async def fresh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AuthorizationServer]:
    async with authorization_server(tmp_path_factory.mktemp("fresh")) as server:
        yield server


def record(clock: Any, **changes: Any) -> AuditRecord:
    values: dict[str, Any] = {
        "record_id": str(uuid.uuid4()),
        "event_type": EventType.ACCESS_DECISION,
        "action": Action.READ,
        "time": clock.now(),
        "outcome": Outcome.SUCCESS,
        "source": "sluis/trust-agent/ciz",
        "users": (AuditUser(ZORGKANTOOR, "ZORGKANTOOR"),),
        "objects": (AuditObject("audience", AUDIENCE, "IRA0001@1"),),
        "trace": new_trace(),
    }
    return AuditRecord(**(values | changes))


async def feed(authz: AuthorizationServer, **headers: str) -> tuple[dict[str, Any], str]:
    answer = await authz.send("GET", "/revocations", headers=headers)
    keys = jwt.PyJWKSet.from_dict((await authz.client.get("/jwks")).json())
    header = jwt.get_unverified_header(answer.text)
    assert header["typ"] == "revocations+jwt"
    # PyJWT's own reading of claims knows `jti` as the id of one token only.
    payload = json.loads(jwt.PyJWS().decode(answer.text, keys[header["kid"]], algorithms=["ES256"]))
    assert payload["iss"] == ISSUER
    return payload, answer.headers["etag"]


async def test_metadata_and_keys_need_no_certificate_and_hold_no_secret(authz: AuthorizationServer) -> None:
    metadata = (await authz.client.get("/.well-known/oauth-authorization-server")).json()
    assert metadata["issuer"] == ISSUER
    assert metadata["mtls_endpoint_aliases"]["token_endpoint"] == metadata["token_endpoint"]
    assert metadata["tls_client_certificate_bound_access_tokens"] is True
    answer = await authz.client.get("/jwks")
    assert all("d" not in key and key["use"] == "sig" for key in answer.json()["keys"])
    again = await authz.client.get("/jwks", headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", PARTICIPANTS_ONLY)
async def test_what_is_for_deelnemers_is_refused_to_others(authz: AuthorizationServer, path: str) -> None:
    assert (await authz.send("GET", path)).status_code == 200
    answer = await authz.client.get(path)
    assert (answer.status_code, answer.text) == (403, "Invalid Client Certificate")
    assert (await authz.last_record()).reason == Reason.CERTIFICATE_MISSING
    answer = await authz.send("GET", path, authz.authority.rogue().issue(ZORGKANTOOR))
    assert answer.status_code == 403
    found = await authz.last_record()
    assert (found.reason, found.event_type) == (Reason.CERTIFICATE_UNTRUSTED, EventType.ENDPOINT_REFUSED)


@pytest.mark.parametrize("path", [*PARTICIPANTS_ONLY, "/jwks", "/health"])
async def test_another_method_is_refused(authz: AuthorizationServer, path: str) -> None:
    answer = await authz.send("POST", path)
    assert (answer.status_code, answer.headers["cache-control"]) == (405, "no-store")
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
    found = await authz.last_record()
    assert (found.reason, found.users[0].id) == (Reason.METHOD_NOT_ALLOWED, ZORGKANTOOR)
    assert found.trace.trace_id == answer.headers["x-b3-traceid"]


@pytest.mark.parametrize("path", [*PARTICIPANTS_ONLY, "/jwks", "/health", "/.well-known/oauth-authorization-server"])
async def test_head_is_get_without_the_content_and_waits_for_nothing(authz: AuthorizationServer, path: str) -> None:
    got = await authz.send("GET", path)
    etag = {"if-none-match": got.headers["etag"]} if "etag" in got.headers else {}
    async with asyncio.timeout(30):
        head = await authz.send("HEAD", path)
        waited = await authz.send("HEAD", path, headers={"prefer": "wait=60", **etag})
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers.get("etag") == got.headers.get("etag")
    assert head.headers["content-length"] == got.headers["content-length"]
    assert (waited.status_code, waited.content) == (304 if etag else got.status_code, b"")


async def test_a_path_for_deelnemers_is_refused_to_a_stranger_with_head_too(authz: AuthorizationServer) -> None:
    assert (await authz.client.head(PARTICIPANTS_ONLY[0])).status_code == 403


async def test_another_method_of_a_stranger_is_recorded_without_a_name(authz: AuthorizationServer) -> None:
    size = len(await authz.records())
    assert (await authz.client.delete("/health")).status_code == 405
    found = await authz.last_record()
    assert (found.reason, found.users[0].id) == (Reason.METHOD_NOT_ALLOWED, "unknown")
    assert len(await authz.records()) == size + 1


async def test_a_405_that_can_not_be_recorded_is_none(
    fresh: AuthorizationServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as disk:
        disk.setattr("authz.store.sqlite_lane.SqliteLane._append", full)
        assert (await fresh.client.delete("/health")).status_code == 500
    assert (await fresh.client.delete("/health")).status_code == 405


async def test_a_bundle_verifies_with_the_published_key_and_no_other(authz: AuthorizationServer) -> None:
    answer = await authz.send("GET", "/bundles/default")
    assert answer.headers["content-type"] == "application/vnd.openpolicyagent.bundles"
    pem = (authz.settings.keys.folder / BUNDLE_PUBLIC).read_text()
    made = await authz.operations.init_keys()
    now = authz.clock.now()
    key = BundleKey(made["bundle_key"]["key_id"], pem, now - timedelta(1), now + timedelta(1))
    bundle = verify_bundle(answer.content, [key], now)
    assert f'"{bundle.etag}"' == answer.headers["etag"]
    assert bundle.serial == int(now.timestamp())
    assert (await authz.token_claims())["policy"] == bundle.revision


async def test_a_bundle_that_the_reader_has_is_not_sent_again(authz: AuthorizationServer) -> None:
    etag = (await authz.send("GET", "/bundles/default")).headers["etag"]
    headers = {"if-none-match": etag, "prefer": "modes=snapshot"}
    again = await authz.send("GET", "/bundles/default", headers=headers)
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    other = await authz.send("GET", "/bundles/default", headers={"if-none-match": '"other"'})
    assert other.status_code == 200


async def test_a_bundle_of_another_name_is_not_found(authz: AuthorizationServer) -> None:
    for name in ("other", "default.tar.gz", "..%2f..%2fetc%2fpasswd"):
        assert (await authz.send("GET", f"/bundles/{name}")).status_code == 404
    assert (await authz.last_record()).reason == Reason.NOT_FOUND


async def test_the_feed_names_what_is_revoked_until_it_expires(fresh: AuthorizationServer) -> None:
    before, etag = await feed(fresh)
    assert (before["tokens"], before["credentials"], before["grants"]) == ([], [], [])
    await fresh.operations.revoke(RevocationKind.JTI, JTI)
    await fresh.operations.revoke(RevocationKind.GRANT, "grant-1")
    await fresh.changed()
    after, newer = await feed(fresh)
    assert (after["tokens"], after["grants"]) == ([JTI], ["grant-1"])
    assert after["version"] > before["version"]
    assert newer != etag
    await fresh.later(seconds=900 + 60)
    expired, _ = await feed(fresh)
    assert (expired["tokens"], expired["grants"]) == ([], ["grant-1"])


async def test_the_feed_is_signed_again_before_it_grows_old(fresh: AuthorizationServer) -> None:
    first, etag = await feed(fresh)
    await fresh.later(seconds=59)
    assert (await fresh.send("GET", "/revocations", headers={"if-none-match": etag})).status_code == 304
    await fresh.later(seconds=1)
    second, _ = await feed(fresh, **{"if-none-match": etag})
    assert (second["version"], second["iat"] - first["iat"]) == (first["version"], 60)


async def test_a_reader_that_waits_is_woken_by_a_revocation(fresh: AuthorizationServer) -> None:
    _, etag = await feed(fresh)
    headers = {"if-none-match": etag, "prefer": "wait=30"}
    waiting = asyncio.create_task(feed(fresh, **headers))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await fresh.operations.revoke(RevocationKind.JTI, JTI)
    await fresh.changed()
    payload, _ = await asyncio.wait_for(waiting, 25)
    assert payload["tokens"] == [JTI]


async def test_a_reader_that_waits_in_vain_hears_that_nothing_changed(authz: AuthorizationServer) -> None:
    _, etag = await feed(authz)
    headers = {"if-none-match": etag, "prefer": "wait=1"}
    assert (await authz.send("GET", "/revocations", headers=headers)).status_code == 304


async def test_a_stranger_does_not_wait(authz: AuthorizationServer) -> None:
    etag = (await authz.client.get("/jwks")).headers["etag"]
    headers = {"if-none-match": etag, "prefer": "wait=60"}
    async with asyncio.timeout(50):
        for verdict in ({}, {XFCC_HEADER: xfcc(authz.zorgkantoor)}):
            assert (await authz.client.get("/jwks", headers=headers | verdict)).status_code == 304


async def test_a_deelnemer_with_many_requests_has_so_many_places_to_wait(
    fresh: AuthorizationServer,
) -> None:
    _, etag = await feed(fresh)
    headers = {"if-none-match": etag, "prefer": "wait=60"}
    waiters = fresh.server.app.state["parts"].waiters
    waiting = [asyncio.create_task(fresh.send("GET", "/revocations", headers=headers)) for _ in range(MOST_EACH)]
    async with asyncio.timeout(50):
        while len(waiters) < MOST_EACH:  # noqa: ASYNC110  the server tells nobody
            await asyncio.sleep(0.01)
        assert (await fresh.send("GET", "/revocations", headers=headers)).status_code == 304
        await fresh.operations.revoke(RevocationKind.JTI, JTI)
        await fresh.changed()
        assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {200}
    assert len(waiters) == 0


async def test_a_reader_of_the_keys_is_woken_by_a_rotation(fresh: AuthorizationServer) -> None:
    before = await fresh.client.get("/jwks")
    headers = {"if-none-match": before.headers["etag"], "prefer": "wait=30"}
    waiting = asyncio.create_task(fresh.send("GET", "/jwks", headers=headers))
    await asyncio.sleep(0.05)
    made = await fresh.operations.rotate_keys(now=False)
    await fresh.changed()
    kids = [key["kid"] for key in (await asyncio.wait_for(waiting, 25)).json()["keys"]]
    assert made.kid in kids
    assert (await fresh.token_claims())["jti"]


async def test_a_new_key_signs_only_after_readers_could_fetch_it(fresh: AuthorizationServer) -> None:
    old = jwt.get_unverified_header((await fresh.oauth()).json()["access_token"])["kid"]
    made = await fresh.operations.rotate_keys(now=False)
    await fresh.changed()
    for seconds, signing, published in (
        (3599, old, True),
        (1, made.kid, True),
        (959, made.kid, True),
        (1, made.kid, False),
    ):
        await fresh.later(seconds=seconds)
        publish_crls(fresh.settings.state_dir.parent, fresh.authority, at=fresh.clock.now())
        fresh.server.mirror.load()
        token = (await fresh.oauth()).json()["access_token"]
        kids = {key["kid"] for key in (await fresh.client.get("/jwks")).json()["keys"]}
        assert (jwt.get_unverified_header(token)["kid"], old in kids) == (signing, published)


async def test_health_tells_that_nothing_can_be_recorded_until_it_can(
    fresh: AuthorizationServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as disk:
        disk.setattr("authz.store.sqlite_lane.SqliteLane._append", full)
        assert (await fresh.oauth()).status_code in {500, 503}
        assert "audit_log_unavailable" in (await fresh.client.get("/health")).text
    assert (await fresh.oauth()).status_code == 200
    assert "audit_log_unavailable" not in (await fresh.client.get("/health")).text


async def test_each_published_key_says_what_it_signs(authz: AuthorizationServer) -> None:
    keys = {key["kid"]: key["sluis_typ"] for key in (await authz.client.get("/jwks")).json()["keys"]}
    token = jwt.get_unverified_header((await authz.oauth()).json()["access_token"])
    revoked = jwt.get_unverified_header((await authz.send("GET", "/revocations")).text)
    assert [keys[header["kid"]] for header in (token, revoked)] == [token["typ"], revoked["typ"]]


async def test_a_withdrawn_key_is_gone_at_once_and_agents_are_told(fresh: AuthorizationServer) -> None:
    old = jwt.get_unverified_header((await fresh.oauth()).json()["access_token"])["kid"]
    _, etag = await feed(fresh)
    waiting = asyncio.create_task(feed(fresh, **{"if-none-match": etag, "prefer": "wait=30"}))
    with pytest.raises(SluisError, match="--replace"):
        await fresh.operations.withdraw_key(old, replace=False)
    added = await fresh.operations.withdraw_key(old, replace=True)
    assert added is not None
    await fresh.changed()
    payload, _ = await asyncio.wait_for(waiting, 25)
    assert payload["keys"] == [old]
    kids = {key["kid"] for key in (await fresh.client.get("/jwks")).json()["keys"]}
    assert (old in kids, added.kid in kids) == (False, True)
    assert jwt.get_unverified_header((await fresh.oauth()).json()["access_token"])["kid"] == added.kid
    events = [record.event_type for record in await fresh.records()]
    assert events.count(EventType.KEY_WITHDRAW) == 1
    for kid in (old, "A" * 43):
        with pytest.raises(SluisError):
            await fresh.operations.withdraw_key(kid, replace=True)


async def test_a_planned_key_is_withdrawn_and_the_one_of_now_signs_on(fresh: AuthorizationServer) -> None:
    planned = await fresh.operations.rotate_keys(now=False)
    assert await fresh.operations.withdraw_key(planned.kid, replace=False) is None
    await fresh.later(hours=2)
    publish_crls(fresh.settings.state_dir.parent, fresh.authority, at=fresh.clock.now())
    fresh.server.mirror.load()
    assert jwt.get_unverified_header((await fresh.oauth()).json()["access_token"])["kid"] != planned.kid


async def test_the_address_book_has_the_shape_of_zorg_ab(authz: AuthorizationServer) -> None:
    answer = await authz.send("GET", "/directory/v1/services")
    assert answer.json() == [
        {
            "gegevensdienstId": "CIZ_REGISTER_TST",
            "systeemrolcode": "REGISTER",
            "authorizationEndpointuri": AUDIENCE,
            "tokenEndpointuri": f"{ISSUER}/oauth2/token",
            "resourceEndpointuri": "https://register.ciz.test.nl/graphql",
        }
    ]


async def test_records_of_an_agent_are_taken_once(authz: AuthorizationServer) -> None:
    agent = authz.authority.issue(CIZ)
    shipped = [record(authz.clock), record(authz.clock)]
    body = {"records": [item.to_json() for item in shipped]}
    for _ in range(2):
        answer = await authz.send("POST", "/audit/v1/records", agent, json=body)
        assert (answer.status_code, answer.json()) == (200, {"accepted": 2})
    stored = [item.record_id for item in await authz.records()]
    assert [stored.count(item.record_id) for item in shipped] == [1, 1]


async def test_records_of_somebody_elses_source_are_refused_whole(authz: AuthorizationServer) -> None:
    agent = authz.authority.issue(CIZ)
    good = record(authz.clock)
    for other in ("sluis/trust-agent/other", "sluis/authz", "sluis/trust-agent/ciz/x"):
        body = {"records": [good.to_json(), record(authz.clock, source=other).to_json()]}
        answer = await authz.send("POST", "/audit/v1/records", agent, json=body)
        assert answer.status_code == 403
        assert (await authz.last_record()).reason == Reason.RECORD_SOURCE
    body = {"records": [good.to_json()]}
    assert (await authz.send("POST", "/audit/v1/records", authz.zorgkantoor, json=body)).status_code == 403
    assert good.record_id not in {item.record_id for item in await authz.records()}


async def test_nothing_is_read_of_somebody_who_has_nothing_to_ship(
    authz: AuthorizationServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("authz.audit.ingest.read_shipment", _not_to_be_called)
    # Too large and of no known type, which both come to light only when it is read.
    answer = await authz.send("POST", "/audit/v1/records", authz.zorgkantoor, content=b"x" * (1024 * 1024 + 1))
    assert (answer.status_code, (await authz.last_record()).reason) == (403, Reason.RECORD_SOURCE)


def _not_to_be_called(_body: bytes) -> None:
    raise AssertionError


async def test_what_nobody_foresaw_is_recorded_with_who_did_it_and_answered_with_nothing_of_it(
    authz: AuthorizationServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(_body: bytes) -> None:
        raise ArithmeticError("secret")

    monkeypatch.setattr("authz.audit.ingest.read_shipment", fault)
    agent = authz.authority.issue(CIZ)
    answer = await authz.send("POST", "/audit/v1/records", agent, json={"records": []})
    assert (answer.status_code, answer.json()["error"]) == (500, "server_error")
    assert "secret" not in answer.text
    found = await authz.last_record()
    assert (found.reason, found.users[0].id) == (Reason.INTERNAL_ERROR, CIZ)
    assert found.trace.trace_id == answer.headers["x-b3-traceid"]


async def test_certificates_are_remembered_of_deelnemers_only(authz: AuthorizationServer) -> None:
    rogue = authz.authority.rogue()
    stranger = rogue.issue(ZORGKANTOOR)
    assert (await authz.send("GET", "/revocations", stranger)).status_code == 403
    assert (await authz.send("POST", "/oauth2/token", stranger, data={"grant_type": "x"})).status_code >= 400
    assert _KNOWN.find(xfcc(stranger)) is None
    for path, method in (("/revocations", "GET"), ("/oauth2/token", "POST")):
        deelnemer = authz.authority.issue(CIZ)
        await authz.send(method, path, deelnemer)
        assert _KNOWN.find(xfcc(deelnemer)) is not None


async def test_records_that_are_no_batch_are_refused(authz: AuthorizationServer) -> None:
    agent = authz.authority.issue(CIZ)
    good = record(authz.clock).to_json()
    bodies: list[Any] = [
        {"records": []},
        {"records": [good] * 501},
        {"records": [good], "more": 1},
        {"records": [good | {"version": 99}]},
        {"records": [{}]},
        {"records": good},
        [good],
    ]
    for body in bodies:
        answer = await authz.send("POST", "/audit/v1/records", agent, json=body)
        assert answer.status_code == 400
        assert (await authz.last_record()).reason == Reason.BODY_MALFORMED
    answer = await authz.send("POST", "/audit/v1/records", agent, content=b"x" * (1024 * 1024 + 1))
    assert answer.status_code == 415
    headers = {"content-type": "application/json"}
    answer = await authz.send("POST", "/audit/v1/records", agent, content=b"x" * (1024 * 1024 + 1), headers=headers)
    assert answer.status_code == 413


async def test_health_needs_no_certificate(authz: AuthorizationServer) -> None:
    answer = await authz.client.get("/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "problems": []})


async def test_start_and_stop_are_recorded(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with authorization_server(tmp_path_factory.mktemp("stop")) as server:
        assert (await server.last_record()).event_type is EventType.COMPONENT_START
    assert (await server.last_record()).event_type is EventType.COMPONENT_STOP
    async with server.operations.open_audit() as desk:
        report, _ = await desk.verify()
    assert report.intact
    assert report.covered == report.entries


async def test_what_a_certificate_unexpectedly_causes_is_recorded(
    authz: AuthorizationServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise AssertionError

    with monkeypatch.context() as patch:
        patch.setattr("pki.validation.validator.CertificateValidator.validate", broken)
        answer = await authz.send("GET", "/revocations")
    assert (answer.status_code, answer.json()["error"]) == (500, "server_error")
    record = await authz.last_record()
    assert (record.event_type, record.reason) == (EventType.ENDPOINT_REFUSED, Reason.INTERNAL_ERROR)
