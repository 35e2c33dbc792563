"""Naming certificates: what says nothing must not mean everything."""

import json
from pathlib import Path

import pytest

from authz.domain.errors import Refused
from authz.domain.identifiers import Identifier
from authz.domain.reasons import Reason
from pki.app import OpenAuthority
from pki.audit.records import operator
from pki.enrolment.requests import parse_request
from pki.issuing import Holder
from pki.revocation.crl import RevocationReason
from pki.selecting import read_serial
from pki.store.register import Registered
from tests.fakes.requests import request_der
from tests.unit.pki.cli.test_main import ISSUE, Run, run  # noqa: F401  a fixture

NOTHING = ("", " ", "0x", "0", "00", "0x0", "0x00", ":", "00:00", "\t")
ODD = ("zz", "0xzz", "12 34", "1%", "*", "a:b", "12:3", "12::34", ":12", "12:", "-1", "f" * 65, "1\x00", "--")


@pytest.mark.parametrize("text", [*NOTHING, *ODD])
def test_what_is_no_serial_number_is_refused(text: str) -> None:
    with pytest.raises(Refused) as caught:
        read_serial(text)
    assert caught.value.reason is Reason.PARAMETER_MALFORMED


@pytest.mark.parametrize(
    "text", ["4d2a", "4D2A", "0x4d2a", "0X4D2A", "004d2a", "4d:2a", "00:4D:2A", "  4d2a\n", "0x004d2a"]
)
def test_a_serial_number_is_read_as_people_have_it(text: str) -> None:
    assert read_serial(text) == "4d2a"


async def _issued(pki: OpenAuthority, identity: str) -> Registered:
    holder = Holder(Identifier.parse_subject(identity), "Test", "12345678", ())
    return (await pki.issue(holder, parse_request(request_der()), operator("anna"))).registered


@pytest.mark.parametrize("config", ["sqlite"], indirect=True)
async def test_a_selector_that_says_nothing_revokes_nothing(pki: OpenAuthority) -> None:
    first = await _issued(pki, "uzovi:5000")
    other = await _issued(pki, "uzovi:5001")
    reason = RevocationReason.CESSATION_OF_OPERATION
    for text in NOTHING:
        with pytest.raises(Refused, match="parameter_malformed"):
            await pki.revoke(reason, operator("anna"), serial_number=text)
        with pytest.raises(Refused, match="parameter_malformed"):
            await pki.find(serial_number=text)
    with pytest.raises(Refused, match="parameter_missing"):
        await pki.revoke(reason, operator("anna"))
    # The certificate of somebody else, or of another environment, is not the one that was meant.
    for narrowed in ({"identifier": other.identifier}, {"environment": "ACC"}):
        with pytest.raises(Refused, match="certificate_unknown"):
            await pki.revoke(reason, operator("anna"), serial_number=first.serial_number, **narrowed)
    assert [item.status for item in await pki.find()] == ["active", "active"]
    await pki.revoke(reason, operator("anna"), serial_number=f"0x{first.serial_number.upper()}")
    assert [item.status for item in await pki.find()] == ["revoked", "active"]


@pytest.mark.parametrize("config", ["sqlite"], indirect=True)
async def test_a_serial_number_of_two_cas_is_not_guessed_about(
    pki: OpenAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await _issued(pki, "uzovi:5000")
    other = await _issued(pki, "uzovi:5001")

    async def both(*_: object, **__: object) -> list[Registered]:
        return [first, other]

    monkeypatch.setattr(OpenAuthority, "find", both)
    with pytest.raises(Refused, match="several CAs"):
        await pki.revoke(RevocationReason.SUPERSEDED, operator("anna"), serial_number=first.serial_number)
    monkeypatch.undo()
    assert [item.status for item in await pki.find()] == ["active", "active"]


@pytest.mark.parametrize("config", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        *((("revoke", "--serial", text), "hexadecimal") for text in ("", " ", "0x", "zz")),
        *((("list", "--serial", text), "hexadecimal") for text in ("", "zz")),
        (("list", "--status", "bar"), "active, superseding, revoked, expired, issuing, renewing"),
        (("list", "--status", ""), "active, superseding"),
        (("list", "--environment", "foo"), "PRD, TST, ACC"),
        (("list", "--environment", ""), "PRD, TST, ACC"),
        (("revoke", "--identity", "uzovi:5000", "--environment", "foo"), "PRD, TST, ACC"),
        (("revoke", "--identity", ""), "--identity"),
    ],
)
def test_on_the_command_line_too(arguments: tuple[str, ...], said: str, run: Run, tmp_path: Path) -> None:  # noqa: F811
    assert run(*ISSUE, "--new-key", "a.key", "--out", "a.pem").status == 0
    refused = run(*arguments)
    assert (refused.status, refused.out) == (2, "")
    assert refused.err.startswith("refused (parameter_malformed): ")
    assert said in refused.err
    [left] = json.loads(run("list", "--json").out)
    assert left["status"] == "active"
    assert (tmp_path / "a.pem").exists()
