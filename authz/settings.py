"""The settings of the authorization server: a TOML file, declared here once and checked as a whole at start."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from authz.domain.claims import MAX_LIFETIME
from authz.edge.addresses import check_network
from authz.edge.settings import ExistingFile, Port, Settings, SettingsPath
from authz.participants.model import Environment
from pki.dnssec.settings import DnssecSettings, ResolverAddress
from pki.validation.ages import MAX_AUTHORITY_CRL_AGE, MAX_CRL_AGE
from pki.validation.settings import PinnedIssuerSettings

Seconds = Annotated[float, Field(gt=0)]
HttpUrl = Annotated[str, StringConstraints(pattern=r"^http://[^\s/?#@]+(/[^\s?#]*)?$")]
IssuerUrl = Annotated[str, StringConstraints(pattern=r"^https://[a-z0-9.-]+(:[1-9][0-9]{0,4})?$")]
"""No path and no trailing slash: readers compare it as text (RFC 8414 section 3.3, cases/oauth.md 55)."""


class ListenSettings(Settings):
    """Where deelnemers connect: TLS with a client certificate."""

    address: str = "127.0.0.1"
    """IP address to listen on; `0.0.0.0` for every network of this machine."""
    port: Port
    """Port to listen on."""
    envoy_threads: Annotated[int, Field(ge=1, le=64)] = 2
    """Worker threads of Envoy."""


class OwnCertificateSettings(Settings):
    """The server's own certificate."""

    certificate: ExistingFile
    """PEM: leaf first, then its issuers."""
    key: ExistingFile
    """Its private key: PEM, for the owner of the process only."""


class ClientSettings(Settings):
    """How certificates of clients are validated; `crl_urls` must cover every CA in a path, the root included."""

    anchors: tuple[ExistingFile, ...] = Field(min_length=1)
    """Root certificates (PEM) in which a path of a client must end."""
    intermediates: tuple[ExistingFile, ...] = Field(default=(), max_length=16)
    """CA certificates between an anchor and an issuing CA, where there are such levels (PKIoverheid has them)."""
    issuers: tuple[PinnedIssuerSettings, ...] = Field(min_length=1)
    crl_urls: tuple[HttpUrl, ...] = Field(min_length=1, max_length=50)
    """Fetched ahead of time and only from here, never from what a certificate names (cases/oauth.md 74)."""
    revocation_urls: tuple[HttpUrl, ...] = Field(default=(), max_length=50)
    """Feeds of recently revoked certificates (`http://<pki>/revocations/<issuer>`); agents then follow them in ours."""
    ocsp_folder: SettingsPath | None = None
    """Folder of OCSP responses (`*.ocsp`, DER) that count beside CRLs; another program may put some there as well. Left
    out, those of an issuer with `ocsp_url` are kept in the state folder."""
    max_crl_age: Annotated[float, Field(gt=0, le=MAX_CRL_AGE.total_seconds())] = MAX_CRL_AGE.total_seconds()
    """Seconds; the field's rule is one hour."""
    max_authority_crl_age: Seconds = MAX_AUTHORITY_CRL_AGE.total_seconds()
    """Seconds; the root is offline and signs its CRL in a ceremony."""

    @property
    def authorities(self) -> tuple[Path, ...]:
        """Files of every CA certificate of a path, for Envoy and for CRLs."""
        return (*self.anchors, *self.intermediates, *(issuer.certificate for issuer in self.issuers))


class KeySettings(Settings):
    """Where the encrypted key files are, and what opens them."""

    folder: SettingsPath = Field(default=Path("keys"), validate_default=True)
    """Where `authz keys init` puts the encrypted key files; the last signed checkpoint is kept there too."""
    passphrase_file: ExistingFile
    """First line: the passphrase of the key files, 12 characters or more; mode 0600."""


class DatabaseSettings(Settings):
    """Where everything is kept."""

    url: str | None = None
    """`postgresql+asyncpg://...`; leave out for SQLite in the state folder."""


class DomainSettings(DnssecSettings):
    """How domains of audiences are checked."""

    resolvers: Annotated[tuple[ResolverAddress, ...], Field(min_length=1, max_length=8)]
    """`<IP address>[:<port>]` of resolvers that pass DNSSEC records on."""
    dane_networks: tuple[Annotated[str, AfterValidator(check_network)], ...] = Field(default=(), max_length=64)
    """Networks of endpoints beyond what is globally routable, for a closed network. Where a deelnemer must have DANE,
    this server connects to its endpoint to see its certificate; so never name a network of this server itself."""


class MetricsSettings(Settings):
    """Where metrics are read: plain HTTP, to be kept on the loopback or a closed network."""

    address: str = "127.0.0.1"
    """IP address to listen on."""
    port: Port
    """Port to listen on."""


class TokenSettings(Settings):
    """Tokens and their keys; times in seconds."""

    lifetime: Annotated[int, Field(ge=10, le=MAX_LIFETIME)] = 900
    """How long a token is valid."""
    prepublish: Annotated[int, Field(ge=0, le=7 * 24 * 3600)] = 3600
    """How long a new key stands in the JWKS before it signs: longer than readers wait between two fetches."""
    skew: Annotated[int, Field(ge=0, le=300)] = 60
    """How far readers' clocks may be off: added to the overlap of a retired key."""
    feed_lifetime: Annotated[int, Field(ge=60, le=24 * 3600)] = 3600
    """How long a reader may rely on one revocation feed."""

    @property
    def overlap(self) -> timedelta:
        """How long a retired key stays published."""
        return timedelta(seconds=self.lifetime + self.skew)


class PolicySettings(Settings):
    """Which policies decide and are published."""

    bundle: ExistingFile | None = None
    """A signed bundle; leave out for the one that comes with the product."""
    bundle_keys: ExistingFile | None = None
    """Keys that verify it: `{"keys": [{"key_id", "public_pem", "not_before", "not_after"}]}`."""

    @model_validator(mode="after")
    def _together(self) -> Self:
        if (self.bundle is None) != (self.bundle_keys is None):
            raise ValueError("bundle and bundle_keys belong together: expected both or neither")
        return self


class AuditSettings(Settings):
    """The audit log."""

    checkpoint_interval: Annotated[float, Field(ge=0.1, le=3600)] = 1.0
    """Seconds between two looks at whether the log grew."""
    strangers_per_minute: Annotated[int, Field(ge=1, le=100_000)] = 60
    """Refusals a minute that get a record each of those who did not authenticate, at most a sixth of them from one
    address; the others are counted, with one record a minute for each reason."""


class AuthzSettings(Settings):
    """All of it."""

    environment: Environment
    """The network that this server is of; a scheme file of another one is refused."""
    issuer: IssuerUrl
    """Address under which everybody knows this server: `iss` of every token."""
    state_dir: SettingsPath = Field(default=Path("state"), validate_default=True)
    """Database, unless it is PostgreSQL, and verified CRLs; made when it is not there."""
    run_dir: SettingsPath | None = None
    """Sockets and rendered configuration; keep the path short. Leave out for a temporary folder."""
    listen: ListenSettings
    certificate: OwnCertificateSettings
    clients: ClientSettings
    keys: KeySettings
    dnssec: DomainSettings
    database: DatabaseSettings = DatabaseSettings()
    tokens: TokenSettings = TokenSettings()
    policy: PolicySettings = PolicySettings()
    audit: AuditSettings = AuditSettings()
    metrics: MetricsSettings | None = None

    @property
    def crl_folder(self) -> Path:
        """Verified CRLs, which Envoy reads too."""
        return self.state_dir / "crl"

    @property
    def database_url(self) -> str:
        """As SQLAlchemy wants it."""
        return self.database.url or f"sqlite+aiosqlite:///{self.state_dir / 'authz.sqlite3'}"

    @property
    def log_origin(self) -> str:
        """Name under which checkpoints are signed: the issuer without its scheme (C2SP tlog-checkpoint)."""
        return f"{self.issuer.removeprefix('https://')}/audit"
