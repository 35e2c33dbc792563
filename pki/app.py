"""Composition root of the certificate authority: settings in, working parts out.

`open_authority` is the Python face of `pki`: the command line uses it once per command, and a program that issues many
certificates opens it once.

    async with open_authority(settings) as pki:
        issued = await pki.issue(holder, parse_request(csr), operator("lab"))
        chain = pki.chain_pem(issued.certificate)
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from cryptography import x509

from authz.domain.clock import Clock, SystemClock
from authz.domain.errors import Refused, SluisError
from authz.domain.identifiers import Identifier
from authz.domain.reasons import Reason
from pki.audit.records import Actor, RecordMaker
from pki.authority import Authority, Issued
from pki.ca_settings import RetiredIssuerSettings
from pki.certificate_files import read_certificate
from pki.enrolment.certified import KnownIssuer
from pki.enrolment.onboarding import DomainGate
from pki.enrolment.requests import CertificateRequest
from pki.enrolment.warrants import Warrants
from pki.issuing import Holder, IssuingCa
from pki.looking import OpenRegister
from pki.profiles import Publication
from pki.revocation.crl import RevocationReason
from pki.revocation.publishing import CrlPublisher
from pki.revocation.retirement import RetiredCa, Retirement, check_retired
from pki.revocation.withdrawal import Withdrawal, Withdrawn
from pki.selecting import read_serial
from pki.settings import PkiSettings
from pki.signing.public_half import PublicHalf
from pki.store.database import Database
from pki.store.migrate import migrate
from pki.store.register import LIVE, UNDERWAY, Register, Registered
from pki.store.tables import certificates

if TYPE_CHECKING:
    from pki.dnssec.standing import Validator

__all__ = [
    "AuthorityError", "OpenAuthority", "load_cas", "load_retired", "open_authority",
]  # fmt: skip


class AuthorityError(SluisError):
    """The authority cannot be opened with these settings."""


@dataclass(frozen=True, slots=True)
class OpenAuthority(OpenRegister):
    """The authority, ready to work."""

    settings: PkiSettings
    cas: tuple[IssuingCa, ...]
    authority: Authority
    withdrawal: Withdrawal
    clock: Clock
    retirement: Retirement
    domains: DomainGate
    warrants: Warrants
    retired: tuple[RetiredCa, ...] = ()

    async def issue(
        self, holder: Holder, request: CertificateRequest, actor: Actor, *, environment: str | None = None
    ) -> Issued:
        """Enrol a party; see `Authority.issue`. The environment may be left out when there is only one."""
        return await self.authority.issue(self.environment(environment), holder, request, actor)

    async def renew(
        self,
        identifier: Identifier,
        request: CertificateRequest,
        actor: Actor,
        *,
        environment: str | None = None,
        **options: Any,  # noqa: ANN401  passed on to Authority.renew
    ) -> Issued:
        """Renew the active certificate of a party; see `Authority.renew` for the options.

        Raises:
            Refused: CERTIFICATE_UNKNOWN, the party has no active certificate.
        """
        found = await self.find(identifier=identifier, environment=self.environment(environment), status="active")
        if not found:
            raise Refused(
                Reason.CERTIFICATE_UNKNOWN, "This identifier has no active certificate here; issue one instead."
            )
        options.setdefault("overlap", timedelta(days=self.settings.issuing.overlap_days))
        return await self.authority.renew(found[0], request, actor, **options)

    async def revoke(
        self,
        reason: RevocationReason,
        actor: Actor,
        *,
        identifier: Identifier | None = None,
        environment: str | None = None,
        serial_number: str | None = None,
    ) -> list[Registered]:
        """Revoke one certificate by serial number (hex), or everything of a party. See `Withdrawal.revoke`.

        Args:
            reason: why.
            actor: who asks.
            identifier: the party; with a serial number, whose certificate it must be.
            environment: of the party, or in which the serial number must be.
            serial_number: of the one certificate.

        Raises:
            Refused: CERTIFICATE_UNKNOWN, CERTIFICATE_NOT_ACTIVE; PARAMETER_MISSING, neither was named;
                PARAMETER_MALFORMED, what was named is no serial number, or is that of several certificates.
        """
        if serial_number is None:
            if identifier is None:
                raise Refused(Reason.PARAMETER_MISSING, "Name a serial number or an identifier.")
            return (await self.revoke_party(reason, actor, identifier, environment=environment)).certificates
        found = await self.find(
            serial_number=read_serial(serial_number), identifier=identifier, environment=environment, limit=2
        )
        if len(found) > 1:
            raise Refused(
                Reason.PARAMETER_MALFORMED,
                "Certificates of several CAs have this serial number: name its --environment or --identity as well.",
            )
        return await self.withdrawal.revoke(found, reason, actor)

    async def revoke_party(
        self, reason: RevocationReason, actor: Actor, identifier: Identifier, *, environment: str | None = None
    ) -> Withdrawn:
        """Revoke everything of a party, and withdraw its open codes. See `Withdrawal.revoke_party`.

        Raises:
            Refused: CERTIFICATE_UNKNOWN, CERTIFICATE_NOT_ACTIVE.
        """
        return await self.withdrawal.revoke_party(self.environment(environment), identifier.subject, reason, actor)

    async def is_in_use(self, request: CertificateRequest) -> bool:
        """Whether there is a certificate of this key that works, or is about to."""
        columns = certificates.c
        conditions = (columns.subject_key == request.subject_key, columns.status.in_((*LIVE, *UNDERWAY)))
        async with self.database.read() as connection:
            return bool(await Register(connection).find(*conditions, limit=1))

    def environment(self, given: str | None) -> str:
        """The environment that is meant: the only one when none is given.

        Raises:
            Refused: PARAMETER_MALFORMED.
        """
        return environment_of(self.settings, given)

    def rehearse(self, environment: str, holder: Holder, request: CertificateRequest) -> None:
        """See `Authority.rehearse`."""
        self.authority.rehearse(environment, holder, request)


def environment_of(settings: PkiSettings, given: str | None) -> str:
    """The environment that is meant: the only one of an authority when none is given.

    Raises:
        Refused: PARAMETER_MALFORMED.
    """
    known = settings.environments()
    if given is None and len(known) == 1:
        return known[0]
    if given is None or given not in known:
        raise Refused(Reason.PARAMETER_MALFORMED, f"Expected an environment out of {', '.join(known)}.")
    return given


@asynccontextmanager
async def open_authority(
    settings: PkiSettings,
    clock: Clock | None = None,
    *,
    pooled: bool = False,
    validator: "Validator | None" = None,
) -> AsyncIterator[OpenAuthority]:
    """Open the database, bring it to this version, and load the keys of the issuing CAs.

    Args:
        settings: checked settings.
        clock: the machine's when None.
        pooled: keep database connections open, as a server does.
        validator: tells how domains stand; by `[dnssec]` of the settings when None.

    Raises:
        CertificateFileError: a CA certificate cannot be read.
        AuthorityError: two CAs have one name.
        SignerError: a key or passphrase cannot be used.
        IssuingError: a key does not fit its certificate, or the register is of another ceremony.
        RetirementError: a CA has no key in the settings, but was not retired.
        StoreUnavailable: the database cannot be used.
    """
    clock = clock or SystemClock()
    cas = load_cas(settings)
    retired = load_retired(settings)
    active = tuple(settings.active_issuers().values())
    database = Database(settings.database.address, pooled=pooled)
    publisher = CrlPublisher(
        cas,
        life=timedelta(minutes=settings.crl.life_minutes),
        refresh=timedelta(minutes=settings.crl.refresh_minutes),
    )
    records = RecordMaker(settings.audit.source)
    domains = DomainGate(settings, clock, validator)
    warrants = warrants_of(settings, cas, retired)
    try:
        await migrate(database)
        await publisher.introduce(database)
        await check_retired(database, retired)
        yield OpenAuthority(
            database=database,
            authorities=(*(ca.der for ca in cas), *(ca.der for ca in retired)),
            settings=settings,
            cas=cas,
            authority=Authority(
                database=database,
                cas=[ca for ca in cas if ca.name in active],
                publisher=publisher,
                clock=clock,
                records=records,
                domains=domains,
                warrants=warrants,
                lifetime=timedelta(days=settings.issuing.lifetime_days),
            ),
            withdrawal=Withdrawal(database=database, publisher=publisher, clock=clock, records=records),
            clock=clock,
            retirement=Retirement(database=database, publisher=publisher, active=active, clock=clock, records=records),
            domains=domains,
            warrants=warrants,
            retired=retired,
        )
    finally:
        await database.close()


def warrants_of(settings: PkiSettings, cas: Sequence[IssuingCa], retired: Sequence[RetiredCa]) -> Warrants:
    """What entitles to a certificate here."""
    active = tuple(settings.active_issuers().values())
    # Those that issue first: new statements of operators name one of them.
    keys = [ca.key for ca in sorted(cas, key=lambda ca: ca.name not in active)]
    issuers = [
        *(KnownIssuer(ca.name, ca.environment, ca.certificate) for ca in cas),
        *(KnownIssuer(ca.name, ca.environment, x509.load_der_x509_certificate(ca.der)) for ca in retired),
    ]
    return Warrants(settings, [*keys, *(ca.key for ca in retired)], issuers)


def load_cas(settings: PkiSettings, *, with_keys: bool = True) -> tuple[IssuingCa, ...]:
    """The issuing CAs with their keys; those that were retired have none.

    Args:
        settings: checked settings.
        with_keys: False for CAs that make ready what would be signed, and can sign nothing.

    Raises:
        CertificateFileError: a certificate cannot be read.
        AuthorityError: two CAs have one name, so that nobody could tell their
            certificates apart by it.
        SignerError: a key or passphrase cannot be used.
        IssuingError: a key does not belong to its certificate.
    """
    cas = tuple(
        IssuingCa(
            der := read_certificate(issuer.certificate),
            issuer.open() if with_keys else PublicHalf(der),
            Publication(settings.publication.base_url, issuer.name, has_ocsp=settings.publication.ocsp),
            issuer.environment,
            local_names=settings.issuing.local_names,
            uzi_authority=settings.issuing.uzi_authority,
        )
        for issuer in settings.issuers
        if not isinstance(issuer, RetiredIssuerSettings)
    )
    subjects = [ca.certificate.subject.public_bytes() for ca in cas]
    if len(set(subjects)) != len(subjects):
        raise AuthorityError("issuers: expected CA certificates with different subjects; see --generation of ceremony")
    return cas


def load_retired(settings: PkiSettings) -> tuple[RetiredCa, ...]:
    """The issuing CAs whose key is gone.

    Raises:
        CertificateFileError: a certificate cannot be read.
    """
    return tuple(
        RetiredCa(issuer.name, issuer.environment, read_certificate(issuer.certificate))
        for issuer in settings.retired_issuers()
    )
