"""A real authority with EST behind Envoy, and a participant that has nothing but curl and openssl."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from tests.fakes.domains import EXAMPLE, RunningDns, running_dns
from tests.integration.test_pki_serve import until_healthy
from tests.support import free_port, require

ROOT = Path(__file__).parents[2]
NAME = "pki.example.nl"


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Est:
    """A running authority, and a participant with nothing but curl and openssl."""

    folder: Path
    plain: int
    tls: int
    domains: RunningDns

    def pki(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "pki.cli.main", *arguments, "--config", str(self.folder / "ca" / "pki.toml")]
        done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def code(self, identity: str, *more: str) -> dict[str, str]:
        made: dict[str, str] = json.loads(
            self.pki(
                *("code", "create", "--identity", identity, "--organization", "Zorgkantoor Test"),
                *("--kvk", "12345678", "--dns", f"{identity.replace(':', '-')}.example.nl", "--json", *more),
            )
        )
        return made

    def request(self, name: str, *, subject: str = "/CN=anything at all") -> Path:
        """A key and a request, as base64 of its DER."""
        key, der, text = (self.folder / f"{name}.{end}" for end in ("key", "der", "b64"))
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(key))
        openssl("req", "-new", "-key", str(key), "-subj", subject, "-outform", "DER", "-out", str(der))
        openssl("base64", "-e", "-in", str(der), "-out", str(text))
        return text

    def curl(self, path: str, *arguments: str, port: int | None = None, scheme: str = "https") -> Reply:
        out, head = self.folder / f"out-{os.urandom(4).hex()}", self.folder / f"head-{os.urandom(4).hex()}"
        url = f"{scheme}://{NAME}:{port or self.tls}{path}"
        subprocess.run(
            [
                *("curl", "--silent", "--show-error", "--path-as-is", "--cacert", str(self.folder / "ca" / "root.crt")),
                *("--resolve", f"{NAME}:{port or self.tls}:127.0.0.1"),
                *("--output", str(out), "--dump-header", str(head)),
                *(*arguments, url),
            ],
            check=True,
        )
        first, *lines = head.read_bytes().decode().split("\r\n\r\n")[-2].splitlines()
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return Reply(int(first.split()[1]), headers, out.read_bytes() if out.exists() else b"")

    def enrol(self, user: str, code: str, request: Path, *more: str) -> Reply:
        return self.curl(
            "/.well-known/est/simpleenroll",
            *("--user", f"{user}:{code}", "--header", "Content-Type: application/pkcs10"),
            *("--data-binary", f"@{request}", *more),
        )

    def reenrol(self, name: str, request: Path, *more: str) -> Reply:
        return self.curl(
            "/.well-known/est/simplereenroll",
            *("--cert", str(self.folder / f"{name}.pem"), "--key", str(self.folder / f"{name}.key")),
            *("--header", "Content-Type: application/pkcs10", "--data-binary", f"@{request}", *more),
        )

    def keep(self, name: str, reply: Reply) -> x509.Certificate:
        """The one certificate of an answer, taken out by openssl; kept with its issuer as <name>.pem."""
        assert reply.status == 200, reply.text
        pem = pkcs7(reply.body)
        issuers = pkcs7(self.curl("/.well-known/est/cacerts").body)
        (self.folder / f"{name}.pem").write_text(pem + issuers)
        found = x509.load_pem_x509_certificates(pem.encode())
        assert len(found) == 1
        return found[0]

    def enrolled(self, name: str, identity: str) -> x509.Certificate:
        code = self.code(identity)["code"]
        return self.keep(name, self.enrol(identity.replace(":", "-"), code, self.request(name)))

    def certificates(self, identity: str) -> list[dict[str, str]]:
        found: list[dict[str, str]] = json.loads(self.pki("list", "--identity", identity, "--json"))
        return found

    def records(self, kind: str) -> list[dict[str, object]]:
        with sqlite3.connect(self.folder / "ca" / "pki.sqlite3") as database:
            rows = database.execute("SELECT record FROM outbox ORDER BY id").fetchall()
        records = [json.loads(row[0]) for row in rows]
        return [record for record in records if record["event"]["type"] == kind]


def openssl(*arguments: str, given: bytes | None = None) -> bytes:
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True, input=given).stdout


def pkcs7(body: bytes) -> str:
    der = openssl("base64", "-d", given=body)
    printed = openssl("pkcs7", "-inform", "DER", "-print_certs", given=der).decode()
    blocks = printed.split("-----BEGIN CERTIFICATE-----")[1:]
    return "".join(
        "-----BEGIN CERTIFICATE-----" + block.split("-----END")[0] + "-----END CERTIFICATE-----\n" for block in blocks
    )


@contextmanager
def running_est(folder: Path) -> Iterator[Est]:
    """Ceremony, a server certificate, and `pki serve` in `folder`."""
    for program in ("curl", "openssl"):
        require(program)
    with running_dns(folder, EXAMPLE) as domains:
        yield from _running(Est(folder, free_port(), free_port(), domains))


def _running(found: Est) -> Iterator[Est]:
    folder = found.folder
    for name in ("root.pass", "issuing.pass"):
        (folder / name).write_text("correct horse battery staple\n")
        (folder / name).chmod(0o600)
    command = [
        *(sys.executable, "-m", "pki.cli.main", "ceremony", "--out", str(folder / "ca"), "--organization", "Test"),
        *("--environment", "TST", "--base-url", f"http://127.0.0.1:{found.plain}"),
        *("--root-passphrase-file", str(folder / "root.pass")),
        *("--issuing-passphrase-file", str(folder / "issuing.pass")),
    ]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    config = folder / "ca" / "pki.toml"
    config.write_text(config.read_text() + found.domains.settings)
    found.pki(
        *("issue", "--identity", "kvk:87654321", "--organization", "Test", "--kvk", "87654321", "--dns", NAME),
        *("--new-key", str(folder / "server.key"), "--out", str(folder / "server.pem")),
    )
    with config.open("a") as file:
        file.write(f'\n[tls]\nport = {found.tls}\ncertificate = "../server.pem"\nkey = "../server.key"\n')
        # All tests come from one address and renew within minutes; these limits have tests of their own.
        file.write("\n[enrolment]\nattempts_per_minute = 600\n")
        file.write("\n[issuing]\nrenewal_after_hours = 0\nrenewals_per_day = 100\nrenewals_per_month = 1000\n")
    process = subprocess.Popen([sys.executable, "-m", "pki.cli.main", "serve", "--config", str(config)], cwd=ROOT)
    try:
        until_healthy(f"http://127.0.0.1:{found.plain}")
        yield found
    finally:
        process.terminate()
        process.wait(30)
