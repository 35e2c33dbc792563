"""From what Envoy handed over to an authenticated deelnemer, in numbered steps.

Specification: shared `spec/authorization.md` rules 1 and 2; RFC 8705 section 2.1; `cases/oauth.md` 17-32. Envoy's
verdict and our own validation must both be positive.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from authz.domain.errors import Refused
from authz.domain.identifiers import Identifier
from authz.domain.reasons import Reason
from authz.edge.client_certificate import PresentedCertificate
from authz.participants.model import Credential, Environment, Participant, ParticipantStatus
from authz.participants.registry import ParticipantRegistry


class Certificate(Protocol):
    """What is read of a validated certificate (`pki.validation.validator.ValidatedCertificate`)."""

    @property
    def thumbprint(self) -> str:
        """Base64url SHA-256, as in `cnf.x5t#S256`."""
        ...

    @property
    def twin(self) -> str:
        """Thumbprint of the other spelling of the same certificate; the same where there is none."""
        ...

    @property
    def identity(self) -> Identifier:
        """The identity that the issuing CA asserts."""
        ...

    @property
    def environment(self) -> str:
        """PRD, TST or ACC."""
        ...

    @property
    def issuer_key(self) -> str:
        """Hex SHA-256 of the issuing CA's SubjectPublicKeyInfo."""
        ...


class CertificateValidator(Protocol):
    """`pki.validation.validator.CertificateValidator`, as this package needs it."""

    def validate(self, leaf_der: bytes, chain_der: Sequence[bytes], at: datetime) -> Certificate:
        """Path, usage, identity and revocation at one moment.

        Raises:
            Refused: with a reason of its own for each way to fail.
        """
        ...


@dataclass(frozen=True, slots=True)
class Connection:
    """What the edge says about a connection.

    Attributes:
        certificate: what the client presented.
        verified_by_edge: Envoy verified it against its CA bundle and CRLs.
        address: the peer's own address, never a forwarded one; None when the edge did not say.
    """

    certificate: PresentedCertificate
    verified_by_edge: bool
    address: str | None = None


@dataclass(frozen=True, slots=True)
class AuthenticatedClient:
    """A deelnemer that proved itself on this connection.

    Attributes:
        participant: the deelnemer.
        thumbprint: `x5t#S256` of the certificate it used.
        address: where it called from.
        twin: thumbprint of the other spelling of that certificate: a block on it counts as well.
    """

    participant: Participant
    thumbprint: str
    address: str | None
    twin: str = ""


class ClientRefused(Refused):
    """A deelnemer that proved itself, and may not come in all the same.

    Args:
        reason: as for `Refused`.
        detail: as for `Refused`.
        client: who it is; for the record.
    """

    def __init__(self, reason: Reason, detail: str, client: AuthenticatedClient) -> None:
        super().__init__(reason, detail)
        self.client = client


class ClientAuthenticator:
    """Authenticates by certificate.

    Args:
        validator: our own validation.
        registry: the deelnemers.
        environment: the environment that this server serves.
    """

    def __init__(
        self, validator: CertificateValidator, registry: ParticipantRegistry, environment: Environment
    ) -> None:
        self._validator = validator
        self._registry = registry
        self._environment = environment

    def authenticate(self, connection: Connection, at: datetime) -> AuthenticatedClient:
        """Who is on the other side of this connection.

        Does not check what that deelnemer may ask for, nor revocations by thumbprint (they are `authz.tokens`' and the
        token endpoint compares them).

        Raises:
            Refused: CERTIFICATE_*, CRL_*, CREDENTIAL_UNKNOWN, CREDENTIAL_BLOCKED or ADDRESS_NOT_ALLOWED.
        """
        certificate = self._validated(connection, at)
        participant, credential = self._known(certificate)
        client = AuthenticatedClient(participant, certificate.thumbprint, connection.address, certificate.twin)
        self._permitted(client, credential)
        return client

    def _validated(self, connection: Connection, at: datetime) -> Certificate:
        # Our own validation comes first because its reasons are precise; Envoy's verdict is only yes or no.
        presented = connection.certificate
        certificate = self._validator.validate(presented.leaf_der, presented.chain_der, at)
        if not connection.verified_by_edge:
            raise Refused(Reason.CERTIFICATE_UNVERIFIED_BY_EDGE, "the certificate was not accepted on this connection")
        if certificate.thumbprint != presented.thumbprint:
            raise Refused(Reason.CERTIFICATE_MALFORMED, "the client certificate could not be read")
        if certificate.environment != self._environment:
            raise Refused(Reason.CERTIFICATE_ENVIRONMENT, "the certificate belongs to another environment")
        return certificate

    def _known(self, certificate: Certificate) -> tuple[Participant, Credential]:
        found = self._registry.by_credential(certificate.issuer_key, certificate.identity)
        if found is None:
            raise Refused(Reason.CREDENTIAL_UNKNOWN, "the certificate belongs to no deelnemer of this network")
        return found

    def _permitted(self, client: AuthenticatedClient, credential: Credential) -> None:
        if credential.blocked or client.participant.status is not ParticipantStatus.ACTIVE:
            said = "this credential is blocked; contact stelselbeheer"
            raise ClientRefused(Reason.CREDENTIAL_BLOCKED, said, client)
        if not credential.allows(client.address):
            said = "this credential may not be used from this address"
            raise ClientRefused(Reason.ADDRESS_NOT_ALLOWED, said, client)
