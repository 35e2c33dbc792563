"""Refusals of request parsing: shared `cases/oauth.md` 1-16. Every refusal stands beside the good request."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from authz.domain.reasons import Reason
from authz.http import bodies
from tests.fakes.authorization_server import (
    AUDIENCE,
    IWLZ_PATH,
    OAUTH_PATH,
    SCOPE,
    ZORGKANTOOR,
    AuthorizationServer,
    xfcc,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

GOOD_FORM = {"grant_type": "client_credentials", "client_id": ZORGKANTOOR, "scope": SCOPE, "resource": AUDIENCE}
GOOD_JSON = {"grant_type": "client_credentials", "scope": SCOPE, "audience": AUDIENCE}
FORM = {"content-type": "application/x-www-form-urlencoded"}
JSON = {"content-type": "application/json"}


async def refused(authz: AuthorizationServer, answer: httpx.Response, status: int, reason: Reason) -> None:
    assert (answer.status_code, answer.headers["cache-control"]) == (status, "no-store")
    record = await authz.last_record()
    assert record.reason == reason
    assert record.trace.trace_id == answer.headers["x-b3-traceid"]


async def test_the_good_requests_pass(authz: AuthorizationServer) -> None:
    for answer in (await authz.oauth(), await authz.iwlz()):
        assert answer.status_code == 200
        assert answer.json()["token_type"] == "Bearer"
        assert (answer.headers["cache-control"], answer.json()["scope"]) == ("no-store", SCOPE)
    assert (await authz.last_record()).reason == ""


@pytest.mark.parametrize("path", [OAUTH_PATH, IWLZ_PATH])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"])
async def test_01_another_method(authz: AuthorizationServer, method: str, path: str) -> None:
    answer = await authz.send(method, path)
    assert answer.headers["allow"] == "POST"
    await refused(authz, answer, 405, Reason.METHOD_NOT_ALLOWED)


@pytest.mark.parametrize("query", ["?scope=a", "?grant_type=client_credentials", "?x"])
async def test_02_parameters_in_the_query_string(authz: AuthorizationServer, query: str) -> None:
    answer = await authz.send("POST", OAUTH_PATH + query, data=GOOD_FORM)
    await refused(authz, answer, 400, Reason.QUERY_PARAMETERS)
    answer = await authz.send("POST", IWLZ_PATH + query, json=GOOD_JSON)
    await refused(authz, answer, 400, Reason.QUERY_PARAMETERS)


@pytest.mark.parametrize("name", ["grant_type", "scope", "client_id", "resource"])
async def test_03_a_parameter_twice(authz: AuthorizationServer, name: str) -> None:
    body = urlencode(GOOD_FORM) + "&" + urlencode({name: GOOD_FORM[name]})
    answer = await authz.send("POST", OAUTH_PATH, content=body, headers=FORM)
    assert answer.json()["error"] == "invalid_request"
    await refused(authz, answer, 400, Reason.PARAMETER_DUPLICATE)


async def test_03_resource_and_audience_that_differ(authz: AuthorizationServer) -> None:
    assert (await authz.oauth(audience=AUDIENCE)).status_code == 200
    answer = await authz.oauth(audience=AUDIENCE + "x")
    assert answer.json()["error"] == "invalid_target"
    await refused(authz, answer, 400, Reason.AUDIENCE_MULTIPLE)


async def test_03_a_parameter_twice_once_escaped(authz: AuthorizationServer) -> None:
    body = urlencode(GOOD_FORM) + "&%73cope=" + SCOPE.replace("/", "%2F")
    answer = await authz.send("POST", OAUTH_PATH, content=body, headers=FORM)
    await refused(authz, answer, 400, Reason.PARAMETER_DUPLICATE)


@pytest.mark.parametrize("again", ['"scope": "x"', '"\\u0073cope": "x"', '"access_token": {"sub": "a", "sub": "b"}'])
async def test_04_a_json_member_twice(authz: AuthorizationServer, again: str) -> None:
    body = json.dumps(GOOD_JSON)[:-1] + f", {again}}}"
    answer = await authz.send("POST", IWLZ_PATH, content=body, headers=JSON)
    await refused(authz, answer, 400, Reason.BODY_MALFORMED)


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        (OAUTH_PATH, "application/json"),
        (OAUTH_PATH, "text/plain"),
        (OAUTH_PATH, "application/x-www-form-urlencoded; charset=iso-8859-1"),
        (OAUTH_PATH, "application/x-www-form-urlencoded; charset=utf-8; x=y"),
        (OAUTH_PATH, "multipart/form-data; boundary=x"),
        (OAUTH_PATH, ""),
        (IWLZ_PATH, "application/x-www-form-urlencoded"),
        (IWLZ_PATH, "application/json+x"),
        (IWLZ_PATH, "application/json; charset=utf-16"),
    ],
)
async def test_05_another_content_type(authz: AuthorizationServer, path: str, content_type: str) -> None:
    body = urlencode(GOOD_FORM) if path == OAUTH_PATH else json.dumps(GOOD_JSON)
    answer = await authz.send("POST", path, content=body, headers={"content-type": content_type})
    await refused(authz, answer, 415, Reason.CONTENT_TYPE)


@pytest.mark.parametrize("content_type", ["application/json; charset=UTF-8", 'Application/JSON;charset="utf-8"'])
async def test_05_a_charset_of_utf_8_passes(authz: AuthorizationServer, content_type: str) -> None:
    content = json.dumps(GOOD_JSON)
    answer = await authz.send("POST", IWLZ_PATH, content=content, headers={"content-type": content_type})
    assert answer.status_code == 200


async def test_05_the_body_of_the_other_face(authz: AuthorizationServer) -> None:
    answer = await authz.send("POST", OAUTH_PATH, content=json.dumps(GOOD_JSON), headers=FORM)
    await refused(authz, answer, 400, Reason.BODY_MALFORMED)
    answer = await authz.send("POST", IWLZ_PATH, content=urlencode(GOOD_FORM), headers=JSON)
    await refused(authz, answer, 400, Reason.BODY_MALFORMED)


async def test_06_a_body_that_is_too_large(authz: AuthorizationServer) -> None:
    for path, headers in ((OAUTH_PATH, FORM), (IWLZ_PATH, JSON)):
        answer = await authz.send("POST", path, content=b"x" * (bodies.MAX_TOKEN_REQUEST + 1), headers=headers)
        await refused(authz, answer, 413, Reason.BODY_TOO_LARGE)
    padding = "x" * (bodies.MAX_TOKEN_REQUEST - len(urlencode(GOOD_FORM)) - len("&padding="))
    assert (await authz.oauth(padding=padding)).status_code == 200


async def test_06_an_endless_body_is_given_up_early(authz: AuthorizationServer) -> None:
    sent = 0

    async def endless() -> dict[str, Any]:
        nonlocal sent
        sent += 4096
        return {"type": "http.request", "body": b"x" * 4096, "more_body": True}

    status = await raw(authz, endless, {"content-type": FORM["content-type"]})
    assert status == 413
    assert sent <= bodies.MAX_TOKEN_REQUEST + 4096


async def test_06_a_length_that_lies(authz: AuthorizationServer) -> None:
    for length in ("99999999999999999999", "16385", "-1", "1e3"):
        answer = await authz.oauth(headers={"content-length": length})
        await refused(authz, answer, 413, Reason.BODY_TOO_LARGE)


@pytest.mark.parametrize("deep", ["[" * 50 + "]" * 50, '{"sub":' * 5 + "1" + "}" * 5])
async def test_07_deep_json(authz: AuthorizationServer, deep: str) -> None:
    body = json.dumps(GOOD_JSON)[:-1] + f', "access_token": {deep}}}'
    answer = await authz.send("POST", IWLZ_PATH, content=body, headers=JSON)
    await refused(authz, answer, 400, Reason.BODY_MALFORMED)


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "identity, gzip"])
async def test_08_a_compressed_body(authz: AuthorizationServer, encoding: str) -> None:
    answer = await authz.oauth(headers={"content-encoding": encoding})
    await refused(authz, answer, 415, Reason.CONTENT_ENCODING)
    assert (await authz.oauth(headers={"content-encoding": "identity"})).status_code == 200


async def test_09_a_slow_body(authz: AuthorizationServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_TIMEOUT", 0.01)

    async def never() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    assert await raw(authz, never, {"content-type": FORM["content-type"]}) == 408
    assert (await authz.last_record()).reason == Reason.BODY_TIMEOUT


async def test_09_a_client_that_goes_away_halfway(authz: AuthorizationServer) -> None:
    messages: Iterator[dict[str, Any]] = iter(
        [{"type": "http.request", "body": b"grant_type=", "more_body": True}, {"type": "http.disconnect"}]
    )

    async def leaving() -> dict[str, Any]:
        return next(messages)

    assert await raw(authz, leaving, {"content-type": FORM["content-type"]}) == 400
    assert (await authz.last_record()).reason == Reason.BODY_MALFORMED


@pytest.mark.parametrize(
    "bad",
    ["%00", "%0D%0A", "\n", "%7F", "%C2%85", "%ff", "%C3%28", "%ED%A0%80", "%", "%g1", "é", "a\x00b", "<>", '"'],
)
async def test_11_control_characters_and_broken_utf_8_in_a_form(authz: AuthorizationServer, bad: str) -> None:
    body = (urlencode(GOOD_FORM) + "&other=" + bad).encode()
    answer = await authz.send("POST", OAUTH_PATH, content=body, headers=FORM)
    await refused(authz, answer, 400, Reason.BODY_MALFORMED)
    assert (await authz.oauth(other="é ü €")).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"\xef\xbb\xbf" + json.dumps(GOOD_JSON).encode(),
        json.dumps(GOOD_JSON).encode("utf-16"),
        json.dumps(GOOD_JSON)[:-1].encode() + b', "scope": "\xff"}',
        json.dumps(GOOD_JSON).replace(SCOPE, "\\ud800").encode(),
        json.dumps(GOOD_JSON)[:-1].encode() + b', "access_token": NaN}',
        json.dumps(GOOD_JSON).encode() + b"{}",
        json.dumps(GOOD_JSON).replace(SCOPE, "a\nb").encode(),
        b"[]",
        b"null",
        b"",
    ],
)
async def test_11_json_with_more_than_one_reading(authz: AuthorizationServer, body: bytes) -> None:
    answer = await authz.send("POST", IWLZ_PATH, content=body, headers=JSON)
    await refused(authz, answer, 400, Reason.BODY_MALFORMED)


@pytest.mark.parametrize(
    "scope",
    [
        SCOPE.replace("a", "а"),  # noqa: RUF001  the homoglyph is the attack
        SCOPE.replace("e", "é"),
        SCOPE + "\u200b",
        SCOPE.replace(":", "："),  # noqa: RUF001
        SCOPE + " " + SCOPE.upper(),
    ],
)
async def test_12_a_scope_that_only_looks_right(authz: AuthorizationServer, scope: str) -> None:
    await refused(authz, await authz.iwlz(scope=scope), 400, Reason.SCOPE_MALFORMED)
    await refused(authz, await authz.oauth(scope=scope), 400, Reason.SCOPE_MALFORMED)


@pytest.mark.parametrize(
    ("scope", "reason"),
    [
        (None, Reason.SCOPE_MISSING),
        ("", Reason.SCOPE_MISSING),
        (" ", Reason.SCOPE_MALFORMED),
        (f"{SCOPE}  {SCOPE}", Reason.SCOPE_MALFORMED),
        (f" {SCOPE}", Reason.SCOPE_MALFORMED),
        (f"{SCOPE} ", Reason.SCOPE_MALFORMED),
        (f"{SCOPE}\t{SCOPE}", Reason.SCOPE_MALFORMED),
        (" ".join(f"a/{'b' * 190}{n}:read" for n in range(25)), Reason.SCOPE_MALFORMED),
        (f"{'a' * 201}:read", Reason.SCOPE_MALFORMED),
    ],
)
async def test_13_an_empty_or_malformed_scope(authz: AuthorizationServer, scope: str | None, reason: Reason) -> None:
    answer = await authz.iwlz(scope=scope)
    assert answer.json() == "Access denied, invalid scope"
    await refused(authz, answer, 400, reason)


async def test_13_the_same_scope_twice_is_one(authz: AuthorizationServer) -> None:
    answer = await authz.iwlz(scope=f"{SCOPE} {SCOPE}")
    assert answer.json()["scope"] == SCOPE


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("registers/onbekend/iets:read", Reason.SCOPE_UNKNOWN),
        ("registers/wlzindicatieregister/indicaties/indicatie:write", Reason.SCOPE_UNKNOWN),
        (SCOPE.replace("indicatie:", "Indicatie:"), Reason.SCOPE_UNKNOWN),
        ("registers/wlzbemiddelingsregister/bemiddelingen/bemiddeling:read", Reason.SCOPE_NOT_FOR_AUDIENCE),
    ],
)
async def test_14_one_bad_scope_among_good_ones(authz: AuthorizationServer, bad: str, reason: Reason) -> None:
    answer = await authz.iwlz(scope=f"{SCOPE} {bad}")
    assert answer.json() == "Access denied, invalid scope"
    await refused(authz, answer, 403, reason)
    answer = await authz.oauth(scope=f"{SCOPE} {bad}")
    assert answer.json()["error"] == ("unauthorized_client" if reason is Reason.POLICY_DENIED else "invalid_scope")
    await refused(authz, answer, 400, reason)


@pytest.mark.parametrize(
    ("grant_type", "error", "reason"),
    [
        (None, "invalid_request", Reason.PARAMETER_MISSING),
        ("", "invalid_request", Reason.PARAMETER_MISSING),
        ("password", "unsupported_grant_type", Reason.GRANT_TYPE_UNSUPPORTED),
        ("Client_Credentials", "unsupported_grant_type", Reason.GRANT_TYPE_UNSUPPORTED),
        ("client_credentials ", "unsupported_grant_type", Reason.GRANT_TYPE_UNSUPPORTED),
        (
            "urn:ietf:params:oauth:grant-type:token-exchange",
            "unsupported_grant_type",
            Reason.GRANT_TYPE_UNSUPPORTED,
        ),
    ],
)
async def test_15_a_grant_type_that_is_missing_or_unsupported(
    authz: AuthorizationServer, grant_type: str | None, error: str, reason: Reason
) -> None:
    answer = await authz.oauth(grant_type=grant_type)
    assert answer.json()["error"] == error
    await refused(authz, answer, 400, reason)
    await refused(authz, await authz.iwlz(grant_type=grant_type), 400, reason)


async def test_15_authorization_details(authz: AuthorizationServer) -> None:
    answer = await authz.oauth(authorization_details='[{"type": "iwlz_care_client"}]')
    assert answer.json()["error"] == "invalid_authorization_details"
    await refused(authz, answer, 400, Reason.AUTHORIZATION_DETAILS_UNSUPPORTED)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"scopes": "x"}, Reason.PARAMETER_UNKNOWN),
        ({"grant_type": 1}, Reason.PARAMETER_MALFORMED),
        ({"scope": [SCOPE]}, Reason.PARAMETER_MALFORMED),
        ({"audience": {"a": 1}}, Reason.PARAMETER_MALFORMED),
        ({"audience": [AUDIENCE]}, Reason.AUDIENCE_MULTIPLE),
    ],
)
async def test_15_a_member_of_another_kind(authz: AuthorizationServer, changes: dict[str, Any], reason: Reason) -> None:
    await refused(authz, await authz.iwlz(**changes), 400, reason)


async def test_16_nothing_of_the_request_is_echoed(authz: AuthorizationServer) -> None:
    secret = "zeergeheim999999990"
    answers = [
        await authz.oauth(scope=f"{secret}:read"),
        await authz.oauth(grant_type=secret),
        await authz.oauth(resource=f"https://{secret}.nl/x"),
        await authz.oauth(client_id=secret),
        await authz.oauth(client_secret=secret),
        await authz.iwlz(scope=f"{secret}:read"),
        await authz.iwlz(audience=f"https://{secret}.nl/x"),
        await authz.iwlz(access_token={"sub": secret}),
        await authz.iwlz(None, **{secret: 1}),
        await authz.send("POST", f"/{secret}"),
        await authz.send("POST", IWLZ_PATH, content=secret, headers=JSON),
    ]
    for answer in answers:
        assert answer.status_code >= 400
        assert secret not in answer.text
        assert "Traceback" not in answer.text
        assert answer.headers["cache-control"] == "no-store"
    assert not [record for record in await authz.records() if secret in str(record)]


async def test_16_the_unexpected_is_opaque(authz: AuthorizationServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("zeergeheim")

    monkeypatch.setattr("authz.grants.service.issue", broken)
    for ask in (authz.iwlz, authz.oauth):
        answer = await ask()
        trace_id = answer.headers["x-b3-traceid"]
        assert (answer.status_code, answer.json()) == (500, {"error": "server_error", "trace_id": trace_id})
        await refused(authz, answer, 500, Reason.INTERNAL_ERROR)


@pytest.mark.parametrize("path", ["/", "/oauth2", "/oauth2/token/", "/oauth2/token/x", "/netwerkmodel/v2/auth/token"])
async def test_16_the_wrong_endpoint(authz: AuthorizationServer, path: str) -> None:
    answer = await authz.send("POST", path, json=GOOD_JSON)
    assert answer.status_code == 404
    assert answer.headers["cache-control"] == "no-store"
    assert (await authz.last_record()).reason == Reason.NOT_FOUND


async def raw(
    authz: AuthorizationServer, receive: Callable[[], Awaitable[dict[str, Any]]], headers: dict[str, str]
) -> int:
    """Speak ASGI by hand; returns the status."""
    edge = {"x-forwarded-client-cert": xfcc(authz.zorgkantoor), "x-sluis-peer-verified": "1"} | headers
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "https",
        "path": OAUTH_PATH,
        "raw_path": OAUTH_PATH.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in edge.items()],
        "client": None,
        "server": ("authz", 443),
    }
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await authz.server.app(scope, receive, send)  # type: ignore[arg-type]
    return int(sent[0]["status"])
