"""The scheme file: all problems at once, nothing half imported, nothing imported twice."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from authz.directory.difference import Change
from authz.domain.audit import EventType
from authz.domain.errors import InvalidValue
from authz.edge.settings import SettingsError
from tests.fakes.authorization_server import CIZ, SCHEME, ZORGKANTOOR, AuthorizationServer, authorization_server

pytestmark = pytest.mark.asyncio(loop_scope="module")
CHANGES = {EventType.PARTICIPANT_CHANGE, EventType.DIRECTORY_CHANGE}


@pytest_asyncio.fixture(loop_scope="module")
async def authz(tmp_path: Path) -> AsyncIterator[AuthorizationServer]:
    async with authorization_server(tmp_path) as server:
        yield server


async def scheme(authz: AuthorizationServer, text: str) -> Path:
    path = authz.settings.state_dir.parent / "changed.toml"
    path.write_text(text)
    return path


async def test_importing_again_changes_and_records_nothing(authz: AuthorizationServer, tmp_path: Path) -> None:
    before = await authz.records()
    assert sum(record.event_type in CHANGES for record in before) == 6
    done = await authz.operations.import_scheme(tmp_path / "scheme.toml")
    assert done.changed == ()
    assert {item.change for item in (*done.participants, *done.services)} == {Change.UNCHANGED}
    assert await authz.records() == before


async def test_a_change_is_recorded_and_seen_by_the_running_server(authz: AuthorizationServer) -> None:
    assert (await authz.oauth()).status_code == 200
    blocked = SCHEME.replace('identity = "uzovi:5000", ', 'identity = "uzovi:5000", blocked = true, ')
    done = await authz.operations.import_scheme(await scheme(authz, blocked))
    assert done.changed == (ZORGKANTOOR,)
    (change,) = done.participants[0].fields
    assert (done.participants[0].change, change.name) == (Change.CHANGED, "credentials")
    assert (change.before[0]["blocked"], change.after[0]["blocked"]) == (False, True)
    record = await authz.last_record()
    assert (record.event_type, record.objects[0].identifier) == (EventType.PARTICIPANT_CHANGE, ZORGKANTOOR)
    assert record.users[0].id.startswith("operator:")
    await authz.changed()
    assert (await authz.oauth()).status_code == 401


async def test_requiring_dane_of_a_deelnemer_is_a_change_with_its_record(authz: AuthorizationServer) -> None:
    demanded = SCHEME.replace('name = "CIZ"', 'name = "CIZ"\ndane = "required"')
    done = await authz.operations.import_scheme(await scheme(authz, demanded))
    assert done.changed == (CIZ,)
    assert (await authz.last_record()).objects[0].details["dane"] == "required"
    assert (await authz.operations.import_scheme(await scheme(authz, demanded))).changed == ()
    with pytest.raises(SettingsError, match=r"participants\.4\.dane"):
        await authz.operations.import_scheme(
            await scheme(authz, SCHEME.replace('name = "CIZ"', 'name = "CIZ"\ndane = true'))
        )


async def test_every_problem_is_listed_at_once(authz: AuthorizationServer) -> None:
    before = await authz.records()
    bad = (
        SCHEME.replace('"agbcode:01234567"\nname', '"agbcode:012345678"\nname')
        .replace('system_role = "REGISTER"', 'system_role = "REGISTRE"')
        .replace('name = "CIZ"', 'nane = "CIZ"')
        .replace("192.0.2.0/24", "192.0.2.1/24")
    )
    with pytest.raises(SettingsError) as refusal:
        await authz.operations.import_scheme(await scheme(authz, bad))
    text = str(refusal.value)
    for key in ("participants.1.", "participants.3", "participants.4.name", "participants.4.nane", "services.0."):
        assert key in text
    assert await authz.records() == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('environment = "TST"', 'environment = "PRD"'),
        ('issuer = "issuing.pem" }', f'issuer_key = "{"0" * 63}" }}'),
        ('issuer = "issuing.pem" }', 'issuer = "absent.pem" }'),
        ('issuer = "issuing.pem" }', 'issuer = "server.key" }'),
        (', issuer = "issuing.pem" }', " }"),
    ],
)
async def test_a_file_that_can_not_be_used(authz: AuthorizationServer, old: str, new: str) -> None:
    with pytest.raises(SettingsError):
        await authz.operations.import_scheme(await scheme(authz, SCHEME.replace(old, new)))


async def test_a_credential_of_another_deelnemer(authz: AuthorizationServer) -> None:
    taken = SCHEME.replace('identity = "uzovi:5001"', 'identity = "uzovi:5000"')
    with pytest.raises(InvalidValue):
        await authz.operations.import_scheme(await scheme(authz, taken))
    await authz.changed()
    assert (await authz.oauth()).status_code == 200


async def test_an_unknown_organization_type_is_refused_with_the_known_ones(authz: AuthorizationServer) -> None:
    before = await authz.records()
    mistyped = SCHEME.replace('organization_type = "ZORGAANBIEDER"', 'organization_type = "ZORGANBIEDER"')
    with pytest.raises(SettingsError, match=r"participants\.3\.organization_type") as refusal:
        await authz.operations.import_scheme(await scheme(authz, mistyped))
    assert "BURGER, CAK, CIZ, VECOZO, ZORGAANBIEDER, ZORGKANTOOR" in str(refusal.value)
    assert await authz.records() == before
    # Near miss: another known one is a change like any other.
    other = SCHEME.replace('organization_type = "ZORGAANBIEDER"', 'organization_type = "CAK"')
    done = await authz.operations.import_scheme(await scheme(authz, other))
    assert done.changed == ("agbcode:01234567",)


async def test_a_dry_run_tells_the_same_and_writes_nothing(authz: AuthorizationServer) -> None:
    text = SCHEME.replace('name = "CIZ"', 'name = "CIZ (nieuw)"').replace("uzovi:5002", "uzovi:5003")
    path = await scheme(authz, text)
    before = await authz.records()
    tried = await authz.operations.import_scheme(path, dry_run=True)
    assert tried.changed == ("uzovi:5003", CIZ)
    assert await authz.records() == before
    assert await authz.operations.import_scheme(path) == tried
    assert (await authz.operations.import_scheme(path)).changed == ()


async def test_a_dry_run_refuses_what_the_import_would_refuse(authz: AuthorizationServer) -> None:
    taken = SCHEME.replace('identity = "uzovi:5001"', 'identity = "uzovi:5000"')
    with pytest.raises(InvalidValue, match="uzovi:5001 has a credential that belongs to uzovi:5000"):
        await authz.operations.import_scheme(await scheme(authz, taken), dry_run=True)
    absent = SCHEME.replace(f'holder = "{CIZ}"', 'holder = "uzovi:9999"')
    with pytest.raises(InvalidValue, match="its holder is not a deelnemer"):
        await authz.operations.import_scheme(await scheme(authz, absent), dry_run=True)


async def test_an_item_that_stands_twice_is_refused(authz: AuthorizationServer) -> None:
    twice = SCHEME.replace('id = "uzovi:5001"', f'id = "{ZORGKANTOOR}"')
    with pytest.raises(InvalidValue, match="stands twice"):
        await authz.operations.import_scheme(await scheme(authz, twice))
