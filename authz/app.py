"""The composition root of the authorization server: settings become running parts, and nothing else happens here.

Specification: shared `architecture.md`; style rule 13. The only module of authz, beside the command line, that knows
the database and `pki.validation.validator`; `pki.dnssec` is wired by `authz.dnssec`, `authz.dane` and
`authz.onboarding` (docs/decisions/0001).
"""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from granian.constants import Interfaces
from litestar import Litestar

from authz.audit.checkpoint import Checkpointer
from authz.audit.ingest import Ingest
from authz.audit.kept import KeptNote
from authz.audit.note_key import FileNoteSigner
from authz.audit.own import OwnRecords
from authz.directory.book import AddressBook
from authz.directory.endpoints import EndpointWatch
from authz.directory.watching import DomainWatch
from authz.dnssec import Dnssec, DomainCare, open_dnssec
from authz.domain.audit import Action, EventType
from authz.domain.clock import Clock, SystemClock
from authz.edge.background import Loop, keep_running
from authz.edge.http_client import http_client
from authz.edge.serving import serve_uds
from authz.grants.audience import DomainStanding
from authz.grants.records import SOURCE
from authz.grants.refusals import INTERVAL, RefusalRecords
from authz.grants.service import TokenService
from authz.http.answers import Gate
from authz.http.application import create_app
from authz.http.health import ServerHealth
from authz.http.parts import Parts
from authz.http.published import Document, Publication
from authz.participants.authentication import ClientAuthenticator
from authz.participants.crl_mirror import CrlMirror
from authz.participants.following import Followed, Follower
from authz.participants.registry import ParticipantRegistry
from authz.policy.bundle import VerifiedBundle, sign_bundle
from authz.policy.default import load_configured
from authz.policy.wasm import WasmEngine
from authz.settings import AuthzSettings
from authz.store.audit_log import StoredAuditLog
from authz.store.bundles import StoredBundleSerials
from authz.store.database import Database
from authz.store.directory import StoredDirectory
from authz.store.participants import StoredParticipants
from authz.store.revocations import StoredRevocations
from authz.store.signing_keys import StoredSigningKeys
from authz.tokens.certificate_feed import CertificateFeedMirror
from authz.tokens.changes import Changed
from authz.tokens.feed import FEED_TYPE, RevocationFeed
from authz.tokens.keyfiles import KeyFiles
from authz.tokens.keyring import KeyRing
from authz.tokens.keys import Signer
from pki.certificate_files import pin_of, read_certificate, read_certificates
from pki.validation.crl_health import crl_problems
from pki.validation.ocsp_answers import OcspAnswers, make_answers
from pki.validation.revocation_feed import FeedReader
from pki.validation.validator import CertificateValidator, CrlStore

BUNDLE = "default"


@dataclass(frozen=True, slots=True)
class Server:
    """A server whose parts are wired and loaded.

    Attributes:
        app: the Litestar application.
        follower: keeps snapshots up to date.
        mirror: keeps CRLs up to date.
        certificate_feeds: passes on what authorities revoked lately.
        checkpointer: signs the audit log.
        publications: what readers may be waiting for.
        care: looks after domains and anchors.
        refusals: records of refusals, some of which are counted.
        intake: takes records of others, and tells of what is odd about them.
    """

    app: Litestar
    follower: Follower
    mirror: CrlMirror
    certificate_feeds: CertificateFeedMirror
    checkpointer: Checkpointer
    publications: Sequence[Publication]
    care: DomainCare
    refusals: RefusalRecords
    intake: Ingest


@contextlib.asynccontextmanager
async def opened(
    settings: AuthzSettings, clock: Clock | None = None, dnssec: Dnssec | None = None
) -> AsyncIterator[Server]:
    """Wire and load everything, without anything running in the background yet.

    Args:
        settings: of the whole.
        clock: the machine's, unless a test brings its own.
        dnssec: DNSSEC by the settings, unless a test is not about DNS.

    Raises:
        SluisError: a key, the policy, the database or an anchor cannot be used.
    """
    clock = clock or SystemClock()
    settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = KeyFiles.open(settings.keys.folder, settings.keys.passphrase_file)
    bundle, archive = load_configured(settings.policy.bundle, settings.policy.bundle_keys, clock.now())
    clients = _clients(settings, clock)
    database = Database(settings.database_url, clock)
    async with contextlib.AsyncExitStack() as stack:
        # 1. What comes from elsewhere: CRLs and OCSP answers, as they were kept.
        http = await stack.enter_async_context(http_client())
        if clients.answers is not None:
            await stack.enter_async_context(clients.answers)
        mirror = CrlMirror(settings.clients.crl_urls, clients.crls.put, settings.crl_folder, http)
        mirror.load()
        # 2. What is stored here, seen once before anybody asks.
        await database.start()
        stack.push_async_callback(database.close)
        state = _stored_state(settings, database, files, clock)
        await state.follower.look()
        # 3. Our own records and what signs the log.
        own = OwnRecords(database, clock, SOURCE)
        checkpointer = _checkpointer(settings, database, files, own)
        # 4. Domains, tokens, and what is published.
        dnssec = dnssec or open_dnssec(settings, clock, own)
        care = _domain_care(settings, state, dnssec, own, clock)
        refusals = RefusalRecords(database, clock, settings.audit.strangers_per_minute)
        service = _token_service(
            settings,
            state,
            database=database,
            refusals=refusals,
            clients=clients,
            care=care,
            standing=dnssec.standing,
            engine=WasmEngine(bundle),
        )
        serial = await _serial(StoredBundleSerials(database), bundle, own)
        document = _document(sign_bundle(archive, _BundleSigner(files.bundle), serial=serial))
        bundles = Publication(lambda: document, Changed())
        jwks = Publication(lambda: Document(*state.keys.jwks(clock.now())), state.keys.changed)
        revoked = Publication(state.feed.current, state.feed.changed)
        # 5. Everything behind its endpoint.
        parts = Parts(
            issuer=settings.issuer,
            service=service,
            gate=Gate(service, refusals, clock),
            audit=database,
            clock=clock,
            keys=jwks,
            revocations=revoked,
            bundles={BUNDLE: bundles},
            book=state.book,
            standing=dnssec.standing,
            endpoints=care.endpoints,
            intake=Ingest(database, own),
            health=ServerHealth(
                clock=clock,
                follower=state.follower,
                keys=state.keys,
                checkpointer=checkpointer,
                log_failing=lambda: database.failing,
                crl_problems=clients.crl_problems,
            ),
        )
        feeds = CertificateFeedMirror(
            settings.clients.revocation_urls,
            FeedReader([read_certificate(issuer.certificate) for issuer in settings.clients.issuers]).read,
            state.revocations,
            http,
            clock,
        )
        await own.write(EventType.COMPONENT_START, Action.EXECUTE, ("component", "authz"))
        publications = [bundles, jwks, revoked]
        yield Server(
            create_app(parts), state.follower, mirror, feeds, checkpointer, publications, care, refusals, parts.intake
        )
        await refusals.tell()
        await parts.intake.tell(now=True)
        await own.write(EventType.COMPONENT_STOP, Action.EXECUTE, ("component", "authz"))
        # The stop is the last record, and signed like every other.
        checkpointer.stop()
        await checkpointer.run()


@dataclass(frozen=True, slots=True)
class _State:
    """What is stored, as this process sees it."""

    registry: ParticipantRegistry
    book: AddressBook
    keys: KeyRing
    revocations: StoredRevocations
    feed: RevocationFeed
    follower: Follower


def _stored_state(settings: AuthzSettings, database: Database, files: KeyFiles, clock: Clock) -> _State:
    participants, services = StoredParticipants(database), StoredDirectory(database)
    signing_keys, revocations = StoredSigningKeys(database), StoredRevocations(database, clock)
    registry = ParticipantRegistry(participants, settings.environment)
    book = AddressBook(services, settings.environment)
    keys = KeyRing(signing_keys, files, settings.tokens.overlap, {FEED_TYPE: files.feed})
    lifetime = timedelta(seconds=settings.tokens.feed_lifetime)
    feed = RevocationFeed(revocations, files.feed, settings.issuer, clock, lifetime)

    async def refresh_keys() -> None:
        await keys.refresh(clock.now())

    follower = Follower(
        [
            Followed("revocations", revocations.version, lambda: feed.version, feed.refresh),
            Followed("participants", participants.version, lambda: registry.version, registry.refresh),
            Followed("address book", services.version, lambda: book.version, book.refresh),
            Followed("signing keys", signing_keys.version, lambda: keys.version, refresh_keys),
        ],
        clock,
    )
    return _State(registry, book, keys, revocations, feed, follower)


def _checkpointer(settings: AuthzSettings, database: Database, files: KeyFiles, own: OwnRecords) -> Checkpointer:
    return Checkpointer(
        store=StoredAuditLog(database),
        own=own,
        signer=FileNoteSigner.load(settings.log_origin, files.checkpoint_path, files.passphrase),
        kept=KeptNote(settings.keys.folder),
        interval=timedelta(seconds=settings.audit.checkpoint_interval),
    )


def _domain_care(settings: AuthzSettings, state: _State, dnssec: Dnssec, own: OwnRecords, clock: Clock) -> DomainCare:
    every = float(settings.dnssec.check_seconds)
    metrics = None if settings.metrics is None else (settings.metrics.address, settings.metrics.port)
    endpoints = EndpointWatch(state.book, state.registry, dnssec.eye, own, every)
    return DomainCare(DomainWatch(state.book, dnssec.standing, own, clock, every), endpoints, dnssec.keeper, metrics)


def _token_service(
    settings: AuthzSettings,
    state: _State,
    *,
    database: Database,
    refusals: RefusalRecords,
    clients: "_Clients",
    care: DomainCare,
    standing: DomainStanding,
    engine: WasmEngine,
) -> TokenService:
    return TokenService(
        authenticator=ClientAuthenticator(clients.validator, state.registry, settings.environment),
        registry=state.registry,
        directory=state.book,
        standing=standing,
        endpoints=care.endpoints,
        engine=engine,
        signer=state.keys,
        revocations=state.feed,
        audit=database,
        refusals=refusals,
        issuer=settings.issuer,
        lifetime=settings.tokens.lifetime,
        blind=lambda: state.follower.blind,
    )


async def serve(settings: AuthzSettings, socket: Path) -> int:
    """Serve on a Unix socket until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    async with opened(settings) as server:
        checkpoints = asyncio.create_task(keep_running("checkpoints", server.checkpointer.run, stop))
        background = [
            asyncio.create_task(keep_running("stored state", server.follower.run, stop)),
            asyncio.create_task(keep_running("CRLs", server.mirror.run, stop)),
            asyncio.create_task(keep_running("certificate feeds", server.certificate_feeds.run, stop)),
            asyncio.create_task(Loop("counted refusals", server.refusals.tell, INTERVAL).run(stop)),
            asyncio.create_task(Loop("held back alerts", server.intake.tell, INTERVAL).run(stop)),
            asyncio.create_task(_wake_at(stop, server.publications)),
            *(asyncio.create_task(work) for work in server.care.work(stop)),
        ]
        try:
            await server.care.looked(stop)
            await serve_uds(server.app, socket, Interfaces.ASGI, stop=stop)
        finally:
            for task in background:
                task.cancel()
            server.checkpointer.stop()
            await asyncio.gather(*background, checkpoints, return_exceptions=True)
    return 0


async def _wake_at(stop: asyncio.Event, publications: Sequence[Publication]) -> None:
    # Readers on a long poll are answered "not modified" at once, so that a stop does not wait for them.
    await stop.wait()
    for publication in publications:
        publication.wake()


@dataclass(frozen=True, slots=True)
class _Clients:
    """How certificates of clients are validated."""

    crls: CrlStore
    answers: OcspAnswers | None
    validator: CertificateValidator
    max_ages: Mapping[str, timedelta]
    max_authority_age: timedelta

    def crl_problems(self, at: datetime) -> Iterable[str]:
        return crl_problems(self.crls, self.max_ages, at, self.max_authority_age)


def _clients(settings: AuthzSettings, clock: Clock) -> _Clients:
    chosen, environment = settings.clients, settings.environment.value
    max_age = timedelta(seconds=chosen.max_crl_age)
    max_authority_age = timedelta(seconds=chosen.max_authority_crl_age)
    anchors = [der for path in chosen.anchors for der in read_certificates(path)]
    issuers = [(issuer, read_certificate(issuer.certificate)) for issuer in chosen.issuers]
    intermediates = [der for path in chosen.intermediates for der in read_certificates(path)]
    intermediates += [der for _, der in issuers]
    pinned = [issuer.pin(pin_of(issuer.certificate), environment) for issuer in chosen.issuers]
    crls = CrlStore([*anchors, *intermediates])
    answers = make_answers(
        issuers,
        [*anchors, *intermediates],
        folder=chosen.ocsp_folder,
        own_folder=settings.state_dir / "ocsp",
        clock=clock,
        max_age=max_age,
    )
    validator = CertificateValidator(
        anchors=anchors,
        issuers=pinned,
        intermediates=intermediates,
        crls=crls,
        ocsp=answers.store if answers else None,
        saw=answers.saw if answers else None,
        environment=environment,
        max_crl_age=max_age,
        max_authority_crl_age=max_authority_age,
    )
    max_ages = {pin.spki_sha256: pin.max_crl_age or max_age for pin in pinned}
    return _Clients(crls, answers, validator, max_ages, max_authority_age)


async def _serial(serials: StoredBundleSerials, bundle: VerifiedBundle, own: OwnRecords) -> int:
    known = await serials.known(BUNDLE, bundle.content)
    if known is not None:
        return known
    details = {"revision": bundle.revision, "content": bundle.content}
    record = own.make(EventType.POLICY_ACTIVATE, Action.UPDATE, ("bundle", BUNDLE), details=details)
    return await serials.publish(BUNDLE, bundle.content, own.clock.now(), record)


def _document(body: bytes) -> Document:
    return Document(body, f'"{hashlib.sha256(body).hexdigest()}"')


class _BundleSigner:
    """A key of `authz.tokens` as `authz.policy` wants it."""

    def __init__(self, signer: Signer) -> None:
        self.key_id = signer.kid
        self._signer = signer

    def sign(self, message: bytes) -> bytes:
        return self._signer.sign(message)
