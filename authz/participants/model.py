"""Deelnemers and their credentials as frozen values, and what a store of them must offer.

Specification: shared `domain.md`, "Parties and roles"; `spec/authorization.md`, rules 1 and 2. A credential is not a
certificate: it says which identity, asserted by which issuing key, stands for this deelnemer. So a renewed certificate
needs no change here, and a certificate of another authority with the same names is not a credential.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Protocol

from authz.domain.audit import AuditRecord
from authz.domain.errors import InvalidValue
from authz.domain.identifiers import Identifier

MAX_ALLOWED_NETWORKS = 64
"""Networks on one credential's allow-list; each is compared on every request of that credential."""

_ISSUER_KEY = re.compile(r"[0-9a-f]{64}")
_CODE = re.compile(r"[A-Z][A-Z0-9_]{1,39}")
# Never authz itself: what stands in the log in its name was written by it.
_LOG_SOURCE = re.compile(r"sluis/(?!authz(?:/|$))[a-z-]{1,40}(?:/[A-Za-z0-9:._-]{1,80}){0,3}")


class Environment(StrEnum):
    """Test and production are separate networks that share software, never credentials (spec/pki.md)."""

    PRD = "PRD"
    TST = "TST"
    ACC = "ACC"


class ParticipantStatus(StrEnum):
    """Whether a deelnemer takes part at this moment."""

    ACTIVE = "active"
    SUSPENDED = "suspended"


class DaneRule(StrEnum):
    """Whether the endpoints of a deelnemer must have TLSA records that fit (spec/dnssec.md, "DANE")."""

    OPTIONAL = "optional"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class Credential:
    """An identity that one issuing key asserts, accepted for one deelnemer.

    Attributes:
        issuer_key: SHA-256 over the issuing CA's SubjectPublicKeyInfo, 64 lower-case hex digits. Never a name: two
            authorities can share one.
        identity: the identity as the certificate carries it.
        allowed_addresses: networks in CIDR form from which it may be used; empty means everywhere.
        blocked: refused whatever the certificate says.
    """

    issuer_key: str
    identity: Identifier
    allowed_addresses: tuple[str, ...] = ()
    blocked: bool = False

    def __post_init__(self) -> None:
        if not _ISSUER_KEY.fullmatch(self.issuer_key):
            raise InvalidValue("issuer_key is 64 lower-case hex digits: SHA-256 of the issuing CA's public key")
        if len(self.allowed_addresses) > MAX_ALLOWED_NETWORKS:
            raise InvalidValue(f"more than {MAX_ALLOWED_NETWORKS} allowed networks on one credential")
        for network in self.allowed_addresses:
            _network(network)

    def allows(self, address: str | None) -> bool:
        """Whether a request from this peer address may use the credential.

        Does not decide where the address comes from: it must be the connection's own, never a forwarded header.
        """
        if not self.allowed_addresses:
            return True
        if address is None:
            return False
        try:
            peer = ip_address(address)
        except ValueError:
            return False
        return any(peer in _network(network) for network in self.allowed_addresses)


@dataclass(frozen=True, slots=True)
class Participant:
    """One deelnemer in one environment.

    Attributes:
        id: the identifier it is known by on the wire (`sub`, `client_id`), unique in its environment.
        name: name of the organisation.
        organization_type: for example ZORGKANTOOR, ZORGAANBIEDER, CIZ.
        environment: network in which it takes part.
        roles: further roles, for example BRONHOUDER.
        identifiers: every identifier of the organisation, `id` included, at most one of each kind.
        credentials: what it may authenticate with; none means that it is known but cannot ask for anything.
        log_sources: sources (`bron`) of audit records that it may send, for example `sluis/trust-agent/<name>`.
        status: suspended deelnemers are refused everywhere.
        dane: with REQUIRED, its services are listed and tokens are issued for them only while DANE fits.
    """

    id: Identifier
    name: str
    organization_type: str
    environment: Environment
    roles: tuple[str, ...] = ()
    identifiers: tuple[Identifier, ...] = ()
    credentials: tuple[Credential, ...] = ()
    log_sources: tuple[str, ...] = ()
    status: ParticipantStatus = ParticipantStatus.ACTIVE
    dane: DaneRule = DaneRule.OPTIONAL

    def __post_init__(self) -> None:
        if not 0 < len(self.name) <= 200 or not self.name.isprintable():  # noqa: PLR2004  said in the message
            raise InvalidValue("the name of a deelnemer is 1 to 200 printable characters")
        for code in (self.organization_type, *self.roles):
            if not _CODE.fullmatch(code):
                raise InvalidValue("an organization type or role is a code such as ZORGKANTOOR")
        if not all(_LOG_SOURCE.fullmatch(source) for source in self.log_sources):
            raise InvalidValue(
                "a log source is sluis/<component> and names behind it, for example sluis/trust-agent/register-1"
            )
        if self.id not in self.identifiers:
            object.__setattr__(self, "identifiers", (self.id, *self.identifiers))
        kinds = [identifier.kind for identifier in self.identifiers]
        if len(kinds) != len(set(kinds)):
            raise InvalidValue("a deelnemer has at most one identifier of each kind")

    @property
    def identifiers_by_kind(self) -> dict[str, str]:
        """For example `{"uzovi": "5000"}`: the form that policies read."""
        return {identifier.kind.value: identifier.value for identifier in self.identifiers}


class ParticipantRepository(Protocol):
    """Keeps deelnemers. A change and its audit records are one transaction."""

    async def version(self) -> int:
        """A number that grows with every change, whichever process made it. Cheap: it is asked every second."""
        ...

    async def load(self) -> tuple[int, tuple[Participant, ...]]:
        """Every deelnemer with its credentials, and the version they belong to, in one consistent reading."""
        ...

    async def save(self, participants: Sequence[Participant], records: Sequence[AuditRecord]) -> int:
        """Insert, or replace whole (by environment and id), and write the audit records in the same transaction.

        Returns:
            The new version.

        Raises:
            InvalidValue: a credential (environment, issuer_key, identity) already belongs to another deelnemer.
        """
        ...


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise InvalidValue("an allowed address is a network in CIDR form, for example 192.0.2.0/24") from error
