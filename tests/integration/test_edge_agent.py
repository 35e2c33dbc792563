"""The trust agent for real: its own Envoy, mutual TLS on all sides, real policies, a register that tells all."""

import base64
import contextlib
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.certificates import FakeCertificate
from tests.fakes.datastation import AUDIENCE, QUERY, RECORD, ROOT, Datastation, TokenKey, claims

pytestmark = pytest.mark.integration
PATIENCE = 30
"""Seconds for one answer on a busy machine."""
REVOKED_WITHIN = 2.0
"""Seconds until nothing revoked passes any more (architecture.md, "Budgets")."""
TRIES = 3
"""Of a limit in seconds: a busy machine may stand still in one of them, an agent that is too slow fails in all."""


def until(condition: Callable[[], bool], seconds: float = 60) -> float:
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds, "not in time"
        time.sleep(0.02)
    return time.monotonic() - begun


class Agent:
    """A running agent, and what a caller does to it."""

    def __init__(self, station: Datastation) -> None:
        self.station = station
        self.process = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        arguments = [sys.executable, "-m", "trust_agent.cli", "run", "--config", str(self.station.settings)]
        process = subprocess.Popen(arguments, cwd=ROOT)
        until(lambda: self.health()[0] != 0 or process.poll() is not None)
        assert process.poll() is None
        return process

    def health(self) -> tuple[int, dict[str, Any]]:
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.station.health_port}/health", timeout=PATIENCE)
        except httpx.TransportError:
            return 0, {}
        return answer.status_code, answer.json()

    def ready(self) -> bool:
        return self.health()[0] == 200 and self._listens()

    def _listens(self) -> bool:
        try:
            return self.ask().status_code > 0
        except httpx.TransportError:
            return False

    def restart(self) -> None:
        self.stop()
        self.process = self._start()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(90) == 0

    def ask(
        self,
        certificate: FakeCertificate | None = None,
        /,
        *,
        token: str | None = "",
        query: str = QUERY,
        office: str = "5000",
        path: str = "/graphql",
        **headers: str,
    ) -> httpx.Response:
        station = self.station
        certificate = certificate or station.caller
        sent = {"content-type": "application/json"}
        if token is not None:
            sent["authorization"] = f"Bearer {token or station.token(certificate)}"
        body = {"query": query, "variables": {"id": RECORD, "office": office}}
        with httpx.Client(verify=station.client_context(certificate), timeout=PATIENCE) as client:
            return client.post(f"https://localhost:{station.port}{path}", json=body, headers=sent | headers)


@pytest.fixture(scope="module")
def agent() -> Iterator[Agent]:
    folder = Path(tempfile.mkdtemp(prefix="sluis-a-"))
    station = Datastation(folder)
    running = Agent(station)
    try:
        until(running.ready)
        yield running
    finally:
        running.stop()
        station.close()
        shutil.rmtree(folder)


def refused(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    body = answer.json()
    told = body["errors"][0]["extensions"] if "errors" in body else body
    assert told["sender"] == "sluis/trust-agent/test"
    assert "trace_id" in told
    return dict(body)


def test_a_permit_forwards_the_canonical_document_and_not_the_token(agent: Agent) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    answer = agent.ask(**{"x-b3-traceid": trace, "x-b3-spanid": "b7ad6b7169203331"})
    assert answer.status_code == 200, answer.text
    seen = answer.json()["data"]["seen"]
    assert seen["path"] == "/inner/graphql"
    document = json.loads(seen["body"])
    assert "\n" not in document["query"]
    assert document["variables"] == {"id": RECORD, "office": "5000"}
    headers = seen["headers"]
    assert headers["content-length"] == str(len(seen["body"]))
    assert headers["content-type"] == "application/json"
    assert headers["x-b3-traceid"] == trace
    assert json.loads(_b64(headers["claims"]))["sub"] == "uzovi:5000"
    for name in ("authorization", "x-forwarded-client-cert", "x-sluis-document", "x-sluis-peer-verified", "cookie"):
        assert name not in headers


def _b64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_another_zorgkantoors_indication_is_refused(agent: Agent) -> None:
    assert "own_zorgkantoor_required" in refused(agent.ask(office="5001"), 403)["reasons"]


def test_a_field_outside_the_template_is_refused(agent: Agent) -> None:
    # Selecting the same under an alias changes nothing; `commentaar` is in the template and passes.
    assert agent.ask(query=QUERY.replace("soortWlzindicatie", "x: commentaar")).status_code == 200
    body = refused(agent.ask(query=QUERY.replace("soortWlzindicatie", "unknownField")), 400)
    assert "Did you mean" not in json.dumps(body)


def test_a_required_filter_within_or_is_refused(agent: Agent) -> None:
    widened = QUERY.replace(
        "{wlzindicatieID: {eq: $id}, initieelVerantwoordelijkZorgkantoor: {eq: $office}}",
        "{or: [{wlzindicatieID: {eq: $id}}, {initieelVerantwoordelijkZorgkantoor: {eq: $office}}]}",
    )
    assert refused(agent.ask(query=widened), 403)["reasons"]


def test_a_token_over_another_certificate_is_refused(agent: Agent) -> None:
    station = agent.station
    answer = agent.ask(station.other, token=station.token(station.caller))
    refused(answer, 401)
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'


@pytest.mark.parametrize(
    "change",
    [
        {"aud": AUDIENCE + "/"},
        {"iss": "https://authz.test/"},
        {"exp": int(time.time()) - 60, "iat": int(time.time()) - 900, "nbf": int(time.time()) - 900},
    ],
    ids=["audience", "issuer", "expired"],
)
def test_a_wrong_token_is_refused(agent: Agent, change: dict[str, Any]) -> None:
    refused(agent.ask(token=agent.station.token(**change)), 401)
    assert agent.ask().status_code == 200


def test_no_token_is_refused_with_a_challenge(agent: Agent) -> None:
    answer = agent.ask(token=None)
    refused(answer, 401)
    assert answer.headers["www-authenticate"] == "Bearer"


def test_two_authorization_headers_are_refused(agent: Agent) -> None:
    station = agent.station
    token = station.token()
    with httpx.Client(verify=station.client_context(station.caller), timeout=PATIENCE) as client:
        for headers in (
            [("authorization", f"Bearer {token}"), ("authorization", f"Bearer {token}")],
            [("authorization", "Basic YTpi"), ("authorization", f"Bearer {token}")],
        ):
            sent = [("content-type", "application/json"), *headers]
            body = json.dumps({"query": QUERY, "variables": {"id": RECORD, "office": "5000"}})
            refused(client.post(f"https://localhost:{station.port}/graphql", content=body, headers=sent), 401)


def test_an_untrusted_certificate_gets_an_answer_and_a_record(agent: Agent) -> None:
    rogue = agent.station.ca.rogue().issue("uzovi:5000")
    body = refused(agent.ask(rogue), 403)
    assert body["Error"] == "Invalid Client Certificate"
    until(
        lambda: any(
            item["event"]["reason"] == "certificate_untrusted" or item["event"]["reason"] == "certificate_path"
            for item in agent.station.material.records
        )
    )


def test_no_certificate_is_refused_in_the_handshake(agent: Agent) -> None:
    context = ssl.create_default_context(cadata=agent.station.ca.root.pem.decode())
    with pytest.raises(httpx.TransportError):
        httpx.post(f"https://localhost:{agent.station.port}/graphql", verify=context, timeout=PATIENCE)


SMUGGLED = {
    "x-forwarded-client-cert": "Hash=00",
    "claims": "e30",
    "x-sluis-document": '{"query":"{ evil }"}',
    "x-sluis-peer-verified": "1",
    "x-envoy-auth-partial-body": "true",
    "x-envoy-original-path": "/evil",
    "x-http-method-override": "GET",
    "client-cert": ":AAAA:",
}


@pytest.mark.parametrize("name", SMUGGLED)
def test_a_smuggled_header_changes_nothing(agent: Agent, name: str) -> None:
    seen = agent.ask(**{name: SMUGGLED[name]}).json()["data"]["seen"]
    assert seen["headers"].get(name) != SMUGGLED[name]
    assert "evil" not in seen["body"]
    refused(agent.ask(office="5001", **{name: SMUGGLED[name]}), 403)


def test_a_smuggled_verdict_does_not_help_a_rogue(agent: Agent) -> None:
    refused(agent.ask(agent.station.ca.rogue().issue("uzovi:5000"), **{"x-sluis-peer-verified": "1"}), 403)


@pytest.mark.parametrize(
    "path",
    [
        "//graphql",
        "/graphql/",
        "/x/../graphql",
        "/./graphql",
        "/graphql%2f",
        "/Graphql",
        "/graph%71l",
        "/graphql?query=x",
        "/health",
    ],
)
def test_another_spelling_of_the_path_is_refused(agent: Agent, path: str) -> None:
    station = agent.station
    before = len(station.register.requests)
    # By hand: an HTTP client would tidy the path up.
    context = station.client_context(station.caller)
    body = json.dumps({"query": QUERY, "variables": {"id": RECORD, "office": "5000"}})
    with (
        socket.create_connection(("127.0.0.1", station.port)) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as tls,
    ):
        lines = (
            f"POST {path} HTTP/1.1",
            "Host: localhost",
            "Content-Type: application/json",
            f"Authorization: Bearer {station.token()}",
            f"Content-Length: {len(body)}",
            "Connection: close",
        )
        head = "\r\n".join((*lines, "", ""))
        tls.sendall(head.encode() + body.encode())
        status = int(tls.recv(65536).split(b" ")[1])
    assert status in {400, 404}
    assert len(station.register.requests) == before


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/graphql"}, 415),
        ({"content-type": "application/json; charset=utf-16"}, 415),
        ({"content-encoding": "gzip"}, 415),
    ],
)
def test_another_content_type_or_encoding_is_refused(agent: Agent, change: dict[str, str], status: int) -> None:
    refused(agent.ask(**change), status)
    assert agent.ask(**{"content-type": "application/json;charset=utf-8"}).status_code == 200


def test_a_get_is_refused(agent: Agent) -> None:
    station = agent.station
    with httpx.Client(verify=station.client_context(station.caller), timeout=PATIENCE) as client:
        url = f"https://localhost:{station.port}/graphql"
        refused(client.get(url, headers={"content-type": "application/json"}), 405)
        refused(client.get(url, params={"query": QUERY}), 400)


HTTP2_BEGIN = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04\x00" + bytes(4)
"""RFC 9113 section 3.4: the preface, with empty settings."""


def http2(station: Datastation, method: bytes, trace: bytes) -> tuple[bytes, bytes]:
    """Ask by hand, because no client sends such methods: the header block as it came, and the body."""
    pairs = {
        b":method": method,
        b":scheme": b"https",
        b":authority": b"localhost",
        b":path": b"/graphql",
        b"x-b3-traceid": trace,
        b"x-b3-spanid": b"b7ad6b7169203331",
    }
    # RFC 7541 section 6.2.2: literals without indexing.
    block = b"".join(bytes([0, len(name)]) + name + bytes([len(value)]) + value for name, value in pairs.items())
    context = station.client_context(station.caller)
    context.set_alpn_protocols(["h2"])
    found = {0: b"", 1: b""}
    with (
        socket.create_connection(("127.0.0.1", station.port), timeout=PATIENCE) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as tls,
        tls.makefile("rb") as stream,
    ):
        # One HEADERS frame that ends headers and stream 1.
        tls.sendall(HTTP2_BEGIN + len(block).to_bytes(3) + b"\x01\x05" + (1).to_bytes(4) + block)
        ended = False
        while not ended:
            head = stream.read(9)
            assert len(head) == 9, "the connection ended"
            payload = stream.read(int.from_bytes(head[:3]))
            assert head[3] not in {3, 7}, "the stream was reset"
            if head[3] in found:
                found[head[3]] += payload
                ended = bool(head[4] & 1)
    return found[1], found[0]


STATUS_405 = (b"\x03405", b"\x83\x68\x0d\xff")
"""As it may stand in a header block: as it is, and in the code of Huffman."""


@pytest.mark.parametrize("method", [b"BREW", b"get", b"post", b"X" * 100, b"POST"])
def test_a_method_that_nobody_knows_is_refused_in_our_words_and_recorded(agent: Agent, method: bytes) -> None:
    station = agent.station
    before = len(station.register.requests)
    trace = os.urandom(16).hex()
    block, body = http2(station, method, trace.encode())
    told = json.loads(body)
    assert (told["trace_id"], told["sender"]) == (trace, "sluis/trust-agent/test")
    # The near miss: a POST gets to the next check, of the content type it lacks.
    assert any(text in block for text in STATUS_405) == (method != b"POST")
    until(lambda: any(item["trace_id"] == trace for item in station.material.records))
    (record,) = [item for item in station.material.records if item["trace_id"] == trace]
    assert record["event"]["reason"] == ("content_type" if method == b"POST" else "method_not_allowed")
    assert record["users"][0]["id"] == "uzovi:5000"
    assert len(station.register.requests) == before


def test_a_body_over_the_limit_is_refused_plain_and_chunked(agent: Agent) -> None:
    station = agent.station

    def chunks() -> Iterator[bytes]:
        yield from [b" " * 1024] * 65

    with httpx.Client(verify=station.client_context(station.caller), timeout=PATIENCE) as client:
        url = f"https://localhost:{station.port}/graphql"
        for content in (b" " * (64 * 1024 + 1), chunks()):
            refused(client.post(url, content=content, headers={"content-type": "application/json"}), 413)
        body = json.dumps({"query": QUERY, "variables": {"id": RECORD, "office": "5000"}}).encode() + b" " * 50_000
        sent = {"content-type": "application/json", "authorization": f"Bearer {station.token()}"}
        assert client.post(url, content=body, headers=sent).status_code == 200


def test_new_queries_beyond_the_share_of_a_deelnemer_get_429_and_others_are_served(agent: Agent) -> None:
    station = agent.station
    busy = station.ca.issue("uzovi:5002")
    token = station.token(busy, sub="uzovi:5002", uzovi="5002")
    assert agent.ask().status_code == 200
    for number in range(20):
        refused(agent.ask(busy, token=token, query=f"{{z{number}}}"), 400)
    answer = agent.ask(busy, token=token, query="{z20}")
    assert refused(answer, 429)["reason"] == "new_documents_limited"
    assert answer.headers["retry-after"] == "1"
    # The near misses: what was refused before is remembered, and others have a share of their own.
    refused(agent.ask(busy, token=token, query="{z19}"), 400)
    assert agent.ask().status_code == 200
    assert agent.ask(query=QUERY + " ").status_code == 200


def test_a_body_in_chunks_is_judged_like_one_with_a_length(agent: Agent) -> None:
    station = agent.station
    body = json.dumps({"query": QUERY, "variables": {"id": RECORD, "office": "5000"}}).encode()
    good, other = station.token(station.caller), body.replace(b'"5000"', b'"5001"')

    def post(content: bytes) -> httpx.Response:
        headers = {"content-type": "application/json", "authorization": f"Bearer {good}"}
        pieces = (content[start : start + 100] for start in range(0, len(content), 100))
        with httpx.Client(verify=station.client_context(station.caller), timeout=30) as client:
            return client.post(f"https://localhost:{station.port}/graphql", content=pieces, headers=headers)

    assert post(body).status_code == 200
    refused(post(other), 403)


def test_who_asks_for_the_head_gets_no_body_and_spoils_no_connection(agent: Agent) -> None:
    station = agent.station
    with httpx.Client(verify=station.client_context(station.caller), timeout=30) as client:
        url = f"https://localhost:{station.port}/graphql"
        for _ in range(3):
            assert client.head(url).status_code == 405
            refused(client.get(url), 405)
    assert agent.ask().status_code == 200


def test_a_websocket_is_refused(agent: Agent) -> None:
    assert agent.ask(connection="upgrade", upgrade="websocket").status_code in {400, 403, 405}


def test_every_decision_arrives_at_authz_once(agent: Agent) -> None:
    material = agent.station.material
    trace = os.urandom(16).hex()
    agent.ask(**{"x-b3-traceid": trace, "x-b3-spanid": "b7ad6b7169203331"})
    until(lambda: any(item["trace_id"] == trace for item in material.records))
    (record,) = [item for item in material.records if item["trace_id"] == trace]
    assert record["event"]["outcome"] == 1
    assert record["users"][0]["id"] == "uzovi:5000"
    assert record["users"][0]["access_point"] == "127.0.0.1"
    assert {"wlzindicatieID", "jti", "audience"} == {item["identifier_type"] for item in record["objects"]}
    assert "IRA0001" in record["objects"][0]["protocol"]


def test_a_revoked_token_is_refused_within_two_seconds(agent: Agent) -> None:
    material = agent.station.material

    def revoke() -> float:
        payload = claims(agent.station.caller, agent.station.ca.now)
        token = agent.station.key.sign(payload)
        assert agent.ask(token=token).status_code == 200
        material.revoked.append(payload["jti"])
        material.version += 1
        return until(lambda: agent.ask(token=token).status_code == 401)

    assert any(revoke() < REVOKED_WITHIN for _ in range(TRIES))
    assert agent.ask().status_code == 200


def test_a_revoked_certificate_is_refused_within_two_seconds(agent: Agent) -> None:
    station = agent.station

    def revoke() -> float:
        gone = station.ca.issue("uzovi:5002")
        token = station.token(gone, sub="uzovi:5002", uzovi="5002")
        assert agent.ask(gone, token=token).status_code == 403  # another zorgkantoor's indication
        assert agent.ask(gone, token=token).json()["ErrorCode"] == "access_denied"
        station.ca.revoke(gone)
        return until(lambda: agent.ask(gone, token=token).json()["ErrorCode"] == "invalid_client_certificate")

    assert any(revoke() < REVOKED_WITHIN for _ in range(TRIES))
    assert agent.ask().status_code == 200


def test_a_new_key_is_fetched_when_a_token_names_it(agent: Agent) -> None:
    station = agent.station
    new = TokenKey("key-2")
    station.material.keys.append(new)
    token = new.sign(claims(station.caller, station.ca.now))
    # The fetch that the token causes has a second; where a busy machine needs more, the next one finds the key.
    until(lambda: agent.ask(token=token).status_code == 200)
    stranger = TokenKey("key-3").sign(claims(station.caller, station.ca.now))
    refused(agent.ask(token=stranger), 401)


@pytest.mark.parametrize(("fault", "status"), [("breaks", 502), ("late", 504)])
def test_a_register_that_fails_is_told_apart_from_the_agent(agent: Agent, fault: str, status: int) -> None:
    agent.station.register.fault = fault
    try:
        refused(agent.ask(), status)
    finally:
        agent.station.register.fault = ""
    assert agent.ask().status_code == 200


def _child(agent: Agent, word: bytes) -> int:
    process = agent.process.pid
    for child in Path(f"/proc/{process}/task/{process}/children").read_text().split():
        with contextlib.suppress(OSError):  # it just ended
            if word in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
    raise AssertionError(f"the agent has no child with {word!r}")  # 0 would signal the tests themselves


def test_a_killed_decision_service_never_lets_pass(agent: Agent) -> None:
    before = len(agent.station.register.requests)
    victim = _child(agent, b"decide")
    # Who supervises it stands still meanwhile, else a slow machine might have another one before the first answer.
    agent.process.send_signal(signal.SIGSTOP)
    try:
        os.kill(victim, signal.SIGKILL)
        answers = {agent.ask(office="5001").status_code for _ in range(5)}
    finally:
        agent.process.send_signal(signal.SIGCONT)
    assert answers <= {500, 503}
    assert 500 in answers
    assert len(agent.station.register.requests) == before
    until(lambda: agent.ask().status_code == 200)


def test_the_agent_enforces_and_starts_while_authz_is_away(agent: Agent) -> None:
    station = agent.station
    until(agent.ready)
    station.sources.close()
    trace = os.urandom(16).hex()
    try:
        agent.restart()
        until(agent._listens)
        assert agent.health()[0] == 200
        assert agent.ask(**{"x-b3-traceid": trace, "x-b3-spanid": "b7ad6b7169203331"}).status_code == 200
        refused(agent.ask(office="5001"), 403)
    finally:
        station.restart_sources()
    until(lambda: any(item["trace_id"] == trace for item in station.material.records))


def test_nothing_answered_is_lost_when_anything_is_killed_under_traffic(agent: Agent) -> None:
    station = agent.station
    until(agent.ready)
    answered: list[str] = []
    going = threading.Event()
    going.set()
    context = station.client_context(station.caller)

    def call() -> None:
        token = station.token()
        with httpx.Client(verify=context, timeout=PATIENCE) as client:
            while going.is_set():
                trace = os.urandom(16).hex()
                headers = {"authorization": f"Bearer {token}", "x-b3-traceid": trace, "x-b3-spanid": "b7ad6b7169203331"}
                body = {"query": QUERY, "variables": {"id": RECORD, "office": "5000"}}
                try:
                    answer = client.post(f"https://localhost:{station.port}/graphql", json=body, headers=headers)
                except httpx.TransportError:
                    time.sleep(0.02)
                    continue
                if answer.status_code == 200:
                    answered.append(trace)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for word in (b"decide", b"envoy", b"decide"):
            before = len(answered)
            until(lambda before=before: len(answered) > before + 20)  # type: ignore[misc]
            os.kill(_child(agent, word), signal.SIGKILL)
        before = len(answered)
        until(lambda: len(answered) > before + 20)
        children = [_child(agent, b"decide"), _child(agent, b"envoy")]
        agent.process.kill()
        agent.process.wait()
        # Who loses its parent goes with it: nothing keeps the port or answers without supervision.
        until(lambda: not any(_alive(child) for child in children))
        agent.process = agent._start()
        before = len(answered)
        until(lambda: len(answered) > before + 20)
    finally:
        going.clear()
        for thread in threads:
            thread.join()
    expected = set(answered)
    assert len(expected) > 80
    until(lambda: expected <= {item["trace_id"] for item in station.material.records})


def _alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_settings_with_mistakes_stop_the_start(agent: Agent) -> None:
    broken = agent.station.folder / "broken.toml"
    broken.write_text(agent.station.toml().replace("port =", "prot ="))
    for command in ("run", "check"):
        words = [sys.executable, "-m", "trust_agent.cli", command, "--config", str(broken)]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "prot: unknown key" in done.stderr
        assert "Traceback" not in done.stderr
    good = [sys.executable, "-m", "trust_agent.cli", "check", "--config", str(agent.station.settings)]
    assert "in order" in subprocess.run(good, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_a_schema_with_a_hole_stops_the_start(agent: Agent) -> None:
    holed = agent.station.folder / "holed.toml"
    holed.write_text(agent.station.toml().replace('"WlzIndicatie.commentaar"', '"WlzIndicatie.wlzindicatieID"'))
    command = [sys.executable, "-m", "trust_agent.cli", "check", "--config", str(holed)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "WlzIndicatie.commentaar" in done.stderr
