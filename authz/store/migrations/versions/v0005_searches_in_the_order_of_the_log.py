"""The audit log is searched along indexes in its own order, and by time through summaries of its blocks.

With ten million entries this takes minutes, once. A release of before works as it did, without the index on the time of
an event: it searches by time more slowly.
"""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_POSITION = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_ENTRIES: Final = 1024
_SUMMARISE: Final = (
    "INSERT INTO audit_block (block, oldest_us, newest_us)"  # noqa: S608  a number of ours
    f" SELECT entry_index / {_ENTRIES}, min(event_us), max(event_us) FROM audit_entry"
    f" GROUP BY entry_index / {_ENTRIES} HAVING count(*) = {_ENTRIES}"
)


def upgrade() -> None:
    """Add a table and indexes, and drop the one that sorted what it found."""
    op.create_table(
        "audit_block",
        sa.Column("block", _POSITION, autoincrement=False, nullable=False),
        sa.Column("oldest_us", sa.BigInteger(), nullable=False),
        sa.Column("newest_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("block", name=op.f("pk_audit_block")),
    )
    # While the index on the time is there it answers this without reading the entries.
    op.execute(_SUMMARISE)
    op.drop_index(op.f("ix_audit_entry_event_us"), table_name="audit_entry")
    op.create_index(op.f("ix_audit_entry_source_entry_index"), "audit_entry", ["source", "entry_index"])
    for column, condition in (("outcome", "outcome > 1"), ("reason", "reason <> ''")):
        op.create_index(
            op.f(f"ix_audit_entry_{column}_entry_index"),
            "audit_entry",
            [column, "entry_index"],
            sqlite_where=sa.text(condition),
            postgresql_where=sa.text(condition),
        )
