"""Notices on a real register: once each, whoever looks and however often, with their record and their delivery."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import select

from authz.domain.identifiers import Identifier
from pki.app import OpenAuthority
from pki.audit.records import RecordMaker, operator
from pki.dnssec.model import Answer, DnssecResult, DnssecState
from pki.enrolment.requests import parse_request
from pki.issuing import Holder
from pki.notices.expiry import ExpiryNotices
from pki.notices.giving import Giver
from pki.notices.metrics import samples
from pki.notices.settings import DomainSettings, NoticesSettings, WebhookSettings
from pki.notices.standing import StandingPatrol
from pki.notices.webhook import PATIENCE, Webhook, WebhookError
from pki.revocation.crl import RevocationReason
from pki.signing.signer import SignerError
from pki.store.tables import domain_standing, outbox, webhook_deliveries
from tests.fakes.clock import FixedClock

DAYS = (60, 30, 14, 7, 1)
SECRET = b"a secret of the webhook, long enough"
LIFE = 397


async def issue(pki: OpenAuthority, identity: str = "uzovi:5000", *names: str) -> Any:
    key = ec.generate_private_key(ec.SECP256R1())
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    holder = Holder(Identifier.parse_subject(identity), "Test", "12345678", names or ("a.example.nl",))
    return (await pki.issue(holder, parse_request(csr.public_bytes(Encoding.DER)), operator("test"))).registered


def giver(pki: OpenAuthority) -> Giver:
    return Giver(RecordMaker("sluis/pki"), "sluis/pki", webhook=True)


def expiry(pki: OpenAuthority) -> ExpiryNotices:
    return ExpiryNotices(pki.database, giver(pki), pki.clock, DAYS)


async def recorded(pki: OpenAuthority, event: str) -> list[dict[str, Any]]:
    async with pki.database.read() as connection:
        rows = (await connection.execute(select(outbox.c.record).order_by(outbox.c.id))).scalars()
        records = [json.loads(row) for row in rows]
    return [record["objects"][0]["details"] for record in records if record["event"]["type"] == event]


async def deliveries(pki: OpenAuthority) -> list[Any]:
    async with pki.database.read() as connection:
        return list(await connection.execute(select(webhook_deliveries).order_by(webhook_deliveries.c.id)))


async def test_each_threshold_is_noticed_once_also_by_several_at_the_same_time(
    pki: OpenAuthority, clock: FixedClock
) -> None:
    await issue(pki)
    begin = clock.now()
    for left in range(62, -2, -1):
        clock.moment = begin + timedelta(days=LIFE - left)
        await asyncio.gather(*(expiry(pki).look() for _ in range(3)))
    noticed = await recorded(pki, "certificate.expires")
    assert [item["threshold_days"] for item in noticed] == list(DAYS)
    assert [json.loads(row.body)["data"]["threshold_days"] for row in await deliveries(pki)] == list(DAYS)
    assert noticed[0]["dns_names"] == ["a.example.nl"]


async def test_a_certificate_first_seen_late_gets_one_notice(pki: OpenAuthority, clock: FixedClock) -> None:
    await issue(pki)
    clock.advance(days=LIFE - 5)
    assert await expiry(pki).look() == 1
    assert await expiry(pki).look() == 0
    assert [item["threshold_days"] for item in await recorded(pki, "certificate.expires")] == [7]


async def test_revoked_superseded_and_expired_certificates_are_not_noticed(
    pki: OpenAuthority, clock: FixedClock
) -> None:
    await issue(pki, "uzovi:5000")
    await issue(pki, "uzovi:6000", "b.example.nl")
    await pki.revoke(RevocationReason.UNSPECIFIED, operator("t"), identifier=Identifier.parse_subject("uzovi:5000"))
    clock.advance(days=LIFE + 1)
    assert await expiry(pki).look() == 0
    clock.advance(days=-20)
    assert await expiry(pki).look() == 1


class Zones:
    """A validator whose answers a test sets."""

    def __init__(self) -> None:
        self.states: dict[str, list[DnssecState]] = {}
        self.asked: list[str] = []
        self.answer = Answer.DATA
        self.root = DnssecState.SECURE

    async def check(self, name: str, at: Any, rdtype: str = "A") -> DnssecResult:  # noqa: ARG002  as the protocol has it
        await asyncio.sleep(0)
        self.asked.append(name)
        if name == ".":
            return DnssecResult(name, self.root, "root", at, ())
        left = self.states.get(name, [DnssecState.SECURE])
        state = left.pop(0) if len(left) > 1 else left[0]
        message = f"no DS at nl. for {name}." if state is DnssecState.INSECURE else state.value
        return DnssecResult(name, state, message, at, (), self.answer)


def patrol(pki: OpenAuthority, zones: Zones) -> StandingPatrol:
    return StandingPatrol(pki.database, giver(pki), pki.clock, zones, timedelta(hours=1))


async def test_a_change_of_standing_is_noticed_once_with_what_to_do(pki: OpenAuthority, clock: FixedClock) -> None:
    await issue(pki, "uzovi:5000", "a.example.nl", "b.example.nl")
    zones = Zones()
    assert await patrol(pki, zones).look() == 2
    assert await recorded(pki, "domain.standing") == []
    zones.states["a.example.nl"] = [DnssecState.INSECURE]
    assert await patrol(pki, zones).look() == 0  # not yet due
    clock.advance(hours=1)
    checked = await asyncio.gather(*(patrol(pki, zones).look() for _ in range(3)))
    assert sum(checked) == 2
    [change] = await recorded(pki, "domain.standing")
    assert (change["domain"], change["before"], change["state"]) == ("a.example.nl", "secure", "insecure")
    assert "registrar of a.example.nl" in change["where"]
    clock.advance(hours=1)
    await patrol(pki, zones).look()
    zones.states.clear()
    clock.advance(hours=1)
    await patrol(pki, zones).look()
    assert [item["state"] for item in await recorded(pki, "domain.standing")] == ["insecure", "secure"]


async def test_a_failure_that_the_second_look_does_not_confirm_is_no_change(
    pki: OpenAuthority, clock: FixedClock
) -> None:
    await issue(pki)
    zones = Zones()
    await patrol(pki, zones).look()
    clock.advance(hours=1)
    zones.states["a.example.nl"] = [DnssecState.UNREACHABLE, DnssecState.SECURE]
    await patrol(pki, zones).look()
    assert await recorded(pki, "domain.standing") == []


@pytest.mark.parametrize("state", [DnssecState.UNREACHABLE, DnssecState.INDETERMINATE])
async def test_a_resolver_that_is_away_or_does_not_validate_changes_nobody_s_standing(
    state: DnssecState, pki: OpenAuthority, clock: FixedClock
) -> None:
    await issue(pki)
    zones = Zones()
    await patrol(pki, zones).look()
    clock.advance(hours=1)
    zones.states["a.example.nl"] = [state]
    zones.root = state
    looking = patrol(pki, zones)
    await looking.look()
    assert looking.blind
    assert await recorded(pki, "domain.standing") == []
    clock.advance(hours=1)
    zones.root = DnssecState.SECURE
    await patrol(pki, zones).look()
    assert [item["state"] for item in await recorded(pki, "domain.standing")] == [state.value]


async def test_a_name_that_is_gone_from_dns_is_absent_and_one_without_certificate_is_forgotten(
    pki: OpenAuthority, clock: FixedClock
) -> None:
    await issue(pki)
    zones = Zones()
    zones.answer = Answer.NXDOMAIN
    await patrol(pki, zones).look()
    assert [item["state"] for item in await recorded(pki, "domain.standing")] == ["absent"]
    await pki.revoke(RevocationReason.UNSPECIFIED, operator("t"), identifier=Identifier.parse_subject("uzovi:5000"))
    clock.advance(hours=1)
    assert await patrol(pki, zones).look() == 0
    async with pki.database.read() as connection:
        assert list(await connection.execute(select(domain_standing.c.name))) == []


class Receiver(httpx.AsyncBaseTransport):
    """Verifies like a receiver does."""

    def __init__(self, *answers: int) -> None:
        self.answers = list(answers)
        self.taken: list[dict[str, Any]] = []
        self.urls: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        self.urls.append(str(request.url))
        signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + body
        expected = base64.b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest()).decode()
        assert request.headers["webhook-signature"] == f"v1,{expected}"
        assert json.loads(body)["id"] == request.headers["webhook-id"]
        answer = self.answers.pop(0) if self.answers else 204
        if answer == 0:
            raise httpx.ConnectError("away")
        if answer == 204:
            self.taken.append(json.loads(body))
        return httpx.Response(answer, headers={"location": "https://elsewhere.example/"})


@pytest.fixture
def hook(pki: OpenAuthority, tmp_path: Path) -> Callable[[Receiver], Webhook]:
    secret = tmp_path / "webhook.secret"
    secret.write_bytes(SECRET + b"\n")
    secret.chmod(0o600)
    settings = WebhookSettings(url="https://monitor.example.nl/hooks/sluis", secret_file=secret)
    return lambda receiver: Webhook(settings, pki.database, pki.clock, RecordMaker("sluis/pki"), receiver)


async def test_a_notice_is_posted_signed_and_only_once(
    pki: OpenAuthority, clock: FixedClock, hook: Callable[[Receiver], Webhook]
) -> None:
    await issue(pki)
    clock.advance(days=LIFE - 5)
    await expiry(pki).look()
    receiver = Receiver()
    await asyncio.gather(*(hook(receiver).deliver() for _ in range(3)))
    assert [item["type"] for item in receiver.taken] == ["certificate.expires"]
    clock.advance(days=1)
    assert await hook(receiver).deliver() == 0
    assert receiver.urls == ["https://monitor.example.nl/hooks/sluis"]


@pytest.mark.parametrize("answer", [0, 302, 400, 500], ids=["away", "redirect", "refused", "broken"])
async def test_a_receiver_that_does_not_take_it_is_asked_again_ever_later(
    pki: OpenAuthority, clock: FixedClock, hook: Callable[[Receiver], Webhook], answer: int
) -> None:
    await issue(pki)
    clock.advance(days=LIFE - 5)
    await expiry(pki).look()
    receiver = Receiver(answer, answer)
    await hook(receiver).deliver()
    await hook(receiver).deliver()
    assert len(receiver.urls) == 1  # not before its pause is over
    clock.advance(seconds=31)
    await hook(receiver).deliver()
    clock.advance(seconds=31)
    await hook(receiver).deliver()
    assert len(receiver.urls) == 2
    clock.advance(seconds=31)
    assert await hook(receiver).deliver() == 1
    assert set(receiver.urls) == {"https://monitor.example.nl/hooks/sluis"}


async def test_what_is_never_taken_is_given_up_and_recorded(
    pki: OpenAuthority, clock: FixedClock, hook: Callable[[Receiver], Webhook]
) -> None:
    await issue(pki)
    clock.advance(days=LIFE - 50)
    await expiry(pki).look()
    clock.moment += PATIENCE
    receiver = Receiver(500)
    await hook(receiver).deliver()
    clock.advance(days=1)
    assert await hook(receiver).deliver() == 0
    [given_up] = await recorded(pki, "webhook.given_up")
    assert given_up["status"] == 500


async def test_a_receiver_that_says_gone_is_not_asked_again(
    pki: OpenAuthority, clock: FixedClock, hook: Callable[[Receiver], Webhook]
) -> None:
    await issue(pki)
    clock.advance(days=LIFE - 50)
    await expiry(pki).look()
    await hook(Receiver(410)).deliver()
    assert len(await recorded(pki, "webhook.given_up")) == 1


@pytest.mark.parametrize("config", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("content", "mode", "error"),
    [(b"short", 0o600, WebhookError), (b"whsec_!!", 0o600, WebhookError), (SECRET, 0o644, SignerError)],
)
async def test_a_secret_that_protects_nothing_is_refused(
    pki: OpenAuthority, tmp_path: Path, content: bytes, mode: int, error: type[Exception]
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(content)
    secret.chmod(mode)
    settings = WebhookSettings(url="https://monitor.example.nl", secret_file=secret)
    with pytest.raises(error):
        Webhook(settings, pki.database, pki.clock, RecordMaker("sluis/pki"))


@pytest.mark.parametrize(
    "url",
    [
        "http://monitor.example.nl/",
        "https://user:pass@monitor.example.nl/",
        "https://monitor.example.nl/?token=1",
        "file:///etc/passwd",
        "https://monitor.example.nl/#x",
    ],
)
def test_a_url_that_is_not_plain_https_is_refused(url: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)
    with pytest.raises(ValueError, match="url"):
        WebhookSettings(url=url, secret_file=secret)


def test_the_settings_refuse_to_believe_a_resolver_elsewhere() -> None:
    assert DomainSettings(mode="resolver-ad", resolvers=("127.0.0.1:53",)).mode == "resolver-ad"
    with pytest.raises(ValueError, match="loopback"):
        DomainSettings(mode="resolver-ad", resolvers=("192.0.2.1:53",))
    assert NoticesSettings().expiry_days == DAYS


async def test_metrics_tell_what_is_due_and_what_is_wrong(pki: OpenAuthority, clock: FixedClock) -> None:
    await issue(pki)
    zones = Zones()
    zones.states["a.example.nl"] = [DnssecState.BOGUS]
    clock.advance(days=LIFE - 20)
    await patrol(pki, zones).look()
    await expiry(pki).look()
    await pki.withdrawal.sweep()
    clock.advance(minutes=5)
    async with pki.database.read() as connection:
        found = await samples(connection, clock.now(), DAYS)
    told = {(name, *labels.values()): value for name, labels, value in found}
    assert told["sluis_pki_certificates_expiring", "30"] == 1
    assert told["sluis_pki_certificates_expiring", "14"] == 0
    assert told["sluis_pki_expiry_notices_total", "30"] == 1
    assert told["sluis_pki_domains", "bogus"] == 1
    assert told["sluis_pki_domain_not_secure_seconds", "a.example.nl", "bogus"] == 300
    assert told["sluis_pki_webhook_deliveries", "waiting"] == 2
    assert told["sluis_pki_crl_age_seconds", "issuing-tst"] > 0
