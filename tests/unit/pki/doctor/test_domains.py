"""What an endpoint presents is a stranger's: it ends as a row of the report."""

from dataclasses import dataclass, field
from typing import cast

import pytest

from pki.dnssec.standing import Validator
from pki.doctor.domains import check_dane_of
from pki.doctor.model import Endpoint, Installation, Result
from tests.fakes.dns import NOW, FakeDns

RECORD = {"_443._tcp.register": {"TLSA": [f"3 1 1 {'ab' * 32}"]}}


@dataclass
class Looked:
    """As much of an installation as the check reads."""

    validator: Validator
    need_dane: bool = True
    at: object = field(default=NOW)


@pytest.mark.parametrize("presented", [b"", b"\x30\x00", b"\x30\x03\x02\x01\x01", b"rubbish" * 100])
@pytest.mark.parametrize("records", [RECORD, {"x": ["127.0.0.1"]}])
async def test_what_is_no_certificate_is_a_failure_and_no_exception(
    presented: bytes, records: dict[str, object]
) -> None:
    network = FakeDns({"name": "ciz.nl", "records": records})
    installation = cast("Installation", Looked(network.validator()))
    finding = await check_dane_of(installation, Endpoint("register.ciz.nl", 443), (presented,), ())
    assert finding.result is Result.FAIL
