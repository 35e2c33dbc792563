"""Address book records in the shape of Zorg-AB's `ElectronicService`, and what a store of them must offer.

Specification: shared `domain.md`, "Address book"; `spec/authorization.md`, rule 3; `cases/oauth.md` 49. A record that
exists here is well-formed; whether its domain is DNSSEC-secure at this moment is `authz.directory.standing`'s work.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol
from urllib.parse import urlsplit

from authz.domain.audit import AuditRecord
from authz.domain.errors import InvalidValue
from authz.domain.identifiers import Identifier
from authz.participants.model import Environment

MAX_URL_LENGTH = 512
"""Characters; an audience is copied into every token, which stays under 1.5 kB."""

_HOST = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9-]{1,63}(?<!-))+")
_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")
_ORGANISATION = re.compile(r"CIZ|CAK|[0-9]{8}|[0-9]{4}")
_REGISTER = re.compile(r"[a-z0-9]{1,64}")


class Function(StrEnum):
    """What a service does: the middle part of `gegevensdienstId`."""

    REGISTER = "REGISTER"
    NOTIFICATIE = "NOTIFICATIE"
    MELDING = "MELDING"


class SystemRole(StrEnum):
    """`systeemrolcode`."""

    REGISTER = "REGISTER"
    MELDING = "MELDING"
    NOTIFICATIE_INDICATIE = "NOTIFICATIE_INDICATIE"
    NOTIFICATIE_BEMIDDELING = "NOTIFICATIE_BEMIDDELING"


def parse_endpoint(url: str) -> str:
    """Check the text of an endpoint and return its host.

    An endpoint has exactly one spelling, so that comparing texts compares endpoints: https, a lower-case DNS name,
    a port only if it is not 443, a plain path without trailing slash, dot segments or percent-encoding, and nothing
    behind it.

    Raises:
        InvalidValue: any other spelling (cases/oauth.md 49).
    """
    if len(url) > MAX_URL_LENGTH or not url.isascii() or not url.startswith("https://"):
        raise InvalidValue("an endpoint is an absolute https URL of at most 512 ASCII characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidValue("an endpoint is an absolute https URL") from error
    host = parts.hostname or ""
    if not _HOST.fullmatch(host) or len(host) > 253:  # noqa: PLR2004  RFC 1035 section 2.3.4, as text
        raise InvalidValue("the host of an endpoint is a lower-case DNS name")
    authority = host if port is None else f"{host}:{port}"
    if port in {0, 443} or not _PATH.fullmatch(parts.path) or {".", ".."} & set(parts.path.split("/")):
        raise InvalidValue("an endpoint has a plain path without trailing slash, and a port only if it is not 443")
    # Rebuilding and comparing refuses user information, upper case, an empty port, query and fragment at once.
    if f"https://{authority}{parts.path}" != url:
        raise InvalidValue("an endpoint has no user information, query or fragment, and a lower-case host")
    return host


@dataclass(frozen=True, slots=True)
class Service:
    """One service of one deelnemer.

    Attributes:
        organisation: `CIZ`, `CAK`, an AGB or a UZOVI: the first part of `gegevensdienstId`.
        function: the middle part.
        environment: the last part.
        system_role: `systeemrolcode`.
        holder: the deelnemer whose service it is.
        authorization_endpoint: `authorizationEndpointuri`, the trust agent (PEP). This is the audience of a token.
        token_endpoint: `tokenEndpointuri`, the authorization server.
        resource_endpoint: `resourceEndpointuri`, the resource behind the trust agent.
        register: short name of the register in scopes and policies, for example `wlzindicatieregister`; empty when
            the function is not REGISTER.
    """

    organisation: str
    function: Function
    environment: Environment
    system_role: SystemRole
    holder: Identifier
    authorization_endpoint: str
    token_endpoint: str
    resource_endpoint: str
    register: str = ""

    def __post_init__(self) -> None:
        if not _ORGANISATION.fullmatch(self.organisation):
            raise InvalidValue("the organisation of a service is CIZ, CAK, an AGB-code or a UZOVI-code")
        for url in (self.authorization_endpoint, self.token_endpoint, self.resource_endpoint):
            parse_endpoint(url)
        if bool(self.register) != (self.function is Function.REGISTER):
            raise InvalidValue("a register has its short name, another service has none")
        if self.register and not _REGISTER.fullmatch(self.register):
            raise InvalidValue("the short name of a register is lower-case letters and digits")

    @property
    def gegevensdienst_id(self) -> str:
        """`<organisation>_<function>_<environment>`; with `system_role` it identifies the record."""
        return f"{self.organisation}_{self.function}_{self.environment}"

    @property
    def audience(self) -> str:
        """What a token for this service carries as `aud`."""
        return self.authorization_endpoint

    @property
    def host(self) -> str:
        """The DNS name whose standing decides whether the service is listed."""
        return parse_endpoint(self.authorization_endpoint)

    @property
    def port(self) -> int:
        """The TCP port of the trust agent."""
        return urlsplit(self.authorization_endpoint).port or 443


class DirectoryRepository(Protocol):
    """Keeps the address book. A change and its audit records are one transaction."""

    async def version(self) -> int:
        """A number that grows with every change, whichever process made it. Cheap: it is asked every second."""
        ...

    async def load(self) -> tuple[int, tuple[Service, ...]]:
        """Every service, and the version they belong to, in one consistent reading."""
        ...

    async def save(self, services: Sequence[Service], records: Sequence[AuditRecord]) -> int:
        """Insert, or replace whole (by gegevensdienst_id and system_role), with the records in one transaction.

        Returns:
            The new version.

        Raises:
            InvalidValue: the holder is not a deelnemer of that environment.
        """
        ...
