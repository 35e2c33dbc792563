"""Settings of notices, metrics and the checks of participants' domains; part of `pki.toml`, all of it optional."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints

from authz.edge.settings import ExistingFile, Port, Settings, SettingsPath
from pki.dnssec.settings import DnssecSettings

WebhookUrl = Annotated[str, StringConstraints(pattern=r"^https://[a-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9._~/-]*)?$")]
"""No user name, no query: neither a secret nor anything variable has a place in it."""


class WebhookSettings(Settings):
    """Where notices are posted. The only URL that is ever posted to; redirects are not followed."""

    url: WebhookUrl
    """Where notices are posted."""
    secret_file: ExistingFile
    """Key of the signature, at least 24 bytes; raw, or as `whsec_<base64>`."""
    ca: ExistingFile | None = None
    """PEM of who may vouch for the receiver; the machine's own store when left out."""


class NoticesSettings(Settings):
    """Which notices are given."""

    expiry_days: Annotated[tuple[Annotated[int, Field(ge=1, le=365)], ...], Field(max_length=12)] = (60, 30, 14, 7, 1)
    """Days before the end of a certificate on which a notice is given, each once."""
    webhook: WebhookSettings | None = None


class DomainSettings(DnssecSettings):
    """How the domains of participants are checked: before a code or first certificate, and on a schedule.

    Without resolvers nothing is looked at on a schedule, and no name gets a first certificate.
    """

    anchor_state: SettingsPath = Field(default=Path("root-anchors.json"), validate_default=True)
    """Kept up to date with the keys of the public root (RFC 5011); not used with `anchors`."""


class MetricsSettings(Settings):
    """Where metrics are read: plain HTTP, to be kept on the loopback or a closed network."""

    address: str = "127.0.0.1"
    """IP address to listen on."""
    port: Port
    """Port to listen on."""
