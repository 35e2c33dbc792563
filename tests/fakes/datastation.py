"""A datastation for tests: what a trust agent needs around it, with real keys, real TLS and real policies.

`FakeSources` is authz and the CRL publisher in one (jwks, revocations, bundle, records; long polls answered at once),
`FakeRegister` a GraphQL server that tells what it received, `Datastation` the folder with files and settings.
"""

import base64
import hashlib
import json
import secrets
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from authz.policy.bundle import sign_bundle
from authz.policy.signing import PemSigner
from tests.fakes.certificates import FakeAuthority, FakeCertificate
from tests.support import free_port

ROOT = Path(__file__).parents[2]
ISSUER = "https://authz.test"
AUDIENCE = "https://ciz.test/iwlz/graphql"
SCOPE = "registers/wlzindicatieregister/indicaties/indicatie:read"
RECORD = "5a1a3c5e-0f5b-4d0c-9c55-2f1f5b7c0001"
SDL = """
scalar UUID
type Query {
  wlzIndicatie(where: WlzIndicatieFilterInput): [WlzIndicatie!]!
    @authz(service: "wlzindicatieregister", operation: "wlzIndicatie", resourceType: "WLZ_INDICATIE", action: "read")
}
type WlzIndicatie { wlzindicatieID: UUID! soortWlzindicatie: String commentaar: String }
input WlzIndicatieFilterInput {
  and: [WlzIndicatieFilterInput!]
  or: [WlzIndicatieFilterInput!]
  wlzindicatieID: UUIDOperations
  initieelVerantwoordelijkZorgkantoor: TextOperations
}
input UUIDOperations { eq: UUID }
input TextOperations { eq: String }
"""
PUBLIC = ["WlzIndicatie.wlzindicatieID", "WlzIndicatie.soortWlzindicatie", "WlzIndicatie.commentaar"]
QUERY = """
query Ask($id: UUID!, $office: String!) {
  wlzIndicatie(where: {wlzindicatieID: {eq: $id}, initieelVerantwoordelijkZorgkantoor: {eq: $office}}) {
    wlzindicatieID
    soortWlzindicatie
  }
}
"""


Answer = tuple[int, dict[str, str], bytes]


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class TokenKey:
    """An ES256 key that signs whatever it is given, also what nobody should sign."""

    def __init__(self, kid: str = "key-1", typ: str | None = "at+jwt") -> None:
        self.kid = kid
        self.typ = typ
        self.private = ec.generate_private_key(ec.SECP256R1())

    @property
    def jwk(self) -> dict[str, str]:
        numbers = self.private.public_key().public_numbers()
        x, y = (b64(value.to_bytes(32, "big")) for value in (numbers.x, numbers.y))
        purpose = {} if self.typ is None else {"sluis_typ": self.typ}
        return {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.kid, "x": x, "y": y} | purpose

    def raw_signature(self, message: bytes) -> bytes:
        r, s = decode_dss_signature(self.private.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def sign(self, payload: Mapping[str, Any] | bytes, **header: Any) -> str:
        """A compact JWS; `header` overrides alg, kid and typ, None leaves one out."""
        members = {"alg": "ES256", "kid": self.kid, "typ": "at+jwt"} | header
        head = json.dumps({name: value for name, value in members.items() if value is not None}).encode()
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        message = f"{b64(head)}.{b64(body)}"
        return f"{message}.{b64(self.raw_signature(message.encode()))}"


def thumbprint(certificate: FakeCertificate) -> str:
    return b64(hashlib.sha256(certificate.der).digest())


def claims(certificate: FakeCertificate, at: datetime, **changes: Any) -> dict[str, Any]:
    """The payload of a good token of zorgkantoor 5000; None as a change leaves a claim out."""
    now = int(at.timestamp())
    payload = {
        "iss": ISSUER,
        "sub": "uzovi:5000",
        "aud": AUDIENCE,
        "iat": now,
        "nbf": now,
        "exp": now + 900,
        "jti": secrets.token_urlsafe(16),
        "client_id": "uzovi:5000",
        "scope": SCOPE,
        "scopes": [SCOPE],
        "cnf": {"x5t#S256": thumbprint(certificate)},
        "organization_type": "ZORGKANTOOR",
        "policy": "r1",
        "uzovi": "5000",
    } | changes
    return {name: value for name, value in payload.items() if value is not None}


class _Server:
    """An HTTP server in a thread; with TLS when a context is given."""

    def __init__(self, context: ssl.SSLContext | None = None, port: int = 0) -> None:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _handle(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                answered = owner.answer(self.command, self.path, dict(self.headers.items()), body)
                status, headers, content = answered
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_DELETE = do_OPTIONS = _handle  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                pass

        self.server = Quiet(("127.0.0.1", port), Handler)
        if context is not None:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = int(self.server.server_address[1])
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        raise NotImplementedError

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


def server_context(folder: Path, ca: FakeAuthority, certificate: FakeCertificate, name: str) -> ssl.SSLContext:
    """TLS with `certificate`, asking for a certificate of `ca`."""
    (folder / f"{name}.pem").write_bytes(certificate.chain_pem)
    (folder / f"{name}.key").write_bytes(certificate.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    context.load_verify_locations(cadata=(ca.root.pem + ca.issuing.pem).decode())
    context.verify_mode = ssl.CERT_REQUIRED
    return context


@dataclass
class Material:
    """What the sources serve; changed by tests while the agent runs."""

    keys: list[TokenKey] = field(default_factory=lambda: [TokenKey()])
    feed_key: TokenKey = field(default_factory=lambda: TokenKey("feed", "revocations+jwt"))
    withdrawn: list[str] = field(default_factory=list)
    serial: int | None = 1
    version: int = 1
    revoked: list[str] = field(default_factory=list)
    credentials: list[str] = field(default_factory=list)
    bundle_key: bytes = b""
    records: list[dict[str, Any]] = field(default_factory=list)
    take_records: int = 200

    def jwks(self) -> bytes:
        return json.dumps({"keys": [key.jwk for key in (*self.keys, self.feed_key)]}).encode()

    def feed(self, at: datetime | None = None, **changes: Any) -> bytes:
        now = int((at or datetime.now(UTC)).timestamp())
        payload = {
            "iss": ISSUER,
            "iat": now,
            "exp": now + 3600,
            "version": self.version,
            "tokens": self.revoked,
            "credentials": self.credentials,
            "grants": [],
            "keys": self.withdrawn,
        } | changes
        return self.feed_key.sign(payload, typ="revocations+jwt").encode()

    def bundle(self) -> bytes:
        content = (ROOT / "policies" / "dist" / "default.tar.gz").read_bytes()
        return sign_bundle(content, PemSigner("test-bundle", self.bundle_key), serial=self.serial)


class FakeSources(_Server):
    """authz, over mutual TLS."""

    def __init__(self, material: Material, context: ssl.SSLContext, port: int = 0) -> None:
        self.material = material
        self._bundle = material.bundle()
        super().__init__(context, port)

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        material = self.material
        if method == "POST" and path == "/audit/v1/records":
            if material.take_records != 200:
                return material.take_records, {}, b""
            records = json.loads(body)["records"]
            material.records += records
            return 200, {}, json.dumps({"accepted": len(records)}).encode()
        if path == "/jwks":
            content, tag = material.jwks(), hashlib.sha256(material.jwks()).hexdigest()
        elif path == "/revocations":
            content, tag = material.feed(), f"{material.version}"
        elif path == "/bundles/default":
            content, tag = self._bundle, "bundle"
        else:
            return 404, {}, b""
        if headers.get("if-none-match", headers.get("If-None-Match")) == f'"{tag}"':
            return 304, {}, b""
        return 200, {"etag": f'"{tag}"'}, content


class FakeCrls(_Server):
    """The CRL publisher, over plain HTTP."""

    def __init__(self, ca: FakeAuthority) -> None:
        self.ca = ca
        self._lock = threading.Lock()
        super().__init__()

    def answer(self, _method: str, path: str, _headers: dict[str, str], _body: bytes) -> Answer:
        with self._lock:
            self.ca.now = datetime.now(UTC)
            number = time.time_ns()
            content = self.ca.root_crl() if path == "/root.crl" else self.ca.crl(number=number)
        return 200, {}, content


class FakeRegister(_Server):
    """Answers each query with what it received."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.requests: list[dict[str, Any]] = []
        self.fault = ""
        super().__init__(context)

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        if self.fault == "breaks":
            raise ConnectionAbortedError
        if self.fault == "late":
            time.sleep(8)  # longer than an agent waits
        lowered = {name.lower(): value for name, value in headers.items()}
        seen = {"method": method, "path": path, "headers": lowered, "body": body.decode()}
        self.requests.append(seen)
        return 200, {"content-type": "application/json"}, json.dumps({"data": {"seen": seen}}).encode()


class Datastation:
    """Everything in one folder: authority, sources, register, settings.

    Args:
        folder: empty, with a short path.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = FakeAuthority(now=datetime.now(UTC))
        bundle_key = ec.generate_private_key(ec.SECP256R1())
        pem = bundle_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self.material = Material(bundle_key=pem)
        self.caller = self.ca.issue("uzovi:5000")
        self.other = self.ca.issue("uzovi:5001")
        agent = self.ca.issue("oin:00000001002220647000", dns=("localhost",))
        (folder / "agent.pem").write_bytes(agent.chain_pem)
        (folder / "agent.key").write_bytes(agent.key_pem)
        (folder / "root.pem").write_bytes(self.ca.root.pem)
        (folder / "issuing.pem").write_bytes(self.ca.issuing.pem)
        public = bundle_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (folder / "bundle.pub").write_bytes(public)
        (folder / "register.graphql").write_text(SDL)
        server = self.ca.issue("uzovi:9999", dns=("localhost", "register.test"))
        self.context = server_context(folder, self.ca, server, "server")
        self.sources = FakeSources(self.material, self.context)
        self.crls = FakeCrls(self.ca)
        self.register = FakeRegister(self.context)
        self.port, self.health_port = free_port(), free_port()
        self.settings = folder / "agent.toml"
        self.settings.write_text(self.toml())

    @property
    def key(self) -> TokenKey:
        return self.material.keys[0]

    def toml(self) -> str:
        crls = [f"http://127.0.0.1:{self.crls.port}/{name}.crl" for name in ("root", "issuing")]
        return f"""
name = "test"
state_dir = "state"
run_dir = "run"
listen = {{ port = {self.port}, path = "/graphql" }}
health = {{ port = {self.health_port} }}
certificate = {{ certificate = "agent.pem", key = "agent.key" }}
limits = {{ envoy_threads = 1 }}
[clients]
environment = "TST"
anchors = ["root.pem"]
issuers = [{{ certificate = "issuing.pem" }}]
crl_urls = {json.dumps(crls)}
[authz]
url = "https://localhost:{self.sources.port}"
anchors = ["root.pem"]
bundle_keys = [{{ key_id = "test-bundle", file = "bundle.pub" }}]
[token]
issuer = "{ISSUER}"
audience = "{AUDIENCE}"
scopes = ["{SCOPE}"]
[register]
host = "127.0.0.1"
port = {self.register.port}
server_name = "register.test"
path = "/inner/graphql"
anchors = ["root.pem"]
service = "wlzindicatieregister"
schema_file = "register.graphql"
timeout = 5
public_fields = {json.dumps(PUBLIC)}
[graphql]
new_documents_per_second = 0.001
[journal]
strangers_per_minute = 100000
segment_bytes = 1048576
linger = 0.05
"""

    def restart_sources(self) -> None:
        """Let authz come back, on the same port."""
        self.sources = FakeSources(self.material, self.context, self.sources.port)

    def token(self, certificate: FakeCertificate | None = None, **changes: Any) -> str:
        return self.key.sign(claims(certificate or self.caller, datetime.now(UTC), **changes))

    def client_context(self, certificate: FakeCertificate | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=(self.ca.root.pem).decode())
        if certificate is not None:
            path = self.folder / f"{certificate.certificate.serial_number}.pem"
            path.write_bytes(certificate.chain_pem + certificate.key_pem)
            context.load_cert_chain(path)
        return context

    def close(self) -> None:
        for server in (self.sources, self.crls, self.register):
            server.close()
