"""Real sockets on the loopback: truncation, silence, forgery; and the lab's name server itself."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import dns.asyncquery
import dns.flags
import dns.message
import dns.name
import dns.query
import pytest
from dns.rdatatype import RdataType

from authz.domain.errors import InvalidValue
from deploy.lab.dns import Responder, Server, parse_config
from deploy.lab.dns.server import as_datagram
from pki.dnssec import ChainValidator, DnssecState, Resolver, ResolverUnreachable
from pki.dnssec.transport import question
from tests.fakes.dns import NOW, FakeDns, name

BIG = {"TXT": [f'"{letter * 200}"' for letter in "abcdefgh"]}
HOST = {"name": "ciz.nl", "records": {"register": ["127.0.0.1"], "big": BIG}}


@pytest.fixture
async def network() -> AsyncIterator[tuple[FakeDns, Server]]:
    dns_ = FakeDns(HOST)
    async with Server(dns_.responder) as server:
        yield dns_, server


def validator(dns_: FakeDns, *ports: int, patience: float = 30) -> ChainValidator:
    """With little patience only where silence is the point: who answers may be slow."""
    resolver = Resolver([("127.0.0.1", port) for port in ports], timeout=patience, rounds=1)
    return ChainValidator(resolver=resolver, anchors=dns_.anchors())


async def test_a_truncated_answer_is_asked_again_over_tcp(network: tuple[FakeDns, Server]) -> None:
    dns_, server = network
    query = question(name("big.ciz.nl."), RdataType.TXT)
    datagram = await dns.asyncquery.udp(query, "127.0.0.1", 30, server.port)
    assert datagram.flags & dns.flags.TC
    assert not datagram.answer
    result = await validator(dns_, server.port).check("big.ciz.nl", NOW, "TXT")
    assert result.state is DnssecState.SECURE
    assert len(result.records) == 8


class Deaf:
    """Takes questions, answers none."""

    def __init__(self) -> None:
        self.heard = 0

    def respond(self, query: dns.message.Message) -> None:  # noqa: ARG002  the protocol
        self.heard += 1


async def test_a_silent_server_is_unreachable(network: tuple[FakeDns, Server]) -> None:
    dns_, server = network
    deaf = Deaf()
    async with Server(deaf) as silent:
        result = await validator(dns_, silent.port, patience=0.2).check("register.ciz.nl", NOW)
        assert result.state is DnssecState.UNREACHABLE
        assert result.message == f"no answer from resolver 127.0.0.1:{silent.port} for ./DNSKEY"
        assert deaf.heard == 1
        both = await validator(dns_, silent.port, server.port, patience=2).check("register.ciz.nl", NOW)
        assert both.state is DnssecState.SECURE
        assert deaf.heard == 2


async def test_a_closed_port_is_unreachable(network: tuple[FakeDns, Server]) -> None:
    dns_, server = network
    await server.stop()
    result = await validator(dns_, server.port).check("register.ciz.nl", NOW)
    assert result.state is DnssecState.UNREACHABLE


class Forger(asyncio.DatagramProtocol):
    """Answers each question first with rubbish, a wrong id and a wrong question, then honestly."""

    def __init__(self, responder: Responder) -> None:
        self._responder = responder

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        honest = as_datagram(query, self._responder.respond(query))
        other_id = bytes([honest[0] ^ 0xFF]) + honest[1:]
        other_question = dns.message.make_response(question(name("evil.nl."), RdataType.A))
        other_question.id = query.id
        for wire in (b"", b"\x00" * 5, b"\xff" * 200, other_id, other_question.to_wire(), honest):
            self._transport.sendto(wire, addr)  # type: ignore[attr-defined]


async def test_forged_and_malformed_datagrams_are_passed_over() -> None:
    dns_ = FakeDns(HOST)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: Forger(dns_.responder), local_addr=("127.0.0.1", 0))
    try:
        port = transport.get_extra_info("sockname")[1]
        assert (await validator(dns_, port).check("register.ciz.nl", NOW)).state is DnssecState.SECURE
    finally:
        transport.close()


async def test_questions_ask_for_dnssec_without_the_resolvers_validation() -> None:
    query = question(name("ciz.nl."), RdataType.A)
    assert query.flags & dns.flags.CD
    assert query.flags & dns.flags.RD
    assert query.ednsflags & dns.flags.DO
    assert query.payload == 1232


def test_a_resolver_needs_an_address() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Resolver([])


async def test_no_answer_names_the_resolver() -> None:
    async with Server(Deaf()) as silent:
        with pytest.raises(ResolverUnreachable, match=f"127.0.0.1:{silent.port}"):
            await Resolver([("127.0.0.1", silent.port)], timeout=0.05, rounds=1).ask(dns.name.root, RdataType.NS)


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ("{", "not JSON"),
        ("[]", "zones"),
        ('{"zones": [{"name": "a..b"}]}', r"zones\[0\]"),
        ('{"zones": [{"name": "a.nl", "sate": "secure"}]}', "unknown key sate"),
        ('{"zones": [{"name": "a.nl", "state": "fine"}]}', "fine"),
        ('{"zones": [{"name": "a.nl", "algorithm": 5}]}', "algorithm"),
        ('{"zones": [{"name": "a.nl", "records": {"@": "127.0.0.1"}}]}', r"records\.@"),
        ('{"zones": [{"name": "a.nl"}, {"name": "A.nl."}]}', "twice"),
    ],
)
def test_a_wrong_lab_configuration_is_refused_with_its_place(config: str, problem: str) -> None:
    with pytest.raises(InvalidValue, match=problem):
        parse_config(config)


async def test_the_lab_server_runs_as_a_program(tmp_path: Path) -> None:
    config, anchor = tmp_path / "zones.json", tmp_path / "anchor.txt"
    config.write_text(json.dumps({"zones": [HOST]}))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy.lab.dns"),
        *("--config", str(config), "--anchor-out", str(anchor)),
        cwd=Path(__file__).parents[4],
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        port = int(line.rpartition(":")[2])
        dns_anchor = anchor.read_text()
        assert dns_anchor.startswith(". IN DS ")
        reply = await dns.asyncquery.udp(question(name("register.ciz.nl."), RdataType.A), "127.0.0.1", 30, port)
        assert reply.answer
    finally:
        process.terminate()
        await process.communicate()
        assert process.returncode == 0
