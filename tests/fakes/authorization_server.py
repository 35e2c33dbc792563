"""A whole authorization server in the test's own process: real keys, policy, database; no Envoy.

What Envoy would hand over is written by `xfcc`. DNS is a stand-in (`Standing`), because it is not the subject of these
tests; `pki.dnssec` has its own.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import httpx
import jwt

from authz.app import Server, opened
from authz.audit.record_format import decode_record
from authz.dnssec import Dnssec
from authz.domain.audit import AuditRecord
from authz.edge.settings import load_settings
from authz.grants.audience import DaneState, DomainState
from authz.onboarding import DnssecExamination
from authz.operations import Operations
from authz.settings import AuthzSettings
from authz.store.audit_log import StoredAuditLog
from authz.store.database import Database
from tests.fakes.certificates import FakeAuthority, FakeCertificate
from tests.fakes.clock import FixedClock
from tests.fakes.domains import EveryName

ISSUER = "https://authz.test.nl:9443"
AUDIENCE = "https://pep.ciz.test.nl/iwlz/indicatieregister/v2/graphql"
SCOPE = "registers/wlzindicatieregister/indicaties/indicatie:read"
IWLZ_PATH = "/netwerkmodel/v3/auth/token"
OAUTH_PATH = "/oauth2/token"
ZORGKANTOOR = "uzovi:5000"
CIZ = "oin:00000003456789010000"

SETTINGS = f"""
environment = "TST"
issuer = "{ISSUER}"
[listen]
port = 9443
[certificate]
certificate = "server.pem"
key = "server.key"
[clients]
anchors = ["root.pem"]
issuers = [{{ certificate = "issuing.pem" }}]
crl_urls = ["http://127.0.0.1:1/issuing.crl"]
[keys]
passphrase_file = "passphrase"
[audit]
strangers_per_minute = 100000

[dnssec]
resolvers = ["127.0.0.1:1"]
"""

SCHEME = f"""
environment = "TST"

[[participants]]
id = "{ZORGKANTOOR}"
name = "Zorgkantoor Test"
organization_type = "ZORGKANTOOR"
identifiers = ["kvk:12345678"]
credentials = [{{ identity = "uzovi:5000", issuer = "issuing.pem" }}]

[[participants]]
id = "uzovi:5001"
name = "Zorgkantoor met adreslijst"
organization_type = "ZORGKANTOOR"
credentials = [{{ identity = "uzovi:5001", issuer = "issuing.pem", allowed_addresses = ["192.0.2.0/24"] }}]

[[participants]]
id = "uzovi:5002"
name = "Zorgkantoor geblokkeerd"
organization_type = "ZORGKANTOOR"
credentials = [{{ identity = "uzovi:5002", issuer = "issuing.pem", blocked = true }}]

[[participants]]
id = "agbcode:01234567"
name = "Zorgaanbieder Test"
organization_type = "ZORGAANBIEDER"
credentials = [{{ identity = "agbcode:01234567", issuer = "issuing.pem" }}]

[[participants]]
id = "{CIZ}"
name = "CIZ"
organization_type = "CIZ"
credentials = [{{ identity = "{CIZ}", issuer = "issuing.pem" }}]
log_sources = ["sluis/trust-agent/ciz"]

[[services]]
organisation = "CIZ"
function = "REGISTER"
system_role = "REGISTER"
holder = "{CIZ}"
register = "wlzindicatieregister"
authorization_endpoint = "{AUDIENCE}"
token_endpoint = "{ISSUER}/oauth2/token"
resource_endpoint = "https://register.ciz.test.nl/graphql"
"""


def xfcc(certificate: FakeCertificate) -> str:
    """What Envoy writes in `x-forwarded-client-cert` for this client."""

    def escaped(pem: bytes) -> str:
        text = pem.decode()
        for character, code in (("\n", "%0A"), (" ", "%20"), ("+", "%2B"), ("/", "%2F"), ("=", "%3D")):
            text = text.replace(character, code)
        return text

    digest = hashlib.sha256(certificate.der).hexdigest()
    return f'Hash={digest};Cert="{escaped(certificate.pem)}";Chain="{escaped(certificate.chain_pem)}"'


@dataclass
class Standing:
    """DNSSEC standing by decree; secure unless said otherwise."""

    states: dict[str, DomainState] = field(default_factory=dict)

    async def check(self, host: str, at: datetime) -> DomainState:
        assert at.tzinfo is not None
        return self.states.get(host, DomainState.SECURE)


@dataclass
class Eye:
    """What is found at endpoints, by decree; every endpoint matches unless said otherwise."""

    states: dict[str, DaneState] = field(default_factory=dict)
    looks: list[str] = field(default_factory=list)

    async def look(self, host: str, port: int) -> DaneState:
        self.looks.append(f"{host}:{port}")
        return self.states.get(f"{host}:{port}", DaneState.MATCHED)


@dataclass
class AuthorizationServer:
    """A running server and what a test needs to talk to it."""

    settings: AuthzSettings
    authority: FakeAuthority
    clock: FixedClock
    standing: Standing
    eye: Eye
    server: Server
    client: httpx.AsyncClient
    operations: Operations
    zorgkantoor: FakeCertificate

    async def send(
        self,
        method: str,
        path: str,
        certificate: FakeCertificate | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        verified: bool = True,
        address: str = "192.0.2.7:4711",
        **options: Any,
    ) -> httpx.Response:
        """One request over the connection of `certificate`; by default the zorgkantoor's."""
        edge = {"x-forwarded-client-cert": xfcc(certificate or self.zorgkantoor), "x-sluis-peer-address": address}
        if verified:
            edge["x-sluis-peer-verified"] = "1"
        return await self.client.request(method, path, headers=edge | dict(headers or {}), **options)

    async def oauth(self, certificate: FakeCertificate | None = None, **changes: Any) -> httpx.Response:
        """A good request at the OAuth face, but for `changes`; None leaves a parameter out."""
        options = {name: changes.pop(name) for name in ("headers", "verified", "address") if name in changes}
        form = {
            "grant_type": "client_credentials",
            "client_id": ZORGKANTOOR,
            "scope": SCOPE,
            "resource": AUDIENCE,
        } | changes
        data = {name: value for name, value in form.items() if value is not None}
        return await self.send("POST", OAUTH_PATH, certificate, data=data, **options)

    async def iwlz(self, certificate: FakeCertificate | None = None, **changes: Any) -> httpx.Response:
        """A good request at the iWlz face, but for `changes`; None leaves a member out."""
        options = {name: changes.pop(name) for name in ("headers", "verified", "address") if name in changes}
        members = {"grant_type": "client_credentials", "scope": SCOPE, "audience": AUDIENCE} | changes
        body = {name: value for name, value in members.items() if value is not None}
        return await self.send("POST", IWLZ_PATH, certificate, json=body, **options)

    async def token_claims(self, certificate: FakeCertificate | None = None, **changes: Any) -> dict[str, Any]:
        """The payload of a token that is granted."""
        answer = await self.oauth(certificate, **changes)
        payload: dict[str, Any] = jwt.decode(answer.json()["access_token"], options={"verify_signature": False})
        return payload

    async def records(self) -> list[AuditRecord]:
        """The audit log, oldest first."""
        database = Database(self.settings.database_url, self.clock)
        await database.start()
        try:
            log = StoredAuditLog(database)
            entries = log.entries(0, await log.size())
            return [decode_record(entry.payload) async for entry in entries if entry.payload is not None]
        finally:
            await database.close()

    async def last_record(self) -> AuditRecord:
        """The newest record of the audit log."""
        return (await self.records())[-1]

    async def changed(self) -> None:
        """Let the server see what the command line changed."""
        await self.server.follower.look()

    async def later(self, **by: float) -> None:
        """Let time pass for a server that keeps looking at what is stored."""
        self.clock.advance(**by)
        await self.server.follower.look()


def prepare(folder: Path, authority: FakeAuthority) -> Path:
    """Write settings, certificates, CRLs and scheme of a server; returns the settings file."""
    server = authority.issue("oin:00000001234567890000", dns=("authz.test.nl",))
    files = {
        "authz.toml": SETTINGS.encode(),
        "scheme.toml": SCHEME.encode(),
        "root.pem": authority.root.pem,
        "issuing.pem": authority.issuing.pem,
        "server.pem": server.chain_pem,
        "server.key": server.key_pem,
        "passphrase": b"correct horse battery staple\n",
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / "passphrase").chmod(0o600)
    publish_crls(folder, authority)
    return folder / "authz.toml"


def publish_crls(folder: Path, authority: FakeAuthority, **options: Any) -> None:
    """Put the authority's CRLs where the server keeps them."""
    crls = folder / "state" / "crl"
    crls.mkdir(parents=True, exist_ok=True)
    (crls / "root.crl").write_bytes(authority.root_crl())
    (crls / "issuing.crl").write_bytes(authority.crl(**options))


@asynccontextmanager
async def authorization_server(folder: Path, **authority_options: Any) -> AsyncIterator[AuthorizationServer]:
    """A server over `folder`, with everything but the background tasks."""
    authority = FakeAuthority(**authority_options)
    clock, standing, eye = FixedClock(authority.now), Standing(), Eye()
    settings = load_settings(AuthzSettings, prepare(folder, authority))
    operations = Operations(settings, clock, DnssecExamination(EveryName(), clock))
    await operations.init_keys()
    await operations.import_scheme(folder / "scheme.toml")
    async with opened(settings, clock, Dnssec(standing, eye)) as server:
        transport = httpx.ASGITransport(cast("Any", server.app), raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url=ISSUER) as client:
            yield AuthorizationServer(
                settings=settings,
                authority=authority,
                clock=clock,
                standing=standing,
                eye=eye,
                server=server,
                client=client,
                operations=operations,
                zorgkantoor=authority.issue(ZORGKANTOOR),
            )
    await asyncio.sleep(0)
