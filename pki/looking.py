"""The register for who only looks: no key is loaded, no token is opened, and nothing is signed.

An operator who may read the register needs neither the passphrase nor the PIN of the authority.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from cryptography import x509

from authz.domain.identifiers import Identifier
from pki.certificate_files import read_certificate
from pki.selecting import read_serial
from pki.settings import PkiSettings
from pki.signing.encoding import pem_chain
from pki.store.database import Database
from pki.store.migrate import migrate
from pki.store.register import Register, Registered
from pki.store.tables import certificates


@dataclass(frozen=True, slots=True)
class OpenRegister:
    """The register, and the certificates of its CAs, those that were retired among them.

    Attributes:
        database: the register.
        authorities: certificates of its CAs, DER.
    """

    database: Database
    authorities: tuple[bytes, ...]

    async def find(
        self,
        *,
        identifier: Identifier | None = None,
        environment: str | None = None,
        serial_number: str | None = None,
        status: str | None = None,
        limit: int = 1000,
        after: int = 0,
    ) -> list[Registered]:
        """Certificates in the register, oldest first, at most `limit` with a row id above `after`."""
        columns = certificates.c
        wanted = (
            (columns.identifier, None if identifier is None else identifier.subject),
            (columns.environment, environment),
            # Read again: an empty text must never mean "any".
            (columns.serial_number, None if serial_number is None else read_serial(serial_number)),
            (columns.status, status),
        )
        conditions = [column == value for column, value in wanted if value is not None]
        async with self.database.read() as connection:
            return await Register(connection).find(*conditions, limit=limit, after=after)

    def chain_pem(self, certificate: bytes) -> str:
        """PEM of a leaf and the CA that issued it: what a TLS server or client is configured with."""
        issuer = x509.load_der_x509_certificate(certificate).issuer
        above = [der for der in self.authorities if x509.load_der_x509_certificate(der).subject == issuer]
        return pem_chain([certificate, *above])


@asynccontextmanager
async def open_register(settings: PkiSettings) -> AsyncIterator[OpenRegister]:
    """Open the database and bring it to this version.

    Raises:
        CertificateFileError: a CA certificate cannot be read.
        StoreUnavailable: the database cannot be used.
    """
    authorities = tuple(read_certificate(issuer.certificate) for issuer in settings.issuers)
    database = Database(settings.database.address)
    try:
        await migrate(database)
        yield OpenRegister(database, authorities)
    finally:
        await database.close()
