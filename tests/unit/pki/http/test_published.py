"""What is published: conditional requests, long polls that wake, and the truth at once."""

import asyncio
from collections.abc import AsyncIterator
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from structlog.testing import capture_logs

from authz.domain.identifiers import Identifier
from authz.edge.waiters import MOST_EACH
from pki.app import OpenAuthority, open_authority
from pki.audit.records import operator
from pki.http import application
from pki.http.application import create_application
from pki.http.feed import feed_handler
from pki.http.published import Published
from pki.issuing import Holder
from pki.ocsp.responder import Responder
from pki.revocation.crl import RevocationReason
from pki.revocation.feed import CertificateFeed
from pki.settings import PkiSettings
from tests.fakes.certificate_racer import new_request
from tests.fakes.clock import FixedClock

pytestmark = pytest.mark.parametrize("config", ["sqlite"], indirect=True)
CRL = "/crl/issuing-tst.crl"
ZORGKANTOOR = Identifier.parse_subject("uzovi:5000")


@pytest.fixture
async def published(pki: OpenAuthority) -> Published:
    await pki.withdrawal.sweep()
    found = Published(pki)
    await found.load()
    return found


@pytest.fixture
async def client(pki: OpenAuthority, published: Published) -> AsyncIterator[httpx.AsyncClient]:
    watching = asyncio.create_task(published.watch())
    responder = Responder(pki.database, pki.cas, pki.clock)
    feed = feed_handler(CertificateFeed(pki.database, pki.cas, responder, pki.clock), published)
    transport = httpx.ASGITransport(create_application(published, further=[feed]))
    async with httpx.AsyncClient(transport=transport, base_url="http://pki.test") as found:
        yield found
    published.close()
    await watching


async def revoke_from_another_process(settings: PkiSettings, clock: FixedClock) -> str:
    """Through an authority of its own, which shares nothing but the database."""
    async with open_authority(settings, clock) as other:
        issued = await other.issue(Holder(ZORGKANTOOR, "Zorgkantoor", "12345678"), new_request(), operator("test"))
        await other.revoke(RevocationReason.UNSPECIFIED, operator("test"), identifier=ZORGKANTOOR)
    return issued.registered.serial_number


async def test_a_crl_with_what_a_cache_and_a_poller_need(client: httpx.AsyncClient, config: Path) -> None:
    answer = await client.get(CRL)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/pkix-crl"
    assert answer.headers["cache-control"] == "public, no-cache"
    crl = x509.load_der_x509_crl(answer.content)
    assert parsedate_to_datetime(answer.headers["last-modified"]) == crl.last_update_utc
    etag = answer.headers["etag"]
    for headers in (
        {"if-none-match": etag},
        {"if-none-match": f'"x", W/{etag}'},
        {"if-none-match": "*"},
        {"if-modified-since": format_datetime(crl.last_update_utc, usegmt=True)},
    ):
        again = await client.get(CRL, headers=headers)
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == etag
    for headers in (
        {"if-none-match": '"other"'},
        {"if-modified-since": "not a date"},
        {"if-modified-since": "Mon, 99999999999999 Jan 2026 00:00:00 GMT"},
        {"if-modified-since": "Mon, 05 Jan 99999999999999 00:00:00 GMT"},
        {"if-modified-since": "Mon, 05 Jan 2026 00:00:00 -99999999999999"},
        {"if-modified-since": "Thu, 01 Jan 0001 00:00:00 +1400"},
        {"if-modified-since": "Sun, 06 Nov 1994 08:49:37 GMT"},
        {"if-none-match": '"other"', "if-modified-since": format_datetime(crl.last_update_utc, usegmt=True)},
    ):
        assert (await client.get(CRL, headers=headers)).status_code == 200


async def test_a_revocation_is_there_at_once_and_wakes_who_waits(
    client: httpx.AsyncClient, settings: PkiSettings, clock: FixedClock
) -> None:
    etag = (await client.get(CRL)).headers["etag"]
    waiting = asyncio.create_task(client.get(CRL, headers={"if-none-match": etag, "prefer": "wait=30"}))
    await asyncio.sleep(0)
    serial = await revoke_from_another_process(settings, clock)
    at_once = x509.load_der_x509_crl((await client.get(CRL)).content)
    assert [f"{entry.serial_number:x}" for entry in at_once] == [serial]
    async with asyncio.timeout(30):
        woken = await waiting
    assert woken.status_code == 200
    assert woken.headers["preference-applied"] == "wait=30"
    assert x509.load_der_x509_crl(woken.content).get_revoked_certificate_by_serial_number(int(serial, 16))


async def test_a_long_poll_ends_unchanged(client: httpx.AsyncClient, config: Path) -> None:
    etag = (await client.get(CRL)).headers["etag"]
    answer = await client.get(CRL, headers={"if-none-match": etag, "prefer": "respond-async, wait=0"})
    assert answer.status_code == 304


@pytest.mark.parametrize("path", [CRL, "/revocations/issuing-tst"])
async def test_over_tls_nobody_waits(client: httpx.AsyncClient, path: str, config: Path) -> None:
    etag = (await client.get(path)).headers["etag"]
    headers = {"if-none-match": etag, "prefer": "wait=60", "x-sluis-listener": "tls"}
    async with asyncio.timeout(30):
        answer = await client.get(path, headers=headers)
    assert answer.status_code == 304
    assert "preference-applied" not in answer.headers


async def test_an_address_with_many_requests_has_so_many_places_and_leaves_the_others_theirs(
    client: httpx.AsyncClient, published: Published, settings: PkiSettings, clock: FixedClock
) -> None:
    etag = (await client.get(CRL)).headers["etag"]
    headers = {"if-none-match": etag, "prefer": "wait=60", "x-sluis-peer-address": "192.0.2.7:1"}
    waiting = [asyncio.create_task(client.get(CRL, headers=headers)) for _ in range(MOST_EACH)]
    async with asyncio.timeout(30):
        while len(published.waiters) < MOST_EACH:  # noqa: ASYNC110  the server tells nobody
            await asyncio.sleep(0.01)
        # From another port it is the same source; from another address it is not.
        surplus = await client.get(CRL, headers=headers | {"x-sluis-peer-address": "192.0.2.7:2"})
        assert surplus.status_code == 304
        waiting.append(asyncio.create_task(client.get(CRL, headers=headers | {"x-sluis-peer-address": "192.0.2.8:1"})))
        while len(published.waiters) == MOST_EACH:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await revoke_from_another_process(settings, clock)
        assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {200}
    assert len(published.waiters) == 0


async def test_ca_certificates_and_the_root_crl(client: httpx.AsyncClient, pki: OpenAuthority) -> None:
    issuing = x509.load_der_x509_certificate((await client.get("/ca/issuing-tst.crt")).content)
    root = x509.load_der_x509_certificate((await client.get("/ca/root.crt")).content)
    issuing.verify_directly_issued_by(root)
    assert x509.load_der_x509_crl((await client.get("/crl/root.crl")).content).is_signature_valid(root.public_key())  # type: ignore[arg-type]


@pytest.mark.parametrize("path", [CRL, "/crl/root.crl", "/ca/root.crt", "/revocations/issuing-tst", "/health"])
async def test_head_is_get_without_the_content_and_waits_for_nothing(
    client: httpx.AsyncClient, path: str, config: Path
) -> None:
    got = await client.get(path)
    head = await client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers == got.headers
    if "etag" in got.headers:
        async with asyncio.timeout(30):
            unchanged = {"if-none-match": got.headers["etag"], "prefer": "wait=60"}
            assert (await client.head(path, headers=unchanged)).status_code == 304
    for method in ("POST", "DELETE"):
        refused = await client.request(method, path)
        assert refused.status_code == 405
        assert refused.headers["allow"] == "GET, HEAD, OPTIONS"
    assert (await client.head("/crl/none.crl")).status_code == 404


@pytest.mark.parametrize("path", ["/crl/none.crl", "/ca/../pki.toml", "/ca/root.key.pem", "/crl/", "/", "/docs"])
async def test_nothing_else_is_there(path: str, client: httpx.AsyncClient, config: Path) -> None:
    assert (await client.get(path)).status_code == 404
    assert (await client.post(CRL)).status_code == 405


async def test_health_tells_of_a_crl_past_its_time(
    client: httpx.AsyncClient, pki: OpenAuthority, clock: FixedClock
) -> None:
    assert (await client.get("/health")).status_code == 200
    clock.advance(hours=2)
    assert (await client.get("/health")).status_code == 503
    await pki.withdrawal.sweep()
    assert (await client.get("/health")).status_code == 200


async def test_a_defect_is_an_opaque_answer_and_its_kind_in_the_log(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_given: object) -> None:
        raise OverflowError("what a caller sent")

    monkeypatch.setattr(application, "_unchanged", broken)
    with capture_logs() as logs:
        answer = await client.get(CRL)
    assert (answer.status_code, answer.json()) == (500, {"error": "server_error"})
    assert [(item["event"], item["why"]) for item in logs] == [("request_failed", "OverflowError")]
    assert "what a caller sent" not in f"{logs} {answer.text}"
