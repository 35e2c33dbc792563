"""Settings of the certificate authority: one TOML file, declared here and nowhere else.

`pki ceremony` writes a file of this form that works as it is. Relative paths start at the folder of the file; secrets
(keys, passphrases) are files of their own.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from authz.edge.settings import ExistingFile, Port, Settings, SettingsPath
from pki.notices.settings import DomainSettings, MetricsSettings, NoticesSettings

PlainUrl = Annotated[str, StringConstraints(pattern=r"^http://[a-z0-9.:\[\]-]+(/[a-z0-9/_-]*[a-z0-9])?$")]
SecureUrl = Annotated[str, StringConstraints(pattern=r"^https://[a-z0-9.-]+(:[0-9]+)?$")]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]


class RootSettings(Settings):
    """The offline root: its key is not here, only what must be published."""

    name: Slug = "root"
    certificate: ExistingFile
    crl: ExistingFile


class IssuerSettings(Settings):
    """One issuing CA; the first of an environment issues, further ones publish CRLs only (rollover)."""

    name: Slug
    environment: Literal["PRD", "TST", "ACC"]
    certificate: ExistingFile
    key: ExistingFile
    passphrase_file: ExistingFile


class DatabaseSettings(Settings):
    """Where the register is: a SQLite file, or a URL `postgresql+asyncpg://...`."""

    file: SettingsPath | None = None
    url: Annotated[str, StringConstraints(pattern=r"^postgresql\+asyncpg://")] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.file is None) == (self.url is None):
            raise ValueError("expected either file (SQLite) or url (postgresql+asyncpg://...)")
        return self

    @property
    def address(self) -> str:
        """As SQLAlchemy wants it."""
        return self.url or f"sqlite+aiosqlite:///{self.file}"


class PublicationSettings(Settings):
    """The plain HTTP listener for CRLs and CA certificates.

    `base_url` stands in every certificate, so it is as permanent as the CA; the listener may be elsewhere.
    """

    base_url: PlainUrl
    address: str = "127.0.0.1"
    port: Port


class TlsSettings(Settings):
    """The TLS listener; a client certificate is asked for and may be absent."""

    address: str = "127.0.0.1"
    port: Port
    certificate: ExistingFile
    key: ExistingFile


class IssuingSettings(Settings):
    """Limits of issuing."""

    lifetime_days: Annotated[int, Field(ge=1, le=397)] = 397
    overlap_days: Annotated[int, Field(ge=0, le=30)] = 7
    local_names: tuple[str, ...] = ()
    """DNS names of one label that may be certified; a lab may need `localhost`, production nothing."""


class EnrolmentSettings(Settings):
    """One-time codes and EST."""

    two_person: bool = False
    """A second operator approves each code; in production (PRD) always."""
    code_days: Annotated[int, Field(ge=1, le=30)] = 7
    """How long a code works."""
    attempts_per_minute: Annotated[int, Field(ge=1, le=600)] = 10
    """Failed attempts from one address; further ones wait."""


class CrlSettings(Settings):
    """How often CRLs are made; relying parties allow an age of an hour."""

    life_minutes: Annotated[int, Field(ge=10, le=24 * 60)] = 120
    refresh_minutes: Annotated[int, Field(ge=1, le=30)] = 30

    @model_validator(mode="after")
    def _before_it_ends(self) -> Self:
        if self.refresh_minutes * 2 > self.life_minutes:
            raise ValueError("expected a life of at least twice refresh_minutes, or one missed refresh stops everybody")
        return self


class AuditSettings(Settings):
    """Where audit records go; without `url` they stay in the outbox."""

    source: str = "sluis/pki"
    url: SecureUrl | None = None
    server_name: str | None = None
    """The name in the server's certificate, when the URL holds an address."""
    ca: ExistingFile | None = None
    certificate: ExistingFile | None = None
    key: ExistingFile | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.url is not None and None in {self.ca, self.certificate, self.key}:
            raise ValueError("with url, expected also ca, certificate and key: records are sent over mutual TLS")
        return self


class PkiSettings(Settings):
    """Everything that `pki` is told."""

    root: RootSettings
    issuers: Annotated[tuple[IssuerSettings, ...], Field(min_length=1, max_length=16)]
    database: DatabaseSettings
    publication: PublicationSettings
    tls: TlsSettings | None = None
    issuing: IssuingSettings = IssuingSettings()
    enrolment: EnrolmentSettings = EnrolmentSettings()
    crl: CrlSettings = CrlSettings()
    audit: AuditSettings = AuditSettings()
    notices: NoticesSettings = NoticesSettings()
    dnssec: DomainSettings = DomainSettings()
    metrics: MetricsSettings | None = None
    run_dir: SettingsPath | None = None
    """Folder for sockets; a temporary one when left out."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [self.root.name, *(issuer.name for issuer in self.issuers)]
        if len(set(names)) != len(names):
            raise ValueError("root and issuers: expected a different name for each")
        return self

    def environments(self) -> tuple[str, ...]:
        """The environments that are issued for."""
        return tuple(dict.fromkeys(issuer.environment for issuer in self.issuers))
