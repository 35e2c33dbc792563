"""A URA has one spelling, eight digits: who was stored with fewer is the deelnemer that it always was.

Where a deelnemer stands under both spellings, the one of eight digits stays as it is, and what only the other one had
is not given to it: it may have less than before, never more. A scheme file says it anew.
"""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_DIGITS: Final = 8
_PREFIX: Final = "ura:"
_PARTS: Final = ("participant_identifier", "participant_role", "participant_log_source", "credential")


def upgrade() -> None:
    """Change values only: a release of before reads eight digits as well."""
    connection = op.get_bind()
    for environment, old in _rows(connection, "SELECT environment, id FROM participant WHERE id LIKE 'ura:%'"):
        _move(connection, environment, old)
    rows = "SELECT environment, participant, value FROM participant_identifier WHERE kind = 'ura'"
    for environment, participant, old in _rows(connection, rows):
        key = {"environment": environment, "participant": participant, "old": old, "new": old.zfill(_DIGITS)}
        _respell(
            connection,
            key,
            taken="SELECT 1 FROM participant_identifier WHERE environment = :environment AND kind = 'ura'"
            " AND value = :new",
            where="participant_identifier {} WHERE environment = :environment AND participant = :participant"
            " AND kind = 'ura'",
            column="value",
        )
    rows = "SELECT environment, issuer_key, identity FROM credential WHERE identity LIKE 'ura:%'"
    for environment, issuer_key, old in _rows(connection, rows):
        key = {"environment": environment, "issuer_key": issuer_key, "old": old, "new": _canonical(old)}
        _respell(
            connection,
            key,
            taken="SELECT 1 FROM credential WHERE environment = :environment AND issuer_key = :issuer_key"
            " AND identity = :new",
            where="credential {} WHERE environment = :environment AND issuer_key = :issuer_key AND identity = :old",
            column="identity",
        )


def _rows(connection: sa.Connection, statement: str) -> list[tuple[str, ...]]:
    return [tuple(row) for row in connection.execute(sa.text(statement))]


def _canonical(subject: str) -> str:
    return _PREFIX + subject.removeprefix(_PREFIX).zfill(_DIGITS)


def _move(connection: sa.Connection, environment: str, old: str) -> None:
    """A deelnemer with everything that is its own, to its id of eight digits."""
    key = {"environment": environment, "old": old, "new": _canonical(old)}
    if key["new"] == old:
        return
    made = connection.execute(
        sa.text(
            "INSERT INTO participant (environment, id, name, organization_type, status, dane)"
            " SELECT environment, :new, name, organization_type, status, dane FROM participant"
            " WHERE environment = :environment AND id = :old ON CONFLICT (environment, id) DO NOTHING"
        ),
        key,
    ).rowcount
    act = "UPDATE {} SET participant = :new" if made else "DELETE FROM {}"
    for table in _PARTS:
        statement = f"{act.format(table)} WHERE environment = :environment AND participant = :old"
        connection.execute(sa.text(statement), _used(statement, key))
    statement = "UPDATE service SET holder = :new WHERE environment = :environment AND holder = :old"
    connection.execute(sa.text(statement), key)
    statement = "DELETE FROM participant WHERE environment = :environment AND id = :old"
    connection.execute(sa.text(statement), _used(statement, key))


def _respell(connection: sa.Connection, key: dict[str, str], *, taken: str, where: str, column: str) -> None:
    """One row, unless another one has the place; then it goes."""
    if key["new"] == key["old"]:
        return
    if connection.execute(sa.text(taken), _used(taken, key)).first() is not None:
        statement = f"DELETE FROM {where.format('')}"  # noqa: S608  texts of this file, values are bound
    else:
        statement = f"UPDATE {where.format(f'SET {column} = :new')}"
    connection.execute(sa.text(statement), _used(statement, key))


def _used(statement: str, key: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in key.items() if f":{name}" in statement}
