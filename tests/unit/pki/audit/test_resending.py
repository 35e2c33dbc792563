"""What the audit store refused for good is shown with its reason and nothing else, and sent again once when asked."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from sqlalchemy import select, text, update

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.app import OpenAuthority
from pki.audit.records import operator
from pki.audit.resending import MAX_NAMED, Resending
from pki.store.outbox import OutboxRecord
from pki.store.register import Register
from pki.store.tables import outbox
from tests.fakes.clock import FixedClock
from tests.unit.pki.audit.test_shipping import shipper, some_records, waiting

SECRET = "Zorgkantoor met een naam"


class Store:
    """An audit store that knows records by their id, and refuses what it is told to."""

    def __init__(self) -> None:
        self.taken: dict[str, dict[str, Any]] = {}
        self.sent: list[str] = []
        self.refuses: dict[str, object] = {}
        self.status = 400

    def __call__(self, request: httpx.Request) -> httpx.Response:
        records = json.loads(request.content)["records"]
        self.sent += [record["record_id"] for record in records]
        for record in records:
            if record["record_id"] in self.refuses:
                code = self.refuses[record["record_id"]]
                return httpx.Response(self.status, json={"error": code, "error_description": SECRET, "trace_id": ""})
        self.taken |= {record["record_id"]: record for record in records}
        return httpx.Response(200, json={"accepted": len(records)})


async def ship(pki: OpenAuthority, clock: FixedClock, store: Store) -> None:
    ships, client = shipper(pki, clock, store)
    async with client:
        while await ships.ship_once(client):
            pass


def resending(pki: OpenAuthority, clock: FixedClock) -> Resending:
    return Resending(pki.database, clock, "sluis/pki")


async def put_aside(pki: OpenAuthority, clock: FixedClock, store: Store) -> list[str]:
    """Four records of which the second and fourth are refused; the ids of those two."""
    ids = await some_records(pki)
    store.refuses = {ids[1]: "record_event", ids[3]: "record_event"}
    await ship(pki, clock, store)
    return [ids[1], ids[3]]


async def about_resending(pki: OpenAuthority) -> list[dict[str, Any]]:
    async with pki.database.read() as connection:
        found = [json.loads(row) for row in (await connection.execute(select(outbox.c.record))).scalars()]
    return [record for record in found if record.get("event", {}).get("type") == "record.resend"]


async def test_what_was_refused_is_sent_again_once_and_as_it_was_written(pki: OpenAuthority, clock: FixedClock) -> None:
    store = Store()
    refused = await put_aside(pki, clock, store)
    async with pki.database.read() as connection:
        query = select(outbox.c.record_id, outbox.c.record).where(outbox.c.record_id.in_(refused))
        written = {row: json.loads(record) for row, record in await connection.execute(query)}
    store.refuses = {}
    assert await resending(pki, clock).resend(None, operator("anna")) == refused
    store.sent = []
    await ship(pki, clock, store)
    # In their old place, and the record about it behind them.
    assert store.sent[:2] == refused
    assert {row: store.taken[row] for row in refused} == written
    assert await resending(pki, clock).refused(10) == ([], 0)
    states = await resending(pki, clock).follow(refused, 0)
    assert [(item.record_id, item.state, item.why) for item in states] == [(row, "taken", None) for row in refused]
    (record,) = await about_resending(pki)
    assert store.taken[record["record_id"]] == record
    assert record["users"][0]["id"] == "operator:anna"
    assert record["objects"][0]["details"] == {"records": 2, "record_ids": refused, "refused_for": ["record_event"]}


async def test_asking_again_sends_nothing_again_and_is_no_new_act(pki: OpenAuthority, clock: FixedClock) -> None:
    store = Store()
    refused = await put_aside(pki, clock, store)
    store.refuses = {}
    again = resending(pki, clock)
    assert await again.resend(refused, operator("anna")) == refused
    # Waiting, then taken: named both times, sent once.
    assert await again.resend([*refused, refused[0]], operator("anna")) == refused
    store.sent = []
    await ship(pki, clock, store)
    assert await again.resend(refused, operator("anna")) == refused
    assert await again.resend(None, operator("anna")) == []
    await ship(pki, clock, store)
    assert store.sent == [*refused, (await about_resending(pki))[0]["record_id"]]
    assert len(await about_resending(pki)) == 1


async def test_of_two_who_ask_at_once_one_does_it(pki: OpenAuthority, clock: FixedClock) -> None:
    await put_aside(pki, clock, Store())
    again = resending(pki, clock)
    await asyncio.gather(*(again.resend(None, operator(name)) for name in ("anna", "bram", "chris")))
    assert len(await about_resending(pki)) == 1


async def test_only_the_one_that_was_named_goes_out(pki: OpenAuthority, clock: FixedClock) -> None:
    store = Store()
    first, second = await put_aside(pki, clock, store)
    store.refuses = {}
    await resending(pki, clock).resend([second], operator("anna"))
    await ship(pki, clock, store)
    assert second in store.taken
    assert first not in store.taken
    assert [item.record_id for item in (await resending(pki, clock).refused(10))[0]] == [first]


async def test_an_id_that_is_not_kept_here_changes_nothing(pki: OpenAuthority, clock: FixedClock) -> None:
    refused = await put_aside(pki, clock, Store())
    with pytest.raises(Refused) as caught:
        await resending(pki, clock).resend([refused[0], "0" * 36], operator("anna"))
    assert caught.value.reason is Reason.PARAMETER_UNKNOWN
    assert await waiting(pki) == []
    assert await about_resending(pki) == []


async def test_what_is_refused_again_is_put_aside_again_with_the_newer_reason(
    pki: OpenAuthority, clock: FixedClock
) -> None:
    store = Store()
    first, second = await put_aside(pki, clock, store)
    store.refuses = {second: "body_malformed"}
    again = resending(pki, clock)
    await again.resend(None, operator("anna"))
    await ship(pki, clock, store)
    states = await again.follow([first, second], 0)
    assert [(item.state, item.why) for item in states] == [("taken", None), ("refused", "body_malformed")]


@pytest.mark.parametrize(
    ("code", "status", "kept"),
    [
        ("record_event", 400, "record_event"),
        ("a_reason_of_a_newer_version", 422, "a_reason_of_a_newer_version"),
        (SECRET, 400, "unknown"),
        ("\x1b[31mrecord_event", 400, "unknown"),
        ("x" * 49, 400, "unknown"),
        ("x" * 48, 400, "x" * 48),
        ("record_event", 413, "body_too_large"),
    ],
)
async def test_only_a_code_is_kept_of_what_the_store_answers(
    code: str, status: int, kept: str, pki: OpenAuthority, clock: FixedClock
) -> None:
    store = Store()
    store.status = status
    ids = await some_records(pki)
    store.refuses = {ids[0]: code}
    await ship(pki, clock, store)
    ((found,), number) = await resending(pki, clock).refused(10)
    assert (found.record_id, found.state, found.why, number) == (ids[0], "refused", kept, 1)
    assert (found.event, found.refused_at) == ("certificate.intent", clock.now())
    async with pki.database.read() as connection:
        everything = str((await connection.execute(select(outbox.c.refused_why))).all())
    assert SECRET not in everything


async def test_a_row_of_before_reasons_were_kept_or_that_somebody_spoilt_is_still_seen(
    pki: OpenAuthority, clock: FixedClock
) -> None:
    ids = await some_records(pki)
    async with pki.database.write() as connection:
        await Register(connection).mark_refused(1, clock.now(), "record_event")
        await connection.execute(update(outbox).where(outbox.c.id == 1).values(refused_why=None))
        await Register(connection).mark_refused(2, clock.now(), "record_event")
        await connection.execute(text('UPDATE outbox SET record = \'{"event": {"type": "\x1b[2J"}}\' WHERE id = 2'))
    found, _ = await resending(pki, clock).refused(10)
    assert [(item.record_id, item.event, item.why) for item in found] == [
        (ids[0], "certificate.intent", "unknown"),
        (ids[1], "unknown", "record_event"),
    ]


async def test_a_list_is_bounded_and_so_is_what_the_record_names(pki: OpenAuthority, clock: FixedClock) -> None:
    rows = [
        {"record_id": f"{number:036d}", "record": "{}", "refused_at": clock.now(), "refused_why": "record_event"}
        for number in range(MAX_NAMED * 60)
    ]
    async with pki.database.write() as connection:
        await connection.execute(outbox.insert(), rows)
    found, number = await resending(pki, clock).refused(7)
    assert [item.record_id for item in found] == [str(row["record_id"]) for row in rows[:7]]
    assert number == len(rows)
    # More ids than one question to a database may have.
    ids = [str(row["record_id"]) for row in rows]
    assert await resending(pki, clock).resend(ids, operator("anna")) == ids
    (record,) = await about_resending(pki)
    details = record["objects"][0]["details"]
    assert (details["records"], details["record_ids"]) == (len(rows), ids[:MAX_NAMED])


async def test_following_waits_for_what_the_store_says_and_no_longer(pki: OpenAuthority, clock: FixedClock) -> None:
    store = Store()
    refused = await put_aside(pki, clock, store)
    store.refuses = {}
    again = resending(pki, clock)
    await again.resend(None, operator("anna"))
    looks: list[float] = []

    async def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            await ship(pki, clock, store)

    def states(found: list[OutboxRecord]) -> set[str]:
        return {item.state for item in found}

    assert states(await again.follow(refused, 0, sleep)) == {"waiting"}
    assert looks == []
    assert states(await again.follow(refused, 0.5, sleep)) == {"waiting"}
    assert len(looks) == 2
    assert states(await again.follow(refused, 60, sleep)) == {"taken"}
    assert len(looks) == 3
