"""The feed of lately revoked certificates: what it says, who believes it, and how fast authz passes it on."""

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import httpx
import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from authz.domain.errors import Refused
from authz.domain.identifiers import Identifier
from authz.domain.reasons import Reason
from authz.participants.following import Followed, Follower
from authz.store.database import Database
from authz.store.revocations import StoredRevocations
from authz.tokens.certificate_feed import CertificateFeedMirror
from authz.tokens.revocation import RevocationKind, RevocationList
from pki.app import OpenAuthority, open_authority
from pki.audit.records import operator
from pki.authority import Issued
from pki.http.application import create_application
from pki.http.feed import feed_handler
from pki.http.health import Health
from pki.http.published import Published
from pki.issuing import Holder
from pki.ocsp.responder import Responder
from pki.revocation.crl import RevocationReason
from pki.revocation.feed import CertificateFeed
from pki.settings import PkiSettings
from pki.signing.signer import KeySigner
from pki.store.database import Database as Register
from pki.store.database import StoreUnavailable
from pki.store.status import StatusRegister
from pki.store.tables import changes
from pki.validation.revocation_feed import WINDOW, FeedReader, VerifiedFeed
from tests.fakes.certificate_racer import new_request
from tests.fakes.certificates import FakeAuthority
from tests.fakes.clock import FixedClock

URL = "/revocations/issuing-tst"
WHO = Identifier.parse_subject("uzovi:5000")


@pytest.fixture
async def client(pki: OpenAuthority) -> AsyncIterator[httpx.AsyncClient]:
    await pki.withdrawal.sweep()
    published = Published(pki)
    await published.load()
    watching = asyncio.create_task(published.watch())
    feed = CertificateFeed(pki.database, pki.cas, Responder(pki.database, pki.cas, pki.clock), pki.clock)
    application = create_application(published, further=[feed_handler(feed, published)])
    transport = httpx.ASGITransport(application)
    async with httpx.AsyncClient(transport=transport, base_url="http://pki.test") as found:
        yield found
    published.close()
    await watching


def thumbprint(issued: Issued) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(issued.certificate).digest()).rstrip(b"=").decode()


async def issue(pki: OpenAuthority) -> Issued:
    return await pki.issue(Holder(WHO, "Zorgkantoor Test", "12345678"), new_request(), operator("test"))


async def change(pki: OpenAuthority, reason: RevocationReason) -> None:
    await pki.revoke(reason, operator("test"), identifier=WHO)


async def read(client: httpx.AsyncClient, pki: OpenAuthority, reader: FeedReader | None = None) -> VerifiedFeed:
    answer = await client.get(URL)
    assert answer.status_code == 200
    return (reader or FeedReader([pki.cas[0].der])).read(answer.content, pki.clock.now())


async def test_many_holds_do_not_push_a_revocation_off_the_feed(pki: OpenAuthority, clock: FixedClock) -> None:
    """The newest come first, of both kinds together: what does not fit is what is nearly on every CRL."""
    parties = [Identifier.parse_subject(f"uzovi:{number}") for number in (5001, 5002, 5003)]
    since = clock.now()
    made = [await pki.issue(Holder(who, "Test", "12345678"), new_request(), operator("test")) for who in parties]
    for who, reason in zip(parties, ("certificateHold", "superseded", "certificateHold"), strict=True):
        clock.advance(seconds=1)
        await pki.revoke(RevocationReason(reason), operator("test"), identifier=who)
    async with pki.database.read() as connection:
        newest = [
            [der for der, _ in await StatusRegister(connection).recently_revoked("issuing-tst", since, limit)]
            for limit in (1, 2, 3, 4)
        ]
    order = [issued.certificate for issued in reversed(made)]
    assert newest == [order[:1], order[:2], order, order]


async def test_what_is_revoked_or_on_hold_stands_on_it_until_every_crl_has_it(
    client: httpx.AsyncClient, pki: OpenAuthority, clock: FixedClock
) -> None:
    issued = await issue(pki)
    reader = FeedReader([pki.cas[0].der])
    assert (await read(client, pki, reader)).revoked == {}
    await change(pki, RevocationReason.CERTIFICATE_HOLD)
    assert (await read(client, pki, reader)).revoked == {thumbprint(issued): clock.now() + WINDOW}
    await change(pki, RevocationReason.REMOVE_FROM_CRL)
    assert (await read(client, pki, reader)).revoked == {}
    await change(pki, RevocationReason.KEY_COMPROMISE)
    assert thumbprint(issued) in (await read(client, pki, reader)).revoked
    clock.moment += WINDOW + timedelta(seconds=1)
    assert (await read(client, pki, reader)).revoked == {}


async def test_conditional_and_absent(client: httpx.AsyncClient, pki: OpenAuthority) -> None:
    etag = (await client.get(URL)).headers["etag"]
    assert (await client.get(URL, headers={"if-none-match": etag})).status_code == 304
    assert (await client.get("/revocations/root")).status_code == 404
    waiting = asyncio.create_task(client.get(URL, headers={"if-none-match": etag, "prefer": "wait=30"}))
    issued = await issue(pki)
    await change(pki, RevocationReason.UNSPECIFIED)
    async with asyncio.timeout(30):
        woken = await waiting
    assert thumbprint(issued) in FeedReader([pki.cas[0].der]).read(woken.content, pki.clock.now()).revoked


def refused(reader: FeedReader, body: bytes, pki: OpenAuthority, later: timedelta = timedelta()) -> None:
    with pytest.raises(Refused) as caught:
        reader.read(body, pki.clock.now() + later)
    assert caught.value.reason is Reason.CRL_INVALID


async def test_only_what_a_known_authority_said_lately_is_believed(
    client: httpx.AsyncClient, pki: OpenAuthority
) -> None:
    old = (await client.get(URL)).content
    await issue(pki)
    await change(pki, RevocationReason.UNSPECIFIED)
    body = (await client.get(URL)).content
    reader = FeedReader([pki.cas[0].der])
    reader.read(body, pki.clock.now())
    refused(reader, old, pki)  # a replay would bring a revoked certificate back
    header, payload, signature = body.split(b".")
    fresh = FeedReader([pki.cas[0].der])
    refused(FeedReader([FakeAuthority().issuing.der]), body, pki)
    refused(fresh, body, pki, timedelta(minutes=11))
    refused(fresh, body, pki, -timedelta(minutes=11))
    for broken in (
        b"",
        payload,
        b".".join((header, payload)),
        b".".join((header, payload, signature, b"")),
        b".".join((header, payload, signature[:-4])),
        b".".join((header, payload[:-1] + (b"A" if payload[-1:] != b"A" else b"B"), signature)),
        b".".join((base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"="), payload, b"")),
        b".".join((header, payload, signature + b"==")),
    ):
        refused(fresh, broken, pki)


async def test_a_party_s_own_key_is_not_the_authority_s_voice(client: httpx.AsyncClient, pki: OpenAuthority) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    fake = FakeAuthority()
    leaf = fake.issue("uzovi:5000", key=key)
    body = (await client.get(URL)).content
    header, payload, _ = body.split(b".")
    sent = json.loads(base64.urlsafe_b64decode(header + b"=" * (-len(header) % 4)))
    sent["x5c"] = [base64.b64encode(leaf.der).decode()]
    forged = base64.urlsafe_b64encode(json.dumps(sent).encode()).rstrip(b"=") + b"." + payload
    r, s = decode_dss_signature(KeySigner(key).sign(forged))
    signature = base64.urlsafe_b64encode(r.to_bytes(32, "big") + s.to_bytes(32, "big")).rstrip(b"=")
    refused(FeedReader([fake.issuing.der]), forged + b"." + signature, pki)


async def test_65_a_revocation_by_the_authority_is_on_the_list_of_authz_at_once_and_leaves_with_a_release(
    client: httpx.AsyncClient, pki: OpenAuthority, settings: PkiSettings, clock: FixedClock, tmp_path: Path
) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/authz.db", clock)
    await database.start()
    repository = StoredRevocations(database, clock)
    held = RevocationList(-1)

    async def refresh() -> None:
        nonlocal held
        held = await repository.load(clock.now())

    follower = Follower([Followed("revocations", repository.version, lambda: held.version, refresh)], clock)
    mirror = CertificateFeedMirror(
        [f"http://pki.test{URL}"], FeedReader([pki.cas[0].der]).read, repository, client, clock
    )
    issued = await issue(pki)
    tasks = [asyncio.create_task(mirror.run()), asyncio.create_task(follower.run())]

    async def until(*, listed: bool) -> None:
        async with asyncio.timeout(20):  # far below the pause of one that only looks again: it was told
            while held.contains(RevocationKind.CERTIFICATE, thumbprint(issued)) is not listed:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    try:
        await asyncio.sleep(0.3)  # both are waiting for news
        async with open_authority(settings, clock) as other:  # as the command line does
            for reason, listed in (
                (RevocationReason.CERTIFICATE_HOLD, True),
                (RevocationReason.REMOVE_FROM_CRL, False),
                (RevocationReason.SUPERSEDED, True),
            ):
                await change(other, reason)
                await until(listed=listed)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await database.close()


class Reads:
    """A register of which looks can be held up, and which counts them."""

    def __init__(self, inner: Register) -> None:
        self._inner = inner
        self.looks = 0
        self.begun = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        self.looks += 1
        self.begun.set()
        await self.gate.wait()
        async with self._inner.read() as connection:
            yield connection


async def test_many_who_wait_for_a_change_cost_one_look_and_one_signature(pki: OpenAuthority) -> None:
    register = Reads(pki.database)
    responder = Responder(pki.database, pki.cas, pki.clock)
    feed = CertificateFeed(cast("Register", register), pki.cas, responder, pki.clock)
    name = pki.cas[0].name
    old = await feed.current(name)
    await issue(pki)
    await change(pki, RevocationReason.KEY_COMPROMISE)
    key = await responder.key(name)
    signatures = 0

    def sign(message: bytes) -> bytes:
        nonlocal signatures
        signatures += 1
        return key.signer.sign(message)

    counting = SimpleNamespace(sign=sign)
    made = SimpleNamespace(certificate=key.certificate, signer=counting)

    async def known(_name: str) -> object:
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(responder, "key", known)
        register.looks = 0
        found = await asyncio.gather(*(feed.current(name) for _ in range(512)))
    assert (register.looks, signatures) == (1, 1)
    assert len({item.etag for item in found if item is not None}) == 1
    assert old is not None
    assert found[0] is not None
    assert found[0].version > old.version


async def test_who_asks_while_the_feed_is_looked_up_gets_what_is_so_at_that_moment(pki: OpenAuthority) -> None:
    """The near miss: joining the task that already looked would answer with a state of before the revocation."""
    register = Reads(pki.database)
    feed = CertificateFeed(cast("Register", register), pki.cas, Responder(pki.database, pki.cas, pki.clock), pki.clock)
    name = pki.cas[0].name
    await issue(pki)
    register.gate.clear()
    early = asyncio.create_task(feed.current(name))
    await register.begun.wait()
    await change(pki, RevocationReason.KEY_COMPROMISE)
    late = [asyncio.create_task(feed.current(name)) for _ in range(8)]
    # Who gives up takes it from nobody else.
    await asyncio.sleep(0)
    late[0].cancel()
    register.gate.set()
    await early
    async with pki.database.read() as connection:
        version = await StatusRegister(connection).version()
    found = [await each for each in late[1:]]
    assert {item.version for item in found if item is not None} == {version}
    assert register.looks == 2


async def set_version(pki: OpenAuthority, version: int) -> None:
    async with pki.database.write() as connection:
        await connection.execute(update(changes).values(version=version))


async def test_a_register_that_went_back_still_tells_what_is_revoked_and_no_lower_version(
    pki: OpenAuthority, clock: FixedClock
) -> None:
    feed = CertificateFeed(pki.database, pki.cas, Responder(pki.database, pki.cas, pki.clock), pki.clock)
    reader, name = FeedReader([pki.cas[0].der]), pki.cas[0].name
    await pki.withdrawal.sweep()
    published = Published(pki)
    await published.load()
    health = Health(published, {}, feed)

    async def told() -> VerifiedFeed:
        state = await feed.current(name)
        assert state is not None
        return reader.read(state.body, clock.now())

    await set_version(pki, 10)
    # The near miss: the same version again is the same document, until it is signed anew.
    assert await feed.current(name) is await feed.current(name)
    assert ((await told()).version, await health.problems()) == (10, [])
    with structlog.testing.capture_logs() as logs:
        await set_version(pki, 7)
        assert ((await told()).version, await health.problems()) == (11, ["register_went_back"])
        # A revocation after that, in the same second and in a later one.
        for seconds, least in ((0, 12), (1, 12)):
            clock.advance(seconds=seconds)
            issued = await issue(pki)
            await change(pki, RevocationReason.SUPERSEDED)
            now = await told()
            assert thumbprint(issued) in now.revoked
            assert now.version == least
        # Long after what was signed before has ended: what is given out has not.
        clock.advance(minutes=20)
        await pki.withdrawal.sweep()
        assert ((await told()).version, await health.problems()) == (12, ["register_went_back"])
        await set_version(pki, 12)
        clock.advance(seconds=1)
        assert ((await told()).version, await health.problems()) == (12, [])
        await set_version(pki, 13)
        assert ((await told()).version, await health.problems()) == (13, [])
    errors = [line for line in logs if line["log_level"] == "error"]
    assert errors == [
        {"event": "register_went_back", "log_level": "error", "ca": name, "version": 7, "before": 10, "told": 11}
    ]
    published.close()


async def test_an_ended_feed_is_never_given_out(
    pki: OpenAuthority, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = CertificateFeed(pki.database, pki.cas, Responder(pki.database, pki.cas, pki.clock), pki.clock)
    name = pki.cas[0].name
    first = await feed.current(name)
    assert first is not None
    clock.advance(seconds=59)
    assert await feed.current(name) is first
    clock.advance(minutes=20)

    async def away(*_: object) -> None:
        raise StoreUnavailable("the database is away")

    with monkeypatch.context() as patch:
        patch.setattr(StatusRegister, "recently_revoked", away)
        with pytest.raises(StoreUnavailable):
            await feed.current(name)
    again = await feed.current(name)
    assert again is not None
    assert FeedReader([pki.cas[0].der]).read(again.body, clock.now()).version == first.version


async def test_a_feed_that_cannot_be_made_is_tried_again(pki: OpenAuthority, monkeypatch: pytest.MonkeyPatch) -> None:
    feed = CertificateFeed(pki.database, pki.cas, Responder(pki.database, pki.cas, pki.clock), pki.clock)
    name = pki.cas[0].name

    async def away(_register: StatusRegister) -> int:
        raise StoreUnavailable("the database is away")

    with monkeypatch.context() as patch:
        patch.setattr(StatusRegister, "version", away)
        for outcome in await asyncio.gather(*(feed.current(name) for _ in range(3)), return_exceptions=True):
            assert isinstance(outcome, StoreUnavailable)
    assert await feed.current(name) is not None
