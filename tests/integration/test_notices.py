"""Notices of a real `pki serve`: a real HTTPS receiver, a real signed zone, metrics on the loopback, and a restart."""

import base64
import hashlib
import hmac
import json
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest

from tests.fakes.domains import RunningDns, running_dns
from tests.fakes.edge_pki import EdgeAuthority
from tests.support import free_port

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[2]
SECRET = b"a secret between the CA and its monitor"
GOOD = {"name": "good.nl", "records": {"a": ["127.0.0.1"]}}
LAPSING = {"name": "lapsing.nl", "records": {"a": ["127.0.0.1"]}}


def until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


@dataclass
class Receiver:
    """What an HTTPS server that checks signatures was sent."""

    port: int
    taken: list[dict[str, object]] = field(default_factory=list)
    forged: int = 0
    posts: int = 0


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    authority = EdgeAuthority()
    certificate, key = authority.leaf("localhost").write(tmp_path, "receiver")
    (tmp_path / "receiver-ca.pem").write_text(authority.pem)
    found = Receiver(0)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            signed = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode() + body
            expected = "v1," + base64.b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest()).decode()
            found.posts += 1
            if self.headers["webhook-signature"] != expected:
                found.forged += 1
            found.taken.append(json.loads(body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    found.port = server.server_port
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def resolver(tmp_path: Path) -> Iterator[RunningDns]:
    with running_dns(tmp_path, GOOD, LAPSING) as server:
        yield server


def pki(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pki.cli.main", *arguments], check=True, cwd=ROOT, capture_output=True)


def test_a_serving_authority_notices_tells_and_does_not_repeat_itself(
    tmp_path: Path, receiver: Receiver, resolver: RunningDns
) -> None:
    plain, metrics = free_port(), free_port()
    for name in ("root.pass", "issuing.pass"):
        (tmp_path / name).write_text("correct horse battery staple\n")
        (tmp_path / name).chmod(0o600)
    (tmp_path / "hook.secret").write_bytes(SECRET)
    (tmp_path / "hook.secret").chmod(0o600)
    pki(
        *("ceremony", "--out", str(tmp_path / "ca"), "--organization", "Test", "--environment", "TST"),
        *("--base-url", f"http://127.0.0.1:{plain}", "--root-passphrase-file", str(tmp_path / "root.pass")),
        *("--issuing-passphrase-file", str(tmp_path / "issuing.pass")),
    )
    config = tmp_path / "ca" / "pki.toml"
    with config.open("a") as file:
        file.write(
            f"\n[issuing]\nlifetime_days = 20\n[metrics]\nport = {metrics}\n"
            f'{resolver.settings}[notices.webhook]\nurl = "https://localhost:{receiver.port}/hook"'
            '\nsecret_file = "../hook.secret"\nca = "../receiver-ca.pem"\n'
        )
    pki(
        *("issue", "--identity", "uzovi:5000", "--organization", "Test", "--kvk", "12345678", "--dns", "a.good.nl"),
        *("--dns", "a.lapsing.nl", "--new-key", str(tmp_path / "a.key"), "--out", str(tmp_path / "a.pem")),
        *("--config", str(config)),
    )
    # A name that is certified was secure then; now its holder takes the signatures away.
    resolver.serve(GOOD, LAPSING | {"state": "unsigned"})
    page = f"http://127.0.0.1:{metrics}/metrics"
    for _ in range(2):  # the second start finds that everything was said
        process = subprocess.Popen([sys.executable, "-m", "pki.cli.main", "serve", "--config", str(config)], cwd=ROOT)
        try:
            # After the second start, deliveries are known before the domains have been looked at again.
            for line in (
                'sluis_pki_webhook_deliveries{state="delivered"} 2',
                'sluis_pki_domains{state="secure"} 1',
                'sluis_pki_expiry_notices_total{days="30"} 1',
            ):
                until(partial(_told, page, line), line)
        finally:
            process.terminate()
            process.wait(90)
    assert receiver.forged == 0
    assert receiver.posts == 2
    told = {str(item["type"]): item["data"] for item in receiver.taken}
    assert told["certificate.expires"]["threshold_days"] == 30  # type: ignore[index]
    assert told["domain.standing"]["domain"] == "a.lapsing.nl"  # type: ignore[index]
    assert "registrar" in told["domain.standing"]["where"]  # type: ignore[index]


def _told(page: str, line: str) -> bool:
    try:
        return line in httpx.get(page, timeout=30).text
    except httpx.HTTPError:
        return False
