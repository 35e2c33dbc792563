"""The commands, on a real database, as a person and as a program."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from authz.audit.checkpoint import Checkpointer
from authz.audit.cli import audit_app
from authz.audit.note import Checkpoint, sign_note
from authz.audit.note_key import FileNoteSigner
from authz.audit.own import OwnRecords
from authz.audit.reading import ReadingDesk
from authz.domain.audit import AuditUser, Outcome
from authz.edge.cli import Program
from authz.store.audit_log import StoredAuditLog
from authz.store.database import Database
from tests.fakes.clock import FixedClock
from tests.fakes.records import audit_record

PUBLISHED = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PROGRAM = typer.Typer(cls=Program)
PROGRAM.add_typer(audit_app, name="audit")


class Context:
    """What the program's entry point puts into the typer context."""

    def __init__(self, path: Path, signer: FileNoteSigner) -> None:
        self._url = f"sqlite+aiosqlite:///{path}"
        self._signer = signer

    @asynccontextmanager
    async def open_audit(self, config: Path | None) -> AsyncIterator[ReadingDesk]:
        assert config is None or config.name == "named.toml"
        clock = FixedClock()
        database = Database(self._url, clock)
        await database.start()
        try:
            own = OwnRecords(database, clock, "sluis/authz")
            yield ReadingDesk(
                reader=StoredAuditLog(database),
                own=own,
                keys=(self._signer.verifier,),
                user=AuditUser("os:auditor", "AUDITOR"),
            )
        finally:
            await database.close()

    async def fill(self) -> None:
        clock = FixedClock()
        database = Database(self._url, clock)
        await database.start()
        own = OwnRecords(database, clock, "sluis/authz")
        await database.record(
            audit_record(),
            audit_record(outcome=Outcome.REFUSED, reason="scope_unknown", user="uzovi:5001"),
            audit_record(identifier="\x1b[31mred[/red]", details={"a": [1, {"b": 2}]}),
        )
        await Checkpointer(store=StoredAuditLog(database), own=own, signer=self._signer).checkpoint()
        await database.close()


@pytest.fixture
def run(tmp_path: Path, signer: FileNoteSigner) -> Callable[..., tuple[int, str, str]]:
    context = Context(tmp_path / "authz.db", signer)
    asyncio.run(context.fill())

    def act(*arguments: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(PROGRAM, ["audit", *arguments], obj=context, catch_exceptions=False)
        return result.exit_code, result.stdout, result.stderr

    return act


Run = Callable[..., tuple[int, str, str]]


def test_list_shows_people_a_table_and_programs_json(run: Run) -> None:
    code, out, _ = run("list")
    assert code == 0
    assert "uzovi:5001" in out
    assert "scope_unknown" in out
    code, out, _ = run("list", "--json", "--outcome", "refused", "--since", "2026-11-22T00:00:00Z")
    (entry,) = json.loads(out)
    assert (code, entry["index"], entry["record"]["event"]["reason"]) == (0, 1, "scope_unknown")
    # Two listings before this one, each with its own record.
    assert len(json.loads(run("list", "--json", "--event", "log.read")[1])) == 2


def test_what_stands_in_a_record_is_not_interpreted_by_the_terminal(run: Run) -> None:
    for out in (run("list")[1], run("show", "2")[1]):
        assert "\x1b[31m" not in out
        assert "[31mred[/red]" in out


def test_show_shows_one_record_or_refuses(run: Run) -> None:
    assert json.loads(run("show", "1", "--json")[1])["record"]["users"][0]["id"] == "uzovi:5001"
    assert "objects[0].details.a" in run("show", "2")[1]
    code, out, err = run("show", "999")
    assert (code, out) == (2, "")
    assert err.startswith("refused (not_found): ")
    assert run("show", "9223372036854775807")[0] == 2


def test_verify_says_intact_and_after_one_altered_byte_names_the_record(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("verify")
    assert (code, "The log is intact." in out) == (0, True)
    with closing(sqlite3.connect(tmp_path / "authz.db")) as connection, connection:
        connection.execute("UPDATE audit_entry SET payload = replace(payload, '5001', '5002') WHERE entry_index = 1")
    code, out, _ = run("verify")
    assert code == 3
    assert "record 1: altered" in out
    code, out, _ = run("verify", "--json")
    report = json.loads(out)
    assert (code, report["intact"], report["findings"][0]["first"]) == (3, False, 1)


def test_an_export_is_private_verifies_offline_and_never_overwrites(
    run: Run, tmp_path: Path, signer: FileNoteSigner
) -> None:
    path = tmp_path / "export.jsonl"
    assert run("export", str(path))[0] == 0
    assert path.stat().st_mode & 0o777 == 0o600
    code, _, err = run("export", str(path))
    assert (code, err) == (1, f"failed (file): {path}: File exists.\n")
    key = str(signer.verifier)
    assert run("verify", "--export", str(path), "--key", key)[0] == 0
    code, _, err = run("verify", "--export", str(path))
    assert (code, "refused (parameter_missing)" in err) == (2, True)
    path.write_bytes(path.read_bytes().replace(b"uzovi:5001", b"uzovi:5002"))
    code, out, _ = run("verify", "--export", str(path), "--key", key)
    assert (code, "record 1: altered" in out) == (3, True)


def test_a_selection_is_exported_with_proofs(run: Run, tmp_path: Path, signer: FileNoteSigner) -> None:
    path = tmp_path / "export.jsonl"
    assert run("export", str(path), "--participant", "uzovi:5001")[0] == 0
    assert len(path.read_bytes().splitlines()) == 3
    assert run("verify", "--export", str(path), "--key", str(signer.verifier))[0] == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "--since", "yesterday"),
        ("list", "--below", "99999999999999999999"),
        ("verify", "--export", "no-such-file", "--key", "nonsense"),
    ],
)
def test_what_can_not_be_understood_is_refused(run: Run, arguments: tuple[str, ...]) -> None:
    code, _, err = run(*arguments)
    assert (code, err.startswith("refused (parameter_malformed): ")) == (2, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("verify", "--checkpoint", "no-such-file"),
        ("verify", "--export", "no-such-file", "--key", PUBLISHED),
    ],
)
def test_a_file_that_can_not_be_read_is_named(run: Run, arguments: tuple[str, ...]) -> None:
    assert run(*arguments) == (1, "", "failed (file): no-such-file: No such file or directory.\n")


def test_a_filter_that_nothing_could_fit_is_no_empty_table(run: Run) -> None:
    code, out, err = run("list", "--trace", "zz")
    assert (code, out, err.startswith("refused (parameter_malformed): --trace: expected 32")) == (2, "", True)
    assert run("list", "--trace", "f" * 32)[0] == 0


@pytest.mark.parametrize(("columns", "table"), [(None, False), ("60", False), ("160", True)])
def test_a_table_is_shown_where_there_is_room_for_one(
    run: Run, monkeypatch: pytest.MonkeyPatch, columns: str | None, *, table: bool
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    out = run("list", "--reason", "scope_unknown")[1]
    assert ("┃" in out) is table
    if not table:
        assert out.splitlines()[0].startswith("1  ")
        assert "refused  scope_unknown" in out.splitlines()[0]
        assert "    who: uzovi:5001" in out.splitlines()
    shown = run("show", "1")[1]
    assert ("│" in shown) is table
    assert "uzovi:5001" in shown


def test_a_checkpoint_is_kept_and_compared(run: Run, tmp_path: Path, signer: FileNoteSigner) -> None:
    kept, exported = tmp_path / "kept.txt", tmp_path / "export.jsonl"
    assert run("checkpoint", "--out", str(kept)) == (0, "", "")
    assert run("checkpoint")[1] == kept.read_text()
    assert run("checkpoint", "--out", str(kept))[0] == 1, "never over another file"
    assert run("verify", "--checkpoint", str(kept))[0] == 0
    assert run("export", str(exported))[0] == 0
    offline = ("verify", "--export", str(exported), "--key", str(signer.verifier), "--checkpoint")
    assert run(*offline, str(kept))[0] == 0
    newer = tmp_path / "newer.txt"
    newer.write_text(sign_note(Checkpoint(signer.verifier.name, 9, bytes(32)).text, signer))
    code, out, _ = run(*offline, str(newer))
    assert (code, "INCOMPLETE" in out, "newer than this export" in out, "intact" in out) == (4, True, True, False)
    code, out, _ = run(*offline, str(newer), "--json")
    document = json.loads(out)
    assert (code, document["verdict"], document["intact"], document["uncompared"]) == (4, "incomplete", False, [9])
    # The running log itself is never older than what it signed: there it stays an alarm.
    assert run("verify", "--checkpoint", str(newer))[0] == 3
