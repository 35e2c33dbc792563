"""Composition root of the decision service: everything is made here, once, from the settings, and wired together."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Final

import msgspec
import structlog

from authz.domain.audit import EventType
from authz.domain.clock import Clock, SystemClock
from authz.domain.reasons import Reason
from authz.edge.background import Loop
from authz.edge.pages import METRICS_TYPE, PageServer, Sample, exposition
from authz.edge.running import set_by_signals, settle_memory
from authz.edge.supervise import RunFolder
from authz.edge.tracing import new_trace
from authz.policy.signing import BundleKey
from pki.certificate_files import pin_of, read_certificate, read_certificates
from pki.validation.crl_store import CrlStore
from pki.validation.ocsp_answers import OcspAnswers, make_answers
from pki.validation.validator import CertificateValidator
from trust_agent.authz_client import AuthzClient
from trust_agent.decision import Decider, ServiceRules
from trust_agent.edge import ExtAuthz
from trust_agent.fetching import Fetcher, Sources
from trust_agent.front import CONTROL_SOCKET, trust_folder
from trust_agent.graphql import Limits, Register, SchemaRefused
from trust_agent.inquiries import InquirySocket
from trust_agent.journal import Journal, Recovery
from trust_agent.metrics import Metrics
from trust_agent.records import DecisionRecords, component_record
from trust_agent.settings import AgentSettings
from trust_agent.shipping import Shipper
from trust_agent.strangers import INTERVAL, Strangers
from trust_agent.trust_store import MaxAges, TrustStore
from trust_agent.verify import TokenRules, Verifier

_SWITCH: Final = 0.0001
"""Seconds that a decision waits for the interpreter while a thread reads the journal, a CRL or a bundle; Python's own
5 ms would be longer than a decision takes."""
_LOG: Final = structlog.get_logger(__name__)


def load_register(settings: AgentSettings) -> Register:
    """The register's schema.

    Raises:
        SchemaRefused: a field of it would escape authorization, or it names another service than the settings.
    """
    caps = settings.graphql
    limits = Limits(
        body_bytes=settings.limits.max_body_bytes,
        document_bytes=caps.document_bytes,
        tokens=caps.tokens,
        depth=caps.depth,
        fields=caps.fields,
        aliases=caps.aliases,
        fragments=caps.fragments,
        evaluations=caps.evaluations,
        page_size=caps.page_size,
        typename=caps.typename,
        new_documents=caps.new_documents,
        new_documents_per_second=caps.new_documents_per_second,
    )
    register = settings.register_
    loaded = Register.load(
        register.schema_file.read_text(encoding="utf-8"),
        overlay=register.overlay,
        public_fields=register.public_fields,
        limits=limits,
    )
    if loaded.service != register.service:
        raise SchemaRefused(["the schema's annotations name another service than [register] service"])
    return loaded


def make_trust_store(settings: AgentSettings, clock: Clock, answers: OcspAnswers | None = None) -> TrustStore:
    """The trust store with what was kept before taken in.

    Args:
        settings: of the agent.
        clock: the time.
        answers: OCSP answers, where they are configured.
    """
    clients, ages = settings.clients, settings.freshness
    anchors, intermediates = _authorities(settings)
    pinned = [issuer.pin(pin_of(issuer.certificate), clients.environment) for issuer in clients.issuers]
    crls = CrlStore([*anchors, *intermediates])
    validator = CertificateValidator(
        anchors=anchors,
        issuers=pinned,
        intermediates=intermediates,
        crls=crls,
        ocsp=answers.store if answers else None,
        saw=answers.saw if answers else None,
        environment=clients.environment,
        max_crl_age=timedelta(seconds=ages.crl),
        max_authority_crl_age=timedelta(seconds=ages.authority_crl),
    )
    store = TrustStore(
        trust_folder(settings),
        issuer=settings.token.issuer,
        algorithms=settings.token.algorithms,
        bundle_keys=[
            BundleKey(key.key_id, key.file.read_text(encoding="ascii"), key.not_before, key.not_after)
            for key in settings.authz.bundle_keys
        ],
        crls=crls,
        validator=validator,
        ages=MaxAges(
            keys=timedelta(seconds=ages.keys),
            revocations=timedelta(seconds=ages.revocations),
            bundle=timedelta(seconds=ages.bundle),
            crls={issuer.spki_sha256: issuer.max_crl_age or timedelta(seconds=ages.crl) for issuer in pinned},
            authority_crls=timedelta(seconds=ages.authority_crl),
        ),
        clock=clock,
    )
    _LOG.info("trust_material_loaded", material=store.load())
    return store


class DecisionService:
    """One decision service.

    Args:
        settings: of the agent.
        folder: with the sockets.
        clock: the time.

    Raises:
        SchemaRefused: the register's schema has holes.
        Refused: JOURNAL_UNAVAILABLE.
    """

    def __init__(self, settings: AgentSettings, folder: RunFolder, clock: Clock | None = None) -> None:
        self._settings = settings
        self._folder = folder
        self._clock = clock or SystemClock()
        self._register = load_register(settings)
        self._answers = make_answers(
            [(issuer, read_certificate(issuer.certificate)) for issuer in settings.clients.issuers],
            [der for ders in _authorities(settings) for der in ders],
            folder=settings.clients.ocsp_folder,
            own_folder=settings.state_dir / "ocsp",
            clock=self._clock,
            max_age=timedelta(seconds=settings.freshness.crl),
        )
        self._store = make_trust_store(settings, self._clock, self._answers)
        journal = settings.journal
        self._journal = Journal(settings.journal_dir, segment_bytes=journal.segment_bytes, max_bytes=journal.max_bytes)
        self._strangers = Strangers(self._journal, self._clock, settings.sender, journal.strangers_per_minute)
        self._metrics = Metrics()
        authz = settings.authz
        self._authz = AuthzClient(
            authz.url,
            authz.anchors,
            settings.certificate.certificate,
            settings.certificate.key,
            authz.server_name,
        )
        sources = Sources(authz.bundle, settings.clients.crl_urls, authz.wait)
        self._fetcher = Fetcher(self._store, sources, self._authz, authz.timeout)
        self._shipper = Shipper(
            self._journal,
            self._authz,
            settings.state_dir / "refused",
            batch=journal.batch,
            linger=journal.linger,
            timeout=authz.timeout,
        )
        self._decider = self._make_decider()

    def _make_decider(self) -> Decider:
        settings, token, register = self._settings, self._settings.token, self._settings.register_
        return Decider(
            rules=ServiceRules(
                path=settings.listen.path,
                max_body_bytes=settings.limits.max_body_bytes,
                service=register.service,
                purpose_of_use=register.purpose_of_use,
                record_fields=register.record_fields,
                owner=register.owner,
            ),
            verifier=Verifier(
                self._store,
                TokenRules(token.issuer, token.audience, frozenset(token.scopes), token.algorithms, token.skew),
                max_tokens=settings.limits.max_verified_tokens,
                max_certificates=settings.limits.max_parsed_certificates,
            ),
            register=self._register,
            policies=self._store,
            journal=self._journal,
            records=DecisionRecords(settings.sender, register.service, token.audience, register.record_fields),
            strangers=self._strangers,
            clock=self._clock,
        )

    async def run(self) -> int:
        """Serve until SIGTERM or SIGINT.

        Returns:
            The exit status.
        """
        recovery = self._journal.open()
        await self._record_start(recovery)
        pages = {"/health": self._health, "/metrics": self._exposition}
        listen = self._settings.health
        health = PageServer(pages, (listen.address, listen.port), self._folder.path / CONTROL_SOCKET)
        app = ExtAuthz(self._decider, self._settings.sender, self._metrics)
        inquiries = InquirySocket(app, self._folder.service, max_body=self._settings.limits.max_body_bytes)
        try:
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(self._shipper)
                await stack.enter_async_context(self._fetcher)
                if self._answers is not None:
                    await stack.enter_async_context(self._answers)
                stop = stack.enter_context(set_by_signals(asyncio.Event()))
                telling = asyncio.create_task(Loop("counted refusals", self._strangers.tell, INTERVAL).run(stop))
                stack.callback(telling.cancel)
                async with inquiries:
                    settle_memory()
                    sys.setswitchinterval(_SWITCH)
                    # Last: the supervisor takes an answer here for readiness, and starts Envoy.
                    await stack.enter_async_context(health)
                    await stop.wait()
                await telling
                await self._strangers.tell()
                await self._record(EventType.COMPONENT_STOP, {})
        finally:
            await self._journal.close()
            await self._authz.close()
        return 0

    async def _record_start(self, recovery: Recovery) -> None:
        if recovery.torn_bytes:
            await self._record(EventType.COMPONENT_GAP, {"torn_bytes": recovery.torn_bytes}, Reason.JOURNAL_UNAVAILABLE)
        await self._record(EventType.COMPONENT_START, {"unshipped": recovery.records})

    async def _record(self, event: EventType, details: dict[str, int], reason: Reason | None = None) -> None:
        await self._journal.append(
            component_record(
                event,
                self._settings.sender,
                self._clock.now(),
                trace=new_trace(),
                details=details,
                reason=reason.value if reason else "",
            )
        )

    async def _health(self) -> tuple[int, str, bytes]:
        materials = self._store.status(self._clock.now())
        healthy = self._journal.available and all(item.fresh for item in materials)
        body = {
            "status": "ok" if healthy else "refusing",
            "sender": self._settings.sender,
            "materials": [
                {
                    "name": item.name,
                    "confirmed_at": item.confirmed_at,
                    "max_age_seconds": item.max_age.total_seconds(),
                    "fresh": item.fresh,
                    "revision": item.revision,
                }
                for item in materials
            ],
            "journal": {
                "available": self._journal.available,
                "next": self._journal.next_index,
                "shipped": self._journal.shipped,
                "put_aside": self._shipper.put_aside,
            },
            "failing": {
                **self._fetcher.failures,
                **{f"ocsp {url}": number for url, number in self._ocsp_failures().items()},
                **({"shipping": self._shipper.failures} if self._shipper.failures else {}),
            },
        }
        return 200 if healthy else 503, "application/json", msgspec.json.encode(body)

    def _ocsp_failures(self) -> dict[str, int]:
        return self._answers.follower.failures if self._answers and self._answers.follower else {}

    async def _exposition(self) -> tuple[int, str, bytes]:
        return 200, METRICS_TYPE, exposition([*self._metrics.samples(), *self._gauges()]).encode()

    def _gauges(self) -> Iterator[Sample]:
        now = self._clock.now()
        for item in self._store.status(now):
            yield "sluis_agent_material_fresh", {"material": item.name}, float(item.fresh)
            if item.confirmed_at is not None:
                age = (now - item.confirmed_at).total_seconds()
                yield "sluis_agent_material_age_seconds", {"material": item.name}, age
        follower = self._answers.follower if self._answers else None
        if follower is not None:
            yield "sluis_agent_ocsp_followed", {}, float(len(follower))
            yield "sluis_agent_ocsp_without_answer", {}, float(follower.without_answer(now))
            yield "sluis_agent_ocsp_failures", {}, float(sum(follower.failures.values()))
        yield "sluis_agent_journal_available", {}, float(self._journal.available)
        yield "sluis_agent_journal_unshipped_records", {}, float(self._journal.next_index - self._journal.shipped)
        yield "sluis_agent_journal_put_aside_records", {}, float(self._shipper.put_aside)
        yield "sluis_agent_shipping_failures", {}, float(self._shipper.failures)


def _authorities(settings: AgentSettings) -> tuple[list[bytes], list[bytes]]:
    """DER of the anchors, and of every CA below them."""
    clients = settings.clients
    below = [der for path in clients.intermediates for der in read_certificates(path)]
    below += [read_certificate(issuer.certificate) for issuer in clients.issuers]
    return [der for path in clients.anchors for der in read_certificates(path)], below
