"""Migrations: the tables that they make are the tables that the code uses, and every start finds them ready."""

import asyncio
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import Connection, DateTime, bindparam, select, text
from sqlalchemy.exc import IntegrityError

import pki.store
from pki.app import OpenAuthority
from pki.enrolment.key_names import name_of
from pki.settings import PkiSettings
from pki.store.codes import Codes
from pki.store.crls import part_name
from pki.store.database import Database, StoreUnavailable
from pki.store.migrate import HEAD, migrate
from pki.store.register import Register
from pki.store.tables import metadata
from tests.fakes.certificates import NOW, FakeAuthority


def test_the_head_that_a_start_looks_for_is_the_newest_revision() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(pki.store.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


async def test_the_migrations_make_the_tables_that_the_code_uses(pki: OpenAuthority) -> None:
    async with pki.database.read() as connection:
        assert await connection.run_sync(_differences) == []


async def test_several_that_start_at_once_migrate_once(settings: PkiSettings) -> None:
    databases = [Database(settings.database.address) for _ in range(4)]
    await asyncio.gather(*(migrate(database) for database in databases))
    async with databases[0].read() as connection:
        assert (await connection.execute(text("SELECT version FROM changes"))).scalars().all() == [0]
    for database in databases:
        await database.close()


async def test_parts_of_a_crl_from_before_they_had_names_keep_what_they_say(settings: PkiSettings) -> None:
    def before(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(Path(pki.store.__file__).parent / "migrations"))
        config.attributes["connection"] = connection
        command.upgrade(config, "0004")

    database = Database(settings.database.address)
    parts = {7: b"entries", 8: b""}
    async with database.write() as connection:
        await connection.run_sync(before)
        await connection.execute(text("INSERT INTO issuers (name, key, crl_number) VALUES ('tst', 'key', 1)"))
        rows = [{"part": part, "entries": entries} for part, entries in parts.items()]
        statement = "INSERT INTO crl_parts (issuer, part, entries) VALUES ('tst', :part, :entries)"
        await connection.execute(text(statement), rows)
    await migrate(database)
    async with database.read() as connection:
        register = Register(connection)
        assert await register.crl_parts("tst") == parts
        assert await register.crl_part_names("tst") == {part: part_name(entries) for part, entries in parts.items()}
    await database.close()


async def test_a_register_of_before_keys_had_a_core_and_a_ura_one_spelling(settings: PkiSettings) -> None:
    ca, database = FakeAuthority(), Database(settings.database.address)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(3)]
    names = [name_of(key.public_key()) for key in keys]
    parties = ("ura:1234567", "ura:01234567", "ura:2222222")
    at = bindparam("at", type_=DateTime(timezone=True))
    async with database.write() as connection:
        await connection.run_sync(_up_to, "0005")
        for number, (party, key, name) in enumerate(zip(parties, keys, names, strict=True)):
            issued = ca.issue("uzovi:5000", key=key).certificate
            row = {
                "serial": f"{issued.serial_number:x}", "party": party, "key": name.subject_key,
                "kvk": f"1234567{number}", "names": f'["n{number}.example.nl"]', "tbs": issued.tbs_certificate_bytes,
            }  # fmt: skip
            await connection.execute(
                text(
                    "INSERT INTO certificates (issuer, serial_number, environment, identifier, status, subject_key,"
                    " organization, common_name, kvk, dns_names, not_before, not_after, intent_at, tbs) VALUES ('tst',"
                    " :serial, 'TST', :party, 'active', :key, 'Test', 'Test', :kvk, :names, :at, :at, :at, :tbs)"
                ).bindparams(at),
                row | {"at": NOW},
            )
            await connection.execute(
                text("INSERT INTO subject_keys (subject_key, environment, identifier) VALUES (:key, 'TST', :party)"),
                {"key": name.subject_key, "party": party},
            )
        await connection.execute(
            text(
                "INSERT INTO blocked_keys (subject_key, why, blocked_by, blocked_at)"
                " VALUES (:key, 'published', 'operator:test', :at)"
            ).bindparams(at),
            {"key": names[2].subject_key, "at": NOW},
        )
    await migrate(database)
    async with database.read() as connection:
        rows = await Register(connection).find()
        stored = (await connection.execute(text("SELECT identifier FROM certificates ORDER BY id"))).scalars().all()
        owners = (await connection.execute(text("SELECT name, kvk FROM dns_owners ORDER BY name"))).all()
        cores = [
            set((await connection.execute(select(metadata.tables[table].c.key_core))).scalars())
            for table in ("certificates", "subject_keys", "blocked_keys")
        ]
        assert await connection.run_sync(_differences) == []
    await database.close()
    # The newer of one subscriber stays, the older works for an overlap; the third is only spelt anew.
    assert [(row.identifier.subject, row.status) for row in rows] == [
        ("ura:01234567", "superseding"),
        ("ura:01234567", "active"),
        ("ura:02222222", "active"),
    ]
    assert [row.overlap_until is not None for row in rows] == [True, False, False]
    assert stored == [row.identifier.subject for row in rows]
    assert [tuple(row) for row in owners] == [(f"n{number}.example.nl", f"1234567{number}") for number in range(3)]
    expected = {name.core for name in names}
    assert cores == [expected, expected, {names[2].core}]


async def test_codes_of_before_operators_had_keys_are_kept_and_work_no_more(settings: PkiSettings) -> None:
    database = Database(settings.database.address)
    at = bindparam("at", type_=DateTime(timezone=True))
    codes = (
        ("AAAAAAAA", "uzovi:1000", "pending", True, None),
        ("BBBBBBBB", "uzovi:2000", "ready", True, "operator:bram"),
        ("CCCCCCCC", "uzovi:3000", "used", True, "operator:bram"),
        ("DDDDDDDD", "uzovi:4000", "ready", False, None),
    )
    async with database.write() as connection:
        await connection.run_sync(_up_to, "0007")
        for selector, party, status, two, approved in codes:
            await connection.execute(
                text(
                    "INSERT INTO enrolment_codes (selector, salt, verifier, environment, identifier, organization,"
                    " kvk, dns_names, status, two_person, created_by, created_at, expires_at, approved_by) VALUES"
                    " (:selector, :salt, :salt, 'PRD', :party, 'Test', '12345678', '[]', :status, :two,"
                    " 'operator:anna', :at, :at, :approved)"
                ).bindparams(at),
                {
                    "selector": selector, "salt": b"x", "party": party, "status": status, "two": two,
                    "approved": approved, "at": NOW,
                },
            )  # fmt: skip
        for number, (environment, status) in enumerate((("PRD", "issuing"), ("PRD", "active"), ("TST", "issuing"))):
            await connection.execute(
                text(
                    "INSERT INTO certificates (issuer, serial_number, environment, identifier, status, subject_key,"
                    " organization, common_name, kvk, dns_names, not_before, not_after, intent_at, tbs) VALUES ('ca',"
                    " :serial, :environment, :party, :status, 'key', 'Test', 'Test', '12345678', '[]', :at, :at, :at,"
                    " :tbs)"
                ).bindparams(at),
                {
                    "serial": str(number), "environment": environment, "party": f"uzovi:100{number}", "status": status,
                    "tbs": b"x", "at": NOW,
                },
            )  # fmt: skip
    await migrate(database)
    async with database.read() as connection:
        found = {item.selector: item.status for item in await Codes(connection).find()}
        rows = await Register(connection).find()
        assert await connection.run_sync(_differences) == []
    assert found == {"AAAAAAAA": "withdrawn", "BBBBBBBB": "withdrawn", "CCCCCCCC": "used", "DDDDDDDD": "ready"}
    # An intent that nobody vouched for is given up, for the next CRL; what works goes on working.
    assert [(row.environment, row.status) for row in rows] == [
        ("PRD", "revoked"),
        ("PRD", "active"),
        ("TST", "issuing"),
    ]
    with pytest.raises(IntegrityError):
        await _execute(database, "UPDATE enrolment_codes SET status = 'ready' WHERE selector = 'BBBBBBBB'")
    await _execute(database, "UPDATE enrolment_codes SET status = 'withdrawn' WHERE selector = 'DDDDDDDD'")
    await database.close()


async def test_codes_that_one_operator_knew_whole_are_kept_and_work_no_more(settings: PkiSettings) -> None:
    database = Database(settings.database.address)
    at = bindparam("at", type_=DateTime(timezone=True))
    async with database.write() as connection:
        await connection.run_sync(_up_to, "0009")
        for selector, party, status, two in (
            ("AAAAAAAA", "uzovi:1000", "pending", True),
            ("BBBBBBBB", "uzovi:2000", "ready", True),
            ("CCCCCCCC", "uzovi:3000", "used", True),
            ("DDDDDDDD", "uzovi:4000", "ready", False),
        ):
            await connection.execute(
                text(
                    "INSERT INTO enrolment_codes (selector, salt, verifier, environment, identifier, organization,"
                    " kvk, dns_names, status, two_person, created_by, created_at, expires_at, approved_by,"
                    " request_statement, request_key, request_signature, approval_statement, approval_key,"
                    " approval_signature) VALUES (:selector, :salt, :salt, 'PRD', :party, 'Test', '12345678', '[]',"
                    " :status, :two, 'operator-key:anna', :at, :at, 'operator-key:bram', 'a', 'a', 'a', 'b', 'b', 'b')"
                ).bindparams(at),
                {"selector": selector, "salt": b"x", "party": party, "status": status, "two": two, "at": NOW},
            )
    await migrate(database)
    async with database.read() as connection:
        found = {item.selector: (item.status, item.before_halves) for item in await Codes(connection).find()}
        assert await connection.run_sync(_differences) == []
    assert found == {
        "AAAAAAAA": ("withdrawn", True),
        "BBBBBBBB": ("withdrawn", True),
        "CCCCCCCC": ("used", True),
        "DDDDDDDD": ("ready", False),
    }
    for change in ("status = 'ready'", "status = 'ready', before_halves = false"):
        with pytest.raises(IntegrityError):
            await _execute(database, f"UPDATE enrolment_codes SET {change} WHERE selector = 'BBBBBBBB'")  # noqa: S608  changes above
    with pytest.raises(IntegrityError):  # a code of two has two halves before it is of use
        await _execute(database, "UPDATE enrolment_codes SET two_person = true WHERE selector = 'DDDDDDDD'")
    await _execute(database, "UPDATE enrolment_codes SET status = 'withdrawn' WHERE selector = 'DDDDDDDD'")
    await database.close()


async def _execute(database: Database, statement: str) -> None:
    async with database.write() as connection:
        await connection.execute(text(statement))


def _up_to(connection: Connection, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(pki.store.__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _differences(connection: Connection) -> list[object]:
    return list(compare_metadata(MigrationContext.configure(connection), metadata))


async def test_a_database_of_a_newer_version_is_refused(pki: OpenAuthority) -> None:
    async with pki.database.write() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreUnavailable, match="newer version"):
        await migrate(pki.database)


async def test_a_file_that_is_not_a_database_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "pki.sqlite3"
    path.write_bytes(b"this is not a database" * 100)
    database = Database(f"sqlite+aiosqlite:///{path}")
    with pytest.raises(StoreUnavailable):
        await migrate(database)
    await database.close()
