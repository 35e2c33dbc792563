"""The outbox is shipped at least once, in order, and nothing is marked that was not taken."""

import json
from collections.abc import Callable

import httpx
import pytest
from sqlalchemy import select, update

from authz.domain.identifiers import Identifier
from pki.app import OpenAuthority
from pki.audit.records import operator
from pki.audit.shipping import Shipper
from pki.issuing import Holder
from pki.notices.metrics import samples
from pki.settings import AuditSettings
from pki.store.outbox import Outbox
from pki.store.register import Register
from pki.store.tables import outbox
from tests.fakes.certificate_racer import new_request
from tests.fakes.clock import FixedClock

pytestmark = pytest.mark.parametrize("config", ["sqlite"], indirect=True)
Answer = Callable[[httpx.Request], httpx.Response]


def shipper(pki: OpenAuthority, clock: FixedClock, answer: Answer) -> tuple[Shipper, httpx.AsyncClient]:
    transport = httpx.MockTransport(answer)
    # The transport stands for mutual TLS, which the integration tests use.
    settings = AuditSettings.model_construct(url="https://authz.test", server_name=None)
    return Shipper(settings, pki.database, clock, transport), httpx.AsyncClient(transport=transport)


async def waiting(pki: OpenAuthority) -> list[str]:
    async with pki.database.read() as connection:
        return [json.loads(text)["record_id"] for _, text in await Register(connection).unshipped(1000)]


async def some_records(pki: OpenAuthority) -> list[str]:
    for number in (5000, 6000):
        holder = Holder(Identifier.parse_subject(f"uzovi:{number}"), "Zorgkantoor", "12345678")
        await pki.issue(holder, new_request(), operator("test"))
    return await waiting(pki)


async def test_what_was_taken_is_marked_and_not_sent_again(pki: OpenAuthority, clock: FixedClock) -> None:
    expected = await some_records(pki)
    taken: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url == "https://authz.test/audit/v1/records"
        taken.extend(record["record_id"] for record in json.loads(request.content)["records"])
        return httpx.Response(200, json={"accepted": len(taken)})

    ships, client = shipper(pki, clock, answer)
    async with client:
        assert await ships.ship_once(client)
        assert not await ships.ship_once(client)
    assert taken == expected
    assert await waiting(pki) == []


@pytest.mark.parametrize("status", [302, 400, 403, 404, 429, 500, 503])
async def test_what_was_not_taken_stays(status: int, pki: OpenAuthority, clock: FixedClock) -> None:
    expected = await some_records(pki)
    ships, client = shipper(pki, clock, lambda _: httpx.Response(status))
    async with client:
        with pytest.raises(httpx.HTTPError):
            await ships.ship_once(client)
    assert await waiting(pki) == expected


@pytest.mark.parametrize("poison", [0, 2, 3])
async def test_a_record_that_is_refused_for_good_does_not_hold_up_the_others(
    poison: int, pki: OpenAuthority, clock: FixedClock
) -> None:
    expected = await some_records(pki)
    taken: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        ids = [record["record_id"] for record in json.loads(request.content)["records"]]
        if expected[poison] in ids:
            return httpx.Response(400, json={"error": "record_event", "error_description": "", "trace_id": ""})
        taken.extend(ids)
        return httpx.Response(200, json={"accepted": len(ids)})

    ships, client = shipper(pki, clock, answer)
    async with client:
        while await ships.ship_once(client):
            pass
    assert taken == [item for item in expected if item != expected[poison]]
    assert await waiting(pki) == []
    async with pki.database.read() as connection:
        aside = (await connection.execute(select(outbox).where(outbox.c.refused_at.isnot(None)))).mappings().all()
        measured = {name: value for name, _, value in await samples(connection, clock.now(), ())}
    # It is not lost: complete, and counted as what it is.
    assert [(row["record_id"], row["shipped_at"]) for row in aside] == [(expected[poison], None)]
    assert json.loads(aside[0]["record"])["record_id"] == expected[poison]
    assert measured["sluis_pki_audit_records_refused"] == 1
    assert measured["sluis_pki_audit_records_waiting"] == 0


@pytest.mark.parametrize("body", [b"", b"<html>Bad Request</html>", b"[]", b'{"error": ""}', b'{"error": 1}'])
async def test_a_page_of_something_in_between_puts_nothing_aside(
    body: bytes, pki: OpenAuthority, clock: FixedClock
) -> None:
    expected = await some_records(pki)
    ships, client = shipper(pki, clock, lambda _: httpx.Response(400, content=body))
    async with client:
        for _ in range(5):
            with pytest.raises(httpx.HTTPError):
                await ships.ship_once(client)
    assert await waiting(pki) == expected


async def test_a_request_is_bounded_in_bytes(
    pki: OpenAuthority, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await some_records(pki)
    monkeypatch.setattr("pki.audit.shipping.MAX_BYTES", 10)
    ships, client = shipper(pki, clock, lambda _: httpx.Response(200))
    async with client:
        assert [await ships.ship_once(client) for _ in range(5)] == [True, True, True, True, False]


async def test_an_answer_that_is_lost_sends_the_same_records_again(pki: OpenAuthority, clock: FixedClock) -> None:
    expected = await some_records(pki)
    seen: list[list[str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append([record["record_id"] for record in json.loads(request.content)["records"]])
        if len(seen) == 1:
            raise httpx.ReadError("the connection broke after the store wrote them")
        return httpx.Response(200, json={"accepted": 4})

    ships, client = shipper(pki, clock, answer)
    async with client:
        with pytest.raises(httpx.ReadError):
            await ships.ship_once(client)
        await ships.ship_once(client)
    assert seen == [expected, expected]


def _only(source: str, taken: list[str]) -> Answer:
    def answer(request: httpx.Request) -> httpx.Response:
        records = json.loads(request.content)["records"]
        if any(record["log"]["source"] != source for record in records):
            return httpx.Response(403, json={"error": "record_source", "error_description": "", "trace_id": ""})
        taken.extend(record["record_id"] for record in records)
        return httpx.Response(200, json={"accepted": len(records)})

    return answer


async def test_a_record_of_other_settings_does_not_hold_up_the_others(pki: OpenAuthority, clock: FixedClock) -> None:
    expected = await some_records(pki)
    async with pki.database.write() as connection:
        rows = await Register(connection).unshipped(1000)
        other = json.loads(rows[1][1])
        other["log"]["source"] = "sluis/pki/other"
        await connection.execute(update(outbox).where(outbox.c.id == rows[1][0]).values(record=json.dumps(other)))
    taken: list[str] = []
    ships, client = shipper(pki, clock, _only("sluis/pki", taken))
    async with client:
        while await ships.ship_once(client):
            pass
    assert taken == [item for item in expected if item != expected[1]]
    async with pki.database.read() as connection:
        (aside,) = await Outbox(connection).refused(10)
    assert (aside.record_id, aside.why) == (expected[1], "record_source")


async def test_while_the_scheme_does_not_know_this_source_nothing_is_put_aside(
    pki: OpenAuthority, clock: FixedClock
) -> None:
    expected = await some_records(pki)
    ships, client = shipper(pki, clock, _only("sluis/pki/2", []))
    async with client:
        for _ in range(3):
            with pytest.raises(httpx.HTTPError):
                await ships.ship_once(client)
    assert await waiting(pki) == expected
