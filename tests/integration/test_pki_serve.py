"""`pki serve` with real Envoy: a revocation at once, the service killed, TLS with and without a client certificate."""

import base64
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from authz.edge.waiters import MOST_EACH
from pki.holder.confirming import ConfirmationFailed, confirm_use
from pki.validation.revocation_feed import FeedReader
from tests.fakes.domains import EXAMPLE, running_dns
from tests.support import free_port, require

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]


@dataclass
class Serving:
    folder: Path
    plain: str
    tls: str
    process: subprocess.Popen[bytes]

    def pki(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "pki.cli.main", *arguments, "--config", str(self.folder / "ca" / "pki.toml")]
        subprocess.run(command, check=True, cwd=ROOT, capture_output=True)

    def issue(self, identity: str, name: str) -> None:
        self.pki(
            *("issue", "--identity", identity, "--organization", "Test", "--kvk", "12345678"),
            *("--dns", f"{name}.example.nl", "--new-key", str(self.folder / f"{name}.key")),
            *("--out", str(self.folder / f"{name}.pem")),
        )

    def crl(self) -> x509.CertificateRevocationList:
        return x509.load_der_x509_crl(httpx.get(f"{self.plain}/crl/issuing-tst.crl").content)


def until_healthy(url: str) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/health").status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.05)
    pytest.fail("pki serve did not become healthy")


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("serve")
    with running_dns(folder, EXAMPLE) as domains:
        yield from _serving(folder, domains.settings)


def _serving(folder: Path, domains: str) -> Iterator[Serving]:
    plain, tls = free_port(), free_port()
    for name in ("root.pass", "issuing.pass"):
        (folder / name).write_text("correct horse battery staple\n")
        (folder / name).chmod(0o600)
    command = [
        *(sys.executable, "-m", "pki.cli.main", "ceremony", "--out", str(folder / "ca"), "--organization", "Test"),
        *("--environment", "TST", "--base-url", f"http://127.0.0.1:{plain}"),
        *("--root-passphrase-file", str(folder / "root.pass")),
        *("--issuing-passphrase-file", str(folder / "issuing.pass")),
    ]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    found = Serving(folder, f"http://127.0.0.1:{plain}", f"https://127.0.0.1:{tls}", None)  # type: ignore[arg-type]
    config = folder / "ca" / "pki.toml"
    config.write_text(config.read_text() + domains)
    found.issue("kvk:12345678", "pki")
    with config.open("a") as file:
        file.write(f'\n[tls]\nport = {tls}\ncertificate = "../pki.pem"\nkey = "../pki.key"\n')
    found.process = subprocess.Popen([sys.executable, "-m", "pki.cli.main", "serve", "--config", str(config)], cwd=ROOT)
    try:
        until_healthy(found.plain)
        yield found
    finally:
        found.process.terminate()
        found.process.wait(90)


def test_a_revocation_is_published_when_the_command_returns(serving: Serving) -> None:
    serving.issue("uzovi:5000", "a")
    serial = x509.load_pem_x509_certificates((serving.folder / "a.pem").read_bytes())[0].serial_number
    assert serving.crl().get_revoked_certificate_by_serial_number(serial) is None
    serving.pki("revoke", "--identity", "uzovi:5000")
    assert serving.crl().get_revoked_certificate_by_serial_number(serial) is not None


def test_openssl_asks_and_believes_the_ocsp_responder(serving: Serving) -> None:
    serving.issue("uzovi:5100", "asked")
    leaf, issuer, *_ = x509.load_pem_x509_certificates((serving.folder / "asked.pem").read_bytes())
    (serving.folder / "issuer.pem").write_bytes(issuer.public_bytes(Encoding.PEM))
    command = [require("openssl"), "ocsp", "-issuer", "issuer.pem", "-cert", "asked.pem", "-CAfile", "ca/root.crt"]
    command += ["-url", f"{serving.plain}/ocsp/issuing-tst"]

    def asked(*options: str) -> str:  # with a nonce, unless options say otherwise
        done = subprocess.run([*command, *options], cwd=serving.folder, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    for options in ((), ("-no_nonce",)):
        told = asked(*options)
        assert "Response verify OK" in told
        assert "asked.pem: good" in told
        assert "WARNING" not in told
    # A GET as RFC 6960 appendix A.1 spells it: slashes escaped, and as careless clients do: not escaped.
    text = ""
    for nonce in range(1, 500):
        builder = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuer, hashes.SHA256())
        der = builder.add_extension(x509.OCSPNonce(bytes((nonce % 256,)) * 32), critical=False).build()
        text = base64.b64encode(der.public_bytes(Encoding.DER)).decode()
        if "/" in text:
            break
    for path in (quote(text, safe=""), quote(text, safe="/+=")):
        answer = ocsp.load_der_ocsp_response(httpx.get(f"{serving.plain}/ocsp/issuing-tst/{path}").content)
        assert answer.certificate_status is ocsp.OCSPCertStatus.GOOD
    serving.pki("revoke", "--identity", "uzovi:5100", "--reason", "keyCompromise")
    assert "Reason: keyCompromise" in asked()
    assert "asked.pem: revoked" in asked("-no_nonce")


def test_paths_as_they_were_written_reach_no_file(serving: Serving) -> None:
    host, port = serving.plain.removeprefix("http://").split(":")
    for path in ("/crl/../ca/root.crt", "/crl/..%2fpki.toml", "/ca/%2e%2e/pki.toml", "/ocsp/..%2f..%2fetc/passwd"):
        with socket.create_connection((host, int(port)), timeout=30) as plain, plain.makefile("rb") as answer:
            plain.sendall(f"GET {path} HTTP/1.1\r\nHost: pki\r\nConnection: close\r\n\r\n".encode())
            assert b" 404 " in answer.readline(), path


def test_the_service_is_started_again_when_it_is_killed(serving: Serving) -> None:
    number = serving.crl().extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    listing = ["ps", "--ppid", str(serving.process.pid), "-o", "pid=,args="]
    children = subprocess.run(listing, check=True, capture_output=True, text=True).stdout.splitlines()
    pids = [line.split()[0] for line in children if "pki.service" in line]
    assert len(pids) == 1
    subprocess.run(["kill", "-KILL", pids[0]], check=True)
    until_healthy(serving.plain)
    assert serving.crl().extensions.get_extension_for_class(x509.CRLNumber).value.crl_number >= number


def test_tls_with_and_without_a_client_certificate(serving: Serving) -> None:
    context = ssl.create_default_context(cafile=str(serving.folder / "ca" / "ca-bundle.pem"))
    name = {"sni_hostname": "pki.example.nl"}
    with httpx.Client(verify=context) as client:
        assert client.get(f"{serving.tls}/health", extensions=name).status_code == 200
    with httpx.Client(verify=context) as client, pytest.raises(httpx.ConnectError):
        client.get(f"{serving.tls}/health", extensions={"sni_hostname": "other.example.nl"})
    context.load_cert_chain(serving.folder / "pki.pem", serving.folder / "pki.key")
    with httpx.Client(verify=context) as client:
        assert client.get(f"{serving.tls}/ca/root.crt", extensions=name).status_code == 200


def test_a_renewal_is_confirmed_with_the_new_certificate_and_the_old_one_ends(serving: Serving) -> None:
    serving.issue("uzovi:5200", "old")
    files = (serving.folder / "new.pem", serving.folder / "new.key")
    serving.pki("renew", "--identity", "uzovi:5200", "--out", str(files[0]), "--new-key", str(files[1]))
    old = x509.load_pem_x509_certificates((serving.folder / "old.pem").read_bytes())[0].serial_number
    bundle, name = serving.folder / "ca" / "ca-bundle.pem", "pki.example.nl"
    assert serving.crl().get_revoked_certificate_by_serial_number(old) is None
    # The old one proves nothing about the new one, and nobody can say it without a certificate.
    assert confirm_use(serving.tls, serving.folder / "old.pem", serving.folder / "old.key", bundle, name) is False
    assert serving.crl().get_revoked_certificate_by_serial_number(old) is None
    assert httpx.post(f"{serving.plain}/certificates/confirm-use").status_code == 404
    with httpx.Client(verify=ssl.create_default_context(cafile=str(bundle))) as client:
        answer = client.post(f"{serving.tls}/certificates/confirm-use", extensions={"sni_hostname": name})
        assert (answer.status_code, answer.json()["error"]) == (403, "certificate_missing")
    assert confirm_use(serving.tls, *files, bundle, name) is True
    entry = serving.crl().get_revoked_certificate_by_serial_number(old)
    assert entry is not None
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason is x509.ReasonFlags.superseded
    assert confirm_use(serving.tls, *files, bundle, name) is False
    with pytest.raises(ConfirmationFailed, match="certificate_revoked"):
        confirm_use(serving.tls, serving.folder / "old.pem", serving.folder / "old.key", bundle, name)


def test_the_feed_is_served_and_believed(serving: Serving) -> None:
    serving.issue("uzovi:5300", "fed")
    leaf, issuer, *_ = x509.load_pem_x509_certificates((serving.folder / "fed.pem").read_bytes())
    serving.pki("revoke", "--identity", "uzovi:5300")
    reader = FeedReader([issuer.public_bytes(Encoding.DER)])
    feed = reader.read(httpx.get(f"{serving.plain}/revocations/issuing-tst").content, datetime.now(UTC))
    assert base64.urlsafe_b64encode(leaf.fingerprint(hashes.SHA256())).rstrip(b"=").decode() in feed.revoked


def test_31_a_weak_suite_is_refused(serving: Serving) -> None:
    context = ssl.create_default_context(cafile=str(serving.folder / "ca" / "ca-bundle.pem"))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-ECDSA-AES128-SHA")
    with httpx.Client(verify=context) as client, pytest.raises(httpx.ConnectError):
        client.get(f"{serving.tls}/health", extensions={"sni_hostname": "pki.example.nl"})


def test_a_second_one_on_the_same_ports_says_so_and_ends(serving: Serving) -> None:
    config = serving.folder / "ca" / "pki.toml"
    command = [sys.executable, "-m", "pki.cli.main", "serve", "--config", str(config)]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert f"port {serving.plain.rpartition(':')[2]} of 127.0.0.1 is in use" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert httpx.get(f"{serving.plain}/health").status_code == 200


def test_many_who_wait_stop_nobody(serving: Serving) -> None:
    """Surplus readers of the plain listener are answered at once; over TLS nobody waits, and others get in."""
    context = ssl.create_default_context(cafile=str(serving.folder / "ca" / "ca-bundle.pem"))
    path = "/crl/issuing-tst.crl"
    headers = {"if-none-match": httpx.get(f"{serving.plain}{path}").headers["etag"], "prefer": "wait=60"}
    with ExitStack() as stack:
        host, port = serving.plain.removeprefix("http://").split(":")
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = f"GET {path} HTTP/1.1\r\nHost: pki\r\n{lines}\r\n".encode()
        waiting = [stack.enter_context(socket.create_connection((host, int(port)), timeout=10)) for _ in range(300)]
        for connection in waiting:
            connection.sendall(request)
        answered = 0
        for connection in waiting[MOST_EACH:]:
            with suppress(TimeoutError):
                answered += connection.recv(64).startswith(b"HTTP/1.1 304")
        assert answered >= len(waiting) - 2 * MOST_EACH
        with httpx.Client(verify=context) as client:
            began = time.monotonic()
            name = {"sni_hostname": "pki.example.nl"}
            answer = client.get(f"{serving.tls}{path}", headers=headers, extensions=name)
            assert answer.status_code == 304
            assert time.monotonic() - began < 30  # half of what it asked to wait
        assert httpx.get(f"{serving.plain}{path}", timeout=30).status_code == 200
