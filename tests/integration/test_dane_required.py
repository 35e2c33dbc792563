"""DANE that is required of one deelnemer: a real name server, a real TLS endpoint, and the token endpoint.

Shared `spec/dnssec.md`, "DANE"; cases/oauth.md 74: nothing but the endpoint is ever connected to.
"""

import asyncio
import signal
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import dns.message
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from authz import dane
from authz.dane import EndpointEye
from authz.directory import endpoints
from authz.domain.audit import EventType
from authz.domain.reasons import Reason
from deploy.lab.dns import Server
from deploy.lab.layout import DNS
from deploy.lab.network import INDICATIONS, NORTH
from deploy.lab.records import list_records
from deploy.lab.up import LabOptions, down, up
from pki.dnssec.choosing import AnchoredValidator
from pki.dnssec.dane import tlsa_for
from pki.dnssec.transport import Resolver
from tests.fakes.authorization_server import AUDIENCE, CIZ, SCHEME, AuthorizationServer, authorization_server
from tests.fakes.certificates import FakeAuthority, FakeCertificate
from tests.fakes.dns import FakeDns, strip
from tests.fakes.tls import TlsEndpoint, tls_endpoint

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
HOST = "pep.ciz.test.nl"
HOUR = 3600.0
LAB = ("127.0.0.0/8",)
AUTHORITY = FakeAuthority()
LEAF, OTHER = (AUTHORITY.issue(CIZ, dns=(HOST,)) for _ in range(2))


@dataclass
class Names:
    """What the name server answers at this moment."""

    network: FakeDns = field(default_factory=FakeDns)
    tamper: Callable[[dns.message.Message], dns.message.Message | None] = field(default=lambda answer: answer)

    def respond(self, query: dns.message.Message) -> dns.message.Message | None:
        return self.tamper(self.network.responder.respond(query))

    def serve(self, port: int, *certificates: FakeCertificate, **zone: Any) -> None:
        """The zone of the endpoint, with a TLSA record for each certificate."""
        records: dict[str, Any] = {"pep": ["127.0.0.1"]} | zone.pop("records", {})
        if certificates:
            records[f"_{port}._tcp.pep"] = {"TLSA": [tlsa_for(item.der) for item in certificates]}
        others = zone.pop("others", ())
        self.network = FakeDns({"name": "ciz.test.nl", "records": records} | zone, *others)


@dataclass
class Network:
    """All of it."""

    names: Names
    endpoint: TlsEndpoint
    authz: AuthorizationServer
    stack: ExitStack
    seconds: float = 0.0

    @property
    def port(self) -> int:
        return self.endpoint.port

    async def look(self, later: float = 0) -> Reason | None:
        """Look once more after some time, then ask for a token; returns why there is none."""
        self.seconds += later
        await self.authz.server.care.endpoints.look()
        return await self.ask()

    async def ask(self) -> Reason | None:
        audience = AUDIENCE.replace(HOST, f"{HOST}:{self.port}")
        answer = await self.authz.iwlz(audience=audience)
        listed = (await self.authz.send("GET", "/directory/v1/services")).json()
        assert bool(listed) == (answer.status_code == 200)
        if answer.status_code == 200:
            return None
        assert answer.status_code == 403
        refusals = [r for r in await self.authz.records() if r.event_type is EventType.TOKEN_REQUEST]
        return Reason(refusals[-1].reason)

    def leave(self) -> None:
        """Nobody listens any more."""
        self.stack.close()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as found:
        yield found


@pytest.fixture
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look counts as quick: how long one takes says something about the machine, and about nobody here."""
    monkeypatch.setattr(endpoints, "QUICK_LOOK", 60.0)
    monkeypatch.setattr(endpoints, "_Seen", partial(endpoints._Seen, patience=60.0))


@pytest.fixture
async def network(
    tmp_path: Path, stack: ExitStack, request: pytest.FixtureRequest, _patient: None
) -> AsyncIterator[Network]:
    networks, version = getattr(request, "param", (LAB, ssl.TLSVersion.TLSv1_3))
    # As a trust agent: no client gets in without a certificate of the network.
    endpoint = stack.enter_context(tls_endpoint(LEAF, version, clients=AUTHORITY))
    names = Names()
    async with Server(names) as server:
        # An answer comes from this process: it is only late where the machine is busy.
        resolver = Resolver([("127.0.0.1", server.port)], timeout=30, rounds=1)
        # The zones are made anew with each change, with other keys.
        validator = AnchoredValidator(resolver, lambda: names.network.anchors())  # noqa: PLW0108  the network of then
        async with authorization_server(tmp_path) as authz:
            found = Network(names, endpoint, authz, stack)
            watch = authz.server.care.endpoints
            watch._eye = EndpointEye(validator, authz.clock, networks)
            watch._monotonic, watch._pause = lambda: found.seconds, 0
            scheme = SCHEME.replace('name = "CIZ"', 'name = "CIZ"\ndane = "required"')
            (tmp_path / "required.toml").write_text(scheme.replace(HOST, f"{HOST}:{endpoint.port}"))
            await authz.operations.import_scheme(tmp_path / "required.toml")
            await authz.changed()
            assert await found.ask() is Reason.DANE_UNCHECKED
            yield found


@pytest.mark.parametrize(
    "network", [(LAB, version) for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)], indirect=True
)
async def test_an_endpoint_that_fits_its_tlsa_record_gets_tokens(network: Network) -> None:
    network.names.serve(network.port, LEAF)
    assert await network.look() is None
    assert (network.endpoint.connections, network.endpoint.received) == (1, b"")
    # Asking for tokens connects to nothing.
    assert [await network.ask() for _ in range(3)] == [None] * 3
    assert network.endpoint.connections == 1


async def test_a_tlsa_record_of_another_key_refuses(network: Network) -> None:
    network.names.serve(network.port, OTHER)
    assert await network.look() is Reason.DANE_MISMATCH
    assert network.endpoint.connections == 1
    network.names.serve(network.port, OTHER, LEAF)
    assert await network.look(HOUR) is None


@pytest.mark.parametrize(
    ("zone", "reason"),
    [
        ({"state": "unsigned"}, Reason.DANE_ABSENT),
        ({"state": "no-ds"}, Reason.DANE_ABSENT),
        ({"state": "wrong-ds"}, Reason.DANE_FAILED),
        ({"state": "expired"}, Reason.DANE_FAILED),
    ],
)
async def test_tlsa_records_of_a_zone_that_is_not_secure_refuse_unseen(
    network: Network, zone: dict[str, Any], reason: Reason
) -> None:
    network.names.serve(network.port, LEAF, **zone)
    assert await network.look() is reason
    assert network.endpoint.connections == 0


async def test_no_tlsa_record_refuses_unseen(network: Network) -> None:
    network.names.serve(network.port)
    assert await network.look() is Reason.DANE_ABSENT
    network.names.serve(network.port + 1, LEAF)
    assert await network.look(HOUR) is Reason.DANE_ABSENT
    assert network.endpoint.connections == 0


@pytest.mark.parametrize("taken", ["signature", "answer"])
async def test_a_tlsa_record_that_somebody_stripped_refuses_unseen(network: Network, taken: str) -> None:
    network.names.serve(network.port, LEAF)
    owner = f"_{network.port}._tcp.{HOST}."

    def tamper(answer: dns.message.Message) -> dns.message.Message:
        if str(answer.question[0].name) == owner:
            strip(answer, owner, "TLSA")
            if taken == "answer":
                answer.answer.clear()
        return answer

    network.names.tamper = tamper
    assert await network.look() is Reason.DANE_FAILED
    assert network.endpoint.connections == 0


@pytest.mark.parametrize("network", [((), ssl.TLSVersion.TLSv1_3)], indirect=True)
async def test_a_name_that_leads_inside_is_not_connected_to(network: Network) -> None:
    network.names.serve(network.port, LEAF)
    assert await network.look() is Reason.DANE_ADDRESS
    # Nor when another address is fine.
    network.names.serve(network.port, LEAF, records={"pep": ["127.0.0.1", "9.9.9.9"]})
    assert await network.look(HOUR) is Reason.DANE_ADDRESS
    assert network.endpoint.connections == 0


@pytest.mark.parametrize("address", ["169.254.169.254", "0.0.0.0", "224.0.0.1", "10.0.0.1"])  # noqa: S104  never bound
async def test_an_address_beyond_the_named_networks_is_not_connected_to(network: Network, address: str) -> None:
    network.names.serve(network.port, LEAF, records={"pep": ["127.0.0.1", address]})
    assert await network.look() is Reason.DANE_ADDRESS
    assert network.endpoint.connections == 0


@pytest.mark.parametrize(("state", "reason"), [("secure", None), ("unsigned", Reason.DANE_FAILED)])
async def test_an_alias_must_be_secure_to_its_end(network: Network, state: str, reason: Reason | None) -> None:
    elsewhere = {"name": "hosting.nl", "state": state, "records": {"edge": ["127.0.0.1"]}}
    alias = {"pep": {"CNAME": ["edge.hosting.nl."]}}
    network.names.serve(network.port, LEAF, records=alias, others=[elsewhere])
    assert await network.look() is reason
    assert network.endpoint.connections == (reason is None)


async def test_every_address_that_answers_must_fit(network: Network, stack: ExitStack) -> None:
    network.names.serve(network.port, LEAF, records={"pep": ["127.0.0.1", "127.0.0.2"]})
    assert await network.look() is None
    second = stack.enter_context(tls_endpoint(OTHER, address=("127.0.0.2", network.port)))
    assert await network.look(HOUR) is Reason.DANE_MISMATCH
    second.present(LEAF)
    assert await network.look(HOUR) is None


async def test_an_endpoint_that_can_not_be_reached_keeps_its_match_for_two_hours(network: Network) -> None:
    network.names.serve(network.port, LEAF)
    assert await network.look() is None
    network.leave()
    assert await network.look(HOUR) is None
    assert await network.look(HOUR) is None
    assert await network.look(1) is Reason.DANE_UNREACHABLE
    changes = [r for r in await network.authz.records() if r.event_type is EventType.DOMAIN_STANDING]
    assert [change.objects[0].details for change in changes] == [{"dane": "unreachable", "before": "matched"}]
    assert changes[0].objects[0].identifier == f"{HOST}:{network.port}"


async def test_a_certificate_is_rolled_by_publishing_its_record_first(network: Network) -> None:
    network.names.serve(network.port, LEAF)
    assert await network.look() is None
    network.names.serve(network.port, LEAF, OTHER)
    assert await network.look(HOUR) is None
    network.endpoint.present(OTHER)
    assert await network.look(HOUR) is None
    network.names.serve(network.port, OTHER)
    assert await network.look(HOUR) is None
    # The near miss: the certificate first. It is looked at twice before it is believed.
    before = network.endpoint.connections
    network.endpoint.present(LEAF)
    assert await network.look(HOUR) is Reason.DANE_MISMATCH
    assert network.endpoint.connections == before + 2


async def test_a_name_server_that_is_silent_is_no_mismatch(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    network.names.serve(network.port, LEAF)
    assert await network.look() is None
    network.names.tamper = lambda _: None
    with monkeypatch.context() as patch:
        patch.setattr(dane, "LOOK_SECONDS", 0.5)  # silence is known at once
        assert await network.look(HOUR) is None
    network.names.tamper = lambda answer: answer
    assert await network.look(HOUR) is None


@pytest.mark.timeout(900)
async def test_in_the_lab_another_record_ends_tokens_and_the_right_one_brings_them_back(
    tmp_path: Path,
) -> None:
    """Real processes: authz sees the change of the scheme by itself, and the repaired zone within a minute."""
    folder = tmp_path / "lab"
    lab = await up(folder, LabOptions())
    try:
        zones = lab.layout.zones.read_text()
        holder = x509.load_pem_x509_certificate(lab.credentials(INDICATIONS.party).chain.read_bytes())
        own = tlsa_for(holder.public_bytes(Encoding.DER))

        async def publish(text: str) -> None:
            lab.layout.zones.write_text(text)
            lab.state.processes[DNS].signal(signal.SIGHUP)

        async def require(rule: str) -> None:
            scheme = lab.layout.scheme.read_text().replace('"required"', f'"{rule}"')
            lab.layout.scheme.with_name("changed.toml").write_text(scheme)
            changed = await lab.command("authz", "scheme", "import", str(lab.layout.scheme.with_name("changed.toml")))
            assert changed.status == 0, changed.problem

        async def until(status: int, text: str, seconds: float = 120) -> None:
            async with asyncio.timeout(seconds), lab.caller(lab.credentials(NORTH)) as caller:
                while True:
                    answer = await caller.token_iwlz(lab.iwlz_token, INDICATIONS.scopes[0], lab.audience(INDICATIONS))
                    if (answer.status, text in answer.text) == (status, True):
                        return
                    await asyncio.sleep(0.1)

        await until(200, "access_token")
        assert zones.count(own) == 1
        await publish(zones.replace(own, f"3 1 1 {'ab' * 32}"))
        # A match is not looked at for an hour; when it was not required meanwhile, it is new.
        await require("optional")
        await until(200, "access_token")
        # Nothing tells that it is forgotten; authz asks four times a second. If it was too busy to, once more.
        for pause in (1.5, 5, 15):
            await asyncio.sleep(pause)
            await require("required")
            with suppress(TimeoutError):
                await until(403, "fits no TLSA record", 20)
                break
            await require("optional")
            await until(200, "access_token")
        else:
            pytest.fail("another TLSA record changed nothing")
        await publish(zones)
        await until(200, "access_token")
        reasons = {record.reason for record in await list_records(lab, "--event", EventType.TOKEN_REQUEST.value)}
        assert Reason.DANE_MISMATCH in reasons
    finally:
        await down(folder)
