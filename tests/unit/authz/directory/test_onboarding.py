"""Services at domains that are not secure: a scheme file that would bring one in changes nothing at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from authz.audit.log import AuditUnavailable
from authz.audit.record_format import decode_record
from authz.directory.difference import Change
from authz.directory.model import Service
from authz.directory.onboarding import ServiceGate
from authz.directory.scheme import ServiceEntry
from authz.domain.audit import AuditRecord, EventType, Outcome
from authz.domain.domains import DomainFinding, DomainsNotSecure
from authz.domain.reasons import Reason
from authz.edge.settings import load_settings
from authz.onboarding import DnssecExamination
from authz.operations import Operations
from authz.participants.model import Environment
from authz.settings import AuthzSettings
from authz.store.audit_log import StoredAuditLog
from authz.store.database import Database
from authz.store.directory import StoredDirectory
from authz.store.participants import StoredParticipants
from pki.dnssec import DnssecResult
from tests.fakes.authorization_server import SCHEME, prepare
from tests.fakes.certificates import FakeAuthority
from tests.fakes.clock import FixedClock
from tests.fakes.dns import FakeDns

HOST = {"pep": ["127.0.0.1"], "api": ["127.0.0.1"]}
BAD = {
    "pep.ongetekend.nl": Reason.DOMAIN_INSECURE,
    "pep.fout.nl": Reason.DOMAIN_BOGUS,
    "pop.goed.nl": Reason.DOMAIN_ABSENT,
    "pep.stil.nl": Reason.DOMAIN_UNREACHABLE,
}
CIZ_HOST = "pep.ciz.test.nl"


class Dns:
    """A validator over real signed zones; the holder of test.nl may let it lapse."""

    def __init__(self) -> None:
        self.checked: list[str] = []
        self.serve()

    def serve(self, *, lapsed: bool = False) -> None:
        ciz: Mapping[str, Any] = {"name": "test.nl", "records": {"pep.ciz": ["127.0.0.1"]}}
        self._world = FakeDns(
            {**ciz, "state": "unsigned"} if lapsed else ciz,
            {"name": "goed.nl", "records": HOST},
            {"name": "ongetekend.nl", "state": "unsigned", "records": HOST},
            {"name": "fout.nl", "state": "wrong-ds", "records": HOST},
            {"name": "stil.nl", "records": HOST},
        )
        self._world.tamper["pep.stil.nl.", "A"] = lambda _: None

    async def check(self, name: str, at: datetime, rdtype: str = "A") -> DnssecResult:
        self.checked.append(name)
        return await self._world.validator().check(name, at, rdtype)


@dataclass
class Office:
    """Where stelselbeheer imports its file, and what is stored."""

    folder: Path
    dns: Dns = field(default_factory=Dns)
    clock: FixedClock = field(default_factory=FixedClock)

    def __post_init__(self) -> None:
        self.settings = load_settings(AuthzSettings, prepare(self.folder, FakeAuthority()))
        examination = DnssecExamination(self.dns, self.clock)
        self.operations = Operations(self.settings, self.clock, examination)

    async def take(self, text: str) -> tuple[str, ...]:
        path = self.folder / "taken.toml"
        path.write_text(text)
        done = await self.operations.import_scheme(path)
        return tuple(item.id for item in done.services if item.change is not Change.UNCHANGED)

    async def stored(self) -> tuple[set[str], list[Service], list[AuditRecord]]:
        """Deelnemers, services and records."""
        database = Database(self.settings.database_url, self.clock)
        await database.start()
        try:
            _, participants = await StoredParticipants(database).load()
            _, services = await StoredDirectory(database).load()
            log = StoredAuditLog(database)
            entries = log.entries(0, await log.size())
            records = [decode_record(entry.payload) async for entry in entries if entry.payload is not None]
        finally:
            await database.close()
        return {item.id.subject for item in participants}, list(services), records


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def moved(text: str, host: str) -> str:
    """The file with its service at another host."""
    assert CIZ_HOST in text
    return text.replace(CIZ_HOST, host)


def added(number: int, host: str) -> str:
    """One more service, of the zorgaanbieder."""
    return f"""
[[services]]
organisation = "{number:04d}"
function = "MELDING"
system_role = "MELDING"
holder = "agbcode:01234567"
authorization_endpoint = "https://{host}/melding/{number}"
token_endpoint = "https://authz.test.nl/oauth2/token"
resource_endpoint = "https://intern.ongetekend.nl/melding"
"""


@pytest.mark.parametrize(("host", "reason"), BAD.items())
async def test_a_file_with_a_service_that_is_not_secure_brings_nothing_at_all(
    office: Office, host: str, reason: Reason
) -> None:
    with pytest.raises(DomainsNotSecure) as caught:
        await office.take(moved(SCHEME, host) + added(1, "pep.goed.nl"))
    assert caught.value.reason is reason
    (finding,) = caught.value.findings
    assert (finding.name, finding.reason) == (host, reason)
    assert finding.where
    assert finding.to_do
    participants, services, records = await office.stored()
    assert (participants, services) == (set(), [])
    # One record: that it was refused, why, and for which service.
    (record,) = records
    assert (record.event_type, record.outcome, record.reason) == (
        EventType.DIRECTORY_CHANGE,
        Outcome.REFUSED,
        reason.value,
    )
    assert record.objects[0].identifier == "CIZ_REGISTER_TST"
    assert (record.objects[0].details["domain"], record.objects[0].details["state"]) == (host, finding.state)
    assert record.users[0].id.startswith("operator:")
    # The near miss: the same file with the host that is secure.
    assert len(await office.take(moved(SCHEME, "api.goed.nl") + added(1, "pep.goed.nl"))) == 2


async def test_every_host_is_named_in_one_answer_and_recorded_for_every_service(office: Office) -> None:
    hosts = [*BAD, "pep.goed.nl", "pep.fout.nl"]
    text = SCHEME + "".join(added(number, host) for number, host in enumerate(hosts, 1))
    with pytest.raises(DomainsNotSecure) as caught:
        await office.take(text)
    assert {item.name: item.reason for item in caught.value.findings} == BAD
    assert caught.value.reason is Reason.DOMAIN_BOGUS
    assert "goed.nl is absent" in caught.value.lines()
    assert "pep.goed.nl" not in caught.value.lines()
    _, services, records = await office.stored()
    assert services == []
    assert sorted(record.reason for record in records) == sorted([*(r.value for r in BAD.values()), "domain_bogus"])
    # Each host was asked for once, however many services are there.
    assert sorted(office.dns.checked) == sorted({*hosts, CIZ_HOST})


async def test_a_service_that_is_there_stays_when_its_domain_lapses_and_other_changes_go_on(office: Office) -> None:
    assert await office.take(SCHEME)
    office.dns.serve(lapsed=True)
    office.dns.checked.clear()
    # Blocking somebody does not wait for the domain of somebody else, nor does a new service of another.
    blocked = SCHEME.replace('identity = "uzovi:5000", ', 'identity = "uzovi:5000", blocked = true, ')
    assert await office.take(blocked) == ()
    assert await office.take(blocked + added(1, "pep.goed.nl")) == ("0001_MELDING_TST/MELDING",)
    assert office.dns.checked == ["pep.goed.nl"]
    _, services, _ = await office.stored()
    assert {item.host for item in services} == {CIZ_HOST, "pep.goed.nl"}


async def test_a_change_of_a_service_is_looked_at_like_a_new_one(office: Office) -> None:
    assert await office.take(SCHEME)
    _, before, _ = await office.stored()
    office.dns.serve(lapsed=True)
    # The host stays; only the path behind it changes. Its domain lapsed, so nothing of it is published anew.
    changed = SCHEME.replace("/v2/graphql", "/v3/graphql")
    assert changed != SCHEME
    with pytest.raises(DomainsNotSecure):
        await office.take(changed)
    assert (await office.stored())[1] == before
    office.dns.serve()
    assert await office.take(changed) == ("CIZ_REGISTER_TST/REGISTER",)


async def test_what_changes_beside_a_refused_service_is_not_half_taken(office: Office) -> None:
    await office.take(SCHEME)
    _, _, before = await office.stored()
    renamed = SCHEME.replace('name = "Zorgaanbieder Test"', 'name = "Anders"')
    with pytest.raises(DomainsNotSecure):
        await office.take(renamed + added(1, "pep.fout.nl"))
    _, _, after = await office.stored()
    assert [record.event_type for record in after[len(before) :]] == [EventType.DIRECTORY_CHANGE]
    # Nothing was written: the change of the name is still to be made.
    assert await office.take(renamed) == ()
    assert (await office.stored())[2][-1].event_type is EventType.PARTICIPANT_CHANGE


async def test_a_refusal_that_cannot_be_recorded_passes_nothing() -> None:
    async def away(*_records: AuditRecord) -> None:
        raise AuditUnavailable

    class Never:
        async def examine(self, hosts: Sequence[str]) -> list[DomainFinding]:
            return [DomainFinding(host, Reason.DOMAIN_BOGUS, "found", "there", "That.") for host in hosts]

    entry = ServiceEntry.model_validate(
        {
            "organisation": "0001",
            "function": "MELDING",
            "system_role": "MELDING",
            "holder": "agbcode:01234567",
            "authorization_endpoint": "https://pep.goed.nl/melding",
            "token_endpoint": "https://authz.test.nl/token",
            "resource_endpoint": "https://pep.goed.nl/intern",
        }
    )
    gate = ServiceGate(Never(), lambda *_: None, away)  # type: ignore[arg-type]
    await gate.require_secure([])
    with pytest.raises(AuditUnavailable):
        await gate.require_secure([entry.value(Environment.TST)])
