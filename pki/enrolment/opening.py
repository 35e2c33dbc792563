"""The desk of operators, opened without a key of the authority.

Decision 0108: an operator has a key of his own and needs no other. What he does at the desk (codes) takes the register
and the certificates of the CAs; a certificate is rehearsed without being signed. So operators may be other users of the
machine than the one who can read the key of the CA and its passphrase or PIN.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from authz.domain.clock import Clock, SystemClock
from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.app import environment_of, load_cas, load_retired, warrants_of
from pki.enrolment.onboarding import DomainGate
from pki.enrolment.requests import CertificateRequest
from pki.enrolment.warrants import Warrants
from pki.issuing import Holder, IssuingCa
from pki.settings import PkiSettings
from pki.store.database import Database
from pki.store.migrate import migrate


@dataclass(frozen=True, slots=True)
class OpenDesk:
    """What `CodeDesk` needs of an authority to make, approve, list and withdraw codes."""

    settings: PkiSettings
    database: Database
    cas: tuple[IssuingCa, ...]
    clock: Clock
    domains: DomainGate
    warrants: Warrants

    def environment(self, given: str | None) -> str:
        """See `environment_of`."""
        return environment_of(self.settings, given)

    def rehearse(self, environment: str, holder: Holder, request: CertificateRequest) -> None:
        """Make ready what would be signed, and forget it.

        Raises:
            Refused: PARAMETER_MALFORMED, REQUEST_MALFORMED, LINT_FAILED.
        """
        name = self.settings.active_issuers().get(environment)
        ca = next((ca for ca in self.cas if ca.name == name), None)
        if ca is None:
            raise Refused(Reason.PARAMETER_MALFORMED, "This authority does not issue for that environment.")
        life = timedelta(days=self.settings.issuing.lifetime_days)
        ca.forget(ca.prepare(holder, request, self.clock.now(), life))


@asynccontextmanager
async def open_desk(settings: PkiSettings, clock: Clock | None = None) -> AsyncIterator[OpenDesk]:
    """Open the database and bring it to this version; no key is loaded and no token opened.

    Raises:
        CertificateFileError: a CA certificate cannot be read.
        AuthorityError: two CAs have one name.
        StoreUnavailable: the database cannot be used.
    """
    clock = clock or SystemClock()
    cas = load_cas(settings, with_keys=False)
    warrants = warrants_of(settings, cas, load_retired(settings))
    database = Database(settings.database.address)
    try:
        await migrate(database)
        yield OpenDesk(settings, database, cas, clock, DomainGate(settings, clock), warrants)
    finally:
        await database.close()
