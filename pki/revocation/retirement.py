"""The end of an issuing CA: its last CRL, made when nothing that it issued works any more.

Specification: RFC 5280 sections 3.3 and 5; shared `spec/pki.md`, "Revocation". Afterwards its key is destroyed and its
settings say `signer = "none"`: the certificate and the last CRL stay published. Withdrawing the CA certificate itself
is the root's work (`pki ceremony-root-crl --revoke`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from authz.domain.audit import EventType
from authz.domain.clock import Clock
from authz.domain.errors import Refused, SluisError
from authz.domain.reasons import Reason
from pki.audit.records import Actor, RecordMaker
from pki.issuing import IssuingCa
from pki.keys import spki_sha256
from pki.revocation.publishing import CrlPublisher
from pki.store.database import Database
from pki.store.register import LIVE, UNDERWAY, Register, StoredCrl
from pki.store.tables import certificates


class RetirementError(SluisError):
    """Settings say that an issuing CA was retired, and the register does not."""


@dataclass(frozen=True, slots=True)
class RetiredCa:
    """An issuing CA without a key.

    Attributes:
        name: in settings, URLs and the register.
        environment: for which it issued.
        der: its certificate.
    """

    name: str
    environment: str
    der: bytes

    @property
    def key(self) -> str:
        """Hex SHA-256 of its subjectPublicKeyInfo."""
        return spki_sha256(x509.load_der_x509_certificate(self.der))

    @property
    def ends(self) -> datetime:
        """Until when its certificate is valid, which is nextUpdate of its last CRL."""
        return x509.load_der_x509_certificate(self.der).not_valid_after_utc


class Retirement:
    """Retires issuing CAs.

    Args:
        database: the register.
        publisher: makes CRLs.
        active: names of the CAs that issue.
        clock: read once per operation.
        records: makes audit records.
    """

    def __init__(
        self,
        *,
        database: Database,
        publisher: CrlPublisher,
        active: Sequence[str],
        clock: Clock,
        records: RecordMaker,
    ) -> None:
        self._database = database
        self._publisher = publisher
        self._active = frozenset(active)
        self._clock = clock
        self._records = records

    async def retire(self, ca: IssuingCa, actor: Actor) -> StoredCrl:
        """Make the last CRL of an issuing CA: it lasts until the CA certificate itself ends.

        Raises:
            Refused: ISSUER_IN_USE, it issues, or something that it issued works, is about to, or is on hold.
            SignerError: the key cannot be used.
        """
        at = self._clock.now()
        if ca.name in self._active:
            raise Refused(Reason.ISSUER_IN_USE, "This issuing CA issues; name another one in issuing.active first.")
        async with self._database.write() as connection:
            register = Register(connection)
            await register.expire(at)
            await register.leave_crl(ca.name, at)
            left = await register.find(
                certificates.c.issuer == ca.name, certificates.c.status.in_((*LIVE, *UNDERWAY)), limit=1
            )
            if left:
                raise Refused(
                    Reason.ISSUER_IN_USE,
                    "Certificates of this issuing CA still work: renew them, or let their overlap end.",
                )
            crl = await self._publisher.publish(register, ca, at, until=ca.certificate.not_valid_after_utc)
            record = self._records.make(
                EventType.KEY_ROTATE,
                actor,
                at,
                subject=ca.name,
                details={"environment": ca.environment, "crl_number": crl.number},
            )
            await register.write([record])
        return crl


async def check_retired(database: Database, retired: Sequence[RetiredCa]) -> None:
    """See that each CA whose settings have no key left a last CRL behind.

    Raises:
        RetirementError: it did not, or another CRL was made after it.
    """
    if not retired:
        return
    async with database.read() as connection:
        held = {crl.issuer: crl for crl in await Register(connection).crls()}
    for ca in retired:
        if ca.name not in held or held[ca.name].next_update < ca.ends:
            raise RetirementError(
                f'issuers: {ca.name} has signer = "none", but its last CRL is not in the register; '
                f"give it its key again and run: pki retire --issuer {ca.name}"
            )
