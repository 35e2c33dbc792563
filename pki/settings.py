"""Settings of the certificate authority: one TOML file, declared here and nowhere else.

`pki ceremony` writes a file of this form that works as it is. Relative paths start at the folder of the file; secrets
(keys, passphrases) are files of their own.
"""

from math import ceil
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, model_validator

from authz.edge.settings import ExistingFile, Port, Settings, SettingsPath
from pki.ca_settings import IssuingCaSettings, RetiredIssuerSettings, RootSettings, Slug, choose_active
from pki.enrolment.operators.settings import OperatorSettings, require_distinct
from pki.notices.settings import DomainSettings, MetricsSettings, NoticesSettings

PlainUrl = Annotated[str, StringConstraints(pattern=r"^http://[a-z0-9.:\[\]-]+(/[a-z0-9/_-]*[a-z0-9])?$")]
SecureUrl = Annotated[str, StringConstraints(pattern=r"^https://[a-z0-9.-]+(:[0-9]+)?$")]


class DatabaseSettings(Settings):
    """Where the register is: a SQLite file, or a URL `postgresql+asyncpg://...`."""

    file: SettingsPath | None = None
    """SQLite file, made when it is not there."""
    url: Annotated[str, StringConstraints(pattern=r"^postgresql\+asyncpg://")] | None = None
    """PostgreSQL, instead of `file`."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.file is None) == (self.url is None):
            raise ValueError("expected either file (SQLite) or url (postgresql+asyncpg://...)")
        if self.url is not None:
            _check_database_url(self.url)
        return self

    @property
    def address(self) -> str:
        """As SQLAlchemy wants it."""
        return self.url or f"sqlite+aiosqlite:///{self.file}"


def _check_database_url(url: str) -> None:
    """See now what would otherwise be a riddle when the database is opened; nothing of it is repeated."""
    from sqlalchemy.engine import make_url  # noqa: PLC0415  an agent reads settings without it
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415

    try:
        parts, host = make_url(url), urlsplit(url).hostname
    except (ArgumentError, ValueError):
        parts, host = None, None
    if parts is None or not parts.database or (parts.host or None) != host or (parts.port or 1) not in range(65_536):
        raise ValueError("url: expected postgresql+asyncpg://<user>:<password>@<host>:<port>/<database>")


class PublicationSettings(Settings):
    """The plain HTTP listener for CRLs and CA certificates.

    `base_url` stands in every certificate, so it is as permanent as the CA; the listener may be elsewhere.
    """

    base_url: PlainUrl
    """Public address of this listener, as certificates and CRLs name it."""
    ocsp: bool = False
    """Certificates name the OCSP responder, at `<base_url>/ocsp/<issuer>`."""
    address: str = "127.0.0.1"
    """IP address to listen on."""
    port: Port
    """Port to listen on."""


class TlsSettings(Settings):
    """The TLS listener; a client certificate is asked for and may be absent."""

    address: str = "127.0.0.1"
    """IP address to listen on."""
    port: Port
    """Port to listen on."""
    certificate: ExistingFile
    """This server's own certificate (PEM): leaf first, then the issuing CA."""
    key: ExistingFile
    """Its private key: PEM, for the owner of the process only."""


class IssuingSettings(Settings):
    """Limits of issuing."""

    lifetime_days: Annotated[int, Field(ge=1, le=397)] = 397
    """Life of a certificate."""
    overlap_days: Annotated[int, Field(ge=0, le=30)] = 7
    """How long the old certificate works after a renewal."""
    local_names: tuple[str, ...] = ()
    """DNS names of one label that may be certified; a lab may need `localhost`, production nothing."""
    active: tuple[Slug, ...] = ()
    """Names of the issuing CAs that issue, one for each environment; needed only where there are several."""
    uzi_authority: Annotated[str, StringConstraints(pattern=r"^[0-2](\.(0|[1-9][0-9]{0,9})){2,15}$")] | None = None
    """OID of this CA, to repeat AGB-codes in UZI layout for readers that know only that; nothing when left out."""
    renewal_after_hours: Annotated[int, Field(ge=0, le=30 * 24)] = 24
    """Age of a certificate, or half its life if less, before its holder may renew it; an operator always may."""
    renewals_per_day: Annotated[int, Field(ge=1, le=100)] = 3
    """Renewals that the holder of an identity may begin within a day."""
    renewals_per_month: Annotated[int, Field(ge=1, le=1000)] = 10
    """The same within thirty days; each ends in an entry of the CRL."""

    @model_validator(mode="after")
    def _renewals_suffice(self) -> Self:
        # Holders renew when a third of the life is left, less a jitter of a thirtieth (pki.renewal).
        often = 1 / (self.lifetime_days * (1 - 1 / 3 - 1 / 30))
        for name, given, days in (
            ("renewals_per_day", self.renewals_per_day, 1),
            ("renewals_per_month", self.renewals_per_month, 30),
        ):
            if given < often * days:
                raise ValueError(f"{name}: expected at least {ceil(often * days)} for such a lifetime_days")
        return self


class EnrolmentSettings(Settings):
    """One-time codes and EST."""

    two_person: bool = False
    """Two operators, each with a key in `[[operators]]`, vouch for each code, and nothing is issued without one; in
    production (PRD) always."""
    code_days: Annotated[int, Field(ge=1, le=30)] = 7
    """How long a code works."""
    attempts_per_minute: Annotated[int, Field(ge=1, le=600)] = 10
    """Failed attempts from one address; further ones wait."""


class CrlSettings(Settings):
    """How often CRLs are made; relying parties allow an age of an hour."""

    life_minutes: Annotated[int, Field(ge=10, le=24 * 60)] = 120
    """From `thisUpdate` to `nextUpdate`."""
    refresh_minutes: Annotated[int, Field(ge=1, le=30)] = 30
    """How often a CRL is made when nothing was revoked."""

    @model_validator(mode="after")
    def _before_it_ends(self) -> Self:
        if self.refresh_minutes * 2 > self.life_minutes:
            raise ValueError("expected a life of at least twice refresh_minutes, or one missed refresh stops everybody")
        return self


class AuditSettings(Settings):
    """Where audit records go; without `url` they stay in the outbox."""

    source: str = "sluis/pki"
    """How this authority names itself in records; the scheme of `authz` lists it under `log_sources`."""
    url: SecureUrl | None = None
    """Address of `authz`."""
    server_name: str | None = None
    """The name in the server's certificate, when the URL holds an address."""
    ca: ExistingFile | None = None
    """Root certificates (PEM) for the server of `url`."""
    certificate: ExistingFile | None = None
    """This authority's own certificate towards `authz` (PEM): leaf first, then the issuing CA."""
    key: ExistingFile | None = None
    """Its private key."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.url is not None and None in {self.ca, self.certificate, self.key}:
            raise ValueError("with url, expected also ca, certificate and key: records are sent over mutual TLS")
        return self


class PkiSettings(Settings):
    """Everything that `pki` is told."""

    root: RootSettings
    other_roots: Annotated[tuple[RootSettings, ...], Field(max_length=8)] = ()
    """Roots before or after it, whose certificates and CRLs are still, or already, published."""
    issuers: Annotated[tuple[IssuingCaSettings, ...], Field(min_length=1, max_length=16)]
    """The issuing CAs: each with its key in a file, in a token, or gone."""
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
    operators: Annotated[tuple[OperatorSettings, ...], Field(max_length=64)] = ()
    """Who vouches for parties; two at least where two persons are needed."""
    run_dir: SettingsPath | None = None
    """Folder for sockets; a temporary one when left out."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [item.name for item in (*self.roots(), *self.issuers)]
        if len(set(names)) != len(names):
            raise ValueError("roots and issuers: expected a different name for each")
        return self

    @model_validator(mode="after")
    def _one_issues(self) -> Self:
        self.active_issuers()
        return self

    @model_validator(mode="after")
    def _operators_differ(self) -> Self:
        require_distinct(self.operators)
        return self

    def needs_two(self, environment: str) -> bool:
        """Whether two operators vouch for what is certified in an environment."""
        return self.enrolment.two_person or environment == "PRD"

    def roots(self) -> tuple[RootSettings, ...]:
        """All roots, the main one first."""
        return (self.root, *self.other_roots)

    def active_issuers(self) -> dict[str, str]:
        """Environment -> name of the issuing CA that issues in it."""
        return choose_active(self.issuers, self.issuing.active)

    def retired_issuers(self) -> tuple[RetiredIssuerSettings, ...]:
        """Those whose key is gone."""
        return tuple(issuer for issuer in self.issuers if isinstance(issuer, RetiredIssuerSettings))

    def environments(self) -> tuple[str, ...]:
        """The environments that are issued for."""
        return tuple(self.active_issuers())
