"""`pki audit` as an operator types it: why authz refused records, and sending them again."""

import asyncio
import json
from pathlib import Path

import pytest
from sqlalchemy import update

from authz.edge.settings import load_settings
from pki.settings import PkiSettings
from pki.store.database import Database
from pki.store.outbox import Outbox
from pki.store.tables import outbox
from tests.fakes.clock import FixedClock
from tests.unit.pki.cli.test_enrolment import CREATE
from tests.unit.pki.cli.test_main import ISSUE, Run, run  # noqa: F401  a fixture
from tests.unit.pki.conftest import NOW

pytestmark = pytest.mark.parametrize("config", ["sqlite"], indirect=True)
PARTY = "Zorgkantoor Test"


def refuse_all(config: Path) -> list[str]:
    """Everything that waits is refused; the ids of the records."""

    async def work() -> list[str]:
        database = Database(load_settings(PkiSettings, config).database.address)
        async with database.write() as connection:
            await connection.execute(update(outbox).values(refused_at=NOW, refused_why="record_event"))
            found = await Outbox(connection).refused(100)
        await database.close()
        return [item.record_id for item in found]

    return asyncio.run(work())


def test_refused_records_are_listed_with_why_and_sent_again(run: Run, config: Path, clock: FixedClock) -> None:  # noqa: F811
    assert run("audit", "list-refused").out == "authz refused nothing\n"
    assert run("audit", "resend", "--all").out == "authz refused nothing\n"
    assert run(*ISSUE, "--new-key", "a.key", "--out", "a.pem").status == 0
    ids = refuse_all(config)
    shown = run("audit", "list-refused")
    lines = shown.out.splitlines()
    assert lines[1].split() == [ids[0], "rules.in_force", "record_event"]
    assert [line.split()[0] for line in lines[1:-1]] == ids
    assert lines[-1] == f"{len(ids)} refused; after the cause is repaired: pki audit resend --all"
    assert max(map(len, lines)) <= 80
    document = json.loads(run("audit", "list-refused", "--json", "--limit", "1").out)
    assert document["refused"] == len(ids)
    (first,) = document["records"]
    assert (first["record_id"], first["reason"], first["refused_at"]) == (
        ids[0],
        "record_event",
        clock.now().isoformat(),
    )
    # What a record says about a party is the audit store's to show.
    assert PARTY not in shown.out + str(document)
    assert "uzovi" not in shown.out + str(document)
    # Nobody ships here: they are on their way, which is told by the exit status.
    some = run("audit", "resend", ids[0], "--wait", "0", "--json")
    assert (some.status, json.loads(some.out)[0]["state"]) == (3, "waiting")
    rest = run("audit", "resend", "--all", "--wait", "0")
    assert [line.split() for line in rest.out.splitlines()[1:]] == [
        [item, event, "waiting"]
        for item, event in zip(ids[1:], ("certificate.intent", "certificate.issue"), strict=True)
    ]
    assert run("audit", "list-refused").out == "authz refused nothing\n"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("resend",), "parameter_missing"),
        (("resend", "--all", "0" * 36), "parameter_missing"),
        (("resend", "0" * 36), "parameter_unknown"),
        (("resend", "--all", "--wait", "601"), "parameter_malformed"),
        (("list-refused", "--limit", "0"), "parameter_malformed"),
    ],
)
def test_what_was_not_meant_sends_nothing(run: Run, config: Path, arguments: tuple[str, ...], code: str) -> None:  # noqa: F811
    assert run(*ISSUE, "--new-key", "a.key", "--out", "a.pem").status == 0
    ids = refuse_all(config)
    refused = run("audit", *arguments)
    assert (refused.status, refused.out, refused.err.split(":")[0]) == (2, "", f"refused ({code})")
    assert json.loads(run("audit", "list-refused", "--json").out)["refused"] == len(ids)


def test_operators_that_a_command_finds_changed_are_recorded_before_it_acts(
    run: Run,  # noqa: F811
    config: Path,
    tmp_path: Path,
) -> None:
    def events() -> list[str]:
        ids = refuse_all(config)
        listed = json.loads(run("audit", "list-refused", "--json").out)["records"]
        assert [item["record_id"] for item in listed] == ids
        return [item["event"] for item in listed]

    assert run(*CREATE).status == 0
    before = run("operator", "list", "--json")
    assert events() == ["rules.in_force", "enrolment.code_create"]
    (tmp_path / "eve.pass").write_text("the passphrase of eve\n")
    (tmp_path / "eve.pass").chmod(0o600)
    made = run("operator", "new", "eve", "--out", "eve.pem", "--operator-passphrase-file", "eve.pass")
    honest = config.read_text()
    config.write_text(f"{honest}\n{made.out}\n")
    assert json.loads(run("operator", "list", "--json").out)["roster"] != json.loads(before.out)["roster"]
    # Looking is no act; working with codes is one, and so is going back.
    assert events()[2:] == []
    assert run("code", "list").status == 0
    assert run("code", "list").status == 0
    assert events()[2:] == ["rules.in_force"]
    config.write_text(honest)
    assert run("code", "list").status == 0
    assert events()[2:] == ["rules.in_force", "rules.in_force"]
    assert f"roster: {json.loads(before.out)['roster']}" in run("operator", "list").out
