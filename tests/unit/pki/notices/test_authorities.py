"""Roots, CAs and our own certificates end as well: each threshold is told once, and what was replaced is forgotten."""

import asyncio
import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from authz.audit.ingest import SHIPPED
from authz.domain.audit import EventType
from authz.edge.settings import load_settings
from pki.app import OpenAuthority
from pki.audit.records import RecordMaker
from pki.notices.authorities import AuthorityNotices, Ending, endings, samples
from pki.notices.giving import Giver
from pki.settings import PkiSettings
from pki.store.tables import outbox
from tests.fakes.clock import FixedClock

DAYS = (60, 30, 14, 7, 1)


def notices(pki: OpenAuthority, read: Sequence[Ending]) -> AuthorityNotices:
    giver = Giver(RecordMaker("sluis/pki"), "sluis/pki", webhook=True)
    return AuthorityNotices(pki.database, giver, pki.clock, DAYS, lambda: read)


def ending(clock: FixedClock, days: float, *, kind: str = "root_crl", life: float = 366) -> Ending:
    ends = clock.now() + timedelta(days=days)
    return Ending(kind, "root", f"{kind}-{ends:%j}", ends - timedelta(days=life), ends)


async def told(pki: OpenAuthority) -> list[dict[str, Any]]:
    async with pki.database.read() as connection:
        rows = (await connection.execute(select(outbox.c.record).order_by(outbox.c.id))).scalars()
        records = [json.loads(row) for row in rows]
    return [item["objects"][0]["details"] for item in records if item["event"]["type"] == "authority.expires"]


async def test_a_root_crl_is_noticed_once_at_each_threshold_by_whoever_looks(
    pki: OpenAuthority, clock: FixedClock
) -> None:
    crl = ending(clock, 62)
    processes = [notices(pki, [crl]) for _ in range(3)]
    for _ in range(64):
        await asyncio.gather(*(item.look() for item in processes))
        clock.advance(days=1)
    given = await told(pki)
    assert [item["threshold_days"] for item in given] == list(DAYS)
    assert given[0]["kind"] == "root_crl"
    assert given[-1]["days_left"] == 1


async def test_another_document_of_the_same_name_has_thresholds_of_its_own(
    pki: OpenAuthority, clock: FixedClock
) -> None:
    found = [ending(clock, 5)]
    looking = notices(pki, found)
    assert await looking.look() == 1
    found[0] = ending(clock, 6)
    assert await looking.look() == 1
    found[0] = ending(clock, 200)
    assert await looking.look() == 0


async def test_what_lives_shorter_than_a_threshold_is_not_noticed_when_it_is_made(
    pki: OpenAuthority, clock: FixedClock
) -> None:
    assert await notices(pki, [ending(clock, 29, life=29)]).look() == 0
    assert await notices(pki, [ending(clock, 13, life=29)]).look() == 1


@pytest.mark.parametrize("config", ["sqlite"], indirect=True)
def test_every_file_of_a_ceremony_is_watched_and_measured(
    settings: PkiSettings, config: Path, clock: FixedClock
) -> None:
    text = config.read_text()
    root = settings.root.certificate
    config.write_text(f'{text}\n[tls]\nport = 1\ncertificate = "{root}"\nkey = "{root}"\n')
    found = endings(load_settings(PkiSettings, config))
    kinds = [(item.kind, item.name) for item in found]
    assert kinds == [
        ("ca_certificate", "root"),
        ("root_crl", "root"),
        ("ca_certificate", "issuing-tst"),
        ("tls_certificate", "tls"),
    ]
    seconds = {labels["kind"]: value for _, labels, value in samples(found, clock.now())}
    assert min(seconds.values()) > 0
    assert seconds["root_crl"] < seconds["ca_certificate"]


@pytest.mark.parametrize("config", ["sqlite"], indirect=True)
def test_a_file_that_is_gone_hides_no_other(settings: PkiSettings, config: Path, tmp_path: Path) -> None:
    missing = settings.model_copy(update={"root": settings.root.model_copy(update={"crl": tmp_path / "gone.crl"})})
    assert [item.kind for item in endings(missing)] == ["ca_certificate", "ca_certificate"]
    assert config.exists()


def test_the_log_of_authz_takes_these_notices() -> None:
    assert EventType.AUTHORITY_EXPIRES in SHIPPED["pki"]
