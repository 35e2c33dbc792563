"""The settings of one trust agent: a TOML file, declared here once and checked as a whole at start."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from authz.edge.settings import ExistingFile, Port, Settings, SettingsPath
from pki.validation.ages import MAX_AUTHORITY_CRL_AGE, MAX_CRL_AGE
from pki.validation.settings import PinnedIssuerSettings

Seconds = Annotated[float, Field(gt=0)]
HttpsUrl = Annotated[str, StringConstraints(pattern=r"^https://[^\s/?#@]+(/[^\s?#]*)?$")]
HttpUrl = Annotated[str, StringConstraints(pattern=r"^http://[^\s/?#@]+(/[^\s?#]*)?$")]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]


class ListenSettings(Settings):
    """Where deelnemers connect: TLS with a client certificate, one path."""

    address: str = "127.0.0.1"
    """IP address to listen on; `0.0.0.0` for every network of this machine."""
    port: Port
    """Port to listen on."""
    path: Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9._~/-]*$")] = "/graphql"
    """The one path that is served."""


class HealthSettings(Settings):
    """Where the operator asks for health and metrics: plain HTTP, to be kept on the loopback or a closed network."""

    address: str = "127.0.0.1"
    """IP address to listen on."""
    port: Port
    """Port to listen on."""


class OwnCertificateSettings(Settings):
    """The agent's own certificate: server for deelnemers, client towards the register and authz."""

    certificate: ExistingFile
    """PEM: leaf first, then its issuers."""
    key: ExistingFile
    """Its private key: PEM, for the owner of the process only."""


class ClientSettings(Settings):
    """How the certificates of callers are validated; `crl_urls` must cover every CA in a path, the root included."""

    environment: Literal["PRD", "TST", "ACC"]
    """The network that this agent is of; certificates of our own CA for another one are refused."""
    anchors: tuple[ExistingFile, ...] = Field(min_length=1)
    """Root certificates (PEM) in which a path of a caller must end."""
    intermediates: tuple[ExistingFile, ...] = Field(default=(), max_length=16)
    """CA certificates between an anchor and an issuing CA, where there are such levels (PKIoverheid has them)."""
    issuers: tuple[PinnedIssuerSettings, ...] = Field(min_length=1)
    crl_urls: tuple[HttpUrl, ...] = Field(min_length=1, max_length=50)
    """Where the CRLs are; fetched ahead of time and only from here."""
    ocsp_folder: SettingsPath | None = None
    """Folder of OCSP responses (`*.ocsp`, DER) that count beside CRLs; another program may put some there as well. Left
    out, those of an issuer with `ocsp_url` are kept in the state folder."""

    @property
    def authorities(self) -> tuple[Path, ...]:
        """Files of every CA certificate of a path, for Envoy and for CRLs."""
        return (*self.anchors, *self.intermediates, *(issuer.certificate for issuer in self.issuers))


class BundleKeySettings(Settings):
    """A public key that may sign the policy bundle."""

    key_id: str
    """Key id of the bundles, as `authz keys list` shows it."""
    file: ExistingFile
    """The public key, PEM: `bundle.pub.pem` of `authz`."""
    not_before: datetime = datetime(2000, 1, 1, tzinfo=UTC)
    """Bundles that are fetched earlier are refused."""
    not_after: datetime = datetime(2100, 1, 1, tzinfo=UTC)
    """Bundles that are fetched later are refused."""


class AuthzSettings(Settings):
    """Where keys, revocations and policies come from and records go to: authz, over mTLS."""

    url: HttpsUrl
    """Address of authz; no path."""
    anchors: tuple[ExistingFile, ...] = Field(min_length=1)
    """Root certificates (PEM) for the server of `url`."""
    bundle: Name = "default"
    """Name of the policy bundle."""
    bundle_keys: tuple[BundleKeySettings, ...] = Field(min_length=1)
    server_name: str | None = None
    """Name that the certificate of authz must hold, where it differs from the host in `url`."""
    timeout: Seconds = 10.0
    """How long one request to authz may take."""
    wait: Annotated[int, Field(ge=1, le=60)] = 30
    """Seconds of a long poll."""


class TokenSettings(Settings):
    """Which tokens count here."""

    issuer: HttpsUrl
    """`iss` of tokens that count."""
    audience: HttpsUrl
    """`aud` of tokens that count: the address of this agent in the address book, character by character."""
    scopes: tuple[str, ...] = Field(min_length=1)
    """A token must hold at least one of these: the scopes of this service."""
    algorithms: tuple[Literal["ES256", "ES384", "PS256", "RS256"], ...] = ("ES256",)
    """Signature algorithms of tokens that count."""
    skew: Annotated[float, Field(ge=0, le=60)] = 10.0
    """Seconds by which clocks may differ (spec/enforcement.md, check 3)."""


class RegisterSettings(Settings):
    """The register behind this agent."""

    host: str
    """Name or IP address of the register."""
    port: Port
    """Its port."""
    server_name: str
    """Name in the register's certificate."""
    path: str = "/graphql"
    """Its GraphQL path."""
    anchors: tuple[ExistingFile, ...] = Field(min_length=1)
    """Root certificates (PEM) for the register's certificate."""
    timeout: Seconds = 15.0
    """How long the register may take to answer."""
    service: Annotated[str, StringConstraints(min_length=1)]
    """As in the `@authz` directives and the policies, for example `wlzindicatieregister`."""
    owner: str | None = None
    """Subject identifier of the bronhouder, for example `uzovi:5001`, for policies that give it its own register."""
    purpose_of_use: Literal["WLZ_UITVOERING", "TOEZICHT", "ONDERZOEK", "ADMINISTRATIE"] = "WLZ_UITVOERING"
    """What the policies are told that data is used for."""
    schema_file: ExistingFile
    """The GraphQL schema, SDL."""
    overlay: dict[str, dict[str, str]] = Field(default_factory=dict)
    """`@authz` arguments by field coordinate, for a schema that does not carry the directives itself."""
    public_fields: tuple[str, ...] = ()
    """Field coordinates (`WlzIndicatie.*`) without a decision of their own."""
    record_fields: tuple[str, ...] = ("wlzindicatieID",)
    """Filter fields that name a record (a UUID): they stand in the audit record and bind a grant to its record."""


class LimitSettings(Settings):
    """Caps of the data plane; those of GraphQL itself are `[graphql]`."""

    max_body_bytes: Annotated[int, Field(ge=1024, le=1024 * 1024)] = 64 * 1024
    """Length of a request body; longer ones get 413."""
    decision_timeout: Seconds = 3.0
    """How long Envoy waits for the decision service, which then counts as a refusal."""
    envoy_threads: Annotated[int, Field(ge=1, le=64)] = 2
    """Worker threads of Envoy."""
    max_verified_tokens: Annotated[int, Field(ge=1)] = 10_000
    """Tokens that are remembered as verified."""
    max_parsed_certificates: Annotated[int, Field(ge=1)] = 1_000
    """Client certificates that are remembered as parsed."""


class GraphQLSettings(Settings):
    """Caps on a query; see `trust_agent.graphql.Limits` for what each means."""

    document_bytes: Annotated[int, Field(ge=1)] = 12 * 1024
    """Length of the document's text, without the variables."""
    tokens: Annotated[int, Field(ge=1)] = 600
    """Lexical tokens of the document."""
    depth: Annotated[int, Field(ge=1)] = 20
    """Nesting of selections; a fragment counts as a level."""
    fields: Annotated[int, Field(ge=1)] = 200
    """Selected fields, after fragments are expanded."""
    aliases: Annotated[int, Field(ge=0)] = 20
    """Fields that are given another name."""
    fragments: Annotated[int, Field(ge=0)] = 20
    """Named fragments."""
    evaluations: Annotated[int, Field(ge=1)] = 100
    """Occurrences of protected fields, after fragments are expanded."""
    page_size: Annotated[int, Field(ge=1)] = 100
    """Largest value of a paging argument."""
    typename: bool = True
    """Whether `__typename` may be selected."""
    new_documents: Annotated[int, Field(ge=1)] = 20
    """Documents from one deelnemer at once that the agent does not remember, each of which takes it milliseconds; more
    are refused with 429. What was permitted is remembered: who sends values as variables never gets there."""
    new_documents_per_second: Annotated[float, Field(gt=0)] = 2.0
    """Such documents a second from one deelnemer, after those."""


class FreshnessSettings(Settings):
    """How old each material may be, in seconds, before its reason refuses every request."""

    keys: Seconds = 24 * 3600.0
    """Of the key set of authz."""
    revocations: Seconds = 3600.0
    """Of the revocation list of authz."""
    bundle: Seconds = 24 * 3600.0
    """Of the policy bundle."""
    crl: Annotated[float, Field(gt=0, le=MAX_CRL_AGE.total_seconds())] = MAX_CRL_AGE.total_seconds()
    """The field's rule: one hour."""
    authority_crl: Seconds = MAX_AUTHORITY_CRL_AGE.total_seconds()
    """Of the offline root; its own `nextUpdate` counts as well."""


class JournalSettings(Settings):
    """The durable local record of decisions, and its shipping."""

    folder: SettingsPath | None = None
    """Default: `journal` in the state folder."""
    segment_bytes: Annotated[int, Field(ge=64 * 1024)] = 16 * 1024 * 1024
    """Size of one file of the journal."""
    max_bytes: Annotated[int, Field(ge=1024 * 1024)] = 4 * 1024 * 1024 * 1024
    """Unshipped records; when full, every request is refused."""
    batch: Annotated[int, Field(ge=1, le=500)] = 500
    """Records in one shipment at most."""
    linger: Annotated[float, Field(ge=0, le=10)] = 0.5
    """Seconds that a record may wait for company before it is shipped."""
    strangers_per_minute: Annotated[int, Field(ge=1, le=100_000)] = 60
    """Refusals a minute that get a record each of those who showed no valid certificate, at most a sixth of them from
    one address; the others are counted, with one record a minute for each reason."""


class AgentSettings(Settings):
    """Everything."""

    name: Name
    """Name of this agent, unique in the network: its audit source is `sluis/trust-agent/<name>`."""
    state_dir: SettingsPath
    """Trust material and journal; on a disk that keeps what it is given."""
    run_dir: SettingsPath | None = None
    """Sockets and rendered configuration; keep the path short. Leave out for a temporary folder."""
    listen: ListenSettings
    health: HealthSettings
    certificate: OwnCertificateSettings
    clients: ClientSettings
    authz: AuthzSettings
    token: TokenSettings
    register_: RegisterSettings = Field(alias="register")
    limits: LimitSettings = LimitSettings()
    graphql: GraphQLSettings = GraphQLSettings()
    freshness: FreshnessSettings = FreshnessSettings()
    journal: JournalSettings = JournalSettings()

    @model_validator(mode="after")
    def _no_contradictions(self) -> Self:
        if self.listen.port == self.health.port and self.listen.address == self.health.address:
            raise ValueError("listen and health have the same address and port; expected two different ones")
        if self.journal.max_bytes < 2 * self.journal.segment_bytes:
            raise ValueError("journal.max_bytes is less than two segments; expected room for at least two")
        return self

    @property
    def journal_dir(self) -> Path:
        """Where the journal is."""
        return self.journal.folder or self.state_dir / "journal"

    @property
    def sender(self) -> str:
        """How the agent names itself in answers and audit records."""
        return f"sluis/trust-agent/{self.name}"
