"""Settings of notices, metrics and the checks of participants' domains; part of `pki.toml`, all of it optional."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from authz.edge.settings import ExistingFile, Port, Settings, SettingsPath
from pki.dnssec.choosing import is_loopback, parse_address

WebhookUrl = Annotated[str, StringConstraints(pattern=r"^https://[a-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9._~/-]*)?$")]
"""No user name, no query: neither a secret nor anything variable has a place in it."""


def _address(text: str) -> str:
    parse_address(text)
    return text


ResolverAddress = Annotated[str, AfterValidator(_address)]


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


class DomainSettings(Settings):
    """How the domains of participants are checked: before a code or first certificate, and on a schedule.

    Without resolvers nothing is looked at on a schedule, and no name gets a first certificate.
    """

    mode: Literal["validate", "resolver-ad"] = "validate"
    """`validate`: every signature, by ourselves. `resolver-ad`: the word of a validating resolver on the loopback."""
    resolvers: Annotated[tuple[ResolverAddress, ...], Field(max_length=8)] = ()
    """`<IP address>:<port>` of resolvers that pass DNSSEC records on."""
    anchors: ExistingFile | None = None
    """DS or DNSKEY records, one a line; leave out for the public root."""
    anchor_state: SettingsPath = Field(default=Path("root-anchors.json"), validate_default=True)
    """Kept up to date with the keys of the public root (RFC 5011); not used with `anchors`."""
    check_seconds: Annotated[int, Field(ge=60, le=7 * 24 * 3600)] = 3600
    """How often each domain is checked."""

    @model_validator(mode="after")
    def _on_the_loopback(self) -> Self:
        if self.mode == "resolver-ad" and not all(is_loopback(text) for text in self.resolvers):
            raise ValueError("mode resolver-ad believes the resolver: expected resolvers on the loopback only")
        return self


class MetricsSettings(Settings):
    """Where metrics are read: plain HTTP, to be kept on the loopback or a closed network."""

    address: str = "127.0.0.1"
    """IP address to listen on."""
    port: Port
    """Port to listen on."""
