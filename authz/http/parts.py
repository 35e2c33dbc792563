"""What the endpoints are wired to. Made once by the composition root, handed to handlers by Litestar."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from authz.audit.ingest import Ingest
from authz.audit.log import AuditLog
from authz.directory.book import AddressBook
from authz.domain.clock import Clock
from authz.edge.waiters import Waiters
from authz.grants.audience import DomainStanding, EndpointStanding
from authz.grants.service import TokenService
from authz.http.answers import Gate
from authz.http.published import Publication


class Health(Protocol):
    """Says what keeps this server from issuing tokens."""

    def problems(self) -> Sequence[str]:
        """Stable codes, empty when all is well."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that a handler may use.

    Attributes:
        issuer: `iss`, and the base of every URL in the metadata.
        service: the token endpoint's rules.
        gate: authentication and refusals of the other endpoints.
        audit: the log.
        clock: the time.
        keys: the JWKS.
        revocations: the signed feed.
        bundles: signed policy bundles by name.
        book: the address book.
        standing: DNSSEC standing of its domains.
        endpoints: what DANE says of its endpoints.
        intake: records of agents and of the certificate authority.
        health: what is wrong.
        waiters: readers that wait for a newer document.
    """

    issuer: str
    service: TokenService
    gate: Gate
    audit: AuditLog
    clock: Clock
    keys: Publication
    revocations: Publication
    bundles: Mapping[str, Publication]
    book: AddressBook
    standing: DomainStanding
    endpoints: EndpointStanding
    intake: Ingest
    health: Health
    waiters: Waiters = field(default_factory=Waiters)


def metadata(issuer: str, token_path: str) -> dict[str, Any]:
    """The authorization server's metadata (RFC 8414 section 2, RFC 8705 section 5)."""
    token_endpoint = f"{issuer}{token_path}"
    return {
        "issuer": issuer,
        "token_endpoint": token_endpoint,
        "jwks_uri": f"{issuer}/jwks",
        "response_types_supported": [],
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["tls_client_auth"],
        "tls_client_certificate_bound_access_tokens": True,
        "mtls_endpoint_aliases": {"token_endpoint": token_endpoint},
    }
