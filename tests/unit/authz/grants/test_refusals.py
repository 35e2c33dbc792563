"""A stranger does not fill the log, and hides nothing in it either."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from authz.audit.log import AuditUnavailable
from authz.domain.audit import AuditRecord, EventType
from authz.domain.errors import Refused
from authz.domain.identifiers import Identifier
from authz.domain.reasons import Reason
from authz.edge.tracing import new_trace
from authz.grants.records import RequestContext, endpoint_refused, refused
from authz.grants.refusals import RefusalRecords
from authz.participants.authentication import AuthenticatedClient
from authz.participants.model import Environment, Participant
from tests.fakes.clock import FixedClock

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
UNTRUSTED = Refused(Reason.CERTIFICATE_UNTRUSTED, "no")
CLIENT = AuthenticatedClient(
    Participant(Identifier.parse_subject("uzovi:5000"), "Zorgkantoor", "ZORGKANTOOR", Environment.TST), "x", None
)


@dataclass
class _Log:
    records: list[AuditRecord] = field(default_factory=list)
    full: bool = False

    async def record(self, *records: AuditRecord) -> None:
        if self.full:
            raise AuditUnavailable("the disk is full")
        self.records += records


@pytest.fixture
def log() -> _Log:
    return _Log()


@pytest.fixture
def kept(log: _Log) -> RefusalRecords:
    return RefusalRecords(log, FixedClock(NOW), 12)


async def refuse(
    kept: RefusalRecords,
    address: str = "192.0.2.1",
    refusal: Refused = UNTRUSTED,
    client: AuthenticatedClient | None = None,
    *,
    verified: bool = False,
) -> None:
    context = RequestContext(NOW, new_trace(), address, verified_by_edge=verified)
    await kept.write(refused(refusal, client, None, context), client, context)


async def test_a_stranger_who_asks_a_thousand_times_makes_three_records(log: _Log, kept: RefusalRecords) -> None:
    for _ in range(1000):
        await refuse(kept)
    await kept.tell()
    *each, counted = log.records
    assert [record.users[0].access_point for record in each] == ["192.0.2.1"] * 2
    assert (counted.event_type, counted.reason) == (EventType.TOKEN_REQUEST, "certificate_untrusted")
    assert counted.objects[0].details["count"] == 998
    await kept.tell()
    assert len(log.records) == 3


async def test_each_refusal_of_a_deelnemer_is_recorded(log: _Log, kept: RefusalRecords) -> None:
    for _ in range(100):
        await refuse(kept, client=CLIENT)
    assert len(log.records) == 100
    await kept.tell()
    assert len(log.records) == 100


@pytest.mark.parametrize("verified", [True, False])
@pytest.mark.parametrize(
    "reason",
    [
        Reason.CREDENTIAL_BLOCKED,
        Reason.CREDENTIAL_UNKNOWN,
        Reason.CRL_STALE,
        Reason.OCSP_MISSING,
        Reason.REVOCATIONS_STALE,
        Reason.INTERNAL_ERROR,
        Reason.METHOD_NOT_ALLOWED,
    ],
)
async def test_whom_the_edge_verified_is_no_stranger_when_he_is_blocked_or_we_are_blind(
    log: _Log, kept: RefusalRecords, reason: Reason, *, verified: bool
) -> None:
    for _ in range(20):
        await refuse(kept, refusal=Refused(reason, "no"), verified=verified)
    assert len(log.records) == (20 if verified else 2)


@pytest.mark.parametrize("reason", [Reason.CERTIFICATE_REVOKED, Reason.CERTIFICATE_IDENTITY])
async def test_a_certificate_that_is_no_good_is_a_strangers_though_the_edge_verified_it(
    log: _Log, kept: RefusalRecords, reason: Reason
) -> None:
    for _ in range(20):
        await refuse(kept, refusal=Refused(reason, "no"), verified=True)
    assert len(log.records) == 2


async def test_each_reason_and_each_endpoint_has_a_number_of_its_own(log: _Log, kept: RefusalRecords) -> None:
    for _ in range(2):
        await refuse(kept)
    for _ in range(3):
        await refuse(kept, refusal=Refused(Reason.CERTIFICATE_EXPIRED, "no"))
    context = RequestContext(NOW, new_trace(), "192.0.2.1")
    await kept.write(endpoint_refused(UNTRUSTED, "participants", None, context), None, context)
    log.records.clear()
    await kept.tell()
    assert {(item.event_type, item.reason, item.objects[0].details["count"]) for item in log.records} == {
        (EventType.TOKEN_REQUEST, "certificate_expired", 3),
        (EventType.ENDPOINT_REFUSED, "certificate_untrusted", 1),
    }


@pytest.mark.parametrize(
    ("addresses", "records"),
    [
        ([f"2001:db8::{number:x}" for number in range(1, 50)], 2),
        ([f"2001:db8:0:{number:x}::1" for number in range(1, 50)], 12),
        ([f"192.0.2.{number}" for number in range(1, 50)], 12),
        (["", "not an address", ""], 2),
    ],
)
async def test_many_addresses_of_one_network_are_one_stranger(
    log: _Log, kept: RefusalRecords, addresses: list[str], records: int
) -> None:
    for address in addresses:
        await refuse(kept, address)
    assert len(log.records) == records


async def test_while_the_log_is_full_nothing_is_answered_as_recorded_and_no_number_is_lost(
    log: _Log, kept: RefusalRecords
) -> None:
    log.full = True
    for _ in range(2):
        with pytest.raises(AuditUnavailable):
            await refuse(kept)
    for _ in range(5):
        await refuse(kept)
    with pytest.raises(AuditUnavailable):
        await kept.tell()
    log.full = False
    await kept.tell()
    assert [record.objects[0].details["count"] for record in log.records] == [5]
