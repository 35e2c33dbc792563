"""Who swaps the roster of operators leaves a record, whenever he does it and whatever he puts back afterwards."""

import json
from typing import Any

from sqlalchemy import select, text

from pki.app import OpenAuthority
from pki.audit.records import itself, operator
from pki.audit.rules import RulesRecord, roster_hash
from pki.enrolment.operators.settings import OperatorSettings
from pki.settings import PkiSettings
from pki.store.tables import outbox
from tests.fakes.clock import FixedClock
from tests.fakes.operators import ANNA_KEY, BRAM_KEY, CLARA_KEY

ANNA, BRAM, MALLORY = (person.settings() for person in (ANNA_KEY, BRAM_KEY, CLARA_KEY))


def under(settings: PkiSettings, *operators: OperatorSettings, two: bool = True) -> PkiSettings:
    enrolment = settings.enrolment.model_copy(update={"two_person": two})
    return settings.model_copy(update={"operators": operators, "enrolment": enrolment})


async def told(pki: OpenAuthority) -> list[dict[str, Any]]:
    async with pki.database.read() as connection:
        found = [json.loads(row) for row in (await connection.execute(select(outbox.c.record))).scalars()]
    return [
        record["objects"][0]["details"] | {"by": record["users"][0]["id"]}
        for record in found
        if record["event"]["type"] == "rules.in_force"
    ]


async def start(pki: OpenAuthority, clock: FixedClock, settings: PkiSettings) -> None:
    await RulesRecord(settings, pki.database, clock).started(itself())


async def act(pki: OpenAuthority, clock: FixedClock, settings: PkiSettings) -> None:
    await RulesRecord(settings, pki.database, clock).acted(operator("eve"))


async def test_each_start_tells_what_holds_and_the_first_is_no_change(pki: OpenAuthority, clock: FixedClock) -> None:
    settings = under(pki.settings, ANNA, BRAM)
    await start(pki, clock, settings)
    await start(pki, clock, settings)
    first, second = await told(pki)
    assert first == second
    assert first == {
        "roster": roster_hash(settings),
        "rules": first["rules"],
        "operators": 2,
        "retired": 0,
        "two_persons": ["TST"],
        "occasion": "start",
        "roster_changed": False,
        "rules_changed": False,
        "by": "sluis/pki",
    }


async def test_a_roster_that_is_swapped_between_two_starts_and_put_back_is_seen_both_times(
    pki: OpenAuthority, clock: FixedClock
) -> None:
    honest, swapped = under(pki.settings, ANNA, BRAM), under(pki.settings, ANNA, MALLORY)
    await start(pki, clock, honest)
    # Eve lets two keys of her own vouch, between two starts, and restores the file.
    await act(pki, clock, swapped)
    await act(pki, clock, swapped)
    await act(pki, clock, honest)
    await start(pki, clock, honest)
    found = await told(pki)
    assert [(item["occasion"], item["roster_changed"], item["by"]) for item in found] == [
        ("start", False, "sluis/pki"),
        ("command", True, "operator:eve"),
        ("command", True, "operator:eve"),
        ("start", False, "sluis/pki"),
    ]
    assert (found[1]["roster_before"], found[1]["roster"]) == (roster_hash(honest), roster_hash(swapped))
    assert (found[2]["roster_before"], found[2]["roster"]) == (roster_hash(swapped), roster_hash(honest))
    # The rest of the settings is what it was.
    assert len({item["rules"] for item in found}) == 1
    assert not any("rules_before" in item for item in found)


async def test_a_command_under_the_same_rules_writes_nothing(pki: OpenAuthority, clock: FixedClock) -> None:
    await act(pki, clock, under(pki.settings, ANNA, BRAM))
    await act(pki, clock, under(pki.settings, ANNA, BRAM))
    # The order in the file is nobody's business.
    await act(pki, clock, under(pki.settings, BRAM, ANNA))
    assert len(await told(pki)) == 1


async def test_two_persons_that_are_switched_off_or_an_operator_who_is_retired_is_a_change(
    pki: OpenAuthority, clock: FixedClock
) -> None:
    await start(pki, clock, under(pki.settings, ANNA, BRAM))
    await act(pki, clock, under(pki.settings, ANNA, BRAM, two=False))
    await act(pki, clock, under(pki.settings, ANNA, BRAM.model_copy(update={"retired": True}), two=False))
    _, off, retired = await told(pki)
    assert (off["rules_changed"], off["roster_changed"], off["two_persons"]) == (True, False, [])
    assert (retired["rules_changed"], retired["roster_changed"], retired["retired"]) == (False, True, 1)


async def test_neither_names_nor_keys_stand_in_the_record(pki: OpenAuthority, clock: FixedClock) -> None:
    await start(pki, clock, under(pki.settings, ANNA, BRAM))
    assert ANNA.public_key not in json.dumps(await told(pki))
    assert "anna" not in json.dumps(await told(pki))


async def test_taking_the_remembered_row_away_hides_no_start(pki: OpenAuthority, clock: FixedClock) -> None:
    await start(pki, clock, under(pki.settings, ANNA, BRAM))
    async with pki.database.write() as connection:
        await connection.execute(text("DELETE FROM operating_rules"))
    await start(pki, clock, under(pki.settings, ANNA, MALLORY))
    first, second = await told(pki)
    assert first["roster"] != second["roster"]
