"""Between pki and authz, in a whole lab: revocations by the feed alone, and audit records that are sent again."""

import asyncio
import hashlib
import json
import sqlite3
import threading
import tomllib
import urllib.request
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from authz.domain import base64url
from deploy.lab import settings
from deploy.lab.client import Answer
from deploy.lab.network import INDICATIONS, NORTH, SOUTH, Datastation, Party
from deploy.lab.queries import body, indication, variables
from deploy.lab.records import list_records, records_of
from deploy.lab.register.people import indication_id
from deploy.lab.running import RunningLab
from deploy.lab.story.session import Session
from deploy.lab.up import down, up

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]
PATIENCE = 120.0
"""Seconds in which a revocation must have arrived, on a busy machine; the two seconds are test_chain's."""


@dataclass
class Mirror:
    """Hands out the CRLs of the lab's CA, until it is frozen: from then on what it handed out last."""

    origin: str = ""
    frozen: bool = False
    kept: dict[str, bytes] = field(default_factory=dict)

    def crl(self, path: str) -> bytes:
        if not self.frozen or path not in self.kept:
            with urllib.request.urlopen(self.origin + path, timeout=10) as answer:  # noqa: S310  our own loopback
                self.kept[path] = answer.read()
        return self.kept[path]


@dataclass
class World:
    lab: RunningLab
    mirror: Mirror


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    mirror, folder = Mirror(), tmp_path_factory.mktemp("feed") / "lab"

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with suppress(OSError):  # pki is not there yet, or the reader is gone: no answer is one as well
                content = mirror.crl(self.path)
                self.send_response(200)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    made = settings.agent_settings

    def with_mirror(lab: RunningLab, station: Datastation, *more: Any) -> dict[str, Any]:
        document = made(lab, station, *more)
        mirror.origin = settings.pki_url(lab)
        clients = document["clients"]
        clients["crl_urls"] = [
            url.replace(mirror.origin, f"http://127.0.0.1:{server.server_port}") for url in clients["crl_urls"]
        ]
        # Nor by OCSP: what is left is the feed.
        clients["issuers"] = [{"certificate": issuer["certificate"]} for issuer in clients["issuers"]]
        return document

    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(settings, "agent_settings", with_mirror)
            lab = asyncio.run(up(folder))
        yield World(lab, mirror)
    finally:
        left = asyncio.run(down(folder))
        server.shutdown()
        thread.join()
        server.server_close()
    assert not left


def thumbprint(lab: RunningLab, party: Party) -> str:
    leaf = x509.load_pem_x509_certificates(Path(lab.credentials(party).chain).read_bytes())[0]
    return base64url.encode(hashlib.sha256(leaf.public_bytes(Encoding.DER)).digest())


async def listed(lab: RunningLab) -> list[str]:
    """The certificates on authz's feed, as any deelnemer reads it. Its signature is other tests' subject."""
    async with lab.caller(lab.credentials(SOUTH)) as caller:
        answer = await caller.send("GET", f"{lab.authz_url}/revocations")
    assert answer.status == 200
    found: list[str] = json.loads(base64url.decode(answer.text.split(".")[1]))["credentials"]
    return found


async def consult(session: Session, party: Party, token: str) -> Answer:
    content = body(indication(), variables(indication_id(party.identity.value), party.identity.value))
    return await session.consult(party, INDICATIONS, content, token=token)


def test_what_pki_revokes_is_on_the_feed_of_authz_and_refused_by_agents_without_any_newer_crl(world: World) -> None:
    async def work() -> None:
        lab, session = world.lab, Session(world.lab)
        tokens = {party.key: await session.token(party, INDICATIONS, fresh=True) for party in (NORTH, SOUTH)}
        for party in (NORTH, SOUTH):
            assert (await consult(session, party, tokens[party.key])).status == 200
        assert await listed(lab) == []
        world.mirror.frozen = True
        command = await lab.command("pki", "revoke", "--identity", NORTH.identity.subject, "--reason", "keyCompromise")
        assert command.status == 0, command.problem
        async with asyncio.timeout(PATIENCE):
            while (answer := await consult(session, NORTH, tokens[NORTH.key])).status == 200:  # noqa: ASYNC110  there is no event
                await asyncio.sleep(0.05)
        assert answer.status == 403
        assert await listed(lab) == [thumbprint(lab, NORTH)]
        # The agent refused because of the feed, and wrote that down; its CRL still calls the certificate good.
        async with asyncio.timeout(PATIENCE):
            while not (found := await records_of(lab, {answer.trace_id})):  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        assert {record.reason for record in found[answer.trace_id]} == {"credential_revoked"}
        # Nobody else is touched.
        assert (await consult(session, SOUTH, tokens[SOUTH.key])).status == 200
        assert thumbprint(lab, SOUTH) not in await listed(lab)

    asyncio.run(work())


def test_what_authz_refused_is_sent_again_by_the_running_pki_and_is_in_the_log_once(world: World) -> None:
    """The row is marked as an older authz would have had it marked; everything else is what an operator does."""

    async def work() -> None:
        lab = world.lab
        async with asyncio.timeout(PATIENCE):
            # Of the start of `pki serve`: a kind of event that came with this version.
            while not (started := await list_records(lab, "--event", "rules.in_force")):  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        record = started[0].record_id
        mark = (
            "UPDATE outbox SET shipped_at = NULL, refused_at = :at, refused_why = 'record_event' WHERE record_id = :id"
        )
        with closing(sqlite3.connect(database(lab), timeout=60)) as connection, connection:
            row = connection.execute("SELECT shipped_at FROM outbox WHERE record_id = ?", (record,)).fetchone()
            assert connection.execute(mark, {"at": row[0], "id": record}).rowcount == 1
        shown = await lab.command("pki", "audit", "list-refused", "--json")
        listed = json.loads(shown.output)["records"]
        assert [(item["record_id"], item["reason"]) for item in listed] == [(record, "record_event")]
        sent = await lab.command("pki", "audit", "resend", record, "--wait", "300", "--json")
        assert (sent.status, json.loads(sent.output)[0]["state"]) == (0, "taken"), sent.problem
        async with asyncio.timeout(PATIENCE):
            while not (acts := await list_records(lab, "--event", "record.resend")):  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        assert acts[0].objects[0].details["record_ids"] == [record]
        found = await list_records(lab, "--event", "rules.in_force")
        assert [item.record_id for item in found].count(record) == 1

    asyncio.run(work())


def database(lab: RunningLab) -> Path:
    file: str = tomllib.loads(lab.layout.pki_settings.read_text())["database"]["file"]
    return lab.layout.pki_settings.parent / file
