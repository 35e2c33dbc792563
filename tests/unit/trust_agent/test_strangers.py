"""What strangers cause is a bounded part of the log, and its numbers are exact."""

from datetime import timedelta

import pytest

from authz.audit.record_format import decode_record, encode_record
from authz.domain.audit import EventType, Outcome
from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from tests.fakes.certificates import NOW
from tests.fakes.clock import FixedClock
from trust_agent.strangers import Strangers

SOURCE = "sluis/trust-agent/test"


class Log:
    """A journal in memory that takes so many records."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []
        self.room = 1_000

    async def append(self, payload: bytes) -> None:
        if len(self.payloads) >= self.room:
            raise Refused(Reason.JOURNAL_UNAVAILABLE, "full")
        self.payloads.append(payload)

    def counts(self) -> list[tuple[str, int]]:
        """Reasons and numbers that were told."""
        records = [decode_record(payload) for payload in self.payloads]
        return [(record.reason, record.objects[0].details["count"]) for record in records]


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def strangers(log: Log) -> Strangers:
    return Strangers(log, FixedClock(NOW), SOURCE, 60)


def refuse(strangers: Strangers, times: int, address: str, *, reason: Reason = Reason.CERTIFICATE_MISSING) -> int:
    """Refuse so often; how many of them get a record."""
    return sum(strangers.gets_record(reason, address, NOW) for _ in range(times))


@pytest.mark.parametrize("address", ["203.0.113.9:{}", "[2001:db8::{:x}]:443", "2001:db8::{:x}:443", "{}", ""])
def test_one_stranger_gets_a_sixth_whatever_port_or_address_of_his_network_he_uses(
    strangers: Strangers, address: str
) -> None:
    assert sum(refuse(strangers, 1, address.format(number)) for number in range(1, 1_000)) == 10
    assert refuse(strangers, 20, "198.51.100.7:1") == 10


def test_all_strangers_together_get_so_many_a_minute(strangers: Strangers) -> None:
    assert sum(refuse(strangers, 20, f"203.0.113.{number}:1") for number in range(200)) == 60
    assert strangers.gets_record(Reason.CERTIFICATE_MISSING, "203.0.113.1:1", NOW + timedelta(minutes=1))


async def test_the_others_are_told_once_by_their_number(strangers: Strangers, log: Log) -> None:
    await strangers.tell()
    assert not log.payloads
    refuse(strangers, 15, "203.0.113.9:1")
    refuse(strangers, 7, "203.0.113.9:1", reason=Reason.NOT_FOUND)
    await strangers.tell()
    await strangers.tell()
    assert sorted(log.counts()) == [("certificate_missing", 5), ("not_found", 7)]
    record = decode_record(log.payloads[0])
    assert encode_record(record) == log.payloads[0]
    assert (record.event_type, record.outcome) == (EventType.ACCESS_DECISION, Outcome.REFUSED)
    assert (record.source, record.users[0].id, record.users[0].access_point) == (SOURCE, "unknown", None)


async def test_what_could_not_be_told_is_told_later_and_nothing_twice(strangers: Strangers, log: Log) -> None:
    for reason in (Reason.CERTIFICATE_MISSING, Reason.NOT_FOUND, Reason.CONTENT_TYPE):
        refuse(strangers, 20, "203.0.113.9:1", reason=reason)
    log.room = 1
    with pytest.raises(Refused):
        await strangers.tell()
    log.room = 1_000
    refuse(strangers, 1, "203.0.113.9:1", reason=Reason.NOT_FOUND)
    await strangers.tell()
    totals: dict[str, int] = {}
    for reason_code, number in log.counts():
        totals[reason_code] = totals.get(reason_code, 0) + number
    assert totals == {"certificate_missing": 10, "not_found": 21, "content_type": 20}
